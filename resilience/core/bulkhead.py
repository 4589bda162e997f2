"""Bulkhead: at most so many calls at once.

A sack of tokens: a list. Taking the last one (``del tokens[-1]``) and adding
one (``tokens += TOKEN``, or ``tokens.append(None)`` where an interrupt right
after it harms nobody) are atomic, so neither needs a lock. A bulkhead
without a limit counts too, minting tokens as it runs out, so that every command
knows how many of its calls are in flight. Growing adds tokens; shrinking takes
free ones and owes the rest, which are taken as they come back, by the next
caller who asks. In shadow mode a caller too many gets a token that is owed from
the start.

The permit is the sack. A forked child gets another, so that what its parent's
calls give back there lands in one that nobody counts.

An exception from a signal handler (KeyboardInterrupt) is raised by CPython after
a call, at a function's start or at a loop's end, never between two other
instructions. So whoever has a permit to lose writes both statements out, with
nothing of the kind between taking the token and noting that it is held, or
between the end of the work and giving it back::

    held = None
    try:
        ...
        del sack[-1]
        held = sack
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final

import attrs

from ..errors import BulkheadFullError
from .callable_identity import by_identity
from .checks import number, strict
from .locks import Lock
from .references import as_function, function_in_file, function_or_none


@strict
@attrs.frozen
class Bulkhead:
    """Bulkhead policy: limits how many calls run at once, and refuses those beyond, or lets them wait for a slot.

    Immutable: any number of commands and threads may share one.

    Attributes:
        max_concurrent: Largest number of calls that run at once; None: no limit, calls are only counted.
        max_wait: Longest time that a further call waits for a slot, seconds; 0: it is refused at once.
        max_queue: Largest number of calls that wait at once; one more is refused at once.
        fair_by: Function that is called with the call's arguments and returns a key, such as a tenant. Those that wait
            get slots in turn, key by key, and if ``max_queue`` wait, the key with the most gives way; needs
            ``max_wait``.
    """

    max_concurrent: int | None = attrs.field(
        default=10, validator=number(least=1, most=1_000_000, whole=True, optional=True)
    )
    max_wait: float = attrs.field(default=0.0, kw_only=True, validator=number(least=0, most=86_400.0))
    max_queue: int = attrs.field(default=1000, kw_only=True, validator=number(least=1, most=1_000_000, whole=True))
    fair_by: Callable[..., Hashable] | None = attrs.field(
        default=None, kw_only=True, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=function_in_file())


TOKEN: Final = (None,)  # what is added to a sack for one call that ended


def most_at_once(max_concurrent: int | Bulkhead | None) -> int | None:
    """How many calls may run at once, in whichever way the setting ``max_concurrent`` says it; None: no limit."""
    return max_concurrent.max_concurrent if isinstance(max_concurrent, Bulkhead) else max_concurrent


class Slots:
    """The machine of a Bulkhead: a gate. Every method may be called from any thread, and by a signal handler.

    Attributes:
        tokens: The sack; see above for how to take one without a call.
        least_free: Fewest tokens that were free since take_peak(); lower it after taking one.
        owed: Tokens to take out as they come back; call collect() before taking one.
        shadow: Called for each call that would have been refused, in shadow mode; None: refuse it.
        crowd: As long as the number of callers that wait for a token; nobody ever does here (core.queued_slots).
    """

    __slots__ = ("_key", "_limit", "_lock", "_size", "crowd", "least_free", "owed", "shadow", "tokens")
    _size: int  # tokens there are, but the owed
    least_free: int
    owed: int
    tokens: list[None]

    def __init__(self, config: Bulkhead, *, key: str) -> None:
        self._key, self._limit = key, config.max_concurrent
        self.crowd: Sequence[None] = ()
        self.shadow: Callable[[], object] | None = None
        self.renew()

    @property
    def limit(self) -> int | None:
        """Calls admitted at once; None: all."""
        return self._limit

    @property
    def in_flight(self) -> int:
        """Calls that hold a token now."""
        with self._lock:
            return self._in_flight()

    def acquire(self, now: float) -> list[None]:
        """Take a token. Return what is to be passed to settle().

        Raises:
            BulkheadFullError: None is left.
        """
        taken: list[list[None]] = []
        self.take(taken)
        return taken[0]

    def take(self, taken: list[list[None]]) -> None:
        """Take a token and note its sack in *taken*, in one step that no signal can split.

        Raises:
            BulkheadFullError: None is left.
        """
        if self.owed:
            self.collect()
        while True:
            sack = self.tokens
            try:
                del sack[-1]
                taken += (sack,)
                break
            except IndexError:
                self.run_out()
        free = len(sack)
        self.least_free = min(self.least_free, free)

    def settle(self, permit: list[None], outcome: int, started: float, now: float) -> None:
        """Give the token back. Never raises."""
        permit += TOKEN

    def run_out(self) -> None:
        """The sack was empty: mint a token, or refuse.

        Raises:
            BulkheadFullError: There is a limit, and it is reached.
        """
        shadow = self.shadow
        with self._lock:
            if self._limit is None:
                self._size += 1
                self.tokens += TOKEN
                self.least_free += 1  # the caller, or a faster one, takes it out again
                return
            if self.tokens:  # a limit was set just now, and brought some
                return
            if shadow is None:
                raise self.full()
            self.owed += 1
            self.tokens += TOKEN
        shadow()

    def hand_on(self, now: float) -> None:
        """Give free tokens to those who wait; here nobody does."""

    def full(self) -> BulkheadFullError:
        """Return the error for a call that gets no token."""
        in_flight = self._size - len(self.tokens) + self.owed  # without the lock the number may be off by one
        return BulkheadFullError(self._key, None, self._limit, 0, in_flight, len(self.crowd))

    def take_anyway(self, taken: list[list[None]]) -> None:
        """Take a token, noted in *taken* as by take(), whether or not there is one left."""
        sack = self.tokens
        while not taken:
            try:
                del sack[-1]
                taken += (sack,)
            except IndexError:
                with self._lock:
                    self.owed += 1
                    sack += TOKEN
        self.least_free = min(self.least_free, len(sack))

    def collect(self) -> None:
        """Take out what is owed of the tokens that came back."""
        with self._lock:
            sack = self.tokens
            while self.owed and sack:
                try:
                    del sack[-1]
                    self.owed -= 1
                    self.least_free -= 1  # a token fewer; the peak of those in flight stays
                except IndexError:  # a caller was faster
                    return

    def take_peak(self) -> int:
        """Most calls in flight at once since the last take."""
        with self._lock:
            peak = self._size - self.least_free + self.owed
            self.least_free = len(self.tokens)
            return max(peak, self._in_flight())

    def configure(self, config: Bulkhead) -> None:
        """Change the limit; calls in flight above a smaller one run on."""
        with self._lock:
            self._limit = new = config.max_concurrent
            if new is None:
                self._size, self.owed = self._size + self.owed, 0
                return
            peak, sack = self._size - self.least_free + self.owed, self.tokens
            while self._size < new:  # one token at a time: calls come and go meanwhile
                self._size += 1
                if self.owed:
                    self.owed -= 1
                else:
                    sack += TOKEN
            while self._size > new:
                try:
                    del sack[-1]
                    self._size -= 1
                except IndexError:
                    self.owed += 1
                    self._size -= 1
            self.least_free = min(len(sack), self._size + self.owed - peak)

    def renew(self) -> None:
        """Start over in a forked child, where none of the other threads' calls goes on."""
        self._lock = Lock()  # a signal handler may find its own thread in here
        self.owed = 0
        self._size = self.least_free = self._limit or 0
        self.tokens = [None] * self._size

    def _in_flight(self) -> int:
        return self._size - len(self.tokens) + self.owed
