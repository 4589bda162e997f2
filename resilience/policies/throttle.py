"""The throttle's kit: a gate that refuses a share of the calls."""

from __future__ import annotations

from typing import Final

from ..core.outcome import Event
from ..core.throttle import Throttle, Throttler
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, GateText, Kit, TelemetryItem
from ..engine.site import Site

_SETTLE: Final = "throttle_settle(None, {outcome}, started, now)"


def _start(throttle: Throttle, runtime: CommandRuntime) -> Throttler:
    return Throttler(throttle, key=runtime.key, now=runtime.clock())


def _change(throttler: Throttler, throttle: Throttle | None, old: Throttle | None,
            runtime: CommandRuntime) -> Afterwards | None:
    if throttle is not None:
        throttler.configure(throttle, runtime.clock())
    return None


def _install(site: Site, throttle: Throttle, throttler: Throttler) -> None:
    site.names.update(throttle=throttler, throttle_acquire=throttler.acquire, throttle_settle=throttler.settle,
                      random=site.runtime.services.random)


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
    can_be_off=True,
    passes_when_off=True,
    can_be_shadow=True,
    text=GateText(
        acquire=f"""\
event = {int(Event.THROTTLED)}
if throttle.rate:
    throttle_acquire(started, random())""",
        settle=_SETTLE),
    plain=GateText(acquire=f"event = {int(Event.THROTTLED)}\nthrottle_acquire(started, random())", settle=_SETTLE),
    start=_start,
    change=_change,
    forget=Throttler.clear,
    renew=Throttler.renew,
    install=_install,
    refusal="throttled",
    events=(TelemetryItem("throttled", "Calls that the throttle refused."),),
)
