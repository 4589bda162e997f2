"""The writer of the access log: nothing that its file or stream does holds up whoever logs."""

import logging
import os
import threading

import pytest

from resilience.gateway.logs.log_writer import FileSink, LogWriter, StreamSink, write_all
from tests.gateway.harness import eventually


class Gathers:
    """A sink that keeps what it gets, blocks while *gate* is closed, and fails with *error*."""

    def __init__(self):
        self.lines, self.error, self.rests = [], None, 0
        self.gate = threading.Event()
        self.gate.set()

    def write(self, data):
        self.gate.wait()
        if self.error is not None:
            raise self.error
        self.lines += data.decode().splitlines()

    def rest(self):
        self.rests += 1


def writer(sink, **options):
    return LogWriter(lambda record: f"{record}\n", sink, pause=lambda seconds: None, **options)


def test_lines_are_written_in_their_order_by_a_thread_that_the_first_one_starts():
    sink = Gathers()
    made = writer(sink, max_queue=1_000_000)
    assert made._thread is None
    for number in range(5000):
        made.put(number)
    eventually(lambda: len(sink.lines) == 5000)
    made.put("late")
    made.close()
    assert sink.lines == [*map(str, range(5000)), "late"]
    assert (made.written, made.lost.dropped, sink.rests) == (5001, 0, 1)


def test_a_sink_that_blocks_costs_entries_and_no_time_and_the_loss_is_told(caplog):
    sink = Gathers()
    made = writer(sink, max_queue=10)
    sink.gate.clear()
    for number in range(1000):
        made.put(number)
    assert made.lost.dropped >= 1000 - 10 - 1000  # the thread may have taken a batch
    eventually(lambda: len(made._queue) <= 10)
    for number in range(20):
        made.put(number)
    assert made.lost.dropped >= 10
    with caplog.at_level(logging.WARNING, "resilience"):
        sink.gate.set()
        eventually(lambda: "are missing in the access log" in caplog.text)
    made.close()
    assert made.written + made.lost.dropped == 1020


def test_a_sink_that_never_takes_anything_does_not_hold_up_the_end():
    sink = Gathers()
    made = writer(sink)
    sink.gate.clear()
    made.put(1)
    made.close(timeout=0.05)
    thread = made._thread
    assert thread.is_alive()
    assert thread.daemon
    sink.gate.set()
    thread.join()


def test_trouble_is_told_once_and_once_more_when_it_is_over(caplog):
    sink = Gathers()
    made = writer(sink)
    sink.error = OSError(28, "No space left on device")
    with caplog.at_level(logging.WARNING, "resilience"):
        for number in range(3):
            made.put(number)
            eventually(lambda number=number: made.lost.failed == number + 1)
        sink.error = None
        made.put("good")
        eventually(lambda: made.written == 1)
        made.close()
    assert [record.getMessage() for record in caplog.records] == [
        "the access log cannot be written: No space left on device; its lines are dropped until it can be",
        "3 lines are missing in the access log"]


def test_an_entry_that_cannot_be_written_out_is_one_line_less(caplog):
    sink = Gathers()
    made = LogWriter(lambda record: f"{1 // record}\n", sink, pause=lambda seconds: None)
    with caplog.at_level(logging.ERROR, "resilience"):
        made.put(0)
        made.put(1)
        made.close()
    assert sink.lines == ["1"]
    assert "could not be written out" in caplog.text


def test_a_file_that_is_moved_is_opened_anew_under_its_name(tmp_path):
    now = [0.0]
    path = tmp_path / "access.log"
    sink = FileSink(path, clock=lambda: now[0])
    sink.write(b"1\n")
    path.rename(tmp_path / "access.log.1")
    sink.write(b"2\n")
    now[0] = 1.0
    sink.write(b"3\n")
    path.unlink()
    sink.reopen()
    sink.write(b"4\n")
    sink.rest()
    assert ((tmp_path / "access.log.1").read_bytes(), path.read_bytes()) == (b"1\n2\n", b"4\n")
    assert path.stat().st_mode & 0o077 == 0o040 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_directory_that_is_missing_is_trouble_until_it_is_there(tmp_path):
    sink = FileSink(tmp_path / "logs" / "access.log")
    with pytest.raises(FileNotFoundError):
        sink.write(b"1\n")
    (tmp_path / "logs").mkdir()
    sink.write(b"2\n")
    sink.rest()
    assert (tmp_path / "logs" / "access.log").read_bytes() == b"2\n"


def test_a_stream_is_kept_by_a_copy_so_that_its_number_can_be_given_to_another_file():
    read, write = os.pipe()
    sink = StreamSink(write)
    os.close(write)
    sink.write(b"line\n")
    sink.rest()
    assert os.read(read, 100) == b"line\n"
    del sink
    assert os.read(read, 100) == b""  # nobody has the other end any more
    os.close(read)
    with pytest.raises(OSError):
        StreamSink(write).write(b"x")


def test_a_pipe_that_does_not_block_gets_all_of_it():
    read, write = os.pipe()
    os.set_blocking(write, False)
    got = bytearray()

    def take():
        while piece := os.read(read, 65536):
            got.extend(piece)

    thread = threading.Thread(target=take)
    thread.start()
    write_all(write, b"x" * 1_000_000)
    os.close(write)
    thread.join()
    os.close(read)
    assert len(got) == 1_000_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_a_writer_of_its_own_and_leaves_the_parent_s_lines_to_it(tmp_path):
    from tests.forked import forked

    path = tmp_path / "access.log"
    made = writer(FileSink(path))
    made.put("parent")
    eventually(lambda: made.written == 1)

    def child():
        made.put("child")
        made.close()
        assert made.written == 2

    assert forked(child) == 0
    made.close()
    assert path.read_text().split() == ["parent", "child"]


def test_the_thread_ends_when_nobody_logs_and_another_one_goes_on():
    sink = Gathers()
    made = writer(sink, idle_s=0.001)
    for number in range(20):
        made.put(number)
        eventually(lambda: made._thread is None)
    assert sink.lines == [*map(str, range(20))]
    made.close()
    made.put("after the end")
    made.close()
    assert sink.lines[-1] == "after the end"


def test_nothing_is_lost_between_a_thread_that_ends_and_those_who_log():
    sink = Gathers()
    made = writer(sink, idle_s=0.0, max_queue=1_000_000)

    def log(name):
        for number in range(2000):
            made.put(f"{name} {number}")

    threads = [threading.Thread(target=log, args=(name,)) for name in "abc"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    made.close()
    eventually(lambda: len(sink.lines) == 6000)
    for name in "abc":
        assert [line for line in sink.lines if line[0] == name] == [f"{name} {number}" for number in range(2000)]
