"""Users: they ask without waiting for each other, want an answer in time, and try again if there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs

from resilience.core.budget import Budget, RetryBudget
from resilience.core.retry import Retry, next_delay

from .gateways import ObservedRequest, SimulatedGateway
from .world import Slice, World


@attrs.frozen(kw_only=True)
class UserSettings:
    """How users behave.

    Attributes:
        per_s: Requests a second, of all of them.
        timeout: How long one waits for an answer, seconds.
        retry: How often and when one asks again; None: not at all.
        budget: Limits that, in proportion to what all of them ask; None: nothing does.
        repeatable: Share of requests that may be sent twice by a gateway.
        late_s: A good answer that took longer is counted as late, seconds.
    """

    per_s: float
    timeout: float = 2.0
    retry: Retry | None = Retry(attempts=3, base=0.1, budget=None)
    budget: RetryBudget | None = None
    repeatable: float = 1.0
    late_s: float = 0.5


class Users:
    """All users of one service."""

    def __init__(self, world: World, settings: UserSettings, gateways: Sequence[SimulatedGateway],
                 until: float = math.inf) -> None:
        """They ask from now on.

        Args:
            world: Where they are.
            settings: How they behave.
            gateways: Whom they ask, by chance.
            until: When the last request begins.
        """
        self._world, self.settings, self.gateways, self._until = world, settings, gateways, until
        self._budget = None if settings.budget is None else Budget(settings.budget, world.now())
        self._come()

    def _come(self) -> None:
        world = self._world
        if world.now() >= self._until:
            return
        world.later(world.rng.expovariate(self.settings.per_s), self._come)
        if self._budget is not None:
            self._budget.deposit(world.now())
        _Request(world, self, world.slice).begin()

    def asks_again(self, attempt: int) -> float | None:
        """Seconds after which somebody asks again whose *attempt* has failed; None: they do not."""
        retry, world = self.settings.retry, self._world
        if retry is None or attempt >= retry.attempts:
            return None
        if self._budget is not None and not self._budget.withdraw(world.now()):
            return None
        return next_delay(retry, attempt, 0.0, 0.0, world.random())[0]


class _Request:
    """What one user wants."""

    __slots__ = ("_attempt", "_began", "_passage", "_slice", "_users", "_world")

    def __init__(self, world: World, users: Users, began_in: Slice) -> None:
        self._world, self._users, self._slice = world, users, began_in
        self._attempt, self._began = 0, world.now()
        self._passage: ObservedRequest | None = None
        began_in.asked += 1

    def begin(self) -> None:
        """Ask, or ask again."""
        world, users = self._world, self._users
        self._attempt += 1
        gateways = users.gateways
        gateway = gateways[int(world.random() * len(gateways))]
        attempt = self._attempt
        world.later(users.settings.timeout, self._give_up, attempt)
        self._passage = None
        observed = ObservedRequest(gateway, self._over_of(attempt), is_repeatable=world.random() < users.settings.repeatable)
        if self._attempt == attempt:
            self._passage = observed

    def _over_of(self, attempt: int) -> Callable[[bool], None]:
        def over(is_good: bool) -> None:
            if attempt == self._attempt:
                self._ended(is_good)

        return over

    def _give_up(self, attempt: int) -> None:
        if attempt == self._attempt and self._passage is not None:
            self._passage.leave()
            self._ended(False)

    def _ended(self, is_good: bool) -> None:
        world, users = self._world, self._users
        if is_good:
            took = world.now() - self._began
            self._slice.served += 1
            self._slice.waited_s += took
            self._slice.late += took > users.settings.late_s
            world.slice.in_time += 1
            self._attempt = -1
            return
        wait = users.asks_again(self._attempt)
        self._attempt = -self._attempt
        if wait is not None:
            world.later(wait, self._again)

    def _again(self) -> None:
        self._attempt = -self._attempt
        self.begin()
