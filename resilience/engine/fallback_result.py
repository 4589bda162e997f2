"""FallbackResult: a fallback's answer, marked as such, for the cache above the wrapper that the fallback answers in.

A cache must not keep it, and whoever calls a function without a cache must not see it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


class FallbackResult:
    """A fallback's answer on its way out of a wrapper, or its *failure*, and the error that it answers for."""

    __slots__ = ("answer", "error", "failure")

    def __init__(self, error: BaseException, answer: Any, failure: Exception | None = None) -> None:
        self.error, self.answer, self.failure = error, answer, failure


def unmarked(result: Any) -> Any:
    """What a wrapper's *result* is to its caller. The failure of a fallback is raised."""
    if type(result) is not FallbackResult:
        return result
    if result.failure is not None:
        raise result.failure
    return result.answer


def marking(fall_back: Callable[..., Any]) -> Callable[..., Any]:
    """*fall_back*, so that what comes of it can be told from what comes of the function."""

    def marked(error: BaseException, args: _Args, kwargs: _Kwargs) -> FallbackResult:
        try:
            return FallbackResult(error, fall_back(error, args, kwargs))
        except Exception as failure:  # noqa: BLE001 - the layer above raises it
            return FallbackResult(error, None, failure)

    return marked


def marking_async(fall_back: Callable[..., Any]) -> Callable[..., Any]:
    """As marking(), for a coroutine function."""

    async def marked(error: BaseException, args: _Args, kwargs: _Kwargs) -> FallbackResult:
        try:
            return FallbackResult(error, await fall_back(error, args, kwargs))
        except Exception as failure:  # noqa: BLE001 - the layer above raises it
            return FallbackResult(error, None, failure)

    return marked
