"""Retry layers: who repeats what is running now, so that retries inside each other do not multiply.

Three layers of three attempts each are 27 requests to a target that is down. So an inner retry looks whether somebody
further out repeats the whole call already. If so, it makes one attempt, and leaves the rest to the outermost; so may a
client library's own, through ``retried_by()``.

Who repeats a plain function stands on the stack below it, and the inner retry finds its wrapper there when an attempt
has failed: that costs a call nothing. So does who repeats a generator, until its consumer has an item: from then on it
cannot be tried again. A coroutine function may start tasks, and an isolated function runs on another thread, which have
stacks of their own; but they inherit context variables. So their wrappers put a mark in one, a list that holds the key
of the command and is emptied when the call has ended. Nothing needs to be put back then: whatever is left in the
variable, and whatever task outlives the call, reads that nobody repeats it. A list is never filled again, for tasks
that were started meanwhile hold it too. A generator puts no mark there, which would be in its consumer's context.

What answers for a call whose attempts are over, a fallback or the next target of a failover, runs on the stack of its
wrapper, and is not repeated by that: the mark has been emptied by then, and ``pause`` is None in the wrapper's frame.
What is called from a frame of a function that is marked with ``not_repeated`` is not its caller's: a listener hears of
an event once, and the batch that a thread runs is for others, too.

A failover is no retry: it calls each target once, so it neither marks nor is found. A retry above a failover whose
targets run on other threads puts its mark there although its own function is a plain one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any, Final, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])

#: Wrappers call its methods; what is sent to another process by value leaves it behind (pickling).
layer: Final[ContextVar[list[str]]] = ContextVar("resilience_retried_by", default=[])  # noqa: B039 - never changed

#: Of what is called from their frames nobody further out repeats anything.
_NOT_REPEATED: Final[set[CodeType]] = set()


def not_repeated(function: _F) -> _F:
    """Let no retry further out than *function* be found from what it calls; the mark is for detach()."""
    _NOT_REPEATED.add(function.__code__)
    return function


def detach() -> None:
    """Let no mark be in force here: who repeats the calls before this does not repeat what is called from now on."""
    layer.set([])


def retried_by() -> str | None:
    """Return the key of the command whose retry repeats what is running now, or None.

    An adapter for a client library sets that library's own retries by it: one attempt inside another retry, as usual
    outside.
    """
    above = layer.get()
    return above[0] if above else on_the_stack(0)


def on_the_stack(own: int) -> str | None:
    """The key of the outermost command whose retry stands on the stack, but for the *own* innermost ones."""
    key: str | None = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code in _NOT_REPEATED:
            break
        if code.co_name == "guarded" and "again" in code.co_freevars:
            if own:
                own -= 1
            else:
                key = _repeating(frame.f_locals) or key
        frame = frame.f_back
    return key


def _repeating(names: Mapping[str, Any]) -> str | None:
    """The key of the command whose wrapper has these *names*, if it may repeat what it has called."""
    if names.get("items") or names.get("pause", 0.0) is None:  # a generator past its first item; the attempts are over
        return None
    return getattr(getattr(names.get("again"), "__self__", None), "repeating_key", None)
