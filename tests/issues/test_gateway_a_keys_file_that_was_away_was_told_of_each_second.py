"""A file of keys that was away, or wrong, was an error in the log each second, for as long as requests came."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from resilience.gateway.filters.watched_file import WatchedFile


def test_it_is_told_once_for_each_reason_and_when_it_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    now, file = [0.0], tmp_path / "keys"
    file.write_text("1")
    watched = WatchedFile(f"{file}", int, clock=lambda: now[0])

    def told() -> list[str]:
        caplog.clear()
        for _ in range(5):
            now[0] += 1.0
            assert 1 == watched.current()
        return [record.message.removeprefix(f"{file} ") for record in caplog.records]

    assert [] == told()
    file.unlink()
    (gone,) = told()
    assert "No such file" in gone
    assert [] == told()
    file.write_text("ten")
    (wrong,) = told()
    assert "invalid literal" in wrong
    file.write_text("0001")
    assert ["can be read again"] == told()
