"""A worker that was stopped (SIGSTOP), or whose event loop hung, stayed: the kernel gave it connections for ever.

One that hung before it had said anything stayed after that was mended, too: the gateway had a worker less for good, or
never started, without a word of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Any, cast

import pytest

from resilience.gateway.supervision.heartbeat import BEAT_S, PATIENCE, START_PATIENCE, beat, kill_silent, replace_silent
from resilience.gateway.supervision.worker_process import WorkerProcess, WorkerSilentError
from resilience.testing import VirtualTimeLoop, virtual_time


class Process:
    """Stands for one of the operating system; a signal is all that it notices."""

    pid = 7

    def __init__(self) -> None:
        self.signals: list[int] = []

    def send_signal(self, number: int) -> None:
        self.signals.append(number)


class OneWay:
    """A channel that has what one end tells, which is all that the other receives; it tells the worker nothing."""

    def __init__(self) -> None:
        self.said = asyncio.Queue[Any]()
        self.receive = self.said.get

    def tell(self, message: Any) -> None:
        if len(message) == 3 and message[1] != "report":
            self.said.put_nowait(message)

    async def drained(self) -> None:
        """All was taken."""


@contextlib.contextmanager
def started() -> Iterator[tuple[WorkerProcess, Any, Process]]:
    """A worker as its supervisor has it, its end of the channel, and its process."""
    channel: Any = OneWay()
    process: Any = Process()
    worker = WorkerProcess(1, process, channel)
    yield worker, channel, process
    worker._listening.cancel()


async def test_who_is_silent_for_a_minute_is_killed_once_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with started() as (worker, channel, process):
        channel.tell((0, True, None))
        assert await worker.said()
        for _ in range(PATIENCE - 1):
            kill_silent([worker])
        assert not process.signals
        for _ in range(3):
            kill_silent([worker])
        assert [signal.SIGKILL] == process.signals
        assert "worker 1 (process 7) has said nothing for 60 s, though it should every 5 s" in caplog.text


def test_a_beat_is_enough_to_stay_and_is_no_answer_to_a_question() -> None:
    async def main() -> None:
        with started() as (worker, channel, process):
            tasks = [asyncio.ensure_future(each) for each in (beat(channel), replace_silent({1: worker}))]
            await asyncio.sleep(3 * PATIENCE * BEAT_S)
            assert not process.signals
            with pytest.raises(WorkerSilentError):
                await worker.ask("report", "rolling", 3 * BEAT_S)
            await asyncio.sleep(BEAT_S)
            assert worker.is_silent
            assert not worker.is_ready
            for task in tasks:
                task.cancel()

    virtual_time(main())


async def test_who_has_never_said_anything_has_longer_and_what_it_died_of_is_told(
        caplog: pytest.LogCaptureFixture) -> None:
    with started() as (worker, _, process):
        for _ in range(START_PATIENCE - 1):
            kill_silent([worker])
        assert not process.signals
        kill_silent([worker])
        assert [signal.SIGKILL] == process.signals
        assert "worker 1 (process 7) has said nothing for 300 s, not since it was started" in caplog.text
        assert ["has said nothing for 300 s, not since it was started: it is stopped, or it hangs"] == worker.reasons


def test_the_supervisors_own_turns_are_counted_and_not_what_a_suspended_machine_slept() -> None:
    async def killed_after() -> float:
        loop = cast("VirtualTimeLoop", asyncio.get_running_loop())
        with started() as (worker, channel, process):
            channel.tell((0, True, None))
            await worker.said()
            task = asyncio.ensure_future(replace_silent({1: worker}))
            await asyncio.sleep(BEAT_S / 2)
            loop.advance(3600.0)
            began = loop.time()
            while not process.signals:
                await asyncio.sleep(1.0)
            task.cancel()
            return loop.time() - began

    assert BEAT_S * (PATIENCE - 1) <= virtual_time(killed_after()) <= BEAT_S * PATIENCE


async def test_who_is_silent_for_a_while_counts_no_more_as_one_that_serves() -> None:
    with started() as (worker, channel, _):
        channel.tell((0, True, None))
        assert await worker.said()
        for serves in (True, True, False, False):
            kill_silent([worker])
            assert serves is worker.serves
        channel.tell((0, None, None))
        while worker.silent_turns:
            await asyncio.sleep(0)
        assert worker.serves
