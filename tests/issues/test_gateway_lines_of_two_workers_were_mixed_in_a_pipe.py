"""Two workers with one pipe for their access logs wrote into each other's lines as soon as it was full.

A pipe takes PIPE_BUF bytes in one piece. What was longer, as a thousand lines that had waited are, came in pieces of any
length, between which the other worker's came.
"""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path

import pytest

from resilience.gateway.logs import log_writer


def test_each_write_to_a_pipe_is_of_whole_lines_that_it_takes_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    lengths = [1, 100, 3000, 1000, 4000, 95, 4096, 4097, 20_000, 5, 4095, 2048, 2048, 1]
    data = b"".join(b"x" * (length - 1) + b"\n" for length in lengths) + b"without an end"
    pieces, real = list[bytes](), os.write
    monkeypatch.setattr(log_writer.os, "write", lambda to, what: pieces.append(bytes(what)) or real(to, what))
    log_writer.write_all(write, data)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        assert file.read() == data == b"".join(pieces)
    for piece in pieces[:-1]:
        assert piece.endswith(b"\n")
    for piece in pieces:
        assert len(piece) <= select.PIPE_BUF or piece.count(b"\n") == 1, "or it is one line"
    assert len(pieces) <= 12


def test_lines_of_two_writers_stay_whole_in_a_pipe_that_is_full() -> None:
    read, write = os.pipe()
    lines = [b'{"worker":%d,"path":"/' % worker + b"x" * 200 + b'"}\n' for worker in range(2)]
    writers = [threading.Thread(target=log_writer.write_all, args=(write, line * 2000)) for line in lines]
    for each in writers:
        each.start()
    with os.fdopen(read, "rb") as file:
        found = [file.readline() for _ in range(4000)]
    for each in writers:
        each.join()
    os.close(write)
    assert (found.count(lines[0]), found.count(lines[1])) == (2000, 2000)


def test_a_file_takes_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces, real = list[int](), os.write
    monkeypatch.setattr(log_writer.os, "write", lambda to, what: pieces.append(len(what)) or real(to, what))
    sink = log_writer.FileSink(tmp_path / "log")
    sink.write(b"line\n" * 5000)
    sink.rest()
    assert pieces == [25_000]
