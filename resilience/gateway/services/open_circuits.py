"""Open circuits: what all commands of a service would refuse is refused without an attempt.

A guarded exchange asks its circuit first of all, if the circuit breaker is its outermost policy, and says no with its
counts and events before anything else happens. That is all that is done here, too: the same circuit is asked, and the
same account refuses. A circuit that may let a call pass, as one that is to be probed, is left to the attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from ...commands.command import internals_of
from ...core.circuit import Circuit
from ...decorate.wrapper_stack import guard_of
from ...drivers.deadline_context import in_use, remaining
from ...engine.call_accounting import CallAccounting
from ...errors import CircuitOpenError
from ...policies.breaker import BREAKER
from ..messages.exchange import Request
from .served_endpoint import ServedEndpoint

#: A circuit, and what counts the refusals of its command.
Gate = tuple[Circuit, CallAccounting]


class OpenCircuits:
    """The circuits of one service's endpoints, whose commands are asked in turn. Of one event loop."""

    __slots__ = ("_each", "_first")

    def __init__(self, found: Sequence[tuple[ServedEndpoint, Gate | None]]) -> None:
        """Nothing is refused here unless each command asks its circuit first.

        Args:
            found: The endpoints whose commands would all have to refuse, one for each command, with the first_gate().
        """
        self._each = [(endpoint, *gate) for endpoint, gate in found if gate is not None]
        self._first: Circuit | None = self._each[0][1] if self._each and len(self._each) == len(found) else None

    @property
    def may_refuse(self) -> bool:
        """Whether it is worth asking: the first of them is open."""
        return self._first is not None and self._first.term.refuses_until != -inf

    def refusal(self, request: Request, now: float) -> CircuitOpenError | None:
        """The refusal that ends soonest, counted; None, and nothing is counted: one may let it pass."""
        if in_use and remaining() is not None:  # the time that is left decides before the circuit does
            return None
        soonest: Any = None
        for endpoint, circuit, accounting in self._each:
            term: Any = circuit.term
            if not term.free_until <= now < term.refuses_until:
                return None
            if soonest is None or term.until < soonest[0].until:
                soonest = term, endpoint, accounting
        term, endpoint, accounting = soonest
        if request.asked is not None:
            request.asked(endpoint.name)
        refusal: CircuitOpenError = accounting.refusal(term, now)
        return refusal


def first_gate(call: Any) -> Gate | None:
    """The circuit that a guarded exchange asks first of all, and what counts its refusals; None: it asks another."""
    guard = guard_of(call)
    if guard is None or next(iter(guard.declaration.chain()), None) is not BREAKER:
        return None
    circuit = internals_of(guard.command).runtime.of(BREAKER)
    return None if circuit is None else (circuit, guard.accounting)
