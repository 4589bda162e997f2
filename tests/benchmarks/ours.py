"""Our guards around the functions that the peers guard.

Thresholds are the defaults, so everything is on that a user gets: rolling time
window, statistics and percentiles. The breaker that is compared with the peers'
also watches slow calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from resilience import CircuitOpenError, Failover, Guarded, Registry, circuit_breaker, command, timeout

from .harness import Subject
from .peers import async_echo, catching, echo, suspending_echo


def subjects() -> Iterator[Subject]:
    """All that the bounds speak of."""
    mine = Registry()
    yield Subject(name="ours: breaker", call=circuit_breaker(key="breaker", registry=mine)(echo))
    yield Subject(name="ours: breaker by key", call=circuit_breaker(key=lambda x: "one", registry=mine)(echo))
    watchful = circuit_breaker(slow_call=0.2, slow_rate=0.8, key="slow", registry=mine)
    yield Subject(name="ours: breaker, slow calls", call=watchful(echo))
    sync_command = command(
        key="sync", timeout=None, isolation="semaphore", max_concurrent=10, fallback=lambda x: 0, registry=mine
    )
    yield Subject(name="ours: command (breaker+bulkhead+fallback+statistics)", call=sync_command(echo))
    threaded = command(key="thread", timeout=1.0, isolation="thread", fallback=lambda x: 0, registry=mine)
    yield Subject(name="ours: command in a thread, with timeout", call=threaded(echo))
    yield Subject(name="ours: refusal, raised and caught", call=catching(_opened(mine), CircuitOpenError))
    guarded = circuit_breaker(key="async", registry=mine)(async_echo)
    yield Subject(name="ours: async breaker", call=guarded, is_async=True)
    for prefix, fn in (("", target_echo), ("async ", async_target_echo)):
        timeout = 1.0 if prefix else None
        for by, alone, over in (("", f"{prefix}alone", f"{prefix}over"),
                                (" by key", lambda x: "alone by key", lambda x: "over by key")):
            single = command(key=alone, timeout=timeout, registry=Registry())(fn)
            yield Subject(name=f"ours: {prefix}command{by}, one target", call=single, is_async=bool(prefix))
            several = command(key=over, timeout=timeout, failover=Failover(("a", "b")), registry=Registry())(fn)
            yield Subject(name=f"ours: {prefix}command{by} with a failover", call=several, is_async=bool(prefix))
    yield from timeouts()


def target_echo(x: int, *, target: str = "a") -> int:
    """What a failover calls."""
    return x


async def async_target_echo(x: int, *, target: str = "a") -> int:
    """The same on a loop."""
    return x


def _opened(mine: Registry) -> Callable[[int], int]:
    """A function whose breaker has opened, and stays open."""

    def fail(x: int) -> int:
        raise OSError(x)

    guarded: Guarded[[int], int] = circuit_breaker(key="open", min_calls=1, open_for=1e6, registry=mine)(fail)
    with contextlib.suppress(OSError):
        guarded(1)
    if guarded.resilience.state != "open":
        raise RuntimeError(f"the breaker did not open: {guarded.resilience}")
    return guarded


def timeouts() -> Iterator[Subject]:
    """What depends on the loop's timers; measured again on each kind of loop."""
    mine = Registry()
    for suffix, fn in (("", async_echo), (", suspending", suspending_echo)):
        bounded = timeout(1.0, key=f"timeout{suffix}", registry=mine)(fn)
        yield Subject(name=f"ours: async timeout{suffix}", call=bounded, is_async=True)
        full = command(key=f"full{suffix}", timeout=1.0, max_concurrent=10, fallback=lambda x: 0, registry=mine)(fn)
        yield Subject(name=f"ours: async command with timeout{suffix}", call=full, is_async=True)
