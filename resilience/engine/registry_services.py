"""RegistryServices: what the commands of a registry share."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Self

import attrs

from ..core.budget import Budget, RetryBudget
from ..core.events import LocalStall
from ..core.locks import Lock
from ..core.stalls import NO_STALLS, Stalls
from ..drivers.background_calls import background_pool
from ..drivers.local_stalls import system_stalls, tell_of_stalls
from ..drivers.system_clock import monotonic
from ..drivers.workers import WorkerPool
from .emitter import Emitter


class FunctionRef(weakref.ref[Callable[..., Any]]):
    """A weak reference to a guarded function. When that is dropped, the command's key is noted among the *departed*.

    It may be dropped anywhere, under any lock: so it is but noted.

    Attributes:
        key: Of its command.
        departed: Keys of commands of which a function was dropped.
    """

    __slots__ = ("departed", "key")
    departed: deque[str]
    key: str

    def __new__(cls, function: Callable[..., Any], departed: deque[str], key: str) -> Self:
        self = super().__new__(cls, function, _depart)
        self.departed, self.key = departed, key
        return self

    def __init__(self, function: Callable[..., Any], departed: deque[str], key: str) -> None:
        super().__init__(function, _depart)  # type: ignore[call-arg] # the stubs know of __new__ alone


def _depart(reference: FunctionRef) -> None:
    reference.departed.append(reference.key)


@attrs.define
class RegistryServices:
    """What a registry lends its commands; ``lock`` is the registry's, and another after a fork."""

    clock: Callable[[], float]
    random: Callable[[], float]
    emitter: Emitter
    lock: Lock
    budgets: dict[str, Budget] = attrs.field(factory=dict)
    departed: deque[str] = attrs.field(factory=deque)  # keys of commands of which a function was dropped
    cleanups: list[Callable[[], object]] = attrs.field(factory=list)  # called on a worker thread after each call
    background: WorkerPool | None = None  # runs calls that nobody waits for; see background_pool()
    stalls: Stalls = attrs.field(init=False)  # times that calls lost by no fault of their targets
    is_closed: bool = False
    _tell: object = attrs.field(init=False, default=None)  # kept, so that it is told of stalls
    active_until: dict[str | None, float] = attrs.field(factory=dict)  # until when chaos reigns, by key; None: for all

    def __attrs_post_init__(self) -> None:
        self.stalls = system_stalls if self.clock is monotonic else NO_STALLS
        if self.stalls is system_stalls:
            emitter = self.emitter
            self._tell = tell = lambda seconds, at: emitter.emit(LocalStall(seconds, at))
            tell_of_stalls(tell)

    def background_pool(self) -> WorkerPool:
        """The threads for calls that nobody waits for."""
        with self.lock:
            if self.background is None:
                self.background = background_pool(self.cleanups)
                if self.is_closed:
                    self.background.close()
            return self.background

    def close(self) -> None:
        """Let idle threads end, and begin no more calls that nobody waits for. The caller holds the lock."""
        self.is_closed = True
        if self.background is not None:
            self.background.close()

    def renew(self) -> None:
        """Start over in a forked child."""
        self.lock = Lock()
        self.stalls.renew()
        if self.background is not None:
            self.background.renew()
        self.active_until.clear()
        for budget in self.budgets.values():
            budget.renew(self.clock())

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
