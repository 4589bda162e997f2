"""Standin: a command behind the call signatures of another library's breaker.

A breaker of pybreaker or circuitbreaker is an object that any number of functions
go through. Here it is one command of a registry, so that streams, dashboards and
exporters show it, and its handle (``breaker.resilience``) steers it.

Both libraries open on failures in a row; breaker_of() says what that is here. Both
also let the user's code judge each exception, and one that is no failure is as
good as a success to them. So what the command guards is not the user's function but
an attempt to call it; see compat_call.py.

Opening, half-opening and closing by hand pull the machine's own triggers, so
that an opened breaker recovers as it would from failures.
"""

from __future__ import annotations

import abc
import contextlib
import itertools
import math
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, ClassVar, Final, NamedTuple, Self

from ..commands.command import Command, internals_of
from ..core.breaker import CircuitBreaker
from ..core.circuit import Circuit
from ..core.events import State, StateChanged, Trigger
from ..core.fallback import Fallback
from ..decorate.commands import Pipeline
from ..drivers.stream_leases import own
from ..engine.callables import flavour_of
from ..engine.wrapper_spec import Flavour
from ..errors import CircuitOpenError, ConfigError
from ..registry import Registry, default_registry
from .compat_call import RUNS, Attempt, answer

#: Seconds until a half-open circuit gives up a probe that never answers, and forgets the successes it has seen.
#: The libraries wait for ever; five minutes is longer than a call that anybody still waits for.
HALF_OPEN_FOR: Final = 300.0
#: The shortest wait there is: over at once, on any clock.
_AT_ONCE: Final = math.ulp(0.0)
#: Breakers that nobody has any more. A finalizer may run anywhere, under any lock, so it only makes a note.
_gone: deque[Callable[[], None]] = deque()


def breaker_of(failures: int, rest: float, successes: int) -> CircuitBreaker:
    """The policy that opens after so many *failures* in a row for *rest* seconds, and closes after *successes*."""
    return CircuitBreaker(consecutive=failures, failure_rate=None, open_for=_AT_ONCE if rest == 0 else rest,
                          half_open_calls=successes, half_open_for=HALF_OPEN_FOR)


def plain(state: State) -> State:
    """Return closed, open or half-open: what *state* looks like to a library that knows no operators."""
    return {State.FORCED_OPEN: State.OPEN, State.FORCED_CLOSED: State.CLOSED, State.DISABLED: State.CLOSED}.get(
        state, state)


class Engine(NamedTuple):
    """The command of one breaker, and its guarded functions by flavour."""

    command: Command
    circuit: Circuit
    runs: dict[Flavour, Any]


class Standin(abc.ABC):
    """What the breakers of other libraries have in common. Any thread, any task, any number of calls at once."""

    _group: ClassVar[str] = "breakers"

    def __init__(self, key: str, policy: CircuitBreaker, registry: Registry | None,
                 fallback: Callable[..., Any] | None = None) -> None:
        self._key, self._policy = key, policy
        self._fallback_function = fallback
        self._policies = (policy,) if fallback is None else (
            Fallback(answer, on=CircuitOpenError, max_concurrent=1_000_000), policy)
        self._registry = default_registry if registry is None else registry
        if not isinstance(self._registry, Registry):
            raise ConfigError(f"registry must be a Registry, not {registry!r}", "registry")
        self._steering: set[int] = set()  # threads whose changes of state we report ourselves

    def __getstate__(self) -> dict[str, Any]:
        """What goes into another process or a deep copy: all that its user said, and nothing that has happened."""
        return {name: value for name, value in vars(self).items() if name not in {"engine", "_steering"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _steering=set())

    def __copy__(self) -> Self:
        twin = self.__class__.__new__(self.__class__)
        vars(twin).update(vars(self))  # a second name for the same
        return twin

    @property
    def resilience(self) -> Command:
        """The command: look at it, steer it."""
        return self._engine.command

    # -- the command

    @property
    def _engine(self) -> Engine:
        """The engine; made when it is first asked for."""
        return self._made or self._found()

    @property
    def _made(self) -> Engine | None:
        return vars(self).get("engine")

    def _found(self) -> Engine:
        while _gone:
            with contextlib.suppress(IndexError):  # somebody else took the last
                _gone.popleft()()
        engine = self._make(self._key, self._registry)
        first: Engine = vars(self).setdefault("engine", engine)
        if first is engine:
            leave = _leaver(weakref.ref(self._registry), engine.command, self._listen(engine.command.key))
            weakref.finalize(self, _gone.append, leave).atexit = False
        else:  # made in two threads at once
            self._registry.remove(engine.command.key)
        return first

    def _make(self, name: str, registry: Registry) -> Engine:
        """Guard attempts under *name*, or that name with a number if it is taken: breakers share nothing."""
        for n in itertools.count(1):
            key = name if n == 1 else f"{name}-{n}"
            if key in registry:
                continue
            pipeline = Pipeline(*self._policies, key=key, group=self._group, registry=registry)
            with contextlib.suppress(ConfigError):  # somebody was faster, with other settings
                first: Any = pipeline(RUNS[Flavour.SYNC])
                command = first.resilience
                internals = internals_of(command)
                if internals.functions[0] is first:
                    assert internals.runtime.circuit is not None  # each engine has a breaker
                    others: dict[Flavour, Any] = {flavour: pipeline(RUNS[flavour]) for flavour in tuple(RUNS)[1:]}
                    return Engine(command, internals.runtime.circuit, {Flavour.SYNC: first, **others})
        raise AssertionError("unreachable")

    def _listen(self, key: str) -> Callable[[], None]:
        ours = weakref.ref(self)

        def listen(event: StateChanged) -> None:
            standin = ours() if event.key == key else None
            if standin is not None and threading.get_ident() not in standin._steering:
                old, new = plain(event.old), plain(event.new)
                if old is not new:
                    standin._changed(old, new, event.trigger)

        return self._registry.subscribe(StateChanged, listen)

    @property
    def _circuit(self) -> Circuit:
        return self._engine.circuit

    # -- what the library says

    @abc.abstractmethod
    def _counts(self, error: Exception) -> bool:
        """Whether *error* is a failure; anything else is as good as a success."""

    @abc.abstractmethod
    def _refusal(self, refusal: CircuitOpenError) -> Exception:
        """The error for a call that did not run."""

    def _tripped(self, attempt: Attempt) -> Exception | None:
        """The error to raise in place of that of the *attempt* that opened the circuit; None: that error itself."""
        return None

    def _engine_for_call(self) -> Engine:
        """The engine that a call which has just come goes through."""
        return self._engine

    def _before(self, attempt: Attempt) -> None:  # noqa: B027 - not every library has a word to say
        """A call is about to run."""

    @abc.abstractmethod
    def _failed(self, error: Exception) -> None:
        """A call failed; the circuit does not know yet. Not told of late ones."""

    @abc.abstractmethod
    def _passed(self) -> None:
        """A call did not fail; the circuit does not know yet. Not told of late ones."""

    def _counted(self, attempt: Attempt) -> None:  # noqa: B027 - not every library has a word to say
        """A call failed; the circuit knows. Not told of late ones."""

    def _succeeded(self, attempt: Attempt) -> None:  # noqa: B027 - not every library has a word to say
        """A call did not fail; the circuit knows."""

    @abc.abstractmethod
    def _changed(self, old: State, new: State, trigger: Trigger | None = None) -> None:
        """The circuit went from one state to another, or was told to go into the one it was in.

        *trigger* is what the machine says, None if this breaker did it by hand.
        """

    # -- calls

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with Attempt(self, func, args, kwargs) as attempt:
            return attempt.engine.runs[Flavour.SYNC](attempt)

    async def _call_async(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with Attempt(self, func, args, kwargs) as attempt:
            return await attempt.engine.runs[Flavour.ASYNC](attempt)

    def _call_generator(self, func: Callable[..., Any], args: tuple[Any, ...],
                        kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        with Attempt(self, func, args, kwargs) as attempt:
            return (yield from attempt.engine.runs[Flavour.GENERATOR](attempt))

    async def _call_async_generator(self, func: Callable[..., Any], args: tuple[Any, ...],
                                    kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        with Attempt(self, func, args, kwargs) as attempt:
            async with contextlib.aclosing(own(attempt.engine.runs[Flavour.ASYNC_GENERATOR](attempt))) as items:
                async for item in items:
                    yield item

    def _caller(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The one of the four that runs *func*."""
        return {Flavour.ASYNC: self._call_async, Flavour.GENERATOR: self._call_generator,
                Flavour.ASYNC_GENERATOR: self._call_async_generator}.get(flavour_of(func), self._call)

    # -- steering: the machine's own triggers, pulled by hand

    def _steer(self, new: State) -> None:
        """Go into the *new* state by hand, and report it, even from that state; a breaker switched off stays so."""
        old = self._put(new)
        if old is not None:
            self._changed(old, new)

    def _put(self, new: State, ago: float = 0.0) -> State | None:
        """Go into the *new* state without a word, as if it had opened so many seconds *ago*.

        Returns:
            The state it was in; None if the breaker is switched off, and stays so.
        """
        circuit, thread = self._circuit, threading.get_ident()
        old = circuit.state
        if old is State.DISABLED:
            return None
        self._steering.add(thread)
        try:
            now = self._registry.clock()
            if new is State.CLOSED or circuit.state is not State.CLOSED:
                circuit.steer(Trigger.RESET, now)
            if new is not State.CLOSED:
                circuit.steer(Trigger.CONSECUTIVE, now - ago)  # nothing, if somebody's failures opened it first
            if new is State.HALF_OPEN:
                circuit.steer(Trigger.WAIT_ELAPSED, now)
        finally:
            self._steering.discard(thread)
        return plain(old)

    def _reconfigure(self, policy: CircuitBreaker) -> None:
        self.resilience.configure(breaker=policy)
        self._policy = policy


def _leaver(registry: weakref.ref[Registry], command: Command, unsubscribe: Callable[[], None]) -> Callable[[], None]:
    """Takes a breaker's command out of its registry."""

    def leave() -> None:
        unsubscribe()
        home = registry()
        if home is not None and home.get(command.key) is command:
            home.remove(command.key)

    return leave
