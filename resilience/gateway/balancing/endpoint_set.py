"""EndpointSet: the endpoints of one service, and which of them a request goes to.

Pure: it is told the time and the random number. Who may be asked is decided in this order:

1. those whose circuits may let it pass;
2. of these, those that are available: healthy by their active checks, and not at rest (ejection.py). One whose rest is
   over gets the next request, as its probe, whatever the balancer says;
3. if these are less than the panic share: all that are healthy by their active checks or, without any, all;
4. of these, the ones that are not full, if there are any;
5. of these, the ones that have a weight, if there are any, but for clients that were given one before (sticky.py);
6. of these, the ones with the lowest priority number;
7. the balancer picks one of them.

Endpoints that the request was at already are left out of all of it. If nobody else is left, one at rest is asked
as the last resort: an answer may come, and a refusal is certain. If all circuits refuse, the one is asked that says so
for the shortest time. So no request is refused by one endpoint after the other: of a hundred open circuits, each would
ask a hundred.

Looking at all of them takes time in proportion to their number. So what was found is good for the next requests, until
something is said to have changed, or a tenth of a second has passed, or a rest is over. While all are calm, which is
nearly always, it is good for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from math import inf
from typing import Final, Generic

from ...core.failover import RestState, RestTerm
from .balancer import Balancer, S, weighted
from .ejection import Ejection, Ejector
from .endpoint_state import EndpointState
from .rotation import RoundRobin
from .slow_start import SlowStart
from .sticky import Sticky

#: While not all are calm, it is looked anew after so many seconds: an operator may have closed a circuit.
_LOOK_S: Final = 0.1


class EndpointSet(Generic[S]):
    """The endpoints of one service. Of one event loop.

    Attributes:
        states: All of them.
        ejector: Is told how requests have ended.
        balancer: Picks among those that are available.
        turns: While all are calm and each gets the next turn: that. It takes no time and no random number, and what it
            gives may be full. None: choose() says.
        limit: Requests in flight with which an endpoint is full: it gets no more while another is not.
    """

    __slots__ = ("_candidates", "_fresh_until", "_panic", "_slow_start", "_turns", "balancer", "ejector", "limit",
                 "states", "turns")

    def __init__(self, states: Sequence[S], balancer: Balancer, ejection: Ejection | None, slow_start: SlowStart | None,
                 now: float, limit: float = inf) -> None:
        """A set.

        Args:
            states: None: nothing can be chosen.
            balancer: Picks among those that are available.
            ejection: When one is left out that fails; None: never.
            slow_start: How an endpoint comes back; None: at once.
            now: The time, seconds.
            limit: Requests in flight with which an endpoint is full.
        """
        self.states = tuple(states)
        self.balancer = balancer
        self.ejector = Ejector(ejection, self.states, now)
        self._panic = 0.0 if ejection is None else ejection.panic
        self._slow_start = slow_start
        if slow_start is None:
            for state in self.states:  # one that was to start slowly, as long as its service was configured so
                state.share, state.since = state.weight, None
        self.limit = limit
        if states:
            balancer.adopt(self.states)
        self._candidates: Sequence[S] = ()
        self._fresh_until = -inf
        self.turns: Iterator[S] | None = None
        self._turns: Iterator[S] | None = None  # of the candidates, also while not all are calm
        self.changed()

    @property
    def available(self) -> tuple[S, ...]:
        """Those that may be asked without a second thought."""
        return tuple(state for state in self.states
                     if state.is_healthy and state.rest.state is RestState.AVAILABLE)

    def changed(self) -> None:
        """An endpoint was ejected, or its checks say otherwise: look before the next request."""
        self.turns, self._fresh_until = None, -inf
        if self.states and all(state.is_calm for state in self.states):
            self._keep(self._preferred(self.states), inf)
            self.turns = self._turns

    def came(self, state: S, now: float) -> None:
        """An endpoint is new, or back after it was unhealthy: it starts slowly, if the service's do."""
        if self._slow_start is not None:
            state.since = now
            self._slow_start.warm(state, now)
            self.turns, self._fresh_until = None, -inf

    def choose(self, now: float, u: float, key: bytes | None = None, tried: Collection[EndpointState] = ()) -> (
            tuple[S, RestTerm | None] | None):
        """Where a request goes, and the permit of a probe, which the ejector is to be told; None: nobody is left.

        Args:
            now: The time, seconds.
            u: A random number in [0, 1).
            key: What the request is hashed by.
            tried: Where it was already.
        """
        state = None
        if now < self._fresh_until and not tried:
            state = self.balancer.pick(self._candidates, u, key) if self._turns is None else next(self._turns)
            if state.in_flight < self.limit:
                return state, None
        left = [each for each in self.states if each not in tried]
        willing = [each for each in left if not each.refuses(now)]
        if not willing:
            return (min(left, key=lambda each: _refused_for(each, now)), None) if left else None
        available, probe = self._ask(willing, now)
        if probe is not None:
            self._fresh_until = -inf
            return probe
        if len(available) < self._panic * len(willing):
            available = [each for each in willing if each.is_healthy] or willing
        if not available:
            return min(willing, key=lambda each: (not each.is_healthy, each.rest.until)), None
        if not tried:
            self._found(available, now)
            state = state or self._next_turn()
        free = [each for each in available if each.in_flight < self.limit]
        if state is not None and state in (free or available):
            return state, None
        return self.balancer.pick(self._preferred(free or available), u, key), None

    def _preferred(self, states: Sequence[S]) -> Sequence[S]:
        """Those that the balancer picks from: with a weight, and the lowest priority number."""
        least = min(state.priority for state in weighted(states))
        return tuple(state for state in (states if isinstance(self.balancer, Sticky) else weighted(states))
                     if state.priority == least)

    def _next_turn(self) -> S | None:
        """Whose turn it is; None: they do not go in turn."""
        return None if self._turns is None else next(self._turns)

    def _found(self, available: Sequence[S], now: float) -> None:
        """These are *available*: the next requests need not look."""
        self.changed()
        if now >= self._fresh_until:
            ends = (each.rest.until for each in self.states if not each.rest.calm and each.rest.until > now)
            self._keep(self._preferred(available), min(now + _LOOK_S, *ends, inf))

    def _keep(self, candidates: Sequence[S], until: float) -> None:
        """Pick among these *candidates* without another look *until* then. The same ones go on with their turns."""
        is_even = isinstance(self.balancer, RoundRobin) and self.balancer.is_even(candidates)
        if not is_even:
            self._turns = None
        elif self._turns is None or candidates != self._candidates:
            self._turns = self.balancer.turns(candidates)  # type: ignore[attr-defined]
        self._candidates, self._fresh_until = candidates, until

    def _ask(self, left: Sequence[S], now: float) -> tuple[list[S], tuple[S, RestTerm] | None]:
        """Those of the endpoints *left* that are available, and one that is to be probed, if there is any."""
        available = []
        for state in left:
            if state.since is not None and self._slow_start is not None:
                self._slow_start.warm(state, now)
            if not state.is_healthy:
                continue
            if state.rest.calm:
                available.append(state)
            elif (permit := state.rest.ask(now)) is not None:
                if permit.state is RestState.PROBING:
                    return available, (state, permit)
                available.append(state)
        return available, None


def _refused_for(state: EndpointState, now: float) -> float:
    """Seconds for which the circuit of an endpoint refuses."""
    wait = None if state.circuit is None else state.circuit.retry_after(now)
    return inf if wait is None else wait  # an operator has opened it

