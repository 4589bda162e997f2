"""ServiceCircuit: the circuit around whole requests of a service, beside those around each exchange with an endpoint.

The circuits of endpoints keep a sick one apart, and say nothing of the service. If a service is overloaded as a whole,
each of many gateways knows of each of many endpoints only what a few requests have told; and a request that finds one
circuit open goes to the next endpoint, whose queue is full as well. This circuit weighs what has come of a request in
the end, after all its attempts: when most of them fail, the next ones are refused, which is what lets queues drain. A
sick endpoint does not open it, because the request is answered by another one.

| a request | counts as |
|---|---|
| got a good answer | success |
| got none, after an attempt that was a failure of its endpoint | failure |
| was left by its client after such an attempt | failure |
| was left before, refused by all, or got an answer that is no failure of its endpoint, such as "busy" | nothing |

How long a request took does not matter here: that is for the circuits of the endpoints to weigh.
"""

from __future__ import annotations

from ...commands.command import Command, internals_of
from ...core.circuit import Circuit
from ...core.outcome import CANCELLED, FAILURE, SUCCESS
from ...core.terms import Term
from ...policies.breaker import BREAKER


class ServiceCircuit:
    """The circuit around whole requests. Of one event loop; operators may steer the circuit from any thread.

    Attributes:
        circuit: Its state.
    """

    __slots__ = ("_admit", "_failures", "circuit")

    def __init__(self, command: Command, circuit: Circuit) -> None:
        """For the *command* under the service's name, which has the *circuit* and counts what that refuses."""
        internals = internals_of(command)
        self.circuit = circuit
        circuit.hears_at_once()
        self._failures = internals.runtime.failures
        self._admit = internals.accounting(fallback=None, ignore=()).admission(circuit)

    @classmethod
    def of(cls, command: Command) -> ServiceCircuit | None:
        """That of a *command*; None: it has no circuit breaker."""
        circuit = internals_of(command).runtime.of(BREAKER)
        return None if circuit is None else cls(command, circuit)

    def admit(self, now: float) -> Term:
        """A permit for one request, to be passed to ended() or unanswered().

        Raises:
            CircuitOpenError: The circuit is open.
        """
        term = self.circuit.term
        if now < term.free_until:
            return term
        admitted: Term = self._admit(now)
        return admitted

    def ended(self, permit: Term, now: float) -> None:
        """The request was answered."""
        if now < permit.lock_free_until:
            permit.bump()
        else:
            self.circuit.settle(permit, SUCCESS, now, now)

    def unanswered(self, permit: Term, error: BaseException | None, now: float) -> None:
        """The request got no good answer.

        Args:
            permit: Of admit().
            error: The failure of an endpoint that it came of; None: nothing is to be said of the service.
            now: As for admit().
        """
        if error is not None:
            self._failures.note(error, now)
        self.circuit.settle(permit, CANCELLED if error is None else FAILURE, now, now)
