"""States: a breaker's state as an object, one class for each, as listeners of integrations.pybreaker are told it."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from .pybreaker_storage import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN

if TYPE_CHECKING:
    from .pybreaker import CircuitBreaker

_T = TypeVar("_T")


class CircuitBreakerState:
    """The state of a breaker: a name, and nothing that decides anything. It is equal to any other of the same name.

    Args:
        cb: The breaker.
        name: STATE_CLOSED, STATE_OPEN or STATE_HALF_OPEN.
    """

    def __init__(self, cb: CircuitBreaker, name: str) -> None:
        self._breaker, self._name = weakref.ref(cb), name  # it keeps this one, and lives no longer for it

    @property
    def name(self) -> str:
        """STATE_CLOSED, STATE_OPEN or STATE_HALF_OPEN."""
        return self._name

    def call(self, func: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """Call *func* through the breaker, whose state decides as it is by now.

        Args:
            func: The function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """
        return self._its_breaker().call(func, *args, **kwargs)

    def call_async(self, func: Callable[..., Awaitable[_T]], *args: Any, **kwargs: Any) -> Coroutine[Any, Any, _T]:
        """Return a coroutine that calls *func* through the breaker and awaits what it returns.

        Args:
            func: The function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """
        return self._its_breaker().call_async(func, *args, **kwargs)

    def _its_breaker(self) -> CircuitBreaker:
        breaker = self._breaker()
        if breaker is None:
            raise ReferenceError(f"the breaker of this state ({self._name}) is gone; keep the breaker and call that")
        return breaker

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CircuitBreakerState) and other.name == self._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"<state {self._name!r}>"


class _NamedState(CircuitBreakerState):
    """A state whose class says which it is.

    Args:
        cb: The breaker.
        prev_state: The state before it, for the listeners.
        notify: Whether to tell the listeners of the breaker that the state has changed.
    """

    _of: str

    def __init__(self, cb: CircuitBreaker, prev_state: CircuitBreakerState | None = None, notify: bool = False) -> None:
        super().__init__(cb, self._of)
        if notify:
            cb._tell("state_change", prev_state, self)


class CircuitClosedState(_NamedState):
    """Calls run."""

    _of = STATE_CLOSED


class CircuitOpenState(_NamedState):
    """Calls are refused."""

    _of = STATE_OPEN


class CircuitHalfOpenState(_NamedState):
    """The next calls decide whether it closes."""

    _of = STATE_HALF_OPEN
