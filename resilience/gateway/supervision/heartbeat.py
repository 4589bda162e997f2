"""Heartbeat: workers say every few seconds that their event loop turns; one that has said nothing for long is replaced.

A worker that is stopped (SIGSTOP, a debugger), or whose event loop hangs for good, is there for the kernel, which goes
on giving it its share of the connections. So it is killed, and another one takes its place.

Theory of operation. Elapsed time does not tell a worker that hangs from a machine that was suspended, or is so busy
that nobody gets a turn. So the supervisor counts its own turns, BEAT_S apart, since it has last heard of a worker:
while it has none itself, nothing is counted. Whatever a worker says is a beat. One that has said nothing yet imports
modules, and builds what its file asks for, which may take long where there are thousands of services; it has five times
as long. A worker that computes for as long as PATIENCE turns serves nobody meanwhile, and is no better than one that
hangs; gunicorn waits half as long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from .channel import Channel
from .worker_process import WorkerProcess

#: Seconds between two beats, and between two of the supervisor's turns.
BEAT_S: Final = 5.0
#: Turns without a beat, after which a worker is replaced: a minute, as long as it may take for a reload.
PATIENCE: Final = 12
#: The same for one that has never said anything: five minutes.
START_PATIENCE: Final = 60
_logger = logging.getLogger(__name__)


async def beat(channel: Channel) -> None:
    """Be heard, until the supervisor is gone or this is cancelled; for a worker."""
    try:
        while True:
            channel.tell((0, None, None))
            await channel.drained()  # so that little waits for a supervisor that is stopped itself
            await asyncio.sleep(BEAT_S)
    except EOFError:
        return


async def replace_silent(workers: dict[int, WorkerProcess]) -> None:
    """Kill, until this is cancelled, each of the *workers* that is heard no more; whoever keeps them starts another."""
    while True:
        await asyncio.sleep(BEAT_S)
        kill_silent(workers.values())


def kill_silent(workers: Iterable[WorkerProcess]) -> None:
    """Count a turn, and kill whoever has been silent for too many."""
    for worker in workers:
        worker.silent_turns += 1
        if worker.silent_turns == (PATIENCE if worker.has_spoken else START_PATIENCE):
            should = f"though it should every {BEAT_S:g} s" if worker.has_spoken else "not since it was started"
            why = f"has said nothing for {BEAT_S * worker.silent_turns:g} s, {should}: it is stopped, or it hangs"
            _logger.error("worker %d (process %d) %s; it is killed", worker.number, worker.pid, why)
            worker.kill(why)
