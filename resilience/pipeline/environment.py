"""Environment: what the commands of a registry share."""

from __future__ import annotations

import threading
from collections.abc import Callable

import attrs

from ..core.budget import Budget, RetryBudget
from .emitter import Emitter


@attrs.define
class Environment:
    """What a registry lends its commands; ``lock`` is the registry's, and another after a fork."""

    clock: Callable[[], float]
    random: Callable[[], float]
    emitter: Emitter
    lock: threading.RLock
    budgets: dict[str, Budget] = attrs.field(factory=dict)
    unrest: dict[str | None, float] = attrs.field(factory=dict)  # until when chaos reigns, by key; None: for all

    def budget(self, group: str, config: RetryBudget | None) -> Budget | None:
        """The retry budget of a group: the one that was said last. The caller holds the lock."""
        if config is None:
            return None
        budget = self.budgets.get(group)
        if budget is None:
            budget = self.budgets[group] = Budget(config, self.clock())
        elif budget.config != config:
            budget.configure(config, self.clock())
        return budget
