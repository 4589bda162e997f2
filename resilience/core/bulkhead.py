"""Bulkhead: at most so many calls at once.

A sack of tokens: a list's ``pop`` and ``append`` are atomic, so taking one and
giving it back need no lock. A bulkhead without a limit counts too, minting
tokens as it runs out, so that every command knows how many of its calls are in
flight. Growing adds tokens; shrinking takes free ones and owes the rest, which
are withheld as they come back.
"""

from __future__ import annotations

import threading

import attrs

from ..errors import BulkheadFullError
from .checks import number, strict


@strict
@attrs.frozen
class Bulkhead:
    """At most ``max_concurrent`` calls at once; None: no limit, only a count."""

    max_concurrent: int | None = attrs.field(
        default=10, validator=number(least=1, most=1_000_000, whole=True, optional=True)
    )


class Slots:
    """The machine of a Bulkhead: a gate. Every method may be called from any thread."""

    __slots__ = ("_key", "_least_free", "_limit", "_lock", "_owed", "_size", "_tokens")

    def __init__(self, config: Bulkhead, *, key: str) -> None:
        self._key, self._limit = key, config.max_concurrent
        self._lock = threading.Lock()
        self._owed = 0  # tokens to withhold as they come back
        self._size = self._least_free = self._limit or 0  # tokens but the owed; fewest free since take_peak()
        self._tokens = [None] * self._size

    @property
    def limit(self) -> int | None:
        """Calls admitted at once; None: all."""
        return self._limit

    @property
    def in_flight(self) -> int:
        """Calls that hold a token now."""
        with self._lock:
            return self._in_flight()

    def acquire(self, now: float) -> None:
        """Take a token.

        Raises:
            BulkheadFullError: None is left.
        """
        try:
            self._tokens.pop()
        except IndexError:
            self._run_out()
        free = len(self._tokens)
        if free < self._least_free:  # noqa: PLR1730 - calling min() costs four times as much
            self._least_free = free

    def settle(self, permit: None, outcome: int, started: float, now: float) -> None:
        """Give the token back. Never raises."""
        if self._owed and self._withhold():
            return
        self._tokens.append(None)
        if self._owed:  # the limit fell just now, and missed this token
            self._collect()

    def take_peak(self) -> int:
        """Most calls in flight at once since the last take."""
        with self._lock:
            peak = self._size - self._least_free + self._owed
            self._least_free = len(self._tokens)
            return max(peak, self._in_flight())

    def configure(self, config: Bulkhead) -> None:
        """Change the limit; calls in flight above a smaller one run on."""
        with self._lock:
            self._limit = new = config.max_concurrent
            if new is None:
                self._size, self._owed = self._size + self._owed, 0
                return
            peak = self._size - self._least_free + self._owed
            more = new - self._size  # one token at a time: calls come and go meanwhile
            self._size = new
            for _ in range(more):
                if self._owed:
                    self._owed -= 1
                else:
                    self._tokens.append(None)
            for _ in range(-more):
                try:
                    self._tokens.pop()
                except IndexError:
                    self._owed += 1
            self._least_free = min(len(self._tokens), self._size + self._owed - peak)

    def renew(self) -> None:
        """Start over in a forked child, where none of the calls in flight goes on."""
        self._lock = threading.Lock()
        self._owed = 0
        self._size = self._least_free = self._limit or 0
        self._tokens.clear()
        self._tokens.extend([None] * self._size)

    def _in_flight(self) -> int:
        return self._size - len(self._tokens) + self._owed

    def _run_out(self) -> None:
        if self._limit is None:
            if self._mint():
                return
            if self._tokens:  # a limit was set just now, and brought some
                self.acquire(0.0)
                return
        raise BulkheadFullError(self._key)

    def _mint(self) -> bool:
        with self._lock:
            if self._limit is not None:
                return False
            self._size += 1  # the new token goes straight to the caller
            self._least_free = min(self._least_free + 1, 0)
            return True

    def _collect(self) -> None:
        with self._lock:
            while self._owed and self._tokens:
                try:
                    self._tokens.pop()
                except IndexError:  # a caller was faster
                    return
                self._pay()

    def _withhold(self) -> bool:
        with self._lock:
            if not self._owed:
                return False
            self._pay()
            return True

    def _pay(self) -> None:
        self._owed -= 1
        self._least_free -= 1  # a token fewer; the peak of those in flight stays
