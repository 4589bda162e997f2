"""The adaptive limit's kit: a bulkhead that finds its own size, with a short queue in front of it."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from ..core.adaptive import AdaptiveLimit, Limiter
from ..core.outcome import Event
from ..drivers.turns import Turns
from ..errors import ConfigError
from ..pipeline.kit import Afterwards, GateText, Kit
from ..pipeline.machines import Machines
from ..pipeline.shape import Flavour
from ..pipeline.site import Site

_TEXT: Final = GateText(  # it may let one wait
    acquire=f"""\
event = {int(Event.SEMAPHORE_REJECTED)}
grip = []
try:
    if not take(grip, args, kwargs):
        {{await_}}queue(grip, args, kwargs)
        started = clock()
finally:
    if grip:
        sack = held = grip[0]""",
    takes_slot=True, give_back="sack.append(None)", give_back_held="held.append(None)",
    settle="report({outcome}, started, now)")


def _suits(limit: AdaptiveLimit, plan: Any, flavour: Flavour, key: str) -> None:
    if (limit.priorities is not None or limit.max_queue) and flavour is Flavour.THREAD:
        name = "priorities" if limit.priorities is not None else "max_queue"
        raise ConfigError(f"{key}: {name} of an adaptive limit is for calls that run where their caller is; use "
                          "timeout=None or isolation='semaphore'", name)


def _start(limit: AdaptiveLimit, machines: Machines) -> Limiter:
    limiter = Limiter(limit, key=machines.key, now=machines.clock(), slots=machines.slots)
    machines.recorder.watch(limiter.take_peak)
    return limiter


def _change(limiter: Limiter, limit: AdaptiveLimit | None, old: Any, machines: Machines) -> Afterwards | None:
    if limit is not None:
        limiter.configure(limit, machines.clock())
    return None


def _install(site: Site, limit: AdaptiveLimit, limiter: Limiter) -> None:
    turns = Turns(limiter, key=site.machines.key, clock=site.machines.clock, priorities=limit.priorities)
    site.names.update(report=limiter.report, take=turns.take,
                      queue=turns.wait_async if site.flavour.is_async else turns.wait)


ADAPTIVE_LIMIT: Final = Kit(
    name="adaptive_limit",
    policy=AdaptiveLimit,
    about="Lets as many calls run at once as the target turns out to bear.",
    above={
        "timeout": "a timeout above the limit is a cancellation to it: it would learn nothing from one",
        "hedge": "the limit would learn from losers that were cancelled",
    },
    instead_of={"max_concurrent": "Bulkhead and AdaptiveLimit both say how many calls may run at once; keep one of "
                                  "them"},
    can_be_shadow=True,
    width=attrgetter("most"),
    calls_back=True,
    text=_TEXT,
    plain=_TEXT,  # it calls the machine's methods already
    suits=_suits,
    start=_start,
    change=_change,
    forget=Limiter.clear,
    renew=Limiter.renew,
    install=_install,
    refusal="semaphore_rejected",
)
