"""A disk was full in the middle of a line of the access log, and the first line after that was written on behind it.

Nobody could read either of them, and the second one was not among those that were said to be missing.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from resilience.gateway.logs import log_writer
from resilience.gateway.logs.log_writer import FileSink, LogWriter, Sink, StreamSink


class Disk:
    """Takes so many bytes, and then says that it is full."""

    def __init__(self, room: int) -> None:
        self.room, self._write = room, os.write

    def write(self, descriptor: int, data: Any) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[:self.room])
        self.room -= written
        return written


def lines(number: int) -> list[str]:
    return [json.dumps({"number": each}) + "\n" for each in range(number)]


def read(path: Path) -> list[int]:
    """The numbers of the lines that can be read."""
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line)["number"])
        except ValueError:
            assert line  # torn, and not an empty one
    return found


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_whatever_room_a_disk_has_the_next_line_begins_a_line_and_the_missing_ones_are_counted(
        kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    whole = "".join(lines(4))
    for room in range(len(whole)):
        path, disk = tmp_path / f"{room}.log", Disk(room)
        with monkeypatch.context() as patched, path.open("ab") as opened, \
                caplog.at_level(logging.WARNING, "resilience"):
            sink: Sink = FileSink(path) if kind == "file" else StreamSink(opened.fileno())
            writer = LogWriter(lambda record: str(record), sink, pause=lambda seconds: None)
            patched.setattr(log_writer.os, "write", disk.write)
            for line in lines(4):
                writer._queue.append(line)
            assert writer.drain()
            writer._queue.append(lines(4)[0])
            assert writer.drain()
            disk.room = 1000
            writer._queue.extend(lines(6)[4:])
            assert writer.drain()
            writer._queue.extend(lines(7)[6:])
            assert writer.drain()
        complete = whole[:room].count("\n")
        assert read(path) == [*range(whole[:room].count("}")), 4, 5, 6], room  # one may lack its end only
        assert (writer.written, writer.lost.failed) == (complete + 3, 4 - complete + 1)
        assert f"{4 - complete + 1} lines are missing" in caplog.text
        caplog.clear()


def test_a_process_that_has_not_failed_itself_begins_a_line_behind_what_another_one_has_left(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b'{"number": 1}\n{"num')
    sink = FileSink(path)
    sink.write(b'{"number": 2}\n')
    sink.write(b'{"number": 3}\n')
    sink.rest()
    assert read(path) == [1, 2, 3]


def test_a_log_that_is_no_file_is_not_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = FileSink(path)
    sink.write(b"1\n")
    sink.rest()
    assert os.read(reader, 100) == b"1\n"
    os.close(reader)
