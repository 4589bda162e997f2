"""A collector of logs that hung, and kept the other end of the pipe, stopped the gateway: no request was answered.

The access log was written by a thread. What the logger ``resilience`` says, such as why an upstream failed, was written where it was
logged, which is in the event loop; so a worker hung at its next message, and did not even end when it was told to.
Nor did anybody hear of an access log that nobody took: the thread that would have said so was the one that waited.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resilience.gateway.logs import log_writer
from resilience.gateway.logs.log_writer import LogWriter
from resilience.gateway.logs.messages import MessageHandler
from tests.cli.test_cli import free_ports, until_ready
from tests.gateway.harness import eventually, parsed
from tests.gateway.logs.test_log_writer import Gathers

CONFIG = """
[gateway]
bind = "127.0.0.1:{gateway}"

[admin]
bind = "127.0.0.1:{admin}"

[access_log]

[services.away]
endpoints = ["http://127.0.0.1:{away}"]

[services.away.command]
breaker = false

[[routes]]
path = "/*"
service = "away"
"""


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """The end to write to of a pipe that is full, and that nobody reads."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(fcntl.fcntl(write, fcntl.F_GETPIPE_SZ)))
    os.set_blocking(write, True)
    try:
        yield write
    finally:
        os.close(write)
        os.close(read)


@contextlib.contextmanager
def logged(handler: logging.Handler) -> Iterator[logging.Logger]:
    logger = logging.Logger("resilience")
    logger.addHandler(handler)
    yield logger


@pytest.mark.process
def test_a_gateway_whose_output_nobody_takes_answers_and_ends(tmp_path: Path) -> None:
    port, admin, away = free_ports(3)
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIG.format(gateway=port, admin=admin, away=away))
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-m", "resilience", "gateway", str(file)], stdout=write, stderr=write)
    try:
        until_ready(admin)
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, b"x")
        os.set_blocking(write, True)
        for _ in range(3):
            with contextlib.closing(socket.create_connection(("127.0.0.1", port), 30)) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
                assert 502 == parsed(client.recv(65536))[0]
        process.send_signal(signal.SIGHUP)  # which the supervisor logs
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(60)
    finally:
        process.kill()
        process.wait()
        os.close(write)
        os.close(read)


def test_who_logs_does_not_wait_for_who_reads_and_what_found_no_room_is_told_later() -> None:
    with full_pipe() as write:
        handler = MessageHandler(write, "the log")
        with logged(handler) as logger:
            for number in range(log_writer.MAX_QUEUE + 2 * log_writer._BATCH):
                logger.warning("message %d", number)
    assert handler.writer.lost.dropped > 0


def test_a_log_that_nobody_takes_says_so_while_it_waits(caplog: pytest.LogCaptureFixture) -> None:
    def told() -> list[str]:
        return [text for text in (each.getMessage() for each in caplog.records) if "our log" in text]

    sink = Gathers()
    writer = LogWriter(lambda record: f"{record}\n", sink, max_queue=10, pause=lambda seconds: None, name="our log")
    sink.gate.clear()
    with caplog.at_level(logging.WARNING, "resilience"):
        writer.put(0)
        eventually(lambda: not writer._queue)
        for number in range(15):
            writer.put(number)
        assert told() == [
            "our log cannot be written: its lines come faster than they are taken, or nobody takes them; "
            "its lines are dropped until it can be"]
        sink.gate.set()
        eventually(lambda: len(told()) == 2)
    writer.close()
    assert told()[1] == "5 lines are missing in our log"


def test_messages_about_the_messages_themselves_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    read, write = os.pipe()
    handler = MessageHandler(write, "the log")
    with logged(handler) as logger:
        monkeypatch.setattr(log_writer, "_log", logger)  # what tells of trouble is what has it
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            logger.warning("first")
        logger.warning("second")
        handler.writer.close()
    assert os.read(read, 1000).decode().splitlines() == [
        "first", "the log cannot be written: can't start new thread; its lines are dropped until it can be", "second",
        "0 lines are missing in the log"]
    os.close(read)
    os.close(write)


def test_all_logs_together_hold_the_end_up_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, sinks = list[float | None](), [Gathers() for _ in range(3)]
    monkeypatch.setattr(threading.Thread, "join", lambda thread, timeout=None: waits.append(timeout))
    monkeypatch.setattr(time, "monotonic", lambda: 100.0 + 0.75 * len(waits))
    writers = [LogWriter(str, sink, pause=lambda seconds: None) for sink in sinks]
    monkeypatch.setattr(log_writer, "_writers", writers)
    for sink, writer in zip(sinks, writers, strict=True):
        sink.gate.clear()
        writer.put("line")
    log_writer._at_exit()
    for sink in sinks:
        sink.gate.set()
    assert waits == [1.0, 0.25, 0.0]


def test_logging_does_not_wait_for_it_once_more_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = list[float | None]()
    with full_pipe() as write:
        handler = MessageHandler(write, "the log")
        with logged(handler) as logger:
            logger.warning("message")
        monkeypatch.setattr(threading.Thread, "join", lambda thread, timeout=None: waits.append(timeout))
        handler.flush()  # as logging.shutdown() does
        handler.close()
    assert [] == waits
