"""``to`` of ``[access_log]`` was a folder, or in none, or nothing that may be written: ``check`` said ``fine``."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from resilience.config import ConfigFileError, Document
from resilience.gateway.config import load, read

CONFIG = """\
[services.up]
endpoints = ["http://127.0.0.1:9"]
[[routes]]
path = "/*"
service = "up"
[access_log]
to = "{to}"
"""
KEPT = """\
[services.up.source]
use = "file"
path = "up.json"
keep = "{keep}"
[[routes]]
path = "/*"
service = "up"
"""


def test_it_is_a_mistake_with_its_line_at_a_start_and_none_to_a_process_that_begins_later(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, there, link = tmp_path / "gateway.toml", tmp_path / "there.log", tmp_path / "link.log"
    link.symlink_to(tmp_path / "none" / "a.log")
    there.touch()
    for to in (there, tmp_path / "new.log", "stdout", "/dev/null"):
        file.write_text(CONFIG.format(to=to))
        assert str(to) == load(file).access_log.to  # type: ignore[union-attr]
    assert not (tmp_path / "new.log").exists()
    for to, why in ((tmp_path, "is a folder"), (tmp_path / "none" / "a.log", "there is no folder"),
                    (there / "a.log", "there is no folder"), (link, "there is no folder"),
                    (tmp_path / ("a" * 300), "cannot be written: File name too long")):
        file.write_text(CONFIG.format(to=to))
        with pytest.raises(ConfigFileError, match=rf"gateway\.toml:7: access_log\.to: .*{why}"):
            load(file)
        read(Document.read(file))  # as does a worker
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(there))
    file.write_text(CONFIG.format(to=there))
    with pytest.raises(ConfigFileError, match="cannot be written by this user"):
        load(file)


def test_a_folder_that_may_not_be_entered_is_a_mistake_with_its_line(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, log, plain = tmp_path / "gateway.toml", tmp_path / "closed" / "a.log", os.stat

    def entered(path: Any, **more: Any) -> os.stat_result:
        if path == str(log):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return plain(path, **more)

    monkeypatch.setattr(os, "stat", entered)
    file.write_text(CONFIG.format(to=log))
    with pytest.raises(ConfigFileError, match=r"gateway\.toml:7: access_log\.to: .* cannot be written: Permission denied"):
        load(file)


def test_a_list_that_cannot_be_kept_is_told_of_with_its_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "gateway.toml"
    for keep, told in ((tmp_path / "up.kept", []), (tmp_path / "none" / "up.kept", [
            f"{file}:4: services.up.source.keep: there is no folder {tmp_path}/none, so that no list is kept"])):
        file.write_text(KEPT.format(keep=keep))
        load(file)
        assert told == caplog.messages
