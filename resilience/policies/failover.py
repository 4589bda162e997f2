"""The failover's kit: a loop over the commands of several targets; see engine.failover_calls."""

from __future__ import annotations

from math import inf
from typing import Any, Final

import attrs

from ..core.failover import Failover, Rest
from ..engine.command_runtime import CommandRuntime
from ..engine.failover_calls import MovesOn, TargetFailover
from ..engine.kit import Afterwards, Kit, TelemetryItem
from ..engine.site import Site
from ..engine.worst_case import WorstCase

_BELOW: Final = ("breaker", "throttle", "rate_limit", "max_concurrent", "adaptive_limit", "timeout", "stream_timeout")


def _budget(failover: Failover, runtime: CommandRuntime) -> Any:
    """Its own, and not that of the group's retries."""
    return runtime.services.budget(f"{runtime.group} (failover)", failover.budget)


def _start(failover: Failover, runtime: CommandRuntime) -> TargetFailover:
    return TargetFailover(Rest(failover), _budget(failover, runtime))


def _change(held: TargetFailover, failover: Failover | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    if failover is not None:
        held.rest.configure(failover)
        held.budget = _budget(failover, runtime)
    return None


def _forget(held: TargetFailover, now: float) -> None:
    held.rest.clear()


def _renew(held: TargetFailover, now: float) -> None:
    held.rest.renew()


def _install(site: Site, failover: Failover, held: TargetFailover) -> None:
    site.accounting.moves_on = True
    site.names.update(failovers=held, moves_on=MovesOn)


def _detail(failover: Failover) -> str:
    return ", ".join(failover.targets)


def _worst_case(failover: Failover, below: WorstCase) -> WorstCase:
    times, until, race = len(failover.targets), below.until, below.race
    given_up = below.seconds if until is None else until(1)  # a stream goes on to another target until its first item
    worst = attrs.evolve(below.repeated(times, each=given_up), waits=below.waits * times)
    if until is not None:
        worst = attrs.evolve(worst, until=lambda items: (times - 1) * until(1) + until(items))
    if race is not None:  # of a hedge, which stands above: each of its attempts goes round the targets
        rounds, turn = worst.until, times * given_up
        joined = inf if turn == inf else race(turn) - turn + worst.last_begins
        worst = attrs.evolve(worst, race=None, seconds=race(worst.seconds), last_begins=joined,
                             until=None if rounds is None else lambda items: race(rounds(items)))
    if failover.max_wait is None:
        return worst.besides_also("a wait within the caller's deadline while every target refuses")
    return worst.after(failover.max_wait)


def _gauges(held: TargetFailover) -> dict[str, float]:
    return {"resting": float(held.rest.is_left_out)}


FAILOVER: Final = Kit(
    name="failover",
    policy=Failover,
    about="Calls the first of several targets that can answer; each is a command of its own.",
    no_block="a failover runs the code again at another target, and Python runs a block once",
    above={**dict.fromkeys(_BELOW, "each target has its own, so that one which is down does not speak for the others"),
           "hedge": "a hedge is written at the bottom; its attempts go to different targets all the same"},
    kept=("targets", "argument"),
    start=_start,
    change=_change,
    forget=_forget,
    renew=_renew,
    install=_install,
    detail=_detail,
    worst_case=_worst_case,
    gauges=_gauges,
    events=(TelemetryItem("failover", "Calls that failed here and went on to another target."),),
)
