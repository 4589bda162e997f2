"""Assertions on what a command has counted, with differences that can be read."""

from __future__ import annotations

from typing import Final

from ..core.outcome import REFUSALS
from ..metrics.snapshot import Snapshot
from .handles import Target, handle_of

#: How a call ended: exactly one of these is counted for each, so one that is not named must be 0.
ENDINGS: Final = ("success", "failure", "timeout", "busy", *REFUSALS, "bad_request", "cancelled")


def assert_counts(target: Target | Snapshot, **expected: int) -> None:
    """Check the counts of a command's rolling window.

    Of the ways a call can end, those not named must be 0. The counts that come
    along with them (``fallback_missing``, ``emit``, ...) are checked if named.

    Args:
        target: A guarded function, its handle, or a snapshot.
        **expected: Such as ``success=3, failure=1``.

    Raises:
        AssertionError: A count differs; lists every one that does.
        TypeError: There is no such count.
    """
    __tracebackhide__ = True
    snapshot = target if isinstance(target, Snapshot) else handle_of(target).snapshot()
    for name in expected:
        if name not in snapshot.counts:
            raise TypeError(f"nothing is counted as {name!r}; there are {', '.join(snapshot.counts)}")
    wanted = {**dict.fromkeys((*ENDINGS, *snapshot.custom_rejections), 0), **expected}
    wrong = {name: n for name, n in wanted.items() if snapshot.counts[name] != n}
    if wrong:
        width = max(map(len, wrong))
        lines = [f"  {name:<{width}}  {snapshot.counts[name]}, not {n}" for name, n in wrong.items()]
        right = [f"{name}={n}" for name, n in snapshot.counts.items() if n]
        raise AssertionError("\n".join([f"{snapshot.key} counted otherwise:", *lines,
                                        f"all its counts: {', '.join(right) or 'none'}"]))


def assert_idle(target: Target | Snapshot) -> None:
    """Check that every call has ended and given its permit back.

    Args:
        target: A guarded function, its handle, or a snapshot.

    Raises:
        AssertionError: Calls are in flight.
        TypeError: *target* is none of these.
    """
    __tracebackhide__ = True
    snapshot = target if isinstance(target, Snapshot) else handle_of(target).snapshot()
    if snapshot.in_flight:
        raise AssertionError(f"{snapshot.key} has {snapshot.in_flight} calls in flight "
                             f"({snapshot.abandoned} of them abandoned)")
