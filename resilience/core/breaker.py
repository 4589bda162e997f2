"""Circuit breaker: when to open, for how long, and how to recover; circuit.py has the machine.

Defaults are Hystrix's: 50 % of at least 20 calls in 10 s opens for 5 s.
"""

from __future__ import annotations

import attrs

from ..errors import ConfigError
from .checks import as_tuple, flag, number, rising_shares, strict


@strict
@attrs.frozen(kw_only=True)
class CircuitBreaker:
    """When to open, for how long, and how to recover.

    Attributes:
        failure_rate: Share of failed calls that opens, above 0 to 1; None: no share does, see ``consecutive``.
        consecutive: Failed calls in a row that open, whatever their share.
        sustained_failures: Failed calls in a row that open once they last as long as ``window``, however few calls
            there are; more where calls failed now and then before, see terms.py; None: no number does. It stands
            in for ``failure_rate`` where calls are rare, and means nothing without it.
        min_calls: Calls the window must hold before a rate counts.
        window: Length of the time window, seconds.
        buckets: Slices of the time window.
        window_calls: Weigh the last so many calls instead of the last ``window`` seconds.
        open_for: How long to refuse before probing, seconds.
        open_growth: Factor on ``open_for`` for each opening that follows without a recovery.
        open_max: Where that growth ends, seconds.
        open_jitter: Random lengthening of each wait, as a share of it, 0 to 1.
        slow_call: From how long on a call is slow, seconds; None: calls are never slow.
        slow_rate: Share of slow calls that opens, above 0 to 1.
        slow_in_flight: Whether a call under way counts as slow too, within a quarter of ``slow_call`` after it is.
        half_open_calls: Probes that must succeed to close, and may run at once.
        half_open_failures: How many of these probes may fail all the same.
        half_open_for: How long to wait for probes before giving them up as lost, seconds.
        ramp: For how long after the probes to admit only a share of the calls, seconds; 0: close at once.
        ramp_shares: Those shares, each for an equal part of ``ramp``, before all are admitted.
        count_rejections: Count an inner policy's refusal (a full bulkhead) as a failure, as Hystrix does.
    """

    failure_rate: float | None = attrs.field(default=0.5, validator=number(above=0, most=1, optional=True))
    consecutive: int | None = attrs.field(
        default=None, validator=number(least=1, most=1_000_000, whole=True, optional=True))
    sustained_failures: int | None = attrs.field(
        default=5, validator=number(least=2, most=1_000_000, whole=True, optional=True))
    min_calls: int = attrs.field(default=20, validator=number(least=1, most=1_000_000, whole=True))
    window: float = attrs.field(default=10.0, validator=number(least=0.001))
    buckets: int = attrs.field(default=10, validator=number(least=1, most=1000, whole=True))
    window_calls: int | None = attrs.field(
        default=None, validator=number(least=1, most=1_000_000, whole=True, optional=True)
    )
    open_for: float = attrs.field(default=5.0, validator=number(above=0))
    open_growth: float = attrs.field(default=1.0, validator=number(least=1))
    open_max: float = attrs.field(default=300.0, validator=number(above=0))
    open_jitter: float = attrs.field(default=0.0, validator=number(least=0, most=1))
    slow_call: float | None = attrs.field(default=None, validator=number(above=0, optional=True))
    slow_rate: float = attrs.field(default=1.0, validator=number(above=0, most=1))
    slow_in_flight: bool = attrs.field(default=True, validator=flag)
    half_open_calls: int = attrs.field(default=1, validator=number(least=1, most=1_000_000, whole=True))
    half_open_failures: int = attrs.field(default=0, validator=number(least=0, most=1_000_000, whole=True))
    half_open_for: float = attrs.field(default=30.0, validator=number(above=0))
    ramp: float = attrs.field(default=0.0, validator=number(least=0))
    ramp_shares: tuple[float, ...] = attrs.field(
        default=(0.1, 0.25, 0.5), converter=as_tuple, validator=rising_shares)
    count_rejections: bool = attrs.field(default=False, validator=flag)

    def __attrs_post_init__(self) -> None:
        if self.window_calls is not None and self.min_calls > self.window_calls:
            raise ConfigError(
                f"min_calls must be at most window_calls ({self.window_calls}), or the circuit could never open; "
                f"not {self.min_calls}", "min_calls")
        if self.open_growth > 1 and self.open_max < self.open_for:
            raise ConfigError(
                f"open_max must be at least open_for ({self.open_for:g}), not {self.open_max:g}", "open_max")
        if self.failure_rate is None and self.consecutive is None and self.slow_call is None:
            raise ConfigError("failure_rate is None, and neither consecutive nor slow_call is given: the circuit could "
                              "never open", "failure_rate")
        if self.half_open_failures >= self.half_open_calls:
            raise ConfigError(
                f"half_open_failures must be less than half_open_calls ({self.half_open_calls}), or no probe would "
                f"decide anything; not {self.half_open_failures}", "half_open_failures")
        if self.slow_call is None and self.slow_rate != 1.0:
            raise ConfigError("slow_rate means nothing without slow_call; say from how long on a call is slow",
                              "slow_rate")

    def wait(self, openings: int, u: float) -> float:
        """Seconds to stay open the *openings*-th time in a row, with a random *u* in [0, 1)."""
        wait = self.open_for
        if self.open_growth > 1:
            try:
                wait = min(self.open_max, wait * self.open_growth ** (openings - 1))
            except OverflowError:
                wait = self.open_max
        return wait * (1.0 + self.open_jitter * u)
