"""Circuit breaker: when to open, for how long, and how to recover; circuit.py has the machine.

Defaults are Hystrix's: 50 % of at least 20 calls in 10 s opens for 5 s.
"""

from __future__ import annotations

import attrs

from ..errors import ConfigError, plain_number
from .checks import as_tuple, flag, number, rising_shares, strict


@strict
@attrs.frozen(kw_only=True)
class CircuitBreaker:
    """Circuit breaker policy: refuses calls while too many of the last ones fail, and probes for a recovery.

    Immutable: any number of commands and threads may share one.

    Attributes:
        failure_rate: Share of failed calls in the window at which the circuit opens, above 0 to 1; None: the share
            never opens it, see ``consecutive``.
        consecutive: Number of failed calls in a row at which the circuit opens, whatever their share; None: no number
            does.
        sustained_failures: Number of failed calls in a row at which the circuit opens once they span the whole
            ``window``, even if there are fewer than ``min_calls``. It replaces ``failure_rate`` where calls are rare,
            and has no effect without it. Where calls failed now and then before, more are needed. None: no number does.
        min_calls: Number of calls the window must hold before a share counts.
        window: Length of the time window, seconds.
        buckets: Number of slices that the time window is divided into. A finer division forgets more evenly.
        window_calls: Size of a window that holds the last calls, whenever they were; None: the window holds the last
            ``window`` seconds.
        open_for: Seconds for which an open circuit refuses all calls before it admits probes.
        open_growth: Factor by which ``open_for`` grows with each opening that follows without a recovery.
        open_max: Longest time that ``open_for`` may grow to, seconds.
        open_jitter: Random extension of each wait, as a share of it, 0 to 1.
        slow_call: Seconds from which on a call counts as slow; None: no call does.
        slow_rate: Share of slow calls in the window at which the circuit opens, above 0 to 1.
        slow_in_flight: Whether a call that still runs counts as slow too, at most a quarter of ``slow_call`` after it
            has become so.
        half_open_calls: Number of probes that must succeed before the circuit closes, and that may run at once.
        half_open_failures: Number of these probes that may fail without opening the circuit again.
        half_open_for: Seconds after which unfinished probes are given up as lost.
        ramp: Seconds after the probes during which only a share of the calls is admitted; 0: all are, at once.
        ramp_shares: These shares, in rising order. Each applies for an equal part of ``ramp``.
        count_rejections: Whether the refusal of a policy further inside, such as a full bulkhead, counts as a failure,
            as it does in Hystrix.
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
                f"open_max must be at least open_for ({plain_number(self.open_for)}), not "
                f"{plain_number(self.open_max)}", "open_max")
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


def time_open(breaker: CircuitBreaker, openings: int, u: float) -> float:
    """Return the seconds for which the circuit stays open.

    Args:
        breaker: The circuit breaker in force.
        openings: Number of openings in a row without a recovery, this one included.
        u: A random number in [0, 1).
    """
    wait = breaker.open_for
    if breaker.open_growth > 1:
        try:
            wait = min(breaker.open_max, wait * breaker.open_growth ** (openings - 1))
        except OverflowError:
            wait = breaker.open_max
    return wait * (1.0 + breaker.open_jitter * u)
