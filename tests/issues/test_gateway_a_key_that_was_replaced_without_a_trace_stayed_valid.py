"""A file of keys that was rewritten in its place, with its old size and modification time, was never read again: a key that
had been taken back stayed valid. So it was where a file was written twice within one tick of the file system's clock,
and read in between. Certificates were kept in the same way.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resilience.config import watcher
from resilience.gateway.filters import watched_file
from resilience.gateway.filters.watched_file import WatchedFile
from resilience.gateway.front import tls


class Time:
    """A clock that is told the time."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def rewritten(file: Path, text: str) -> None:
    """In its place, with the old modification time, as rsync and cp write where all files have one time."""
    before = file.stat()
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_with_its_old_size_and_time_is_read_again(tmp_path: Path) -> None:
    clock = Time()
    (file := tmp_path / "keys").write_text("1111")
    watched = WatchedFile(f"{file}", int, clock=clock)
    for clock.now in range(1, 10):
        assert 1111 == watched.current()
    rewritten(file, "2222")
    clock.now = 10.0
    assert 2222 == watched.current()
    assert tls._stamps([f"{file}"]) != (rewritten(file, "3333"), tls._stamps([f"{file}"]))[1]


def test_what_is_written_within_one_tick_is_read_and_made_anew_once(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, made = Time(), list[int]()
    (file := tmp_path / "keys").write_text("1111")

    def read(content: bytes) -> int:
        made.append(int(content))
        return made[-1]

    watched = WatchedFile(f"{file}", read, clock=clock)
    monkeypatch.setattr(watched_file, "signature_of", lambda path: (1, 4, 1, 1, 1))  # as long as the clock stands
    clock.now = 1.0
    assert 1111 == watched.current()
    file.write_text("2222")
    for clock.now in range(2, 10):
        assert 2222 == watched.current()
    assert [1111, 2222] == made


def test_what_cannot_be_read_is_tried_again_for_as_long_as_it_takes(tmp_path: Path) -> None:
    clock = Time()
    (file := tmp_path / "keys").write_text("1111")
    watched = WatchedFile(f"{file}", int, clock=clock)
    file.unlink()
    for clock.now in range(1, 10):
        assert 1111 == watched.current()
    file.write_text("2222")
    clock.now = 10.0
    assert 2222 == watched.current()
    assert None is watcher.signature_of(tmp_path / "none")
