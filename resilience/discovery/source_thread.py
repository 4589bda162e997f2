"""SourceThread: a daemon thread with an event loop, in which a watch follows a source.

It does not keep alive whoever it tells of the instances, and ends when that one is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence

from ..drivers.system_clock import waited_clock
from .instance import Instance
from .watch import Watch


class SourceThread:
    """The thread, and the follower of its watch.

    Attributes:
        watch: What follows the source.
        thread: To be started.
        has_ended: Whether it is to end, or never to begin.
    """

    def __init__(self, name: str, watch: Callable[[SourceThread], Watch], have: Callable[[Sequence[Instance]], None],
                 known: Sequence[Instance], age_s: float) -> None:
        """A thread that was not started yet.

        Args:
            name: Of the thread.
            watch: Makes the watch, given its follower.
            have: A method that is told of the instances, in the thread.
            known: The instances that are in force already.
            age_s: Seconds since they were listed.
        """
        self._have = weakref.WeakMethod(have)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self.has_ended = False
        self.watch = watch(self)
        if known:
            self.watch.begin_with(known, age_s)
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def stop(self) -> None:
        """End it; what hangs in a source is left behind."""
        self.has_ended = True
        loop, end = self._loop, self._end
        if loop is not None and end is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(end.set)
        if self.thread is not threading.current_thread():
            self.thread.join(1.0)

    # -- in the thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._end = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if self.has_ended:
            return
        self.watch.start()
        await self._end.wait()
        self.watch.end()

    # -- as discovery.watch.Follower

    def prepare(self, instances: Sequence[Instance]) -> Iterator[None]:
        """Nothing is made before the instances are in force."""
        return iter(())

    def follow(self, instances: Sequence[Instance]) -> None:
        """Tell of the instances, if somebody is there to be told."""
        have = self._have()
        if have is not None:
            have(instances)

    def heard(self) -> None:
        """Ask nothing more if nobody is there to be told."""
        if self._have() is None and self._end is not None:
            self._end.set()


def _loop() -> asyncio.AbstractEventLoop:
    """A loop on the system's clock: one that goes by a frozen clock (freezegun) waits for its date, also afterwards."""
    loop = asyncio.new_event_loop()
    loop.time = waited_clock  # type: ignore[method-assign]
    return loop
