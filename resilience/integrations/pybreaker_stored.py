"""Stored breaker: a breaker of integrations.pybreaker, and where its state and its counters are kept.

A breaker without a storage of the user's is its circuit, and the counters say what
that has seen. With a storage of the user's, the storage decides, and the circuit does
as it says:

- Before each call, and whenever somebody looks, the breaker reads the stored state, and
  when it opened. If that is news, its circuit goes into that state (_follow).
- Failures and successes are counted in the storage, and these counters open and close
  the circuit (_counted, _succeeded).
- What the circuit does by itself is stored (_save): it tries after the wait, and opens
  again after a probe that failed.

What an operator forces upon the command is for this process alone. It is not stored,
and the storage is not followed until the operator has released the command.

The breaker's lock is held while such a storage is read or written, so that these follow
one another; it is never held during a call. The circuit is told outside of it, and only
if it is still in the term in which the storage was read.
"""

from __future__ import annotations

import abc
import logging
import os
import types
from datetime import datetime
from typing import Any, Final

from ..core.breaker import CircuitBreaker as Policy
from ..core.events import State, Trigger
from ..core.locks import Lock
from ..core.terms import HalfOpen
from ..registry import Registry
from .compat_breaker import Engine, Standin, breaker_of, plain
from .compat_call import Attempt
from .pybreaker_storage import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreakerStorage,
    CircuitMemoryStorage,
    in_utc,
    known,
    now,
    usable,
)

NAMES: Final = {State.CLOSED: STATE_CLOSED, State.OPEN: STATE_OPEN, State.HALF_OPEN: STATE_HALF_OPEN}
STATES: Final = {name: state for state, name in NAMES.items()}
#: By what an operator steers a circuit, until it is released.
_OPERATORS: Final = (Trigger.FORCED_OPEN, Trigger.FORCED_CLOSED, Trigger.DISABLED, Trigger.RELEASED)
#: Failures in a row that open a circuit whose storage decides: as good as none do.
_NEVER: Final = 1_000_000
_log = logging.getLogger("resilience")


class StoredBreaker(Standin):
    """A breaker that keeps its state and its counters in a storage."""

    def __init__(self, key: str, fail_max: int, reset_timeout: float, success_threshold: int,
                 storage: CircuitBreakerStorage | None, registry: Registry | None) -> None:
        if storage is not None:
            known(usable(storage).state)
        self._shares = storage is not None  # then the storage decides
        self._state_storage = CircuitMemoryStorage(STATE_CLOSED) if storage is None else storage
        self._fail_max, self._reset_timeout, self._success_threshold = fail_max, reset_timeout, success_threshold
        self._asking = _Asking(key)
        self._begin_anew()
        super().__init__(key, self._policy_of(fail_max, reset_timeout, success_threshold), registry)
        self._join()

    def __getstate__(self) -> dict[str, Any]:
        left = {"_lock", "_process", "_seen", *(() if self._shares else ("_state_storage",))}
        return {name: value for name, value in super().__getstate__().items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({"_state_storage": CircuitMemoryStorage(STATE_CLOSED), **state})
        self._begin_anew()
        self._join()

    def _join(self) -> None:
        """Make the engine, and take over the state that is shared."""
        self._found()
        if self._shares:
            self._catch_up()

    def _policy_of(self, failures: int, rest: float, successes: int) -> Policy:
        policy = breaker_of(failures, rest, successes)  # complains about each by its name
        return breaker_of(_NEVER, rest, successes) if self._shares else policy

    def _begin_anew(self) -> None:
        """Nobody has read the storage yet in this process."""
        self._lock, self._process = Lock(), os.getpid()
        self._seen: tuple[str, datetime | None] | None = None

    @property
    def _turn(self) -> Lock:
        """The lock; a forked child has one of its own."""
        if self._process != os.getpid():
            self._begin_anew()
        return self._lock

    # -- look

    @property
    def fail_counter(self) -> int:
        """Failures in a row."""
        return self._state_storage.counter

    @property
    def success_counter(self) -> int:
        """Successes since it is half-open."""
        return self._state_storage.success_counter

    @property
    def current_state(self) -> str:
        """STATE_CLOSED, STATE_OPEN or STATE_HALF_OPEN; open until a call comes after the wait."""
        if self._shares:
            self._follow()
        return self._local

    @property
    def _local(self) -> str:
        """The state of the circuit."""
        return NAMES[plain(self._circuit.state)]

    # -- what pybreaker says

    @abc.abstractmethod
    def _note(self, old: State, new: State) -> None:
        """The state has changed: tell the listeners."""

    @abc.abstractmethod
    def _tell(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Tell the listeners of an event."""

    # -- what Standin asks

    def _failed(self, error: Exception) -> None:
        with self._asking:
            self._state_storage.increment_counter()
        self._tell("failure", error)

    def _passed(self) -> None:
        if not self._shares:
            self._state_storage.reset_counter()
            return
        with self._asking:
            self._state_storage.reset_counter()

    def _counted(self, attempt: Attempt) -> None:
        if not self._shares or attempt.term is not self._circuit.term or self._circuit.state is not State.CLOSED:
            return
        failures = 0
        with self._asking:
            failures = self._state_storage.counter
        if failures >= self._fail_max:
            self._steer(State.OPEN)

    def _succeeded(self, attempt: Attempt) -> None:
        if isinstance(attempt.term, HalfOpen) and attempt.term is self._circuit.term:
            successes = 0
            with self._asking:
                self._state_storage.increment_success_counter()
                successes = self._state_storage.success_counter
            if self._shares and successes >= self._success_threshold:
                self._steer(State.CLOSED)
        self._tell("success")

    def _changed(self, old: State, new: State, trigger: Trigger | None = None) -> None:
        if self._shares and trigger in _OPERATORS:
            self._seen = None  # once it is released, the stored state is news
        else:
            self._save(by_hand=trigger is None)
        self._note(old, new)

    # -- the stored state and the circuit's

    def _engine_for_call(self) -> Engine:
        if self._shares:
            self._follow()
        return self._engine

    def _follow(self) -> None:
        """Go into the stored state, and tell the listeners if that is another."""
        changed = self._catch_up()
        if changed is not None:
            self._note(*changed)

    def _catch_up(self) -> tuple[State, State] | None:
        """Put the circuit into the stored state, if that is news; return the state before, and that, if they differ."""
        circuit, seen, news = self._circuit, None, None
        term = circuit.term
        if term.state not in NAMES:  # an operator steers it
            return None
        with self._asking, self._turn:
            seen, news = self._seen, self._stored()  # in one: what another thread saves right afterwards is no news
        if news is None or news == seen or circuit.term is not term:
            return None
        new, old = STATES[news[0]], None
        if new is not State.CLOSED or term.state is not State.CLOSED:
            old = self._put(new, self._ago(news[1]))
        with self._turn:  # not before: an interrupt must not leave the circuit behind
            if self._seen is seen:
                self._seen = news
        return None if old is None or old is new else (old, new)

    def _stored(self) -> tuple[str, datetime | None]:
        """The stored state, and when it opened, which tells one stay in it from the next."""
        state = known(self._state_storage.state)
        return state, None if state == STATE_CLOSED else self._state_storage.opened_at

    def _ago(self, opened_at: datetime | None) -> float:
        """How many seconds ago that was; longer than the wait if nobody knows."""
        over = 2 * self._reset_timeout  # the wait is over, however sums are rounded
        if opened_at is None:
            return over
        ago = max(0.0, (now() - in_utc(opened_at)).total_seconds())
        return ago if ago < self._reset_timeout else over

    def _save(self, *, by_hand: bool) -> None:
        """Store the state of the circuit: that which it is in by now, whatever change this is about.

        Half-opened by hand it was open too, for an instant; or breakers that share the storage could not tell this stay
        from the last.
        """
        storage = self._state_storage
        with self._asking, self._turn:
            state = self._local
            if state == STATE_OPEN or (by_hand and state == STATE_HALF_OPEN):
                storage.opened_at = now()
            storage.reset_success_counter()
            if state == STATE_CLOSED:
                storage.reset_counter()
            storage.state = state
            self._seen = self._stored()


class _Asking:
    """Logs what a storage raises, and goes on: the circuit knows enough by itself."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: types.TracebackType | None) -> bool:
        is_theirs = kind is not None and issubclass(kind, Exception)
        if is_theirs:
            _log.error("the storage of %s raised; its circuit goes on by what it knows", self._key, exc_info=error)
        return is_theirs
