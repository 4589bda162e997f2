"""Block body: what stands for the code in a ``with`` statement, so that the compiler can guard it like a function.

A block is a call of which the middle stands elsewhere. The body is a function that stops once, at the point where a
function's own code would run; the wrapper stops with it, holding what it has acquired. To enter a block is to run the
wrapper until it stops there. To leave it is to go on: with what the block says is its result, or with the exception
that ended it. So the texts, gates, timers and accounts of blocks are those of functions, and a wrapper that nobody goes
on with is closed by Python, and cut short as any generator is.

Of ``with`` the wrapper is a generator; of ``async with`` it is a coroutine. Its waits before the stop are handed to the
event loop (entered()); after the stop it never waits.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Any, Final

from .callables import FLAVOUR
from .wrapper_spec import Flavour


class _Mark:
    """One of the two below."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


#: What the wrapper of an ``async with`` hands out where it stops; all else are waits for the event loop.
ENTERED: Final[Any] = _Mark("<the block may run>")
#: The result of a block that says none. Nothing judges it.
UNSAID: Final[Any] = _Mark("<no result said>")


def _stop(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
    return (yield ENTERED)


def block_body(flavour: Flavour, *, name: str, module: str, place: tuple[str, int]) -> Any:
    """The body of a block, as a function for the compiler to guard.

    Args:
        flavour: Of ``with`` or of ``async with``.
        name: What it is called in explanations.
        module: The module that declares the block.
        place: File and line of the declaration, for the same readers.
    """
    code = _stop.__code__.replace(co_filename=place[0], co_firstlineno=place[1], co_name=name, co_qualname=name)
    body: Any = types.FunctionType(code, {"ENTERED": ENTERED, "__name__": module}, name)
    if flavour is Flavour.ASYNC_BLOCK:
        body = types.coroutine(body)
    body.__module__ = module
    setattr(body, FLAVOUR, flavour)
    return body


@types.coroutine
def entered(steps: Coroutine[Any, Any, Any]) -> Generator[Any, Any, None]:
    """Run the wrapper of an ``async with`` until it stops where the block runs."""
    wait = steps.send(None)
    while wait is not ENTERED:
        try:
            woken = yield wait
        except BaseException as error:  # noqa: BLE001 - a cancellation, which is the wrapper's
            wait = steps.throw(error)
        else:
            wait = steps.send(woken)
