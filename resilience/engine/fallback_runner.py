"""Running a fallback, for every flavour of function from one text; the function's accounts are told how it ended.

Its slot is given back by a statement of its own, before any call that a signal
handler's exception could follow; see core.bulkhead.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

from ..core.bulkhead import TOKEN
from ..core.fallback import Fallback, takes_error
from ..core.parameters import can_share_a_call, parameters_called
from ..errors import ConfigError
from .callables import flavour_of, name_of
from .compiled_text import CompiledText, in_flavour, lease
from .fallback_account import FallbackAccount
from .wrapper_spec import Flavour

_TEXT: Final = """\
{async_}def fall_back(account, error, args, kwargs):
    taken, items = [], 0
    {lease}
    try:
        account.begin(error, taken)
        {answer}
    except BaseException as failure:
        {ended}
        if taken:
            taken[0] += TOKEN
        account.ended(failure, taken, items)
        raise
    {ended}
    taken[0] += TOKEN
    account.ended(None, taken, items)
    {return_result}
"""

_DROPPED: Final = """\
def dropped():
    if taken:
        taken[0] += TOKEN
    account.ended(GeneratorExit(), taken, items)"""

_SYNC: Final = "result = account.function(*args, **account.arguments(error, kwargs))"

_ANSWERS: Final = {
    Flavour.SYNC: _SYNC,
    Flavour.THREAD: _SYNC,
    Flavour.ASYNC: f"""\
{_SYNC}
if isawaitable(result):
    result = await result""",
    Flavour.GENERATOR: f"""\
{_SYNC}
answer = Counted(result)
try:
    result = yield from answer
finally:
    items = answer.items""",
    Flavour.ASYNC_GENERATOR: f"""\
{_SYNC}
if isawaitable(result):
    result = await result
if not hasattr(result, "__aiter__"):
    result = asynchronous(result)
own(result)
try:
    async for item in result:
        items += 1
        yield item
finally:
    if hasattr(result, "aclose"):
        await close(result)""",
}


def fallback_runner(fallback: Fallback, account: FallbackAccount, flavour: Flavour,
                    fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function that answers for a failed call of *fn*: ``fall_back(error, args, kwargs)``.

    Raises:
        ConfigError: The fallback is a coroutine function or a generator, and the function is not; both have a parameter
            ``error``; or no call of the function has arguments that the fallback takes.
    """
    function = fallback.function
    if takes_error(fallback.function) and takes_error(fn):
        raise ConfigError("the function and its fallback both have a parameter named error, which is how a fallback "
                          "asks for the exception; rename one of them", "fallback")
    own = flavour_of(function)
    if own.is_async and not flavour.is_async:
        raise ConfigError(f"the fallback {function!r} is asynchronous but the function is not: nobody would await it",
                          "fallback")
    if own.is_generator and not flavour.is_generator:
        raise ConfigError(f"the fallback {function!r} is a generator but the function is not: nobody would iterate it; "
                          "return the answer, or an iterator if that is what callers expect", "fallback")
    _check_arguments(fallback, fn)
    return types.MethodType(_runner(flavour), account)  # a quarter of what a closure takes


def _check_arguments(fallback: Fallback, fn: Callable[..., Any]) -> None:
    """Raise ConfigError if the fallback could answer for no call of *fn*, as far as their parameters can be told."""
    function = fallback.function
    takes, gets = parameters_called(fn), parameters_called(function)
    error = "error" if takes_error(function) else None
    if takes is None or gets is None or can_share_a_call(takes, gets, error):
        return
    raise ConfigError(f"the fallback {name_of(function)[1]}{gets} cannot take the arguments of "
                      f"{name_of(fn)[1]}{takes}, with which it is called; give it the same parameters", "fallback")


class _Counted:
    """A fallback's iterator, generator or not, for ``yield from``; counts what it yields."""

    __slots__ = ("_answer", "items")

    def __init__(self, answer: Iterable[Any]) -> None:
        self._answer: Any = iter(answer)
        self.items = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Any:
        item = next(self._answer)
        self.items += 1
        return item

    def send(self, value: Any) -> Any:
        """Do what the method of a generator does, for the wrapped iterator."""
        item = self._answer.send(value)
        self.items += 1
        return item

    def throw(self, error: BaseException) -> Any:
        """Throw *error* into a generator; an iterator of another kind cannot handle it, so it is raised."""
        if not hasattr(self._answer, "throw"):
            raise error
        item = self._answer.throw(error)
        self.items += 1
        return item

    def close(self) -> None:
        """Do what the method of a generator does, for the wrapped iterator."""
        if hasattr(self._answer, "close"):
            self._answer.close()


async def _asynchronous(answer: Iterable[Any]) -> AsyncIterator[Any]:
    for item in answer:
        yield item


@functools.cache
def _text(flavour: Flavour) -> CompiledText:
    return CompiledText(in_flavour(_TEXT, flavour, answer=_ANSWERS[flavour], **lease(flavour, _DROPPED)),
                        f"fallback of {flavour.value}")


@functools.cache
def _runner(flavour: Flavour) -> Callable[..., Any]:
    runner: Callable[..., Any] = _text(flavour).bind({
        "TOKEN": TOKEN, "isawaitable": inspect.isawaitable, "Counted": _Counted, "asynchronous": _asynchronous})
    return runner
