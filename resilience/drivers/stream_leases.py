"""Stream leases: what an async generator holds comes back although its event loop never closes it.

Python closes a generator or a coroutine that nobody refers to any more, and its ``finally`` runs. An async generator it
hands to the event loop instead, which closes it with a task. A loop that has been closed without
``loop.shutdown_asyncgens()`` does not, and one that is closed before that task has run does not either: then the frame
goes, and not a line of it runs. What it refers to goes with it, though. So a wrapper that holds a permit has a lease
among its variables, which gives the permit back in its place.

The garbage collector may call a lease of a generator that the loop is yet to close, in a cycle of references, and then
the lease does nothing. So only a lease whose loop is closed gives back: nobody goes on with that generator. But Python
calls ``__del__`` once, and the loop may be closed before it has closed the generator. So a lease that was called too
early leaves its work to a second one, which goes when it does.

In a cycle the garbage collector finds a wrapper and the generator that it runs at once, and the loop closes each with a
task of its own. Two cannot close one generator: whoever comes second gets a RuntimeError. So such a wrapper lets the
loop go first, and waits.
"""

from __future__ import annotations

from asyncio import _get_running_loop, sleep
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

#: Turns of the loop in which it makes and begins the tasks that close what is found at once, even by another thread.
_TURNS: Final = 3
#: Seconds between two looks at a generator that the loop closes.
_LOOK: Final = 0.01


class StreamEnd:
    """A variable of an async generator that runs another one, which is to be closed before it ends itself.

    Attributes:
        is_garbage: The garbage collector has found both in a cycle.
    """

    is_garbage = False

    def __del__(self) -> None:
        self.is_garbage = True

    async def close(self, source: Any) -> None:
        """Close the generator *source*, or what else can be closed, unless an interrupt has left it within a step."""
        if self.is_garbage:
            for _ in range(_TURNS):
                await sleep(0)
            while getattr(source, "ag_running", False):  # noqa: ASYNC110 - nobody tells when a generator has ended
                await sleep(_LOOK)
        if not getattr(source, "ag_running", False):
            await source.aclose()


class Closing(StreamEnd, Generic[T]):
    """As contextlib.aclosing(), for an async generator that runs *source*."""

    def __init__(self, source: AsyncGenerator[T, None]) -> None:
        self._source = source

    async def __aenter__(self) -> AsyncGenerator[T, None]:
        return self._source

    async def __aexit__(self, *_: object) -> None:
        await self.close(self._source)


class StreamLease(StreamEnd):
    """One wrapper's, made while it runs, before it holds anything.

    Attributes:
        give_back: Called if the wrapper goes without having ended; None: it has ended, or holds nothing.
    """

    give_back: Callable[[], object] | None = None
    _second: _SecondLease | None = None

    def __init__(self) -> None:
        self._loop = _get_running_loop()

    def __del__(self) -> None:
        super().__del__()
        if self.give_back is not None and self._loop is not None and not self.end():
            self._second = _SecondLease(self)

    def end(self) -> bool:
        """Give back what is held, unless the loop may go on with the wrapper; whether that was so."""
        if self._loop is None or not self._loop.is_closed():
            return False
        give_back, self.give_back = self.give_back, None
        if give_back is not None:
            give_back()
        return True


class _SecondLease:
    """Goes together with the lease that it stands in for."""

    def __init__(self, first: StreamLease) -> None:
        self._first = first

    def __del__(self) -> None:
        self._first.end()
