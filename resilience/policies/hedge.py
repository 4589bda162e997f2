"""The hedge's kit: a race of a second attempt against one that is slow."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import Any, Final

from ..core.hedge import Hedge, Racer, longest_call
from ..engine.command_runtime import CommandRuntime
from ..engine.failover_calls import shared_attempts
from ..engine.hedging import HedgePolicy, Hedging
from ..engine.kit import Afterwards, Kit, TelemetryItem
from ..engine.site import Site
from ..engine.worst_case import WorstCase
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError


def _suits(hedge: Hedge, declaration: Any, flavour: Flavour, key: str) -> None:
    if flavour is Flavour.SYNC:
        raise ConfigError(f"{key}: two attempts at once of a plain function take two threads; add isolation='thread' "
                          "or a timeout", "hedge")


def _worst_case(hedge: Hedge, below: WorstCase) -> WorstCase:
    return below.raced(hedge.attempts, functools.partial(longest_call, hedge))


def _start(hedge: Hedge, runtime: CommandRuntime) -> HedgePolicy:
    budget = runtime.services.budget(runtime.group, hedge.budget)
    return HedgePolicy(Racer(hedge, bins=runtime.recorder.bins), budget)


def _change(held: HedgePolicy, hedge: Hedge | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    held.is_on = hedge is not None
    if hedge is not None:
        held.budget = runtime.services.budget(runtime.group, hedge.budget)
        held.racer.configure(hedge)
    return None


def _forget(held: HedgePolicy, now: float) -> None:
    held.racer.renew()


def _install(site: Site, hedge: Hedge, held: HedgePolicy) -> None:
    runtime = site.runtime
    hedging = Hedging(held, key=runtime.key, group=runtime.group, clock=runtime.clock, slots=runtime.slots,
                      circuit=runtime.circuit, recorder=runtime.recorder, emitter=runtime.services.emitter,
                      deposits=not site.has("retry"), racing=shared_attempts if site.targets else nullcontext,
                      cleanups=runtime.services.cleanups)
    if site.flavour is Flavour.THREAD:
        site.names["wait"] = hedging.wait
    else:
        over = {Flavour.ASYNC: hedging.over, Flavour.GENERATOR: hedging.over_generator,
                Flavour.ASYNC_GENERATOR: hedging.over_async_generator}[site.flavour]
        site.called = over(site.called)


HEDGE: Final = Kit(
    name="hedge",
    policy=Hedge,
    about="Begins a second attempt beside one that is slow, and takes the first success.",
    no_block="a hedge runs the code a second time, and Python runs a block once",
    needs_threads=True,
    can_be_off=True,
    suits=_suits,
    start=_start,
    change=_change,
    forget=_forget,
    renew=_forget,
    install=_install,
    worst_case=_worst_case,
    events=(TelemetryItem("hedge", "Second and further attempts that were begun beside a slow one."),),
)
