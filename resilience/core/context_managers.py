"""Context managers made of generators, as contextlib makes them, that leave the exceptions of their blocks as they are.

``contextlib.contextmanager`` sets the traceback of an exception that passes through it, which a class may forbid, as a
frozen dataclass does: its block then ends with a FrozenInstanceError (python/cpython#99856). Here BaseException's own
descriptor sets it. Such a manager swallows nothing. As contextlib's, it is entered once, and decorates functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, Literal, ParamSpec, TypeVar

from .exception_copy import cause_of, traceback_of, with_traceback

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class GeneratorContext(Generic[T_co]):
    """A block of code with what a generator does before and after it."""

    __slots__ = ("_make", "_steps")

    def __init__(self, make: Callable[[], Iterator[T_co]]) -> None:
        self._make = make
        self._steps: Any = make()

    def __enter__(self) -> T_co:
        entered: T_co = next(self._steps)
        return entered

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> Literal[False]:
        leave(self._steps, error)
        return False

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """*function*, each call of which is a block of its own."""
        @functools.wraps(function)
        def within(*args: P.args, **kwargs: P.kwargs) -> T:
            with GeneratorContext(self._make):
                return function(*args, **kwargs)

        return within


def context_manager(generator: Callable[P, Iterator[T]]) -> Callable[P, GeneratorContext[T]]:
    """A function that returns a context manager, of a function whose *generator* yields once."""
    @functools.wraps(generator)
    def manager(*args: P.args, **kwargs: P.kwargs) -> GeneratorContext[T]:
        return GeneratorContext(functools.partial(generator, *args, **kwargs))

    return manager


def leave(steps: Any, error: BaseException | None, result: Any = None) -> None:
    """End a generator or coroutine that stands in the middle, and raise what it makes of *error*, if it is another one.

    Args:
        steps: Is sent *result*, or has *error* thrown into it.
        error: What the block raised, which whoever calls this raises, as it is; None: nothing.
        result: What it is sent if there is no *error*.

    Raises:
        RuntimeError: It does not end.
    """
    trace = None if error is None else traceback_of(error)
    try:
        if error is None:
            steps.send(result)
        else:
            steps.throw(error)
    except StopIteration as end:
        if end is not error:
            return
    except BaseException as ended:
        if error is None or not (ended is error or _stands_for(ended, error)):
            raise
    else:
        raise RuntimeError(f"{steps!r} goes on after the end of its block")
    if error is not None:
        with_traceback(error, trace)  # without our frames


def _stands_for(ended: BaseException, error: BaseException) -> bool:
    """Whether *ended* is what Python makes of a StopIteration that leaves a generator or coroutine."""
    return type(error) is StopIteration and type(ended) is RuntimeError and cause_of(ended) is error
