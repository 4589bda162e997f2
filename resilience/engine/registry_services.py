"""RegistryServices: what the commands of a registry share."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Self

import attrs

from ..core.budget import Budget, RetryBudget
from .emitter import Emitter


class FunctionRef(weakref.ref[Callable[..., Any]]):
    """A weak reference to a guarded function.

    Attributes:
        key: Of its command.
    """

    __slots__ = ("key",)
    key: str

    def __new__(cls, function: Callable[..., Any], gone: Callable[[Any], None], key: str) -> Self:
        self = super().__new__(cls, function, gone)
        self.key = key
        return self

    def __init__(self, function: Callable[..., Any], gone: Callable[[Any], None], key: str) -> None:
        super().__init__(function, gone)  # type: ignore[call-arg] # the stubs know of __new__ alone


@attrs.define
class RegistryServices:
    """What a registry lends its commands; ``lock`` is the registry's, and another after a fork."""

    clock: Callable[[], float]
    random: Callable[[], float]
    emitter: Emitter
    lock: threading.RLock
    budgets: dict[str, Budget] = attrs.field(factory=dict)
    departed: deque[str] = attrs.field(factory=deque)  # keys of commands of which a function was dropped
    active_until: dict[str | None, float] = attrs.field(factory=dict)  # until when chaos reigns, by key; None: for all

    def depart(self, reference: FunctionRef) -> None:
        """A guarded function was dropped. It may have been so anywhere, under any lock: it is but noted here."""
        self.departed.append(reference.key)

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
