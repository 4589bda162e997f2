"""Running a fallback, for each flavour of function; the ledger is told how it ended."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from ..errors import ConfigError
from .ledger import Ledger
from .policies import Fallback
from .template import Flavour

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


def rescuer(fallback: Fallback, ledger: Ledger, flavour: Flavour) -> Callable[..., Any]:
    """The function that answers for a failed call: ``rescue(error, args, kwargs)``.

    Raises:
        ConfigError: The fallback is a coroutine function, and the call is not.
    """
    function = fallback.function
    if not flavour.is_async and (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        raise ConfigError(f"the fallback {function!r} is asynchronous but the function is not: nobody would await it",
                          "fallback")
    return _MAKERS[flavour](function, ledger)


def _sync(function: Callable[..., Any], ledger: Ledger) -> Callable[..., Any]:
    def rescue(error: BaseException, args: _Args, kwargs: _Kwargs) -> Any:
        try:
            result = function(*args, **ledger.arguments(error, kwargs))
        except BaseException as failure:
            ledger.rescued(failure)
            raise
        ledger.rescued(None)
        return result

    return rescue


def _async(function: Callable[..., Any], ledger: Ledger) -> Callable[..., Any]:
    async def rescue(error: BaseException, args: _Args, kwargs: _Kwargs) -> Any:
        try:
            result = function(*args, **ledger.arguments(error, kwargs))
            if inspect.isawaitable(result):
                result = await result
        except BaseException as failure:
            ledger.rescued(failure)
            raise
        ledger.rescued(None)
        return result

    return rescue


def _generator(function: Callable[..., Any], ledger: Ledger) -> Callable[..., Any]:
    def rescue(error: BaseException, args: _Args, kwargs: _Kwargs) -> Generator[Any, Any, Any]:
        items = 0
        try:
            for item in function(*args, **ledger.arguments(error, kwargs)):
                items += 1
                yield item
        except BaseException as failure:
            ledger.rescued(failure, items)
            raise
        ledger.rescued(None, items)

    return rescue


def _async_generator(function: Callable[..., Any], ledger: Ledger) -> Callable[..., Any]:
    async def rescue(error: BaseException, args: _Args, kwargs: _Kwargs) -> AsyncIterator[Any]:
        items = 0
        try:
            answer = function(*args, **ledger.arguments(error, kwargs))
            if inspect.isawaitable(answer):
                answer = await answer
            if hasattr(answer, "__aiter__"):
                async for item in answer:
                    items += 1
                    yield item
            else:
                for item in answer:
                    items += 1
                    yield item
        except BaseException as failure:
            ledger.rescued(failure, items)
            raise
        ledger.rescued(None, items)

    return rescue


_MAKERS: dict[Flavour, Callable[[Callable[..., Any], Ledger], Callable[..., Any]]] = {
    Flavour.SYNC: _sync,
    Flavour.THREAD: _sync,
    Flavour.ASYNC: _async,
    Flavour.GENERATOR: _generator,
    Flavour.ASYNC_GENERATOR: _async_generator,
}
