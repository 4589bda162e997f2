"""The adaptive limit's kit: a bulkhead that finds its own size, with a short queue in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

from ..core.adaptive import AdaptiveLimit, AdaptiveLimiter
from ..core.queued_slots import QueuedSlots
from ..drivers.admission_waiter import AdmissionWaiter
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, GateText, Kit
from ..engine.site import Site
from ..engine.worst_case import WorstCase
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError
from .bulkhead import TAKE_OR_WAIT

_TEXT: Final = GateText(  # it may let one wait
    acquire=TAKE_OR_WAIT,
    takes_slot=True, give_back="sack.append(None)", give_back_held="held.append(None)",
    settle="report({outcome}, started, now)")


def _suits(limit: AdaptiveLimit, declaration: Any, flavour: Flavour, key: str) -> None:
    if limit.fair_by is not None and not limit.max_queue:
        raise ConfigError(f"{key}: fair_by shares slots among calls that wait, and without max_queue none waits; give "
                          "max_queue too", "fair_by")
    if (limit.priorities is not None or limit.max_queue) and flavour is Flavour.THREAD:
        name = "priorities" if limit.priorities is not None else "max_queue"
        raise ConfigError(f"{key}: {name} of an adaptive limit is for calls that run where their caller is; use "
                          "timeout=None or isolation='semaphore'", name)


def _worst_case(limit: AdaptiveLimit, below: WorstCase) -> WorstCase:
    return below.after(limit.max_queue_for) if limit.max_queue else below


def _start(limit: AdaptiveLimit, runtime: CommandRuntime) -> AdaptiveLimiter:
    limiter = AdaptiveLimiter(limit, key=runtime.key, now=runtime.clock(), slots=runtime.slots,
                              stalls=runtime.services.stalls)
    runtime.recorder.watch(limiter.take_peak)
    return limiter


def _change(limiter: AdaptiveLimiter, limit: AdaptiveLimit | None, old: Any,
            runtime: CommandRuntime) -> Afterwards | None:
    if limit is not None:
        limiter.configure(limit, runtime.clock())
    elif isinstance(runtime.slots, QueuedSlots):
        runtime.slots.be_left()
    return None


def _install(site: Site, limit: AdaptiveLimit, limiter: AdaptiveLimiter) -> None:
    turns = AdmissionWaiter(limiter, key=site.runtime.key, clock=site.runtime.clock, priorities=limit.priorities,
                            fair_by=limit.fair_by)
    site.names.update(report=limiter.report, take=turns.take,
                      queue=turns.wait_async if site.flavour.is_async else turns.wait)


def _gauges(limiter: AdaptiveLimiter) -> Mapping[str, float]:
    return {"waiting": limiter.waiting} if limiter.queue.size else {}


ADAPTIVE_LIMIT: Final = Kit(
    name="adaptive_limit",
    policy=AdaptiveLimit,
    noun="adaptive limit",
    about="Lets as many calls run at once as the target turns out to bear.",
    above={
        "timeout": "a timeout above the limit is a cancellation to it: it would learn nothing from one",
        "hedge": "the limit would learn from losers that were cancelled",
    },
    instead_of={"max_concurrent": "Bulkhead and AdaptiveLimit both say how many calls may run at once; keep one of "
                                  "them"},
    kept=("fair_by", "priorities"),
    compiled_in=("max_queue",),
    can_be_off=True,
    passes_when_off=True,
    can_be_shadow=True,
    width=attrgetter("max_limit"),
    calls_back=True,
    text=_TEXT,
    plain=_TEXT,  # it calls the machine's methods already
    needs={"reserved": "priorities"},
    suits=_suits,
    start=_start,
    change=_change,
    forget=AdaptiveLimiter.clear,
    renew=AdaptiveLimiter.renew,
    install=_install,
    worst_case=_worst_case,
    refusal="semaphore_rejected",
    gauges=_gauges,
)
