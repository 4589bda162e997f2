"""How many calls at once a target can take, found out from how long they take.

Calls that run at the same time do not disturb each other until the target is
full; from then on more of them only wait longer. So the *base*, the time of a
call in an unhurried target, is compared with the time of the last calls, and
the limit goes up while they are alike and down while they are not:

* gradient (after Netflix's Gradient2): times the ratio of the two, plus a queue
  of the square root of the limit, as in Envoy;
* vegas (after TCP Vegas): a step up or down by the length of the queue that the
  ratio stands for;
* aimd: knows no base; a step up, or down by half of the share that was lost.

Calls that were lost (timed out) bring the limit down in each of them.

What is read is the median of the calls that ended in one window: a few stray
ones, slow or fast, do not move it (Envoy's choice too). A window in which the
limit was not half used says nothing about it, and changes nothing.

The base falls slowly towards what is read, at most by half at a time, so that a
moment of fast answers is no new standard. To rise it must be probed, for under
load an honest base cannot be told from a queue: every ``probe_every`` the limit
is halved for a window, again and again while that shortens the calls, until it
does not; that is the base (BBR's probing of the round trip time, and Envoy's).
The same is done when the limit fell by half and calls are slow as ever.

Until the first sign of a queue, and after losses up to half of where they came,
the limit doubles each window (TCP's slow start).
"""

from __future__ import annotations

import enum
from math import exp, inf, log10, sqrt
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from .adaptive import AdaptiveLimit

LEAST_S: Final = 1e-6  # calls shorter than this are as long: nothing is divided by zero


class Phase(enum.Enum):
    """What the estimator is doing."""

    RAMP = "ramp"  # doubling
    CRUISE = "cruise"  # following the algorithm
    PROBE = "probe"  # halving, to see the target unhurried


#: Which phase may follow which, and why.
TRANSITIONS: Final[dict[tuple[Phase, str], Phase]] = {
    (Phase.RAMP, "slower"): Phase.CRUISE,
    (Phase.RAMP, "near where calls were lost"): Phase.CRUISE,
    (Phase.RAMP, "probe due"): Phase.PROBE,
    (Phase.CRUISE, "lost"): Phase.RAMP,
    (Phase.CRUISE, "probe due"): Phase.PROBE,
    (Phase.CRUISE, "halved in vain"): Phase.PROBE,
    (Phase.PROBE, "base found"): Phase.CRUISE,
    (Phase.PROBE, "base found that had stopped a ramp"): Phase.RAMP,
    (Phase.PROBE, "lost"): Phase.RAMP,
    (Phase.PROBE, "too few calls"): Phase.CRUISE,
}


@attrs.frozen(kw_only=True)
class Reading:
    """What one window saw.

    Attributes:
        median_s: Of the calls' times, seconds.
        lost: Share of the calls that were lost, 0 to 1.
        most: Most calls in flight at once.
        span_s: How long the window was, seconds.
    """

    median_s: float
    lost: float
    most: int
    span_s: float


def gradient(limit: float, base_s: float, rtt_s: float, tolerance: float) -> float:
    """Where the limit should go, by the ratio of the base and what is read."""
    return limit * max(0.5, min(1.0, tolerance * base_s / rtt_s)) + sqrt(limit)


def vegas(limit: float, base_s: float, rtt_s: float, tolerance: float) -> float:
    """Where the limit should go, by the length of the queue that the ratio stands for.

    The steps are Netflix's, but for two. The way down is at least half of what is
    too much, or a large limit would take minutes; and the free queue grows with the
    tolerance, for a median of a hundred calls is not exact.
    """
    step = max(1.0, log10(limit))
    queue, free = limit * (1.0 - base_s / rtt_s), limit * (1.0 - 1.0 / tolerance)
    if queue <= step:
        return limit + max(6.0 * step, sqrt(limit))
    if queue < max(3.0 * step, free):
        return limit + step
    excess = queue - max(6.0 * step, free)
    return limit - max(step, 0.5 * excess) if excess > 0.0 else limit


def aimd(limit: float, ceiling: float) -> float:
    """Where the limit should go while nothing is lost, after losses at the *ceiling*.

    Half of the way to the ceiling, and beyond it half as much again each time: fast
    where nothing was lost before, by ones where it was (as BIC and CUBIC do in TCP).
    """
    return limit + max(1.0, min(limit, 0.5 * abs(ceiling - limit)))


ALGORITHMS: Final = ("gradient", "vegas", "aimd")


class LimitEstimator:
    """The limit and what it is known from. Its owner guards it.

    Attributes:
        config: The policy in force.
        limit: Calls at once, a fraction included.
        base_s: Time of a call in an unhurried target, seconds; None while unknown.
        rtt_s: Median time of the last calls, seconds; 0 while unknown.
        phase: What it is doing.
    """

    __slots__ = ("_ceiling", "_declined_from", "_declined_rtt_s", "_probe_at", "_ramps", "_saved", "_saved_rtt_s",
                 "_sure", "base_s", "config", "limit", "phase", "rtt_s")

    def __init__(self, config: AdaptiveLimit, now: float) -> None:
        self.config = config
        self.limit = float(config.initial)
        self.base_s: float | None = None
        self.rtt_s = 0.0
        self.phase = Phase.RAMP
        self._ramps = False  # whether to double again after the probe
        self._sure = False  # that the base was seen unhurried
        self._ceiling = inf  # where calls were lost; doubling ends half-way
        self._probe_at = now + config.probe_every / 10  # the first base was read under whatever load there was
        self._declined_from, self._declined_rtt_s = self.limit, inf  # since it last was set, or halved
        self._saved = self._saved_rtt_s = 0.0  # from before the probe, and of its last step

    @property
    def span_s(self) -> float:
        """How long the next window should be at least: what begins in it should mostly end in it."""
        return max(self.config.window, 2.0 * self.rtt_s)

    def configure(self, config: AdaptiveLimit, now: float) -> None:
        """Go on under *config*; what was learnt stays. A probe is due no later than if the last one had been now."""
        self.config = config
        self._probe_at = min(self._probe_at, now + config.probe_every)

    def read(self, reading: Reading, now: float) -> None:
        """Learn from one window; ``limit`` is then the new one."""
        first, rtt_s = not self.rtt_s, max(LEAST_S, reading.median_s)
        self.rtt_s = rtt_s
        if first:  # of the calls that began in it only the short ones have ended
            return
        if self.config.algorithm == "aimd":
            self.base_s = None
        elif self.base_s is None:
            self.base_s = rtt_s
        if reading.lost > self.config.loss_tolerance:
            self.give_up(now)  # what is lost is no measure
            self._lose(reading)
        elif self.phase is Phase.PROBE and self.base_s is not None:
            self._go_on_probing(rtt_s, now)
        else:
            self._sink_base(rtt_s, reading.span_s)
            if 2 * reading.most >= int(self.limit):
                self._steer(rtt_s, now)
        self.limit = max(float(self.config.min_limit), min(float(self.config.max_limit), self.limit))

    def give_up(self, now: float) -> None:
        """End a probe without a result: too few calls came, or too many were lost."""
        if self.phase is Phase.PROBE:
            self.limit, self.phase = self._saved, Phase.CRUISE
            self._probe_at = now + self.config.probe_every

    def _steer(self, rtt_s: float, now: float) -> None:
        base_s, config = self.base_s, self.config
        vain = self._fell_in_vain(rtt_s)
        if base_s is not None and (vain or now >= self._probe_at):
            self._ramps = vain or self.phase is Phase.RAMP
            self._saved, self._saved_rtt_s = self.limit, rtt_s
            self._declined_from, self._declined_rtt_s = self.limit, rtt_s
            self.limit, self.phase = 0.5 * self.limit, Phase.PROBE
            return
        slower = base_s is not None and rtt_s > config.tolerance * base_s
        if self.phase is Phase.RAMP and not slower and self.limit < 0.5 * self._ceiling:
            self.limit = min(2.0 * self.limit, 0.5 * self._ceiling)
            return
        self.phase = Phase.CRUISE
        if base_s is None:
            self.limit = aimd(self.limit, self._ceiling)
            return
        steer = gradient if config.algorithm == "gradient" else vegas
        self.limit += config.smoothing * (steer(self.limit, base_s, rtt_s, config.tolerance) - self.limit)

    def _lose(self, reading: Reading) -> None:
        self._ceiling = self.limit
        self.limit *= min(LOSES, 1.0 - 0.5 * reading.lost)
        self.phase = Phase.RAMP  # up to there, should it fall further

    def _sink_base(self, rtt_s: float, span_s: float) -> None:
        base_s = self.base_s
        if base_s is not None and rtt_s < ELASTIC * base_s:
            self.base_s = base_s + (max(rtt_s, 0.5 * base_s) - base_s) * (1.0 - exp(-span_s / SINKS_IN_S))

    def _fell_in_vain(self, rtt_s: float) -> bool:
        """The limit is half of what it was, and calls take as long as before."""
        if self.limit > self._declined_from:
            self._declined_from, self._declined_rtt_s = self.limit, rtt_s
        elif self.limit <= max(0.5 * self._declined_from, float(self.config.min_limit)):
            vain = rtt_s > ELASTIC * self._declined_rtt_s and rtt_s > (self.base_s or inf) / ELASTIC
            self._declined_from, self._declined_rtt_s = self.limit, rtt_s
            return vain
        return False

    def _go_on_probing(self, rtt_s: float, now: float) -> None:
        was = self.base_s or rtt_s
        expected = self._sure and rtt_s < was / ELASTIC
        if not expected and rtt_s < ELASTIC * self._saved_rtt_s and self.limit > self.config.min_limit:
            self._saved_rtt_s = rtt_s
            self.limit *= 0.5
            return
        if expected:  # of two noisy numbers the mean is better than either
            self.base_s = 0.5 * (was + max(rtt_s, 0.5 * was))
        else:
            self.base_s = min(rtt_s, 2.0 * was) if self._sure else rtt_s
        self._sure = True
        self.limit = self._saved
        self._probe_at = now + max(self.config.probe_every, PROBE_SHARE * rtt_s)
        self.phase = Phase.RAMP if self._ramps else Phase.CRUISE


LOSES: Final = 0.9  # of the limit is left after losses, at most (Netflix's AIMD)
PROBE_SHARE: Final = 100.0  # calls' times between two probes at least: one lasts about four
SINKS_IN_S: Final = 2.0  # time constant of the base's fall: a second of fast answers takes off a fifth
ELASTIC: Final = 0.75  # half of the limit takes half of the time if there was a queue, all of it if not; in between
