"""Many commands whose rolling windows are all full, as after a minute of ordinary traffic.

Time is told, not waited for: one clock serves all commands, steps through 70 s
(longer than the longest window) and jumps ahead by a call's latency while that
call runs. Latencies are log-normal around 20 ms; 140 calls of a command span a
little over two decades. One call in 33 fails and is answered by the fallback, one
in 97 is the caller's own mistake, and every circuit has been forced open for a
moment, so it holds transitions and refusals as well.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator

from resilience import BadRequestError, Command, Registry, Snapshot, command

STEP_S = 0.5
STEPS = 140
MEDIAN_S = 0.020
SIGMA = 1.0  # 140 draws lie within about +-2.7 sigma: 1.3 ms to 300 ms
GROUPS = 50
REFUSED_STEPS = range(128, 130)  # within the last 10 s

_draw = random.Random(1)
_LATENCIES = tuple(_draw.lognormvariate(math.log(MEDIAN_S), SIGMA) for _ in range(65_537))


class Clock:
    """A monotonic clock that is set by hand; ``ahead`` is the part of the call that runs now."""

    __slots__ = ("ahead", "now")

    def __init__(self) -> None:
        self.now = 1000.0
        self.ahead = 0.0

    def __call__(self) -> float:
        return self.now + self.ahead


class Fleet:
    """*size* commands with a breaker, a bulkhead, a fallback and statistics, all of them new."""

    def __init__(self, size: int) -> None:
        self.clock = Clock()
        self.registry = Registry(clock=self.clock)
        self._latencies = itertools.cycle(_LATENCIES)
        self._turns = itertools.count()
        self._target: Callable[[], int] = lambda: self._work()  # one plain function for all: it is not our memory
        self.calls = [self._guarded(i) for i in range(size)]

    @property
    def handles(self) -> Iterator[Command]:
        """All commands."""
        return iter(self.registry)

    def _guarded(self, i: int) -> Callable[[], object]:
        guard = command(
            key=f"service-{i % GROUPS}.operation_{i}",
            group=f"service-{i % GROUPS}",
            timeout=None,
            isolation="semaphore",
            fallback=_answer,
            registry=self.registry,
        )

        return guard(self._target)

    def _work(self) -> int:
        self.clock.ahead = next(self._latencies)
        turn = next(self._turns)
        if not turn % 33:
            raise OSError("no answer")
        if not turn % 97:
            raise BadRequestError("no such thing")
        return turn

    def fill(self) -> None:
        """Let a minute of traffic pass through every command."""
        if len(self.registry) != len(self.calls):
            raise RuntimeError(f"{len(self.calls)} commands were made, the registry has {len(self.registry)}")
        for step in range(STEPS):
            if step == REFUSED_STEPS.start:
                for handle in self.handles:
                    handle.force_open()
            if step == REFUSED_STEPS.stop:
                for handle in self.handles:
                    handle.release()
            self.step()
        for handle in self.handles:  # a dashboard watches: what it makes the engine keep belongs to the command
            self._check(handle.snapshot())

    def _check(self, snapshot: Snapshot) -> None:
        """Numbers about windows that are not full would be worth nothing."""
        counts, latency = snapshot.counts, snapshot.latency
        spans = latency.p100 / latency.p0 if latency.p0 else 0.0
        if not (counts["success"] and counts["short_circuited"] and spans > 10):
            raise RuntimeError(f"{snapshot.key} was not filled: {counts}, {latency}")

    def step(self) -> None:
        """One call of every command, ``STEP_S`` after the last one."""
        self.clock.now += STEP_S
        for call in self.calls:
            try:
                call()
            except BadRequestError:
                pass
            self.clock.ahead = 0.0


def _answer() -> int:
    return 0
