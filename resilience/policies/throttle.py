"""The throttle's kit: a gate that refuses a share of the calls."""

from __future__ import annotations

from typing import Final

from ..core.outcome import Event
from ..core.throttle import Throttle, Throttler
from ..pipeline.kit import Afterwards, GateText, Kit, Telling
from ..pipeline.machines import Machines
from ..pipeline.site import Site

_SETTLE: Final = "answered(None, {outcome}, started, now)"


def _start(throttle: Throttle, machines: Machines) -> Throttler:
    return Throttler(throttle, key=machines.key, now=machines.clock())


def _change(throttler: Throttler, throttle: Throttle | None, old: Throttle | None,
            machines: Machines) -> Afterwards | None:
    if throttle is not None:
        throttler.configure(throttle, machines.clock())
    return None


def _install(site: Site, throttle: Throttle, throttler: Throttler) -> None:
    site.names.update(throttle=throttler, shed=throttler.acquire, answered=throttler.settle,
                      random=site.machines.environment.random)


THROTTLE: Final = Kit(
    name="throttle",
    policy=Throttle,
    about="Refuses a share of the calls while the target does not accept all of them.",
    above={
        "rate_limit": "a call that the throttle refuses would use up the rate of one that could run",
        "max_concurrent": "a call that the throttle refuses would take a slot from one that could run",
        "adaptive_limit": "a call that the throttle refuses would take a slot from one that could run",
        "timeout": "a timeout above the throttle is a cancellation to it: it would never count one",
        "hedge": "the throttle would see two calls of one",
    },
    can_be_shadow=True,
    text=GateText(
        acquire=f"""\
event = {int(Event.THROTTLED)}
if throttle.rate:
    shed(started, random())""",
        settle=_SETTLE),
    plain=GateText(acquire=f"event = {int(Event.THROTTLED)}\nshed(started, random())", settle=_SETTLE),
    start=_start,
    change=_change,
    forget=Throttler.clear,
    renew=Throttler.renew,
    install=_install,
    refusal="throttled",
    events=(Telling("throttled", "Calls that the throttle refused."),),
)
