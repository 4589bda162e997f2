"""Reasons: why a circuit went from one state to another, in a few words for people."""

from __future__ import annotations

from typing import Final

from .events import Trigger

#: Triggers that say that calls failed, as opposed to slow ones or a saved state.
FAILED: Final = (Trigger.FAILURE_RATE, Trigger.CONSECUTIVE, Trigger.SUSTAINED_FAILURES)
#: What the other triggers say in words.
WORDS: Final = {
    Trigger.HALTED: "its target asked its callers to wait",
    Trigger.FLEET: "other instances see its target down",
    Trigger.RESTORED: "it was open before the process was started anew",
    Trigger.WAIT_ELAPSED: "its wait is over, and a call came",
    Trigger.PROBES_PASSED: "its probes succeeded",
    Trigger.PROBES_LOST: "its probes did not answer in time",
    Trigger.FORCED_OPEN: "an operator forced it open, until it is released",
    Trigger.FORCED_CLOSED: "an operator forced it closed, until it is released",
    Trigger.DISABLED: "an operator took its breaker away",
    Trigger.RELEASED: "an operator released it",
    Trigger.RESET: "an operator reset it",
}


def verdict(trigger: Trigger, weighed: tuple[int, int, int, float] | None) -> str:
    """Why a circuit opened, in a few words; *weighed*: calls, failed ones, slow ones, and seconds of a run."""
    if weighed is None:  # restored, or opened by a stand-in that pulls the trigger itself
        return WORDS.get(trigger, "it was opened by hand")
    calls, failed, slow, seconds = weighed
    if trigger is Trigger.SLOW_RATE:
        return "1 call was slow" if calls == 1 else f"{slow} of {calls} calls were slow"
    if trigger is Trigger.FAILURE_RATE:
        return "1 call failed" if calls == 1 else f"{failed} of {calls} calls failed"
    if trigger is Trigger.CONSECUTIVE:
        return "1 call failed" if calls == 1 else f"{calls} calls in a row failed"
    return f"{calls} calls in a row failed, over {seconds:.0f} s"
