"""SimulatedInstance: a server with workers and one queue, first come, first served.

It works on what its callers have given up all the same, which is the worst case, and which is what most servers do.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Final, Protocol

from .world import World

#: How long the network takes to say that nobody listens, or a server that it has no room.
ROUND_TRIP_S: Final = 0.001


class Process(enum.Enum):
    """Whether there is one."""

    RUNS = "runs"
    GONE = "gone"  # its machine is there, and refuses connections
    SILENT = "silent"  # its machine is gone as well: nobody answers


class Caller(Protocol):
    """Who has sent a request; *attempt* is what it was given with the request."""

    def answered(self, attempt: int, status: int) -> None:
        """There is an answer."""

    def unsent(self, attempt: int) -> None:
        """There was no connection."""

    def broken(self, attempt: int) -> None:
        """The connection broke off."""


class SimulatedInstance:
    """One instance of a service.

    Attributes:
        name: Host and port.
        zone: Where it stands.
        process: Whether it runs.
        slowdown: How many times longer than usual a request takes it.
        arrived: How many requests have reached it.
    """

    def __init__(self, world: World, number: int, zone: str, *, workers: int = 1, service_s: float = 0.05,
                 max_queue: int = 100) -> None:
        self.name, self.zone = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}:8080", zone
        self.process, self.slowdown, self.arrived = Process.RUNS, 1.0, 0
        self._world, self._workers, self._service_s, self._max_queue = world, workers, service_s, max_queue
        self._begin()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.name}"

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for it."""
        return not self._at_work and not self._queue

    def ask(self, caller: Caller, attempt: int) -> None:
        """A request comes."""
        if self.process is Process.SILENT:
            return
        if self.process is Process.GONE:
            self._world.later(ROUND_TRIP_S, caller.unsent, attempt)
            return
        self.arrived += 1
        self._world.slice.attempts += 1
        if len(self._at_work) < self._workers:
            self._work(caller, attempt)
        elif len(self._queue) < self._max_queue:
            self._queue.append((caller, attempt))
        else:
            self._world.later(ROUND_TRIP_S, caller.answered, attempt, 503)

    def end(self, process: Process) -> None:
        """The process ends, or its machine does; what was under way gets no answer."""
        lost = [*self._at_work, *self._queue]
        self._begin()
        self.process = process
        if process is Process.GONE:
            for caller, attempt in lost:
                caller.broken(attempt)

    def start(self) -> None:
        """A new process runs."""
        self._begin()
        self.process = Process.RUNS

    def _begin(self) -> None:
        self._at_work: set[tuple[Caller, int]] = set()
        self._queue: deque[tuple[Caller, int]] = deque()

    def _work(self, caller: Caller, attempt: int) -> None:
        job = caller, attempt
        self._at_work.add(job)
        seconds = self._world.rng.expovariate(1.0 / (self._service_s * self.slowdown))
        self._world.later(seconds, self._done, job, self._at_work)

    def _done(self, job: tuple[Caller, int], at_work: set[tuple[Caller, int]]) -> None:
        if at_work is not self._at_work:  # that process is no more
            return
        at_work.discard(job)
        if self._queue:
            self._work(*self._queue.popleft())
        job[0].answered(job[1], 200)
