"""The rate limit's kit: a gate that may let a call wait for its turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from ..core.outcome import Event
from ..core.rate_limit import RateLimit, RateLimiter
from ..drivers.rate_limit_waiter import RateLimitWaiter
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, GateText, Kit, Telling
from ..engine.site import Site
from ..engine.worst_case import WorstCase
from ..engine.wrapper_spec import Flavour

_WRITTEN_OUT: Final = GateText(
    # RateLimiter.reserve of who need not wait; nothing is called between reading and writing.
    acquire=f"""\
tat = pace.tat
if tat < started:
    tat = started
if tat - rate.burst_tolerance - started <= 0.0:
    pace.tat = tat + rate.emission_interval
else:
    event = {int(Event.RATE_LIMITED)}
    place = reserve(started, args, kwargs)
    if place is not None:
        {{await_}}wait_for_rate(place)
        started = clock()""")

_PLAIN: Final = GateText(acquire=f"""\
event = {int(Event.RATE_LIMITED)}
place = reserve(started, args, kwargs)
if place is not None:
    {{await_}}wait_for_rate(place)
    started = clock()""")


_SETTLE: Final = "rate_settle({outcome}, started, now)"


def _text(limit: RateLimit, flavour: Flavour) -> GateText | None:
    """An adaptive limit hears how calls end."""
    return attrs.evolve(_WRITTEN_OUT, settle=_SETTLE, label="adaptive") if limit.adaptive else None


def _worst_case(limit: RateLimit, below: WorstCase) -> WorstCase:
    return below.after(limit.max_wait)


def _start(limit: RateLimit, runtime: CommandRuntime) -> RateLimiter:
    return RateLimiter(limit, key=runtime.key, now=runtime.clock())


def _change(limiter: RateLimiter, limit: RateLimit | None, old: RateLimit | None,
            runtime: CommandRuntime) -> Afterwards | None:
    if limit is not None:
        limiter.configure(limit, runtime.clock())
    return None


def _cannot_change(limiter: RateLimiter, limit: RateLimit) -> str | None:
    if limiter.hears_ends or not limit.adaptive:
        return None
    return ("its functions were declared without adaptive=True, so that the limit does not hear how calls end; declare "
            f"it with RateLimit({limit.calls}, adaptive=True)")


def _gauges(limiter: RateLimiter) -> Mapping[str, float]:
    """The share of the rate that is in force, where the limit is adaptive."""
    return {"share": limiter.share} if limiter.hears_ends else {}


def _install(site: Site, limit: RateLimit, limiter: RateLimiter) -> None:
    line = RateLimitWaiter(limiter, key=site.runtime.key, clock=site.runtime.clock)
    limiter.hears_ends |= limit.adaptive
    site.names.update(rate=limiter, rate_settle=limiter.settle, pace=limiter.pace, reserve=limiter.reserve,
                      wait_for_rate=line.wait_async if site.flavour.is_async else line.wait)


RATE_LIMIT: Final = Kit(
    name="rate_limit",
    policy=RateLimit,
    about="Lets so many calls begin in so much time; more wait for their turn, or are refused.",
    above={
        "max_concurrent": "a slot would be held while a call waits for its turn",
        "adaptive_limit": "a slot would be held while a call waits for its turn, and the limit would learn from the "
                          "waits",
        "timeout": "the wait for a turn would use up the timeout; max_wait bounds it",
        "hedge": "a second attempt would wait in line behind the calls that came after the first",
    },
    can_be_shadow=True,
    calls_back=True,
    compiled_in=("adaptive",),
    text=_WRITTEN_OUT,
    plain=_PLAIN,
    text_for=_text,
    cannot_change=_cannot_change,
    start=_start,
    change=_change,
    forget=RateLimiter.clear,
    renew=RateLimiter.renew,
    install=_install,
    worst_case=_worst_case,
    refusal="rate_limited",
    gauges=_gauges,
    events=(Telling("rate_limited", "Calls that came too soon, and could not wait long enough."),),
)
