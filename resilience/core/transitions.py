"""Transitions: which state of a circuit breaker follows which, and why.

The table is the whole automaton of a circuit; the state diagram of the docs is drawn from it. What decides that a
transition is due is in circuit.py and terms.py.
"""

from __future__ import annotations

from typing import Final

from .events import State, Trigger

#: The operator's word that puts a circuit into a state, where it stays until it is released.
FORCED_BY: Final = {
    State.FORCED_OPEN: Trigger.FORCED_OPEN,
    State.FORCED_CLOSED: Trigger.FORCED_CLOSED,
    State.DISABLED: Trigger.DISABLED,
}

#: The state that follows a state, by what it ends with.
TRANSITIONS: Final[dict[tuple[State, Trigger], State]] = {
    (State.CLOSED, Trigger.FAILURE_RATE): State.OPEN,
    (State.CLOSED, Trigger.SLOW_RATE): State.OPEN,
    (State.CLOSED, Trigger.CONSECUTIVE): State.OPEN,
    (State.CLOSED, Trigger.SUSTAINED_FAILURES): State.OPEN,
    (State.CLOSED, Trigger.HALTED): State.OPEN,
    (State.CLOSED, Trigger.FLEET): State.OPEN,
    (State.CLOSED, Trigger.RESTORED): State.OPEN,
    (State.OPEN, Trigger.WAIT_ELAPSED): State.HALF_OPEN,
    (State.HALF_OPEN, Trigger.PROBES_PASSED): State.CLOSED,
    (State.HALF_OPEN, Trigger.PROBE_FAILED): State.OPEN,
    (State.HALF_OPEN, Trigger.PROBES_LOST): State.HALF_OPEN,
    (State.HALF_OPEN, Trigger.HALTED): State.OPEN,
    **{(forced, Trigger.RELEASED): State.CLOSED for forced in FORCED_BY},
    **{(state, trigger): forced for state in State for forced, trigger in FORCED_BY.items()},
    **{(state, Trigger.RESET): State.CLOSED for state in State},
}
