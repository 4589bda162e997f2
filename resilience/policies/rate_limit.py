"""The rate limit's kit: a gate that may let a call wait for its turn."""

from __future__ import annotations

from typing import Final

from ..core.outcome import Event
from ..core.rate_limit import RateLimit, RateLimiter
from ..drivers.lines import Line
from ..pipeline.kit import Afterwards, GateText, Kit, Telling
from ..pipeline.machines import Machines
from ..pipeline.site import Site

_WRITTEN_OUT: Final = GateText(
    # RateLimiter.reserve of who need not wait; nothing is called between reading and writing.
    acquire=f"""\
booked = pace.booked
if booked < started:
    booked = started
if booked - rate.ahead - started <= 0.0:
    pace.booked = booked + rate.spacing
else:
    event = {int(Event.RATE_LIMITED)}
    place = reserve(started, args, kwargs)
    if place is not None:
        {{await_}}linger(place)
        started = clock()""")

_PLAIN: Final = GateText(acquire=f"""\
event = {int(Event.RATE_LIMITED)}
place = reserve(started, args, kwargs)
if place is not None:
    {{await_}}linger(place)
    started = clock()""")


def _start(limit: RateLimit, machines: Machines) -> RateLimiter:
    return RateLimiter(limit, key=machines.key, now=machines.clock())


def _change(limiter: RateLimiter, limit: RateLimit | None, old: RateLimit | None,
            machines: Machines) -> Afterwards | None:
    if limit is not None:
        limiter.configure(limit, machines.clock())
    return None


def _install(site: Site, limit: RateLimit, limiter: RateLimiter) -> None:
    line = Line(limiter, key=site.machines.key, clock=site.machines.clock)
    site.names.update(rate=limiter, pace=limiter.pace, reserve=limiter.reserve,
                      linger=line.wait_async if site.flavour.is_async else line.wait)


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
    text=_WRITTEN_OUT,
    plain=_PLAIN,
    start=_start,
    change=_change,
    forget=RateLimiter.clear,
    renew=RateLimiter.renew,
    install=_install,
    refusal="rate_limited",
    events=(Telling("rate_limited", "Calls that came too soon, and could not wait long enough."),),
)
