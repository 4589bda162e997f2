"""ServiceTotal: the command under a service's name, where each endpoint has a command of its own: their sum.

Nothing is counted twice: the command has a recorder, slots and a circuit that have nothing of their own, and add up
those of the endpoints when somebody reads. So requests pay nothing for it. What endpoints counted that are not there
any more stays in the lifetime totals, which must never fall; so does what their last requests count.

| of the sum | is |
|---|---|
| counts | the sum, and what the circuit around whole requests has refused |
| calls in flight | the sum, with those at endpoints that are not there any more |
| limit | the sum |
| latency | that of all calls together |
| state | that of the healthiest endpoint, or of the circuit around whole requests if that is worse |

What an operator says to it goes to all endpoints and to that circuit: force_open(), release(), reset(), configure().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final, cast

from ...commands.command import Command, internals_of
from ...core.bulkhead import Bulkhead, Slots
from ...core.circuit import Circuit
from ...core.circuit_checkpoint import CircuitCheckpoint
from ...core.events import CommandConfigured, State, Trigger
from ...core.histogram import Latency, Lifetime, latency_of
from ...core.terms import Term
from ...metrics.history import PastRates
from ...metrics.recorder import Reading, Recorder
from ...registry import Registry
from .service_circuit import ServiceCircuit
from .service_command import guarded, no_exchange

#: States of circuits.
HEALTHIEST_FIRST: Final = (State.FORCED_CLOSED, State.CLOSED, State.DISABLED, State.HALF_OPEN, State.OPEN,
                           State.FORCED_OPEN)
_REFUSING: Final = (State.HALF_OPEN, State.OPEN, State.FORCED_OPEN)
#: What an operator has ordered.
ORDERS: Final = frozenset({State.FORCED_OPEN, State.FORCED_CLOSED})


def obey(command: Command, order: State) -> None:
    """Have a *command* do what an operator has ordered for what was in its place."""
    (command.force_open if order is State.FORCED_OPEN else command.force_closed)()


class ServiceTotal:
    """The command of a service whose endpoints have commands of their own.

    Attributes:
        command: Its handle.
        circuit: Around whole requests; None: the commands have no circuit breaker.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], registry: Registry, *, anew: bool = False) -> None:
        """Declare the command.

        Args:
            name: Of the service.
            settings: Of its command.
            registry: Where the commands are.
            anew: The settings take the place of those that it has.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise.
        """
        self._registry = registry
        self._parts: tuple[Command, ...] = ()
        self._leaving: tuple[Command, ...] = ()  # not there any more, but for requests that had begun
        self._call = guarded(no_exchange, settings, key=name, registry=registry, anew=anew)  # else the command would go
        self.command = registry[name]
        runtime = internals_of(self.command).runtime
        runtime.recorder = self._recorder = _TotalRecorder(self, registry.clock())
        runtime.slots = _TotalSlots(self, name)
        self.circuit = ServiceCircuit.of(self.command)
        if self.circuit is not None:
            runtime.circuit = cast("Circuit", _TotalCircuit(self, self.circuit.circuit))
        self._end = registry.subscribe(CommandConfigured, self._pass_on)

    @property
    def parts(self) -> tuple[Command, ...]:
        """The commands of the endpoints."""
        return self._parts

    @property
    def counted(self) -> tuple[Command, ...]:
        """The commands that are added up."""
        return self._parts + self._leaving

    def adopt(self, keys: Sequence[str]) -> None:
        """These are the commands of the endpoints from now on. An order that all of them had, new ones get, too."""
        parts = tuple(self._registry[key] for key in keys)
        before, kept = {id(each) for each in self._parts}, {id(each) for each in parts}
        orders = {each.state for each in self._parts}
        gone = [each for each in self.counted if id(each) not in kept]
        for each in gone:
            if not each.in_flight:
                self._recorder.fold(each.__recorder__)
        self._parts, self._leaving = parts, tuple(each for each in gone if each.in_flight)
        if len(orders) == 1 and orders <= ORDERS:
            for each in parts:
                if id(each) not in before:
                    obey(each, *orders)

    def count_on(self, commands: Sequence[Command]) -> None:
        """Count what these *commands* have counted, which were there before, and what their last calls will."""
        self._leaving += tuple(commands)

    def renewed(self, settings: Mapping[str, Any]) -> ServiceTotal:
        """The total by other settings; what departed endpoints counted stays."""
        self.close()
        total = ServiceTotal(self.command.key, settings, self._registry, anew=True)
        total._recorder.take_over(self._recorder)
        total._parts, total._leaving = self._parts, self._leaving
        return total

    def close(self) -> None:
        """The service is no more."""
        self._end()

    def _pass_on(self, event: CommandConfigured) -> None:
        if event.key == self.command.key:
            settings = self.command.settings
            for part in self._parts:
                part.configure(**{name: getattr(settings, name) for name in event.changes})


class _TotalRecorder(Recorder):
    __slots__ = ("_departed", "_seconds", "_total")
    is_sum = True

    def __init__(self, total: ServiceTotal, now: float) -> None:
        super().__init__(now=now)
        self._total = total
        self._departed: list[int] = []
        self._seconds = Lifetime([], 0.0)

    def fold(self, recorder: Recorder) -> None:
        """Keep the lifetime totals of an endpoint that leaves."""
        counts, lifetime = recorder.totals()
        self._departed = _sum(self._departed, counts)
        seconds = self._seconds.seconds + lifetime.seconds
        self._seconds = Lifetime(_sum(self._seconds.buckets, lifetime.buckets), seconds)

    def take_over(self, other: _TotalRecorder) -> None:
        """Keep what another one has kept."""
        self._departed, self._seconds = other._departed, other._seconds

    def read(self, now: float) -> Reading:
        readings = [part.__recorder__.read(now) for part in self._total.counted]
        seconds = sum(each.latency.count * each.latency.mean for each in readings)
        latency: Latency = latency_of(self.bins(now), seconds)
        return Reading(_sum(super().read(now).counts, *(each.counts for each in readings)),
                       sum(each.max_in_flight for each in readings), latency)

    def totals(self) -> tuple[list[int], Lifetime]:
        counts, lifetime = super().totals()
        totals = [part.__recorder__.totals() for part in self._total.counted]
        lifetimes = [lifetime, self._seconds, *(each for _, each in totals)]
        return (_sum(counts, self._departed, *(each for each, _ in totals)),
                Lifetime(_sum(*(each.buckets for each in lifetimes)), sum(each.seconds for each in lifetimes)))

    def past(self, now: float) -> PastRates:
        pasts = [super().past(now), *(part.__recorder__.past(now) for part in self._total.counted)]
        return PastRates(_sum_from_the_end(each.requests for each in pasts),
                         _sum_from_the_end(each.errors for each in pasts),
                         min((each.age for each in pasts if each.requests), default=0))

    def bins(self, now: float) -> dict[int, int]:
        whole: dict[int, int] = {}
        for part in self._total.counted:
            for index, count in part.__recorder__.bins(now).items():
                whole[index] = whole.get(index, 0) + count
        return whole

    def clear(self) -> None:
        super().clear()
        for part in self._total.counted:
            part.__recorder__.clear()


def _sum(*columns: Sequence[int]) -> list[int]:
    return [sum(row) for row in zip_longest(*columns, fillvalue=0)]


def _sum_from_the_end(columns: Any) -> list[int]:
    return _sum(*(each[::-1] for each in columns))[::-1]


class _TotalSlots(Slots):
    __slots__ = ("_total",)

    def __init__(self, total: ServiceTotal, key: str) -> None:
        super().__init__(Bulkhead(None), key=key)
        self._total = total

    @property
    def limit(self) -> int | None:
        limits = [internals_of(part).runtime.slots.limit for part in self._total.parts]
        known = [each for each in limits if each is not None]
        return sum(known) if len(known) == len(limits) and known else None

    @property
    def in_flight(self) -> int:
        return sum(part.in_flight for part in self._total.counted)


class _TotalCircuit:
    """As much of a Circuit as a handle needs."""

    def __init__(self, total: ServiceTotal, own: Circuit) -> None:
        self._total, self._own = total, own

    @property
    def _circuits(self) -> list[Circuit]:
        circuits = [internals_of(part).runtime.circuit for part in self._total.parts]
        return [each for each in circuits if each is not None]

    @property
    def _healthiest(self) -> Circuit:
        return min(self._circuits or [self._own],
                   key=lambda circuit: (HEALTHIEST_FIRST.index(circuit.state), circuit.term.until))

    @property
    def _shown(self) -> Circuit:
        """The circuit that says what becomes of the next request."""
        own, healthiest = self._own, self._healthiest
        is_worse = HEALTHIEST_FIRST.index(own.state) > HEALTHIEST_FIRST.index(healthiest.state)
        return own if is_worse and own.state in _REFUSING else healthiest

    @property
    def state(self) -> State:
        return self._shown.state if self._circuits else State.DISABLED

    @property
    def term(self) -> Term:
        return self._shown.term

    @property
    def opened_at(self) -> float | None:
        return self._shown.opened_at

    def retry_after(self, now: float) -> float | None:
        return self._shown.retry_after(now)

    def steer(self, trigger: Trigger, now: float) -> None:
        for circuit in (self._own, *self._circuits):
            circuit.steer(trigger, now)

    def save(self, now: float) -> CircuitCheckpoint:
        return self._healthiest.save(now)

    def restore(self, saved: CircuitCheckpoint, elapsed: float, now: float) -> None:
        for circuit in self._circuits:
            circuit.restore(saved, elapsed, now)

