"""The circuit breaker's kit: a gate that is asked before all others, and weighs how calls end."""

from __future__ import annotations

import functools
from math import inf
from typing import Any, Final

from ..core.breaker import CircuitBreaker
from ..core.circuit import Circuit
from ..core.events import State, Trigger
from ..core.outcome import CANCELLED, REJECTED, SUCCESS
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, GateText, Kit, TelemetryItem, Weigh
from ..engine.site import Site
from ..metrics.recorder import BATCH

# Of one who got no slot: refused, or interrupted on the way.
_TURNED_AWAY: Final = f"settle(permit, {REJECTED} if isinstance(error, Exception) else {CANCELLED}, started, started)"

_WRITTEN_OUT: Final = GateText(
    # Circuit.acquire of a term that lets calls pass for now.
    ask="""\
permit = circuit.term
if started >= permit.free_until:
    permit = admit(started)""",
    ask_or_raise="""\
permit = circuit.term
if started >= permit.free_until:
    if started < permit.refuses_until:
        raise refusal(permit, started)
    permit = admit(started)""",
    # Count a call that is under way, if its term wants to know (core.in_flight_cohorts). An interrupt falls after
    # the append, when ``cohort`` says already that there is something to take away.
    enter="""\
cohort = permit.cohort
if cohort is not None:
    cohort.append(None)""",
    leave="""\
if cohort is not None:
    del cohort[-1]""",
    # Where nothing needs to follow it: an interrupt may, and this is 14 ns less.
    leave_last="""\
if cohort is not None:
    cohort.pop()""",
    refused=_TURNED_AWAY,
    settle="settle(permit, {outcome}, started, now)",
    weigh=Weigh(  # Circuit.settle of a good and fast result, and Recorder.success; bump() counts the calls of its term
        healthy="now < permit.lock_free_until and took < circuit.slow_s",
        full=f"not permit.bump() & {BATCH - 1}",
        otherwise=f"settle(permit, {SUCCESS}, started, now)\nrecorder.success(started, now)"))

_PLAIN: Final = GateText(
    ask="permit = admit(started)", ask_or_raise="permit = admit(started)",
    enter="cohort = track(permit)", leave="untrack(cohort)", leave_last="untrack(cohort)",
    refused=_TURNED_AWAY, settle="settle(permit, {outcome}, started, now)",
    weigh=Weigh(healthy="", full="",
                otherwise=f"settle(permit, {SUCCESS}, started, now)\nrecorder.success(started, now)"))


def _track(permit: Any) -> list[None] | None:
    """Count a call that is under way, if its term wants to know; what to give to _untrack()."""
    cohort: list[None] | None = permit.cohort
    if cohort is not None:
        cohort.append(None)
    return cohort


def _untrack(cohort: list[None] | None) -> None:
    if cohort is not None:
        cohort.pop()


def _start(breaker: CircuitBreaker, runtime: CommandRuntime) -> Circuit:
    _tell(runtime, breaker)
    return Circuit(breaker, key=runtime.key, group=runtime.group, now=runtime.clock(), emit=runtime.changed,
                   random=runtime.services.random, horizon=runtime.recorder.horizon, failures=runtime.failures,
                   stalls=runtime.services.stalls)


def _tell(runtime: CommandRuntime, breaker: CircuitBreaker) -> None:
    """Let the note of what failed know what counts as a failure."""
    runtime.failures.with_refusals = breaker.count_rejections
    runtime.failures.with_deadlines_s = breaker.slow_call or inf


def _change(circuit: Circuit, breaker: CircuitBreaker | None, old: CircuitBreaker | None,
            runtime: CommandRuntime) -> Afterwards | None:
    if breaker is None:
        return functools.partial(_steer, circuit, Trigger.DISABLED, runtime)
    _tell(runtime, breaker)
    circuit.configure(breaker, runtime.clock())
    if circuit.state is State.DISABLED:
        return functools.partial(_steer, circuit, Trigger.RELEASED, runtime)
    return None


def _steer(circuit: Circuit, trigger: Trigger, runtime: CommandRuntime) -> None:
    circuit.steer(trigger, runtime.clock())


def _install(site: Site, breaker: CircuitBreaker, circuit: Circuit) -> None:
    settle = circuit.settle
    if site.calls_back():
        settle = site.accounting.weighing(settle)
    site.names.update(circuit=circuit, settle=settle, refusal=site.accounting.refusal, track=_track,
                      untrack=_untrack, admit=circuit.acquire if site.answers else site.accounting.admission(circuit))


BREAKER: Final = Kit(
    name="breaker",
    policy=CircuitBreaker,
    about="Refuses calls while the target cannot answer them.",
    usual=CircuitBreaker(),
    above={
        "throttle": "the throttle would count what the open circuit refuses as not accepted",
        "rate_limit": "a call that the open circuit refuses would use up the rate of one that could run",
        "max_concurrent": "a call that the open circuit refuses would take a slot from one that could run",
        "adaptive_limit": "a call that the open circuit refuses would take a slot from one that could run",
        "timeout": "a timeout above the breaker is a cancellation to it: it would never count one",
        "hedge": "the breaker would see two calls of one, and the loser's cancellation",
    },
    can_be_off=True,
    can_be_shadow=True,
    text=_WRITTEN_OUT,
    plain=_PLAIN,
    start=_start,
    change=_change,
    renew=Circuit.renew,
    install=_install,
    refusal="short_circuited",
    events=(TelemetryItem("short_circuited", "Calls that the open circuit refused."),),
)
