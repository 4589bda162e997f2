"""Unanswered: a failed call on its way out of a wrapper, to the cache above it, which knows an answer or has one made.

The wrapper has given everything back and has counted the failure. It would ask its fallback now; it hands the call up
instead, for an expired answer goes before a fallback, and a refresh that nobody waits for needs neither.
"""

from __future__ import annotations

from typing import Any


class Unanswered:
    """A call that ended with an error, for which something may answer."""

    __slots__ = ("_error",)
    _error: BaseException

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def take(self) -> BaseException:
        """Hand the error out, once: it knows the frames that know us."""
        error = self._error
        del self._error
        return error


def hand_up(error: BaseException, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Unanswered:
    """Stand in a wrapper where its fallback would."""
    return Unanswered(error)


async def hand_up_async(error: BaseException, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Unanswered:
    """As hand_up(), in the wrapper of a coroutine function."""
    return Unanswered(error)
