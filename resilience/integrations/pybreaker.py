"""The names and call signatures of pybreaker 1.4, on this library's commands.

Change ``from pybreaker import CircuitBreaker`` to
``from resilience.integrations.pybreaker import CircuitBreaker`` and calls run at
once instead of one after another, coroutines and generators are guarded for as
long as they run, and each breaker is a command that dashboards show. What else
differs stands in the documentation, "Coming from pybreaker". pybreaker itself need
not be installed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from ..core.callbacks import is_plain
from ..core.context_managers import context_manager
from ..core.events import State
from ..core.terms import HalfOpen
from ..engine.callables import flavour_of
from ..engine.wrapper_spec import Flavour
from ..errors import CircuitOpenError, ResilienceError
from ..registry import Registry
from .compat_call import Attempt, BlockAttempt, dressed
from .pybreaker_states import CircuitBreakerState, CircuitClosedState, CircuitHalfOpenState, CircuitOpenState
from .pybreaker_storage import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreakerStorage,
    CircuitMemoryStorage,
    CircuitRedisStorage,
    known,
)
from .pybreaker_stored import NAMES, STATES, StoredBreaker

__all__ = ["STATE_CLOSED", "STATE_HALF_OPEN", "STATE_OPEN", "CircuitBreaker", "CircuitBreakerError",
           "CircuitBreakerListener", "CircuitBreakerOpenError", "CircuitBreakerState", "CircuitBreakerStorage",
           "CircuitClosedState", "CircuitHalfOpenState", "CircuitMemoryStorage", "CircuitOpenState",
           "CircuitRedisStorage"]

_log = logging.getLogger("resilience")

_T = TypeVar("_T")
Exclusion = type[BaseException] | Callable[[Any], object]


class CircuitBreakerError(ResilienceError):
    """A call was refused (CircuitBreakerOpenError), or its failure opened the circuit and is the ``__cause__``."""


class CircuitBreakerOpenError(CircuitBreakerError, CircuitOpenError):
    """The circuit is open, or tries whether it may close; the call did not run. A resilience.CircuitOpenError too."""

    def __str__(self) -> str:
        return f"Timeout not elapsed yet, circuit breaker still open ({super().__str__()})"


class CircuitBreakerListener:
    """Override what you want to hear of. A listener that raises is logged and harms no call."""

    def before_call(self, cb: CircuitBreaker, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """A call is about to run.

        Args:
            cb: The breaker.
            func: The function that is called.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """

    def failure(self, cb: CircuitBreaker, exc: BaseException) -> None:
        """A call failed; the state has not changed yet.

        Args:
            cb: The breaker.
            exc: What the call raised.
        """

    def success(self, cb: CircuitBreaker) -> None:
        """A call succeeded, or raised what is excluded; the state has changed, if it does.

        Args:
            cb: The breaker.
        """

    def state_change(self, cb: CircuitBreaker, old_state: CircuitBreakerState, new_state: CircuitBreakerState) -> None:
        """The state changed.

        Args:
            cb: The breaker.
            old_state: The state that it had.
            new_state: The state that it has now.
        """


class CircuitBreaker(StoredBreaker):
    """A breaker that opens after failures in a row. Every method may be called from any thread.

    Args:
        fail_max: Failures in a row that open it.
        reset_timeout: For how long, seconds.
        success_threshold: Successes in a row that close it again.
        exclude: Exception types, and functions of an exception, that say what is no failure.
        listeners: CircuitBreakerListener objects.
        state_storage: Where state and counters are kept, and shared with other breakers that have the same storage;
            it is read and written during every call. Default: in this breaker.
        name: Its command's key; with a number if it is taken. Default: "pybreaker".
        throw_new_error_on_trip: Whether the call that opens the circuit raises CircuitBreakerError or its own error.
        registry: Where its command is kept. Default: resilience.default_registry.

    Raises:
        ConfigError: A setting is out of range, or the storage lacks something.
        TypeError: An exclusion is neither an exception type nor callable.
    """

    _group: ClassVar[str] = "pybreaker"

    def __init__(self, fail_max: int = 5, reset_timeout: float = 60, success_threshold: int = 1,
                 exclude: Iterable[Exclusion] | None = None, listeners: Sequence[Any] | None = None,
                 state_storage: CircuitBreakerStorage | None = None, name: str | None = None,
                 throw_new_error_on_trip: bool = True, *, registry: Registry | None = None) -> None:
        self._excluded: tuple[Exclusion, ...] = ()
        self.add_excluded_exceptions(*(exclude or ()))
        self._listeners: tuple[Any, ...] = ()
        self._name, self._throws = name, throw_new_error_on_trip
        super().__init__(name or self._group, fail_max, reset_timeout, success_threshold, state_storage, registry)
        self._state = self._state_of(self._local, None, notify=False)
        self._listeners = tuple(listeners or ())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_state"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._state = self._state_of(self._local, None, notify=False)

    # -- call

    def call(self, func: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """Call *func* if the state allows it; a coroutine or generator function is guarded for as long as it runs.

        Args:
            func: The function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Raises:
            CircuitBreakerError: It was refused, or its failure opened the circuit.
        """
        result: _T = self._caller(func)(func, args, kwargs)
        return result

    def call_async(self, func: Callable[..., Awaitable[_T]], *args: Any, **kwargs: Any) -> Coroutine[Any, Any, _T]:
        """Return a coroutine that calls *func* and awaits what it returns.

        Args:
            func: The function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """
        return self._call_async(func, args, kwargs)

    @context_manager
    def calling(self) -> Iterator[None]:
        """Run the block of a with-statement as a call."""
        block = BlockAttempt(self)
        try:
            yield
        except BaseException as error:
            block.leave(error)
            raise
        block.leave(None)

    def __call__(self, *functions: Callable[..., Any], **options: Any) -> Any:
        """Decorate a function; ``__pybreaker_call_async=True`` if it is a plain one that returns an awaitable."""
        asynchronous = options.pop("__pybreaker_call_async", False)
        if options:
            raise TypeError(f"a breaker takes a function, or __pybreaker_call_async, not {', '.join(options)}")
        if not functions:
            return functools.partial(self._decorate, asynchronous=asynchronous)
        [func] = functions
        return self._decorate(func, asynchronous=asynchronous)

    def _decorate(self, func: Callable[..., Any], *, asynchronous: bool) -> Callable[..., Any]:
        if not callable(func):
            raise TypeError(f"a breaker decorates callables, not {func!r}")
        if asynchronous:
            return dressed(func, self._call_async, Flavour.ASYNC)
        return dressed(func, self._caller(func), flavour_of(func))

    # -- look

    @property
    def state(self) -> CircuitBreakerState:
        """The state as an object with a ``name``, of a class for each state. It may be set to a name."""
        name, state = self.current_state, self._state
        if state.name != name:  # another thread is just about to note it
            self._state = state = self._state_of(name, None, notify=False)
        return state

    @state.setter
    def state(self, name: str) -> None:
        self._steer(STATES[known(name)])

    @property
    def fail_max(self) -> int:
        """Failures in a row that open it."""
        return self._fail_max

    @fail_max.setter
    def fail_max(self, number: int) -> None:
        self._change(number, self._reset_timeout, self._success_threshold)

    @property
    def reset_timeout(self) -> float:
        """For how long it stays open, seconds."""
        return self._reset_timeout

    @reset_timeout.setter
    def reset_timeout(self, timeout: float) -> None:
        self._change(self._fail_max, timeout, self._success_threshold)

    @property
    def success_threshold(self) -> int:
        """Successes in a row that close it."""
        return self._success_threshold

    @success_threshold.setter
    def success_threshold(self, threshold: int) -> None:
        self._change(self._fail_max, self._reset_timeout, threshold)

    def _change(self, failures: int, rest: float, successes: int) -> None:
        self._reconfigure(self._policy_of(failures, rest, successes))
        self._fail_max, self._reset_timeout, self._success_threshold = failures, rest, successes

    @property
    def name(self) -> str | None:
        """Its name; the key of its command stays what it was."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    # -- steer

    def open(self) -> bool:
        """Open for ``reset_timeout``; returns ``throw_new_error_on_trip``."""
        self._steer(State.OPEN)
        return self._throws

    def half_open(self) -> None:
        """Let the next calls decide."""
        self._steer(State.HALF_OPEN)

    def close(self) -> None:
        """Close the circuit."""
        self._steer(State.CLOSED)

    # -- exclusions and listeners; tuples are replaced, never changed

    @property
    def excluded_exceptions(self) -> tuple[Exclusion, ...]:
        """The exception types and functions that say what is no failure."""
        return self._excluded

    def add_excluded_exception(self, exception: Exclusion) -> None:
        """Add an exception type or a function to what is no failure.

        Args:
            exception: A class of exceptions, or a function that is given an exception.
        """
        self.add_excluded_exceptions(exception)

    def add_excluded_exceptions(self, *exceptions: Exclusion) -> None:
        """Add several exceptions that do not count as failures.

        Args:
            *exceptions: Classes of exceptions, or functions that are given an exception.

        Raises:
            TypeError: One is neither an exception type nor a plain function.
        """
        for exception in exceptions:
            if not isinstance(exception, type) and not (callable(exception) and is_plain(exception)):
                raise TypeError(f"exclude takes exception types and plain functions of an exception, not {exception!r}")
        self._excluded += exceptions

    def remove_excluded_exception(self, exception: Exclusion) -> None:
        """Remove an exclusion.

        Args:
            exception: What was added.

        Raises:
            ValueError: There is no such exclusion.
        """
        self._excluded = _without(self._excluded, exception)

    def is_system_error(self, exception: BaseException) -> bool:
        """Whether an exception counts as a failure.

        Args:
            exception: What a call raised.
        """
        return not any(issubclass(type(exception), each) if isinstance(each, type) else each(exception)
                       for each in self._excluded)

    @property
    def listeners(self) -> tuple[Any, ...]:
        """The listeners, in the order in which they are told."""
        return self._listeners

    def add_listener(self, listener: Any) -> None:
        """Add a listener.

        Args:
            listener: A CircuitBreakerListener, or an object with the same methods.
        """
        self.add_listeners(listener)

    def add_listeners(self, *listeners: Any) -> None:
        """Add several listeners.

        Args:
            *listeners: Each a CircuitBreakerListener, or an object with the same methods.
        """
        self._listeners += listeners

    def remove_listener(self, listener: Any) -> None:
        """Remove a listener.

        Args:
            listener: Who was added.

        Raises:
            ValueError: There is no such listener.
        """
        self._listeners = _without(self._listeners, listener)

    # -- what Standin asks

    def _counts(self, error: Exception) -> bool:
        return self.is_system_error(error)

    def _refusal(self, refusal: CircuitOpenError) -> Exception:
        return CircuitBreakerOpenError(*refusal.args)

    def _tripped(self, attempt: Attempt) -> Exception | None:
        if not self._throws:
            return None
        if isinstance(attempt.term, HalfOpen):
            return CircuitBreakerError("Trial call failed, circuit breaker opened")
        return CircuitBreakerError("Failures threshold reached, circuit breaker opened")

    def _before(self, attempt: Attempt) -> None:
        self._tell("before_call", attempt.func, *attempt.args, **attempt.kwargs)

    def _note(self, old: State, new: State) -> None:
        self._state = self._state_of(NAMES[new], self._state_of(NAMES[old], None, notify=False), notify=True)

    def _state_of(self, name: str, before: CircuitBreakerState | None, *, notify: bool) -> CircuitBreakerState:
        kind = {STATE_CLOSED: CircuitClosedState, STATE_OPEN: CircuitOpenState, STATE_HALF_OPEN: CircuitHalfOpenState}
        return kind[name](self, prev_state=before, notify=notify)

    def _tell(self, event: str, *args: Any, **kwargs: Any) -> None:
        for listener in self._listeners:
            try:
                getattr(listener, event)(self, *args, **kwargs)
            except Exception:  # noqa: BLE001 - somebody else's
                _log.exception("a listener of %s raised at %s", self.resilience.key, event)


def _without(values: tuple[_T, ...], value: _T) -> tuple[_T, ...]:
    left = list(values)
    left.remove(value)
    return tuple(left)
