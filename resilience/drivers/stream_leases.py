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

A wrapper closes the generator that it runs, and so would the loop: it closes all that the garbage collector finds in a
cycle, and all that there are when it ends, each with a task of its own. Two cannot close one generator: one of them
fails, and within asyncio.run() that ends, the other may wait for ever. So the loop is not told of what a wrapper runs.
"""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from collections.abc import Callable
from types import AsyncGeneratorType
from typing import Any, TypeVar

Source = TypeVar("Source")


def own(source: Source) -> Source:
    """*source*, for its caller alone to close, if it is an async generator that has not begun.

    Python gives a generator the hooks of its event loop with its first step. To throw what cannot be thrown is a step
    for Python, and none for the generator. Where there is no loop, Python closes the generator itself.
    """
    hooks = sys.get_asyncgen_hooks()
    if hooks.finalizer is not None and type(source) is AsyncGeneratorType:
        try:
            sys.set_asyncgen_hooks(None, _leave)
            source.athrow(0).send(None)  # type: ignore[attr-defined]
        except (TypeError, RuntimeError, StopIteration):  # the others: it is within a step, or has ended
            pass
        finally:
            sys.set_asyncgen_hooks(*hooks)
    return source


async def close(source: Any) -> None:
    """Close the generator *source*, or what else can be closed, unless an interrupt has left it within a step."""
    if not getattr(source, "ag_running", False):
        await source.aclose()


def _leave(_: object) -> None:
    """Without this hook, Python would close the generator itself, in one step, which cannot wait."""


class StreamLease:
    """One wrapper's, made while it runs, before it holds anything.

    Attributes:
        give_back: Called if the wrapper goes without having ended; None: it has ended, or holds nothing.
    """

    give_back: Callable[[], object] | None = None
    _second: _SecondLease | None = None

    def __init__(self) -> None:
        self._loop = _get_running_loop()

    def __del__(self) -> None:
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
