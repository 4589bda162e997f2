"""The rate limit's kit: a gate that may let a call wait for its turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from ..core.outcome import Event
from ..core.rate_limit import RateLimit, has_cost
from ..core.rate_limiter import RateLimiter
from ..drivers.rate_limit_waiter import RateLimitWaiter
from ..engine.command_runtime import CommandRuntime
from ..engine.cost_account import CostAccount
from ..engine.kit import Afterwards, GateText, Kit, TelemetryItem
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

#: Of a limit by cost; ``{told}`` is what the true cost is read from.
_BOOKED: Final = GateText(
    first="booked = {told} = None",
    acquire=f"""\
event = {int(Event.RATE_LIMITED)}
booked = book(started, args, kwargs)
if booked.turn is not None:
    {{await_}}wait_for_rate(booked.turn)
    started = clock()""",
    refused="if booked is not None:\n    refund(booked, clock())",
    settle="charge(booked, {outcome}, {told}, now)", label="cost")


def _text(limit: RateLimit, flavour: Flavour) -> GateText | None:
    """An adaptive limit, and one by cost, hear how calls end."""
    if has_cost(limit):
        told = "item" if flavour.is_generator else "result"
        settle = _BOOKED.settle.replace("{told}", told)
        return attrs.evolve(_BOOKED, first=_BOOKED.first.replace("{told}", told),
                            settle=f"{settle}\n{_SETTLE}" if limit.adaptive else settle,
                            label="adaptive cost" if limit.adaptive else "cost")
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
    if has_cost(limit) and not limiter.settles_costs:
        return ("its functions were declared without a cost, so that the limit does not hear what they took; declare "
                f"it with RateLimit({limit.calls}, cost=...)")
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
    if has_cost(limit):
        limiter.settles_costs = True
        account = CostAccount(limiter, key=site.runtime.key)
        site.names.update(book=account.book, refund=account.refund, charge=account.charge)
    site.names.update(rate=limiter, rate_settle=limiter.settle, pace=limiter.pace, reserve=limiter.reserve,
                      wait_for_rate=line.wait_async if site.flavour.is_async else line.wait)


RATE_LIMIT: Final = Kit(
    name="rate_limit",
    policy=RateLimit,
    about="Lets so many calls begin in so much time, or what they cost; more wait for their turn, or are refused.",
    above={
        "max_concurrent": "a slot would be held while a call waits for its turn",
        "adaptive_limit": "a slot would be held while a call waits for its turn, and the limit would learn from the "
                          "waits",
        "timeout": "the wait for a turn would use up the timeout; max_wait bounds it",
        "hedge": "a second attempt would wait in line behind the calls that came after the first",
    },
    can_be_off=True,
    passes_when_off=True,
    can_be_shadow=True,
    calls_back=True,
    compiled_in=("adaptive", "cost", "true_cost"),
    needs={"max_keys": "by"},
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
    events=(TelemetryItem("rate_limited", "Calls that came too soon, and could not wait long enough."),),
)
