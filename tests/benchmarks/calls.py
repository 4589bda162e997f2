"""A decorated call: what each guard adds to the bare function, sync and async, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

from . import peers
from .harness import Stopwatch, Subject, Timing
from .report import Gate, Section, Table

#: (what, ours, reference, bound): ratios of overheads over the bare call.
BOUNDS = (
    ("sync breaker / circuitbreaker", "ours: breaker, slow calls", "circuitbreaker", 0.9),
    ("sync breaker whose key is a callable / with a fixed key", "ours: breaker by key", "ours: breaker", 2.0),
    ("sync command with a failover / without", "ours: command with a failover", "ours: command, one target", 1.15),
    ("async command with a failover / without", "ours: async command with a failover",
     "ours: async command, one target", 1.15),
    ("sync command by key with a failover / without", "ours: command by key with a failover",
     "ours: command by key, one target", 1.15),
    ("async command by key with a failover / without", "ours: async command by key with a failover",
     "ours: async command by key, one target", 1.15),
    ("sync breaker / interlock", "ours: breaker, slow calls", "interlock", 0.12),
    (
        "sync command / circuitbreaker's bare breaker",
        "ours: command (breaker+bulkhead+fallback+statistics)",
        "circuitbreaker",
        1.6,
    ),
    (
        "sync command / interlock's fallback+breaker+bulkhead",
        "ours: command (breaker+bulkhead+fallback+statistics)",
        "interlock fallback+breaker+bulkhead",
        0.12,
    ),
    ("async timeout / asyncio.timeout", "ours: async timeout", "asyncio.timeout", 0.35),
    (
        "async command / interlock's fallback+breaker+bulkhead+timeout",
        "ours: async command with timeout",
        "async interlock fallback+breaker+bulkhead+timeout",
        0.1,
    ),
    ("command in a thread / submit(f).result()", "ours: command in a thread, with timeout", "submit(f).result()", 1.3),
    (
        "refusal / plain exception through a closure",
        "ours: refusal, raised and caught",
        "plain exception, raised and caught",
        1.5,
    ),
)


def run(*, rounds: int) -> Section:
    """Measure every guard in *rounds* interleaved rounds.

    Args:
        rounds: More rounds find a quieter minimum; each takes about 4 ms per guard.
    """
    notes: list[str] = []
    with ThreadPoolExecutor(max_workers=10) as pool:
        subjects = list(peers.limits(pool))
        found, absent = peers.installed()
        subjects.extend(found)
        notes.extend(f"{name} is not installed" for name in absent)
        subjects.extend(_ours("subjects", notes))
        timings = Stopwatch(rounds=rounds).measure(subjects)
    tables = [
        _table("Sync calls", [s for s in subjects if not s.is_async], timings, "bare", "circuitbreaker"),
        _table("Async calls, asyncio's loop", _async(subjects, False), timings, "async bare", "async circuitbreaker"),
        _suspending("Async calls that give the loop a turn, asyncio's loop", _async(subjects, True), timings),
    ]
    tables.extend(_on_uvloop(rounds, notes))
    return Section(name="calls", tables=tables, gates=list(_gates(timings)), notes=notes)


def _ours(group: str, notes: list[str]) -> list[Subject]:
    try:
        ours = import_module(".ours", __package__)
    except ImportError as error:
        notes.append(f"ours does not import: {error}")
        return []
    make: Callable[..., Iterable[Subject]] = getattr(ours, group)
    return list(make())


def _async(subjects: Iterable[Subject], suspending: bool) -> list[Subject]:
    return [s for s in subjects if s.is_async and s.name.endswith("suspending") is suspending]


def _on_uvloop(rounds: int, notes: list[str]) -> list[Table]:
    try:
        new_loop: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    except ImportError:
        notes.append("uvloop is not installed")
        return []
    bare = [
        Subject(name="async bare", call=peers.async_echo, is_async=True),
        Subject(name="async bare, suspending", call=peers.suspending_echo, is_async=True),
    ]
    subjects = [*bare, *peers.timeouts(), *_ours("timeouts", [])]
    timings = Stopwatch(rounds=max(10, rounds // 2), loop_factory=new_loop).measure(subjects)
    return [
        _table("Async calls, uvloop", _async(subjects, False), timings, "async bare", "asyncio.timeout"),
        _suspending("Async calls that give the loop a turn, uvloop", _async(subjects, True), timings),
    ]


def _suspending(title: str, subjects: list[Subject], timings: Mapping[str, Timing]) -> Table:
    return _table(title, subjects, timings, "async bare, suspending", "asyncio.timeout, suspending")


def _table(title: str, subjects: list[Subject], timings: Mapping[str, Timing], base: str, unit: str) -> Table:
    """Overheads over *base*, and as multiples of the overhead of *unit*."""
    bare = timings[base]
    one = timings[unit].over(bare).minimum if unit in timings else None
    rows = []
    for subject in subjects:
        timing = timings[subject.name]
        over = timing.over(bare)
        ratio = None if one is None or subject.name == base else over.minimum / one
        rows.append((subject.name, round(timing.minimum), round(over.minimum), round(over.median), ratio))
    columns = ("", "ns", "overhead", "(median)", f"x {unit}")
    return Table(title=f"{title}: ns per call, least and median of the rounds", columns=columns, rows=rows)


def _gates(timings: Mapping[str, Timing]) -> Iterable[Gate]:
    for what, ours, reference, bound in BOUNDS:
        if ours not in timings or reference not in timings:
            continue
        bare = timings["async bare" if "async" in ours else "bare"]
        ratio = timings[ours].over(bare).minimum / timings[reference].over(bare).minimum
        yield Gate(what=what, measured=ratio, bound=bound)
