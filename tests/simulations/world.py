"""World: one experiment in virtual time, what is drawn in it, and what is counted."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import random
from collections.abc import Callable
from typing import Any

import attrs

from resilience.testing.virtual_loop import VirtualTimeLoop


@attrs.define
class Slice:
    """What happened in one slice of the time.

    Attributes:
        asked: Requests of users that began in it.
        served: Of these, the ones that were answered well in the end.
        in_time: Good answers that users got in it.
        attempts: Requests that reached an instance in it.
        refused: Requests that a gateway refused in it without asking an instance.
        waited_s: Of those that began in it and were served, how long all of them took.
        late: Of those, how many took more than half a second.
    """

    asked: int = 0
    served: int = 0
    in_time: int = 0
    attempts: int = 0
    refused: int = 0
    waited_s: float = 0.0
    late: int = 0


class SimulationLoop(VirtualTimeLoop):
    """The loop of virtual time, with timers of its own beside asyncio's, which cost a fifth of these.

    They run in the order of time among all timers, and the clock shows to each the time that it was set for.
    """

    def __init__(self) -> None:
        super().__init__(0.0)
        self._timers: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._wakes_at = math.inf

    def later(self, seconds: float, what: Callable[..., object], *arguments: Any) -> None:
        """Do something so many *seconds* from now."""
        self.at(self._now + seconds, what, *arguments)

    def at(self, when: float, what: Callable[..., object], *arguments: Any) -> None:
        """Do something at a time."""
        heapq.heappush(self._timers, (when, next(self._order), what, arguments))
        if when < self._wakes_at:
            self._wakes_at = when
            self.call_at(when, self._run_timers, when)

    def _run_timers(self, woken_at: float) -> None:
        """Run those that are due before asyncio's next."""
        if woken_at != self._wakes_at:  # an earlier one has come since
            return
        timers, scheduled = self._timers, self._scheduled  # type: ignore[attr-defined]
        self._wakes_at = -math.inf
        while timers and not self._ready:  # type: ignore[attr-defined]
            when = timers[0][0]
            if scheduled and scheduled[0].when() < when:
                break
            if when > self._now:
                self.advance(when - self._now)
            _, _, what, arguments = heapq.heappop(timers)
            what(*arguments)
        self._wakes_at = math.inf
        if timers:
            self._wakes_at = timers[0][0]
            self.call_at(self._wakes_at, self._run_timers, self._wakes_at)


class World:
    """One experiment. The clock begins at 0; everything that is drawn comes from one seed, so a run repeats exactly.

    Attributes:
        loop: The event loop on which virtual time passes.
        rng: What everything is drawn from.
        random: A number in [0, 1).
        now: The time, seconds.
        later: Does something so many seconds later.
        at: Does something at a time.
        seconds: How long the experiment lasts.
        slices: What was counted, second by second.
    """

    def __init__(self, loop: SimulationLoop, seconds: float, seed: int) -> None:
        self.loop, self.seconds = loop, seconds
        self.rng = random.Random(seed)  # noqa: S311 - nobody is to be kept out
        self.random = self.rng.random
        self.slices = [Slice() for _ in range(math.ceil(seconds))]
        self.now, self.later, self.at = loop.time, loop.later, loop.at

    @property
    def slice(self) -> Slice:
        """That of now."""
        return self.slices[min(int(self.now()), len(self.slices) - 1)]

    def every(self, seconds: float, what: Callable[[], object], *, first: float) -> None:
        """Do something again and again, for the first time at *first*."""
        def again() -> None:
            what()
            self.later(seconds, again)

        self.at(first, again)

    def share_served(self, start: float, end: float) -> float:
        """Of the requests that began from *start* to *end*, the share that was answered well."""
        chosen = self.slices[int(start):int(end)]
        return sum(each.served for each in chosen) / max(1, sum(each.asked for each in chosen))

    def share_late(self, start: float, end: float) -> float:
        """Of the requests that began from *start* to *end* and were served, the share that took long."""
        chosen = self.slices[int(start):int(end)]
        return sum(each.late for each in chosen) / max(1, sum(each.served for each in chosen))

    def recovery_s(self, after: float, *, least: float = 0.99, over: int = 5) -> float:
        """Seconds from *after* until so many seconds in a row have at least this share served; infinite: never."""
        for start in range(math.ceil(after), len(self.slices) - over - 2):
            if all(each.served >= least * each.asked for each in self.slices[start:start + over]):
                return start - after
        return math.inf


def simulate(seconds: float, seed: int, begin: Callable[[World], Any]) -> tuple[World, Any]:
    """A world after so many seconds of virtual time, and what *begin*, which sets it going, has returned."""
    async def main() -> tuple[World, Any]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulationLoop)
        world = World(loop, seconds, seed)
        made = begin(world)
        await asyncio.sleep(seconds)
        return world, made

    log = logging.getLogger("resilience")
    was_disabled, log.disabled = log.disabled, True  # 200 gateways tell the same
    try:
        with asyncio.Runner(debug=False, loop_factory=SimulationLoop) as runner:
            return runner.run(main())
    finally:
        log.disabled = was_disabled
