"""The access log got no thread, as there were too many, or lost it: the request failed, and nothing was logged ever again.

No message said so. The records that waited were given up, and those that came found no room.
"""

from __future__ import annotations

import logging
import threading

import pytest

from resilience.gateway.logs.log_writer import LogWriter
from tests.gateway.harness import eventually


class Gathers:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.error: BaseException | None = None

    def write(self, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.lines += data.decode().splitlines()

    def rest(self) -> None:
        """Nothing is to be done."""


def test_a_log_that_gets_no_thread_says_so_and_goes_on_as_soon_as_there_is_one(
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sink = Gathers()
    writer = LogWriter(lambda record: f"{record}\n", sink, max_queue=3, pause=lambda seconds: None)
    with caplog.at_level(logging.WARNING, "resilience"):
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            for number in range(5):
                writer.put(number)  # which is no business of whoever is served
        assert [each.getMessage() for each in caplog.records] == [
            "the access log cannot be written: can't start new thread; its lines are dropped until it can be"]
        writer.put(5)
        eventually(lambda: len(sink.lines) == 3)
        writer.put(6)
        eventually(lambda: len(sink.lines) == 4)
        writer.close()
    assert sink.lines == ["0", "1", "2", "6"]
    assert caplog.records[1].getMessage() == "3 lines are missing in the access log"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_log_whose_thread_ends_by_an_error_gets_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sink, told = Gathers(), list[object]()
    monkeypatch.setattr(threading, "excepthook", told.append)
    writer = LogWriter(lambda record: f"{record}\n", sink, pause=lambda seconds: None)
    sink.error = MemoryError()
    writer.put(1)
    eventually(lambda: told and writer._thread is None)
    sink.error = None
    writer.put(2)
    eventually(lambda: sink.lines == ["2"])
    writer.close()
