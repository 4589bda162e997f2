"""Retry layers: who repeats what is running now, so that retries inside each other do not multiply.

Three layers of three attempts each are 27 requests to a target that is down. So whoever repeats calls says so to all
that runs inside, in a context variable, which tasks and worker threads inherit. An inner retry then makes one attempt,
and leaves the rest to the outermost; so may a client library's own, through ``retried_by()``.

What stands in the variable is a list that holds the key of the outermost command, and is emptied when that call has
ended: whatever an interrupt left in the variable, and whatever task outlives the call, reads that nobody repeats it.
"""

from __future__ import annotations

from contextvars import ContextVar

_NOBODY: list[str] = []


class RetryLayers:
    """What wrappers call. Who sends a wrapper to another process leaves this object behind, and its variable too."""

    __slots__ = ("_layer",)

    def __init__(self) -> None:
        self._layer: ContextVar[list[str]] = ContextVar("resilience_retried_by")

    def above(self) -> list[str]:
        """The mark of whoever repeats what is running now; empty: nobody does."""
        return self._layer.get(_NOBODY)

    def mark(self, layer: list[str]) -> None:
        """Put a mark in force."""
        self._layer.set(layer)


layers = RetryLayers()


def retried_by() -> str | None:
    """Return the key of the command whose retry repeats what is running now, or None.

    An adapter for a client library sets that library's own retries by it: one attempt inside another retry, as usual
    outside.
    """
    above = layers.above()
    return above[0] if above else None
