"""A hundred single calls at once that become one: what each of them costs, beside the data loaders of GraphQL servers.

All of them batch what is asked for in one turn of the loop, for a batch function
that does nothing, and keep nothing afterwards. The bare call is a hundred tasks that
each call a coroutine function, so what is left is the batching.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from typing import Any

from .harness import Stopwatch, Subject, Timing
from .report import Gate, Section, Table

CALLS = 100
OURS = "ours: collapse"
#: (peer, bound): ratios of overheads over the bare calls. Ours are coroutine functions,
#: not futures; equal items share an answer that is not kept, and what nobody waits for is not asked for.
BOUNDS = (("aiodataloader", 2.0), ("strawberry", 1.6))


async def load(ids: list[int]) -> list[int]:
    """The batch function."""
    return ids


async def _single(item: int) -> int:
    return item


def _crowd(single: Callable[[int], Awaitable[int]]) -> Callable[[int], Awaitable[Any]]:
    """So many calls at once."""

    async def crowd(_: int) -> None:
        await asyncio.gather(*map(_task, range(CALLS)))

    async def _task(item: int) -> None:
        await single(item)

    return crowd


def _lazily(make: Callable[[], Callable[[int], Awaitable[int]]]) -> Callable[[int], Awaitable[Any]]:
    """A loader that wants to be made on the loop that it serves."""
    made: list[Callable[[int], Awaitable[Any]]] = []

    async def crowd(item: int) -> None:
        if not made:
            made.append(_crowd(make()))
        await made[0](item)

    return crowd


def _aiodataloader() -> Subject:
    loader = import_module("aiodataloader").DataLoader
    return Subject(name="aiodataloader", is_async=True, call=_lazily(lambda: loader(load, cache=False).load))


def _strawberry() -> Subject:
    loader = import_module("strawberry.dataloader").DataLoader
    return Subject(name="strawberry", is_async=True, call=_lazily(lambda: loader(load, cache=False).load))


def _ours() -> Iterator[Subject]:
    from resilience import Registry, collapse, command

    yield Subject(name=OURS, call=_crowd(collapse(window=0)(load)), is_async=True)
    guarded = command(key="load", registry=Registry())(load)
    yield Subject(name="ours: collapse over a command", call=_crowd(collapse(window=0)(guarded)), is_async=True)


def run(*, rounds: int) -> Section:
    """Measure in *rounds* interleaved rounds."""
    notes: list[str] = []
    subjects = [Subject(name="bare", call=_crowd(_single), is_async=True), *_ours()]
    for peer in (_aiodataloader, _strawberry):
        try:
            subjects.append(peer())
        except ImportError:
            notes.append(f"{peer.__name__.strip('_')} is not installed")
    timings = Stopwatch(rounds=rounds, round_s=0.02).measure(subjects)
    bare = timings["bare"]
    rows = [(name, round(timing.minimum / CALLS), round(timing.over(bare).minimum / CALLS),
             round(timing.over(bare).median / CALLS)) for name, timing in timings.items()]
    table = Table(title=f"{CALLS} calls at once that become one: ns per call, least and median of the rounds",
                  columns=("", "ns", "overhead", "(median)"), rows=rows)
    return Section(name="collapse", tables=[table], gates=list(_gates(timings)), notes=notes)


def _gates(timings: dict[str, Timing]) -> Iterator[Gate]:
    for peer, bound in BOUNDS:
        if peer in timings:
            mine, theirs = (timings[name].over(timings["bare"]).minimum for name in (OURS, peer))
            yield Gate(what=f"a collapsed call / {peer}", measured=mine / theirs, bound=bound)
