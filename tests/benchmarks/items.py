"""What each guard adds to one item of a generator, over the bare generator, beside nopanic, in one process.

nopanic keeps no statistics; ours are on, and with them, for the first items, the looks at the clock that tell the
function's time from its consumer's. The generators never wait, so this is all overhead.
"""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from resilience import Registry, StreamTimeout, command

from .harness import Stopwatch, Subject, Timing
from .report import Gate, Section, Table

ITEMS = 500
#: (what, ours, ns): bounds on the overhead of an item.
BOUNDS = (
    ("an item of a generator", "ours: command", 120.0),
    ("an item of an async generator", "ours: async command without clocks", 200.0),
    ("an item of an async generator with clocks", "ours: async first_item, between_items", 500.0),
)


def _rows(n: int) -> Iterator[int]:
    yield from range(n)


async def _async_rows(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


def run(*, rounds: int) -> Section:
    """Measure all of them in *rounds* interleaved rounds."""
    notes: list[str] = []
    subjects = [*_bare(), *_ours()]
    try:
        subjects.extend(_nopanic())
    except ImportError:
        notes.append("nopanic is not installed")
    timings = Stopwatch(rounds=rounds).measure(subjects)
    overheads = _overheads(timings)
    rows = [(each.name, round(timings[each.name].minimum / ITEMS, 1), round(overheads[each.name], 1))
            for each in subjects]
    gates = [Gate(what=what, measured=overheads[name], bound=bound, unit="ns") for what, name, bound in BOUNDS]
    return Section(name="items", tables=[Table(title="ns per item, least of the rounds", columns=("", "ns", "overhead"),
                                               rows=rows)], gates=gates, notes=notes)


def _bare() -> Iterator[Subject]:
    yield Subject(name="bare", call=_drained(_rows))
    yield Subject(name="async bare", call=_drained_async(_async_rows), is_async=True)


def _ours() -> Iterator[Subject]:
    mine = Registry()

    def guarded(name: str, fn: Callable[[int], Any], **settings: Any) -> Subject:
        wrapper = command(key=name, registry=mine, **settings)(fn)
        is_async = fn is _async_rows
        return Subject(name=f"ours: {name}", call=(_drained_async if is_async else _drained)(wrapper), is_async=is_async)

    yield guarded("command", _rows, timeout=None)
    yield guarded("total", _rows, stream_timeout=StreamTimeout(total=60.0))
    yield guarded("async command without clocks", _async_rows, timeout=None)
    yield guarded("async timeout for each item", _async_rows, timeout=5.0)
    yield guarded("async first_item, between_items", _async_rows,
                  stream_timeout=StreamTimeout(first_item=5.0, between_items=5.0))
    yield guarded("async total", _async_rows, stream_timeout=StreamTimeout(total=60.0))
    yield guarded("async all clocks and progress", _async_rows, stream_timeout=StreamTimeout(
        first_item=5.0, between_items=5.0, total=60.0, min_rate=1.0, progress=operator.index))


def _nopanic() -> Iterator[Subject]:
    module = import_module("nopanic")
    breaker, bulkhead = module.CircuitBreaker, module.bulkhead
    yield Subject(name="nopanic: breaker, bulkhead", call=_drained(breaker()(bulkhead(10)(_rows))))
    yield Subject(name="nopanic: async breaker, bulkhead", call=_drained_async(breaker()(bulkhead(10)(_async_rows))),
                  is_async=True)
    clocked = breaker()(bulkhead(10)(module.timeout(5.0, first_item=5.0)(_async_rows)))
    yield Subject(name="nopanic: async breaker, bulkhead, timeout", call=_drained_async(clocked), is_async=True)


def _drained(fn: Callable[[int], Any]) -> Callable[[int], None]:
    def drain(_: int) -> None:
        for _item in fn(ITEMS):
            pass

    return drain


def _drained_async(fn: Callable[[int], Any]) -> Callable[[int], Awaitable[None]]:
    async def drain(_: int) -> None:
        async for _item in fn(ITEMS):
            pass

    return drain


def _overheads(timings: Mapping[str, Timing]) -> dict[str, float]:
    """Of an item of each subject over one of the bare generator of its kind, ns."""
    return {name: timing.over(timings["async bare" if "async" in name else "bare"]).minimum / ITEMS
            for name, timing in timings.items()}
