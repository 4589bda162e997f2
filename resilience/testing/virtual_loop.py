"""VirtualTimeLoop: an event loop on which an hour of traffic takes a second.

While any callback can run, its clock stands still. When none can, it does not
wait for the next timer but sets the clock to it. So sleeps and timeouts take no
time, and a program that does nothing else runs the same way each time.

What really happens outside cannot be skipped. While work of an executor is
under way, or a socket or pipe is watched, the loop waits as any loop
does: a timer fires once its whole distance has really been waited for, and no
sooner. The clock stands still meanwhile, so that work done in time costs none.

A loop with nothing to run, no timer and nothing outside would wait for ever. It
raises DeadlockError instead, which names the tasks and the lines they wait at.
A thread that nobody announced might still call in (``call_soon_threadsafe``
wakes the loop as ever), so while other threads live it listens for a moment
first. Where timers are set too, say so with ``outside()``.
"""

from __future__ import annotations

import asyncio
import math
import os
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar, TypeVarTuple

from ..core.context_managers import context_manager
from ..drivers.system_clock import waited_clock

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

#: Seconds of real time in which a thread may still call in before waiting for ever is called a deadlock.
GRACE: Final = 1.0
#: asyncio's own for clocks of nanoseconds: timers due within it run together.
_RESOLUTION: Final = 1e-9
_ASYNCIO: Final = os.path.dirname(asyncio.__file__)


class DeadlockError(RuntimeError):
    """Nothing can run on a virtual-time loop, no timer is set, and nothing outside is under way."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it.

    Use it as ``asyncio.Runner(loop_factory=VirtualTimeLoop)``, or by ``virtual_time``.
    ``Registry(clock=loop.time)`` puts a registry on its clock. As with any loop,
    only ``call_soon_threadsafe`` may be called from other threads.

    Args:
        start: The clock's first reading, seconds.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._now = float(start)
        self._outside = 0  # executor calls and announced outside work under way
        self._watched = _Selector(self)
        super().__init__(self._watched)
        self._own = len(self._watched.get_map())  # the pipe that wakes it is no outside work

    def time(self) -> float:
        """The virtual time, seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass at once, as if the running callback had held the loop up for so long.

        Args:
            seconds: How much.

        Raises:
            ValueError: *seconds* is negative or not finite.
        """
        if not seconds >= 0 or math.isinf(seconds):
            raise ValueError(f"seconds must be at least 0 and finite, not {seconds!r}")
        self._now += seconds
        # Far from zero a float cannot tell two times a nanosecond apart, and a timer due now would never be due.
        self._clock_resolution = max(_RESOLUTION, 2 * math.ulp(self._now))

    @context_manager
    def outside(self) -> Iterator[None]:
        """Say that something which the loop cannot see will call in: time does not jump meanwhile."""
        self._outside += 1
        try:
            yield
        finally:
            self._outside -= 1

    def run_in_executor(self, executor: Any, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        """Run the function in the executor, as any loop does; time does not jump until it has ended."""
        future = super().run_in_executor(executor, func, *args)
        self._outside += 1
        future.add_done_callback(self._came_back)
        return future

    async def shutdown_default_executor(self, *timeout: Any, **options: Any) -> None:
        """Shut the executor down, as any loop does; time does not jump while its threads end."""
        with self.outside():
            await super().shutdown_default_executor(*timeout, **options)

    def _came_back(self, _: object) -> None:
        self._outside -= 1

    def _awaits_outside(self) -> bool:
        return self._outside > 0 or len(self._watched.get_map()) > self._own


class _Selector(selectors.DefaultSelector):
    """Waits for what is real, and lets virtual time pass instead of waiting for timers."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop
        self._waited = 0.0  # real seconds since the clock moved, of those that timers must wait

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the events that are ready; *timeout* is in virtual time."""
        loop = self._loop
        ready = super().select(0)
        if ready or loop._ready:  # type: ignore[attr-defined]  # another thread's call, on its way through the pipe
            return ready
        if loop._awaits_outside():
            ready = self._wait(timeout)
            if ready or timeout is None or self._waited < timeout:
                return ready
        elif timeout is None:
            ready = super().select(GRACE if threading.active_count() > 1 else 0)
            if not ready:
                raise DeadlockError(_described(loop))
            return ready
        self._waited = 0.0
        loop.advance(timeout)
        return ready

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        began = waited_clock()
        ready = super().select(None if timeout is None else max(0.0, timeout - self._waited))
        self._waited += waited_clock() - began
        return ready


def _described(loop: VirtualTimeLoop) -> str:
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    if not tasks:
        return "nothing is ready, no timer is set and no task is left: the loop would run for ever"
    lines = [f"  {task.get_name()}: {_place(task.get_coro())}" for task in tasks]
    return "\n".join(["nothing is ready and no timer is set, so these would wait for ever:", *lines])


def _place(coro: Any) -> str:
    """The innermost line outside asyncio at which a coroutine is suspended."""
    place = getattr(coro, "__qualname__", repr(coro))
    while coro is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(coro, f"{kind}_frame")), None)
        if kind is None:
            return place
        frame = getattr(coro, f"{kind}_frame")
        if frame is not None and not frame.f_code.co_filename.startswith(_ASYNCIO):
            place = f"{coro.__qualname__}, {frame.f_code.co_filename}:{frame.f_lineno}"
        coro = getattr(coro, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    return place


def virtual_time(main: Coroutine[Any, Any, _T], *, start: float = 1000.0, debug: bool | None = None) -> _T:
    """Run *main* as ``asyncio.run`` does, on a fresh VirtualTimeLoop.

    Args:
        main: The coroutine; what it leaves running is cancelled at its end.
        start: The clock's first reading, seconds.
        debug: asyncio's debug mode; None: as the environment says.

    Raises:
        DeadlockError: Every task waits, and nothing can wake one.
    """
    with asyncio.Runner(debug=debug, loop_factory=lambda: VirtualTimeLoop(start)) as runner:
        return runner.run(main)
