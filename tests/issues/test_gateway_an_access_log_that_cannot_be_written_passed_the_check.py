"""``to`` of ``[access_log]`` was a folder, or in none, or nothing that may be written: ``check`` said ``fine``."""

from __future__ import annotations

import os
from pathlib import Path

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


def test_it_is_a_mistake_with_its_line_at_a_start_and_none_to_a_process_that_begins_later(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, there = tmp_path / "gateway.toml", tmp_path / "there.log"
    there.touch()
    for to in (there, tmp_path / "new.log", "stdout", "/dev/null"):
        file.write_text(CONFIG.format(to=to))
        assert str(to) == load(file).access_log.to  # type: ignore[union-attr]
    assert not (tmp_path / "new.log").exists()
    for to, why in ((tmp_path, "is a folder"), (tmp_path / "none" / "a.log", "there is no folder"),
                    (there / "a.log", "there is no folder")):
        file.write_text(CONFIG.format(to=to))
        with pytest.raises(ConfigFileError, match=rf"gateway\.toml:7: access_log\.to: .*{why}"):
            load(file)
        read(Document.read(file))  # as does a worker
    monkeypatch.setattr(os, "access", lambda path, mode: path != there)
    file.write_text(CONFIG.format(to=there))
    with pytest.raises(ConfigFileError, match="cannot be written by this user"):
        load(file)
