"""Retry terms: what a service's ``retry`` table means to one request after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from ...core.budget import Budget
from ..balancing.retry_state import IDEMPOTENT, Repetition, RetryState
from ..messages.exchange import Request
from ..messages.request_body import SMALL_BODY_BYTES


class RetryTerms:
    """What is sent again, and how much of a request's body is taken in for that. Of one event loop.

    Attributes:
        settings: The table; None: there is none.
        takes_in: Bytes of a request's body that are taken in before an endpoint is asked.
        statuses: Of answers after which a request is sent again.
        delays: Between attempts; None: there is no retry.
        budget: Of what is sent again; None: no limit.
    """

    def __init__(self, settings: Repetition | None, clock: Callable[[], float]) -> None:
        """By the *settings*.

        Args:
            settings: The table; None: there is none.
            clock: Seconds.
        """
        self.settings, self._clock = settings, clock
        self.takes_in = SMALL_BODY_BYTES if settings is None else max(SMALL_BODY_BYTES, settings.replay_body)
        self._repeatable = settings is not None and settings.repeatable
        self.statuses = frozenset[int]() if settings is None or settings.attempts < 2 else settings.codes
        self.delays = None if settings is None else settings.delays
        self.budget = None if settings is None or settings.budget is None else Budget(settings.budget, clock())
        self._count = itertools.repeat(1).__next__ if self.budget is None else self.budget.bump

    def enter(self, previous: RetryTerms) -> None:
        """Be in force in the place of the *previous* ones: what their budget has counted stays, nothing is refilled."""
        if self.settings is not None and self.settings.budget is not None and previous.budget is not None:
            self.budget = previous.budget
            self.budget.configure(self.settings.budget, self._clock())
            self._count = self.budget.bump

    def begun(self) -> None:
        """A request has begun: the budget grows, and is told what time it is now and then."""
        if not self._count() & 63 and self.budget is not None:
            self.budget.deposit(self._clock())

    def may_repeat(self, request: Request) -> bool:
        """Whether sending a *request* twice does no harm, and its body is there."""
        return request.body is not None and (self._repeatable or request.method in IDEMPOTENT)

    def new_state(self, request: Request) -> RetryState:
        """What becomes of a *request* whose attempts fail."""
        return RetryState(self.settings, self.delays, self.budget, self.may_repeat(request))
