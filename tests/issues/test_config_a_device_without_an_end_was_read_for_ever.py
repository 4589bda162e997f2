"""``resilience check /dev/zero`` read until the memory was full, and ended in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience.config import ConfigFileError, Document, document
from resilience.gateway.config.contents import of_files


def test_a_file_that_is_too_large_is_a_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(document, "MAX_BYTES", 1024 * 1024)
    with pytest.raises(ConfigFileError, match="^/dev/zero: cannot be read: it is larger than 1 MiB$"):
        Document.read("/dev/zero")
    with pytest.raises(ValueError, match="it is larger than"):
        list(of_files("/dev/zero"))
    whole = tmp_path / "whole.toml"
    whole.write_bytes(b"#" * 1024 * 1024)
    assert Document.read(whole).data == {}
