"""Interleaved timing of small calls on a noisy machine.

A machine shared with others is slow in bursts, so absolute times of two runs
cannot be compared, and neither can two subjects timed one after the other. Here
every round times every subject once, briefly and in a new random order, and many
rounds are run: a burst hits all subjects alike. The *minimum* over the rounds is
the time of an undisturbed round; the median is kept beside it to show how
disturbed the run was. Overheads are differences of minima, ratios are ratios of
overheads, all from one run in one process.

The collector is off inside a round, as in ``timeit``, and runs between rounds.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat
from time import perf_counter
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Subject:
    """Something to time: ``call(1)``, awaited when *is_async*.

    Attributes:
        name: Unique within a measurement.
        call: Takes one positional argument; must leave no state that makes later calls dearer.
        is_async: Whether the result is awaited, on the loop of the measurement.
    """

    name: str
    call: Callable[[int], Any]
    is_async: bool = False


@attrs.frozen(kw_only=True)
class Timing:
    """Nanoseconds per call over all rounds."""

    minimum: float
    median: float

    def over(self, base: Timing) -> Timing:
        """What this costs on top of *base*."""
        return Timing(minimum=self.minimum - base.minimum, median=self.median - base.median)


def _spin(call: Callable[[int], object], n: int) -> float:
    start = perf_counter()
    for _ in repeat(None, n):
        call(1)
    return perf_counter() - start


async def _spin_async(call: Callable[[int], Awaitable[object]], n: int) -> float:
    start = perf_counter()
    for _ in repeat(None, n):
        await call(1)
    return perf_counter() - start


class Stopwatch:
    """Times subjects in one process, asynchronous ones on one loop.

    Args:
        round_s: How long one subject is timed in one round, seconds.
        rounds: How many rounds.
        loop_factory: Makes the event loop; None is asyncio's own.
        seed: Of the order of the subjects in each round.
    """

    def __init__(
        self,
        *,
        round_s: float = 0.004,
        rounds: int = 60,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        seed: int = 1,
    ) -> None:
        self._round_s = round_s
        self._rounds = rounds
        self._loop_factory = loop_factory
        self._random = random.Random(seed)

    def measure(self, subjects: Sequence[Subject]) -> dict[str, Timing]:
        """Time *subjects*, interleaved; returns ``{name: timing}`` in their order."""
        samples: dict[str, list[float]] = {subject.name: [] for subject in subjects}
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            sizes = {subject.name: self._calls_per_round(runner, subject) for subject in subjects}
            order = list(subjects)
            gc.collect()
            gc.freeze()
            for _ in range(self._rounds):
                self._random.shuffle(order)
                for subject in order:
                    n = sizes[subject.name]
                    samples[subject.name].append(self._time(runner, subject, n) / n * 1e9)
                gc.collect()
            gc.unfreeze()
        return {name: Timing(minimum=min(ns), median=statistics.median(ns)) for name, ns in samples.items()}

    def _calls_per_round(self, runner: asyncio.Runner, subject: Subject) -> int:
        """Warm the subject up (the interpreter specialises, pools start threads) and size its rounds."""
        self._time(runner, subject, 200)
        per_call = min(self._time(runner, subject, 50) for _ in range(5)) / 50
        return max(20, round(self._round_s / per_call))

    @staticmethod
    def _time(runner: asyncio.Runner, subject: Subject, n: int) -> float:
        gc.disable()
        try:
            if subject.is_async:
                return runner.run(_spin_async(subject.call, n))
            return _spin(subject.call, n)
        finally:
            gc.enable()
