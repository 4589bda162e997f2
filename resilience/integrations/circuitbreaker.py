"""The names and call signatures of circuitbreaker 2.1, on this library's commands.

Change ``from circuitbreaker import circuit`` to
``from resilience.integrations.circuitbreaker import circuit`` and every way into
an open circuit is refused, a cancelled call decides nothing, a late answer closes
nothing, and each breaker is a command that dashboards show. What else differs
stands in the documentation, "Coming from circuitbreaker". circuitbreaker itself
need not be installed.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import math
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, Final, Literal, TypeVar

from ..core.events import State, Trigger
from ..core.exception_copy import with_traceback
from ..core.terms import Open
from ..engine.callables import flavour_of, name_of
from ..errors import CircuitOpenError
from ..registry import Registry
from .compat_breaker import Engine, Standin, breaker_of, plain
from .compat_call import BlockAttempt, dressed
from .failure_predicates import build_failure_predicate, in_exception_list  # noqa: F401 - circuitbreaker has both

__all__ = ["STATE_CLOSED", "STATE_HALF_OPEN", "STATE_OPEN", "CircuitBreaker", "CircuitBreakerError",
           "CircuitBreakerMonitor", "circuit"]

STATE_CLOSED: Final = "closed"
STATE_OPEN: Final = "open"
STATE_HALF_OPEN: Final = "half_open"
_NAMES: Final = {State.CLOSED: STATE_CLOSED, State.OPEN: STATE_OPEN, State.HALF_OPEN: STATE_HALF_OPEN}

_T = TypeVar("_T")
Expected = type[Exception] | Iterable[type[Exception]] | Callable[[type[BaseException], BaseException], object]

#: The with-statements under way in this thread or task, innermost last.
_blocks: contextvars.ContextVar[tuple[tuple[CircuitBreaker, BlockAttempt], ...]] = contextvars.ContextVar(
    "blocks", default=())


class CircuitBreakerError(CircuitOpenError):
    """The circuit is open, or tries whether it may close; the call did not run.

    Its text is circuitbreaker's, and tells how the breaker is when somebody reads it; a copy, or a pickle in another
    process, tells how it was. What opened the circuit stands in ``why``, as with every CircuitOpenError.

    Args:
        circuit_breaker: The breaker that refused.
        args: Taken, as circuitbreaker takes them, and not told.
    """

    _text: str | None = None

    def __init__(self, circuit_breaker: Any, *args: Any) -> None:
        super().__init__(str(circuit_breaker))
        self._circuit_breaker = circuit_breaker

    def __str__(self) -> str:
        breaker = self._circuit_breaker
        return self._text or (
            f'Circuit "{breaker.name}" OPEN until {breaker.open_until} ({breaker.failure_count} failures, '
            f"{breaker.open_remaining} sec remaining) (last_failure: {breaker.last_failure!r})")

    def __reduce__(self) -> tuple[Any, ...]:
        return _read, (type(self), str(self), self.args)


def _read(kind: type[CircuitBreakerError], text: str, args: tuple[Any, ...]) -> CircuitBreakerError:
    """The error with this *text*, of a breaker that is elsewhere."""
    error = kind(None)
    error._text, error.args = text, args
    return error


class CircuitBreaker(Standin):
    """A breaker that opens after failures in a row. Every method may be called from any thread.

    Subclasses may change the defaults by FAILURE_THRESHOLD, RECOVERY_TIMEOUT, EXPECTED_EXCEPTION and
    FALLBACK_FUNCTION.

    Args:
        failure_threshold: Failures in a row that open it, 1 to 1,000,000. Default: 5.
        recovery_timeout: For how long, seconds, at least 0. Default: 30.
        expected_exception: What is a failure: a type, several, or a function of type and exception. Default: Exception.
        name: Its command's key; with a number if it is taken. Default: of the first function it decorates.
        fallback_function: Called instead, with the call's arguments, while it is open.
        registry: Where its command is kept. Default: resilience.default_registry.

    Raises:
        ConfigError: A setting is out of range.
        ValueError: expected_exception is none of these.
    """

    FAILURE_THRESHOLD: ClassVar[int] = 5
    RECOVERY_TIMEOUT: ClassVar[float] = 30
    EXPECTED_EXCEPTION: ClassVar[Any] = Exception
    FALLBACK_FUNCTION: ClassVar[Any] = None
    _group: ClassVar[str] = "circuitbreaker"

    def __init__(self, failure_threshold: int | None = None, recovery_timeout: float | None = None,
                 expected_exception: Expected | None = None, name: str | None = None,
                 fallback_function: Callable[..., Any] | None = None, *, registry: Registry | None = None) -> None:
        self._failure_threshold = self.FAILURE_THRESHOLD if failure_threshold is None else failure_threshold
        self._recovery_timeout = self.RECOVERY_TIMEOUT if recovery_timeout is None else recovery_timeout
        policy = breaker_of(self._failure_threshold, self._recovery_timeout, 1)
        if not expected_exception:  # as it stands in the class, unbound
            expected_exception = inspect.getattr_static(self, "EXPECTED_EXCEPTION")
        self.is_failure = build_failure_predicate(expected_exception)
        self._name = name
        self._failures: deque[None] = deque()  # in a row; a deque counts without a lock
        self._last_failure: BaseException | None = None
        super().__init__(name or self._group, policy, registry,
                         fallback=fallback_function or self.FALLBACK_FUNCTION)
        self._until = self._registry.clock() + self._recovery_timeout

    # -- call

    def __call__(self, wrapped: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function."""
        return self.decorate(wrapped)

    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function; the first one names a breaker without a name.

        Args:
            function: A plain function, a coroutine function, a generator or an async generator function.

        Raises:
            TypeError: It is not callable.
        """
        if not callable(function):
            raise TypeError(f"a breaker decorates callables, not {function!r}")
        if self._name is None:
            module, self._name = name_of(function)
            if self._made is None:
                self._key = f"{module}.{self._name}"
        CircuitBreakerMonitor.register(self)
        return dressed(function, self._caller(function), flavour_of(function))

    def call(self, func: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """Call *func*.

        Args:
            func: The function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Raises:
            CircuitBreakerError: It was refused.
        """
        result: _T = self._call(func, args, kwargs)
        return result

    def call_generator(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Iterate over what *func* yields.

        Args:
            func: The function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """
        return self._call_generator(func, args, kwargs)

    def call_async(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Call *func* and await what it returns.

        Args:
            func: The function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """
        return self._call_async(func, args, kwargs)

    def call_async_generator(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Iterate over what *func* yields.

        Args:
            func: The function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """
        return self._call_async_generator(func, args, kwargs)

    def __enter__(self) -> None:
        """Run the block as a call; refused while the circuit is open. A fallback does not answer for a block."""
        _blocks.set((*_blocks.get(), (self, BlockAttempt(self))))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> Literal[False]:
        blocks = _blocks.get()
        mine = next((n for n in reversed(range(len(blocks))) if blocks[n][0] is self), None)
        if mine is None:
            raise RuntimeError("a block must be left in the thread or task, and the context, that it was entered in")
        _blocks.set(blocks[:mine] + blocks[mine + 1:])
        try:
            blocks[mine][1].leave(error)
        except BaseException as raised:
            if raised is not error:
                raise
            with_traceback(raised, trace)  # without our frames
        return False

    def reset(self) -> None:
        """Close it, and forget its failures."""
        if self._made is not None:
            self._steer(State.CLOSED)
        self._forget()

    # -- look

    @property
    def state(self) -> str:
        """STATE_CLOSED, STATE_OPEN or, once the wait is over, STATE_HALF_OPEN."""
        if self._made is None:
            return STATE_CLOSED
        term = self._made.circuit.term
        if term.state is State.OPEN:
            return STATE_OPEN if self._registry.clock() < term.until else STATE_HALF_OPEN
        return _NAMES[plain(term.state)]

    @property
    def closed(self) -> bool:
        """Whether the circuit is closed."""
        return self.state == STATE_CLOSED

    @property
    def opened(self) -> bool:
        """Whether the circuit is open. A subclass, or a test, that puts another in its place can have calls refused."""
        return self.state == STATE_OPEN

    @property
    def open_remaining(self) -> int:
        """Whole seconds until it tries to recover, rounded away from 0, and negative once that is over.

        Of a closed breaker, until it would have tried: after it was last open, or was made.
        """
        term = None if self._made is None else self._made.circuit.term
        left = (term.until if isinstance(term, Open) else self._until) - self._registry.clock()
        return math.ceil(left) if left > 0 else math.floor(left)

    @property
    def open_until(self) -> datetime:
        """About when it tries to recover, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.open_remaining)

    @property
    def failure_count(self) -> int:
        """Failures in a row."""
        return len(self._failures)

    @property
    def last_failure(self) -> BaseException | None:
        """The last of these; it holds on to the frames that it was raised through."""
        return self._last_failure

    @property
    def name(self) -> str | None:
        """The name that was given, or that of the first function that the breaker decorated."""
        return self._name

    @property
    def fallback_function(self) -> Any:
        """Called instead while it is open."""
        return self._fallback_function

    def __str__(self) -> str:
        return self._name or "unnamed_CircuitBreaker"

    # -- what Standin asks

    def _engine_for_call(self) -> Engine:
        return self._refusing if type(self).opened is not _OPENED and self.opened else self._engine

    @functools.cached_property
    def _refusing(self) -> Engine:
        """An engine that refuses every call, or has the fallback answer; what it counts, nobody sees."""
        engine = self._make(self._key, Registry())
        engine.command.force_open()
        return engine

    def _counts(self, error: Exception) -> bool:
        return bool(self.is_failure(type(error), error))

    def _refusal(self, refusal: CircuitOpenError) -> Exception:
        error = CircuitBreakerError(self)
        error.args = refusal.args
        return error

    def _failed(self, error: Exception) -> None:
        self._failures.append(None)
        self._last_failure = error

    def _passed(self) -> None:
        self._forget()

    def _changed(self, old: State, new: State, trigger: Trigger | None = None) -> None:
        if new is State.OPEN:
            self._until = self._registry.clock() + self._policy.open_for

    def _forget(self) -> None:
        self._failures.clear()
        self._last_failure = None


_OPENED: Final[object] = CircuitBreaker.opened


class CircuitBreakerMonitor:
    """The breakers that decorate something, as long as somebody has them; by name, a namesake by its command's key.

    Attributes:
        circuit_breakers: The breakers by name. Tests may empty it, or put any other mapping in its place; one that
            holds on to its values keeps the breakers alive.
    """

    circuit_breakers: ClassVar[MutableMapping[str, CircuitBreaker]] = weakref.WeakValueDictionary()

    @classmethod
    def register(cls, circuit_breaker: CircuitBreaker) -> None:
        """Add a breaker to the list.

        Args:
            circuit_breaker: The breaker.
        """
        key = circuit_breaker.resilience.key
        if cls.circuit_breakers.setdefault(str(circuit_breaker), circuit_breaker) is not circuit_breaker:
            cls.circuit_breakers[key] = circuit_breaker

    @classmethod
    def get_circuits(cls) -> Iterable[CircuitBreaker]:
        """Return all breakers."""
        found = cls.circuit_breakers
        if isinstance(found, weakref.WeakValueDictionary):  # whose values() another thread may not add to meanwhile
            return [breaker for each in found.valuerefs() if (breaker := each()) is not None]
        return list(found.values())

    @classmethod
    def get(cls, name: str) -> CircuitBreaker | None:
        """Return the breaker of this name; None: there is none.

        Args:
            name: Of the breaker.
        """
        return cls.circuit_breakers.get(name)

    @classmethod
    def get_open(cls) -> Iterator[CircuitBreaker]:
        """Return the breakers that are open."""
        return (breaker for breaker in cls.get_circuits() if breaker.opened)

    @classmethod
    def get_closed(cls) -> Iterator[CircuitBreaker]:
        """Return the breakers that are closed."""
        return (breaker for breaker in cls.get_circuits() if breaker.closed)

    @classmethod
    def all_closed(cls) -> bool:
        """Whether none is open; a half-open one counts as closed here."""
        return not any(breaker.opened for breaker in cls.get_circuits())


def circuit(failure_threshold: Any = None, recovery_timeout: float | None = None,
            expected_exception: Expected | None = None, name: str | None = None,
            fallback_function: Callable[..., Any] | None = None,
            cls: Callable[..., CircuitBreaker] = CircuitBreaker) -> Any:
    """A breaker to decorate a function with; bare, ``@circuit``, one with the defaults of *cls*.

    Args:
        failure_threshold: Failures in a row at which it opens; None: as the class of the breaker says, 5 unless told
            otherwise.
        recovery_timeout: Seconds for which it stays open; None: as the class says, 30.
        expected_exception: What counts as a failure: a class of exceptions, several, or a function of class and
            exception; None: as the class says, any Exception.
        name: Of the breaker; None: that of the first function.
        fallback_function: Called with the arguments of a call that is refused; None: the call raises.
        cls: Class of the breaker.
    """
    if callable(failure_threshold):
        return cls().decorate(failure_threshold)
    return cls(failure_threshold=failure_threshold, recovery_timeout=recovery_timeout,
               expected_exception=expected_exception, name=name, fallback_function=fallback_function)
