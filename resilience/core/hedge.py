"""Hedge: when to start a further attempt of a call that is still out.

Most of a target's calls are fast and a few are slow for no reason of their own: a
pause, a full queue on one of many machines. A second attempt, begun when the first
is slower than most, is likely to be among the fast ones (Dean and Barroso, "The
Tail at Scale", 2013). It costs as many more calls as are slower than that.

How slow that is, is either configured or taken from the moving percentile of the
command's own calls, which is looked at once a second. It does not run away: a call that was faster than
the delay is not touched, and one that was slower ends after the delay, by
whichever attempt. So the share of calls beyond the percentile stays what it is.

A second attempt does everything the first did a second time. Only the user knows
whether that does harm, and must say that it does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ..errors import ConfigError
from .budget import RetryBudget
from .checks import number, strict
from .histogram import value_of
from .retry import budget_or_none

LOOK_EVERY_S: Final = 1.0  # a look at the percentile takes some 30 us


def _idempotent(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not True:
        raise ConfigError("Hedge() may run a call twice. If that is safe for this function, write "
                          "Hedge(idempotent=True); otherwise remove the hedge.", attribute.name)


_idempotent.json_schema = {"const": True}  # type: ignore[attr-defined]


@strict
@attrs.frozen(kw_only=True)
class Hedge:
    """Hedging policy: starts a second attempt if the first is slow, and returns the first success.

    Immutable: any number of commands and threads may share one.

    Attributes:
        idempotent: Confirms that running the call more than once does no harm. It must be True.
        delay: Seconds after which an unanswered attempt is joined by the next one; None: the command's own
            ``percentile`` decides.
        percentile: Percentile of the command's latencies in the last minute that serves as the delay if ``delay`` is
            None. The default of 95 is the one of Dean and Barroso, "The Tail at Scale" (2013).
        min_calls: Number of latencies that must be known before the percentile is used. Nothing is hedged until then.
        attempts: Largest number of attempts that run at once, including the first.
        budget: Limits the extra attempts, together with the retries of the group; None: no limit beyond ``attempts``.
    """

    idempotent: bool = attrs.field(default=False, validator=_idempotent, metadata={"must_be_true": True})
    delay: float | None = attrs.field(default=None, validator=number(above=0, most=3600, optional=True))
    percentile: float = attrs.field(default=95.0, validator=number(least=1, most=99.99))
    min_calls: int = attrs.field(default=100, validator=number(least=1, most=1_000_000, whole=True))
    attempts: int = attrs.field(default=2, validator=number(least=2, most=10, whole=True))
    budget: RetryBudget | None = attrs.field(factory=RetryBudget, validator=budget_or_none)


def longest_call(hedge: Hedge, seconds: float) -> float:
    """Return how many seconds a call takes at most whose attempts take so many *seconds* each at most.

    An attempt is joined by the next one while it is under way, so without a ``delay`` at its end at the latest.

    Args:
        hedge: The hedge in force.
        seconds: The longest time that one attempt takes, in seconds.
    """
    later = seconds if hedge.delay is None else min(hedge.delay, seconds)
    return seconds + (hedge.attempts - 1) * later


class Racer:
    """The machine of a Hedge. Every method may be called from any thread; nothing is locked.

    Two threads may look at the percentile at once, and both find what is true.

    Attributes:
        config: The Hedge in force.
    """

    __slots__ = ("_after", "_bins", "_look_at", "config")
    _after: float | None  # as of the last look

    def __init__(self, config: Hedge, *, bins: Callable[[float], Mapping[int, int]]) -> None:
        """Make one; *bins* are the command's recent latencies as {bin: count} at a time."""
        self._bins = bins
        self.configure(config)

    def configure(self, config: Hedge) -> None:
        """Go by *config* from now on."""
        self.config = config
        self.renew()

    def renew(self) -> None:
        """Start over, as in a forked child, whose latencies are its own."""
        self._look_at = -math.inf

    def launch_after(self, n: int, now: float) -> float | None:
        """How long after the *n*-th attempt began the next may begin, seconds; None: there is to be none."""
        config = self.config
        if n >= config.attempts:
            return None
        if config.delay is not None:
            return config.delay
        if not self._look_at - LOOK_EVERY_S <= now < self._look_at:
            self._after = _quantile(self._bins(now), config.percentile / 100, config.min_calls)
            self._look_at = now + LOOK_EVERY_S  # last, so that nobody goes by a look that is not over yet
        return self._after


def _quantile(bins: Mapping[int, int], q: float, least: int) -> float | None:
    """The duration that a share *q* of those in *bins* does not exceed; None if they are fewer than *least*."""
    count = sum(bins.values())
    if count < least:
        return None
    rank = math.ceil(q * count)
    for index in sorted(bins):
        rank -= bins[index]
        if rank <= 0:
            return value_of(index)
    raise AssertionError("unreachable: the counts add up")
