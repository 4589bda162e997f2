"""Rate limit: so many calls in so much time, smooth or in bursts, in the order they came.

The generic cell rate algorithm (ITU-T I.371; a leaky bucket that keeps one number).
Each call books ``per / calls`` seconds, and ``_booked`` is until when all are
booked. A call may begin up to ``burst - 1`` bookings ahead of that; one that
comes too early waits, if that takes no longer than ``max_wait``, and else is
refused and books nothing. So whoever waits knows when his turn is, and turns are
in the order of arrival.

One who gives up waiting hands his booking back, and those behind him move up:
their bookings are made anew from his on, as if they had all come just now. A turn
that has come is spent, taken or not.

With ``by`` each key has a pace of its own. A key that owes nothing is as good
as new, and the first to be forgotten when there are ``max_keys``. If none is idle,
all further keys share one pace, until there is room again: to forget one that is
in debt would give it a fresh burst.

Between reading ``booked`` and writing it nothing is called and nothing jumps back.
So neither a signal handler nor another thread can come between: CPython looks for
both at such places only. The compiled wrapper has the case of a call that need not
wait written out, without the lock; a limit by keys has ``ahead`` at -inf, which
leads it here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from math import inf
from typing import Any, Final

import attrs

from ..errors import RateLimitedError
from .checks import callable_or_none, number, strict

_LOOKS: Final = 8  # keys to look at for an idle one: a bound for one call's work


@strict
@attrs.frozen
class RateLimit:
    """At most ``calls`` in ``per`` seconds.

    Attributes:
        calls: How many.
        per: In how many seconds.
        burst: How many may begin at once after a pause; None: ``calls``; 1: they are evenly spaced.
        max_wait: For how long a call may wait for its turn, seconds; 0: one too early is refused.
        by: Called with the call's arguments; returns a key (a user, a tenant). Each key has a limit of its own.
        max_keys: How many of these are remembered.
    """

    calls: int = attrs.field(validator=number(least=1, most=1_000_000_000, whole=True))
    per: float = attrs.field(default=1.0, kw_only=True, validator=number(least=0.001, most=86_400))
    burst: int | None = attrs.field(
        default=None, kw_only=True, validator=number(least=1, most=1_000_000_000, whole=True, optional=True))
    max_wait: float = attrs.field(default=0.0, kw_only=True, validator=number(least=0, most=86_400))
    by: Callable[..., Hashable] | None = attrs.field(default=None, kw_only=True, validator=callable_or_none)
    max_keys: int = attrs.field(default=10_000, kw_only=True, validator=number(least=1, most=1_000_000, whole=True))

    @property
    def spacing(self) -> float:
        """Seconds that each call books."""
        return self.per / self.calls

    @property
    def ahead(self) -> float:
        """How far ahead of what is booked a call may begin, seconds."""
        return self.spacing * ((self.burst or self.calls) - 1)


class Turn:
    """A place in the line. ``wake`` is called when ``at`` has come nearer."""

    __slots__ = ("at", "before", "pace", "wake")

    def __init__(self, pace: Pace, before: float, at: float) -> None:
        self.pace, self.before, self.at = pace, before, at
        self.wake: Callable[[], object] | None = None


class Pace:
    """One line of callers. The caller of every method holds the limiter's lock."""

    __slots__ = ("booked", "line")

    def __init__(self, now: float) -> None:
        self.booked = now  # until when
        self.line: list[Turn] = []

    def join(self, before: float, at: float, now: float) -> Turn:
        """Wait until *at*; until *before* all was booked."""
        self.pass_on(now)
        turn = Turn(self, before, at)
        self.line.append(turn)
        return turn

    def pass_on(self, now: float) -> None:
        """Forget the turns that have come."""
        while self.line and self.line[0].at <= now:
            del self.line[0]

    def leave(self, turn: Turn, config: RateLimit, now: float) -> list[Turn]:
        """*turn* is given up; the turns that come sooner for it."""
        self.pass_on(now)
        if turn not in self.line:
            return []
        spacing, ahead, i = config.spacing, config.ahead, self.line.index(turn)
        behind = self.line[i + 1 :]
        del self.line[i]
        booked = turn.before
        for each in behind:
            start = max(booked, now)
            each.before, each.at, booked = booked, min(each.at, start - ahead), start + spacing
        self.booked = booked
        return behind


class RateLimiter:
    """The machine of a RateLimit: a pacer. Every method may be called from any thread, and by a signal handler.

    Attributes:
        pace: The line of all calls, unless there are keys.
        spacing: Seconds that each call books.
        ahead: How far ahead of what is booked a call may begin, seconds; -inf: ask reserve().
        shadow: Called for each call that would have been refused, in shadow mode; then nobody waits either. None:
            refuse it.
    """

    __slots__ = ("_ahead", "_config", "_key", "_lock", "_overflow", "_paces", "ahead", "pace", "shadow", "spacing")

    def __init__(self, config: RateLimit, *, key: str, now: float) -> None:
        """Start with nothing booked.

        Args:
            config: How many calls in how much time.
            key: Named in refusals.
            now: Seconds on the clock that every method is told.
        """
        self._key = key
        self.pace = Pace(now)
        self.shadow: Callable[[], object] | None = None
        self._set(config)
        self.renew(now)

    @property
    def keys(self) -> int:
        """How many keys are remembered."""
        return len(self._paces)

    def reserve(self, now: float, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Turn | None:
        """Ask to start one call.

        Args:
            now: Seconds on any monotonic clock, the same one for every call.
            args: The call's, for ``by``.
            kwargs: See args.

        Returns:
            None: go ahead. Or a turn: go ahead at ``turn.at``, or call withdraw() before.

        Raises:
            RateLimitedError: The turn would come later than ``max_wait``.
            TypeError: The key cannot be hashed.
        """
        by = self._config.by
        pace = self.pace if by is None else self._pace_of(by(*args, **(kwargs or {})), now)
        shadow = self.shadow
        with self._lock:
            booked = pace.booked
            start = booked if booked > now else now
            wait = start - self._ahead - now
            if wait <= 0.0:
                pace.booked = start + self.spacing
                return None
            if wait <= self._config.max_wait:
                pace.booked = start + self.spacing
                if shadow is not None:
                    return None
                return pace.join(booked, now + wait, now)
        if shadow is None:
            raise RateLimitedError(self._key, wait - self._config.max_wait)
        shadow()
        return None

    def withdraw(self, turn: Turn, now: float) -> None:
        """Its caller has given up; those behind move up."""
        with self._lock:
            sooner = turn.pace.leave(turn, self._config, now)
        for each in sooner:
            if each.wake is not None:
                each.wake()

    def configure(self, config: RateLimit, now: float) -> None:
        """Go on under *config*; what is booked stays booked, and who waits keeps his turn."""
        with self._lock:
            self._set(config)
            self._shrink(now)

    def renew(self, now: float) -> None:
        """Start over in a forked child, where none of the other threads' calls goes on."""
        self._lock = threading.RLock()
        self.pace.booked, self.pace.line = now, []  # wrappers hold on to it
        self._overflow = Pace(now)
        self._paces: OrderedDict[Hashable, Pace] = OrderedDict()  # least recently used first

    def clear(self, now: float) -> None:
        """Forget what is booked, but for lines in which somebody waits."""
        with self._lock:
            for pace in (self.pace, self._overflow, *self._paces.values()):
                pace.pass_on(now)
                if not pace.line:
                    pace.booked = now
            for key, pace in list(self._paces.items()):
                if not pace.line:
                    del self._paces[key]

    def _set(self, config: RateLimit) -> None:
        self._config, self.spacing, self._ahead = config, config.spacing, config.ahead
        self.ahead = config.ahead if config.by is None else -inf

    def _pace_of(self, key: Hashable, now: float) -> Pace:
        with self._lock:
            pace = self._paces.get(key)
            if pace is None:
                if len(self._paces) >= self._config.max_keys and not self._forget_one(now):
                    return self._overflow
                pace = self._paces[key] = Pace(now)
            else:
                self._paces.move_to_end(key)
            return pace

    def _forget_one(self, now: float) -> bool:
        """Make room for a key; False: none of those looked at owes nothing."""
        for _ in range(min(_LOOKS, len(self._paces))):
            key, pace = next(iter(self._paces.items()))
            if pace.booked <= now:
                self._paces.pop(key, None)
                return True
            self._paces.move_to_end(key)
        return False

    def _shrink(self, now: float) -> None:
        for key, pace in list(self._paces.items()):
            if len(self._paces) <= self._config.max_keys:
                return
            if pace.booked <= now:
                self._paces.pop(key, None)
