"""Compat call: one call through another library's breaker, in two layers with the guard between them.

Run is what the guard sees. It asks the library whether an exception is a failure
and keeps one that is none to itself, so that the circuit hears of a success.
Attempt stands around the guard, raises such an exception again, and turns
refusals and the error that opened the circuit into the library's own.

Counting on the library's behalf is Run's too, and only for calls whose term is
still the circuit's: a late answer decides nothing here either.

The body of a with-statement is no function. It is guarded as a coroutine that
awaits once (BlockAttempt): begun when the block is entered, resumed when it is left.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import inspect
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final

from ..core.events import State
from ..core.exception_groups import is_a
from ..core.terms import Term
from ..drivers.stream_leases import own
from ..engine.call_accounting import ENDS_OF_ITERATION
from ..engine.callables import look_like
from ..engine.wrapper_spec import Flavour
from ..errors import BadRequestError, CircuitOpenError

if TYPE_CHECKING:
    from .compat_breaker import Standin

#: What the engine calls no failure, whatever the library says.
_PARDONED: Final[tuple[type[Exception], ...]] = (BadRequestError, concurrent.futures.CancelledError, *ENDS_OF_ITERATION)


class Attempt:
    """One call, around the guard: turns what comes out of it into what the library says."""

    __slots__ = ("answered", "args", "block", "engine", "func", "kwargs", "late", "owner", "pardoned", "term", "thrown")

    def __init__(self, owner: Standin, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.owner, self.func, self.args, self.kwargs = owner, func, args, kwargs
        self.engine = owner._engine_for_call()
        self.term: Term | None = None  # of the circuit, once the call runs
        self.late = False  # when it ended, that term was over
        self.pardoned: Exception | None = None  # raised by the call, but no failure
        self.thrown: BaseException | None = None  # into the generator, by its consumer
        self.answered = False  # by the fallback
        self.block = func is _body

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: types.TracebackType | None) -> None:
        if self.answered:
            return
        owner = self.owner
        if error is None:
            owner._succeeded(self)
            if self.pardoned is not None:
                try:
                    raise self.pardoned
                finally:
                    self.pardoned = None  # its traceback has this frame
        elif self.term is None:
            if is_a(error, CircuitOpenError):
                raise owner._refusal(error) from None
        elif is_a(error, Exception) and not self.late:
            owner._counted(self)
            instead = owner._tripped(self) if self.opened else None
            if instead is not None:
                raise instead from error

    @property
    def opened(self) -> bool:
        """Whether the circuit opened right after the term in which this call ran."""
        now, then = self.engine.circuit.term, self.term
        return then is not None and now.state is State.OPEN and now.seq == then.seq + 1


class Run:
    """One call, inside the guard: lets failures out, and keeps what is none."""

    __slots__ = ("attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt

    def __enter__(self) -> None:
        attempt = self.attempt
        attempt.term = attempt.engine.circuit.term
        attempt.owner._before(attempt)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: types.TracebackType | None) -> bool:
        attempt, owner = self.attempt, self.attempt.owner
        attempt.late = attempt.engine.circuit.term is not attempt.term
        if error is not None and (not is_a(error, Exception) or is_a(error, _PARDONED)
                                  or error is attempt.thrown):
            attempt.late = True  # says nothing
            return False
        if error is not None and owner._counts(error):
            if not attempt.late:
                owner._failed(error)
            return False
        if not attempt.late:
            owner._passed()
        attempt.pardoned = error
        return True


class BlockAttempt:
    """The body of one with-statement, as a call."""

    __slots__ = ("_call",)

    def __init__(self, owner: Standin) -> None:
        """Enter it.

        Raises:
            Exception: What the library raises for a call that may not run.
        """
        self._call: Coroutine[Any, Any, Any] = owner._call_async(_body, (), {})
        self._call.send(None)

    def leave(self, error: BaseException | None) -> None:
        """Leave it, with the exception that its body raised; raises that again, or what the library makes of it."""
        try:
            if error is None:
                self._call.send(None)
            else:
                self._call.throw(error)
        except StopIteration:
            return
        except RuntimeError as wrapped:
            if error is not None and is_a(error, StopIteration) and wrapped.__cause__ is error:
                return  # a coroutine cannot raise it; the with-statement will
            raise
        raise AssertionError("unreachable")


@types.coroutine
def _body() -> Generator[None, None, None]:
    yield


class _Watched:
    """A generator, for ``yield from``; notes what its consumer throws into it."""

    __slots__ = ("_attempt", "_source")

    def __init__(self, source: Any, attempt: Attempt) -> None:
        self._source, self._attempt = source, attempt

    def __iter__(self) -> _Watched:
        return self

    def __next__(self) -> Any:
        return next(self._source)

    def send(self, value: Any) -> Any:
        return self._source.send(value)

    def throw(self, error: BaseException) -> Any:
        self._attempt.thrown = error
        item = self._source.throw(error)
        self._attempt.thrown = None
        return item

    def close(self) -> None:
        self._source.close()


def dressed(func: Callable[..., Any], call: Callable[..., Any], flavour: Flavour) -> Callable[..., Any]:
    """A function of this *flavour* that looks like *func* and goes through ``call(func, args, kwargs)``."""
    async def awaits(*args: Any, **kwargs: Any) -> Any:
        return await call(func, args, kwargs)

    def yields(*args: Any, **kwargs: Any) -> Any:
        return (yield from call(func, args, kwargs))

    async def awaits_and_yields(*args: Any, **kwargs: Any) -> Any:
        async with contextlib.aclosing(own(call(func, args, kwargs))) as items:
            async for item in items:
                yield item

    def returns(*args: Any, **kwargs: Any) -> Any:
        return call(func, args, kwargs)

    wrappers: dict[Flavour, Callable[..., Any]] = {
        Flavour.ASYNC: awaits, Flavour.GENERATOR: yields, Flavour.ASYNC_GENERATOR: awaits_and_yields}
    return look_like(wrappers.get(flavour, returns), func)


def _run(attempt: Attempt) -> Any:
    with Run(attempt):
        return attempt.func(*attempt.args, **attempt.kwargs)


async def _run_async(attempt: Attempt) -> Any:
    with Run(attempt):
        result = attempt.func(*attempt.args, **attempt.kwargs)
        return await result if inspect.isawaitable(result) else result


def _run_generator(attempt: Attempt) -> Generator[Any, Any, Any]:
    with Run(attempt):
        return (yield from _Watched(attempt.func(*attempt.args, **attempt.kwargs), attempt))


async def _run_async_generator(attempt: Attempt) -> AsyncIterator[Any]:
    with Run(attempt):
        async with contextlib.aclosing(own(attempt.func(*attempt.args, **attempt.kwargs))) as items:
            async for item in items:
                yield item


def answer(attempt: Attempt, error: Exception) -> Any:
    """What the engine calls when a call is refused, or raised somebody else's refusal."""
    instead = attempt.owner._fallback_function
    if attempt.term is not None or attempt.block or instead is None:
        raise error
    attempt.answered = True
    return instead(*attempt.args, **attempt.kwargs)


#: What a command guards, by how it runs; plain functions first.
RUNS: Final[dict[Flavour, Callable[[Attempt], Any]]] = {
    Flavour.SYNC: _run, Flavour.ASYNC: _run_async, Flavour.GENERATOR: _run_generator,
    Flavour.ASYNC_GENERATOR: _run_async_generator}
