"""Storages: where a breaker of integrations.pybreaker keeps its state and its counters.

A storage that users supply is shared: by breakers of one process, or of many. How a
breaker and its storage come to agree stands in pybreaker_stored.py.

The keys in Redis, and what they hold, are pybreaker's own. So processes that have
moved to this library and processes that have not yet share one circuit.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, TypeVar

from ..drivers.system_clock import wall_clock
from ..errors import ConfigError

STATE_OPEN: Final = "open"
STATE_CLOSED: Final = "closed"
STATE_HALF_OPEN: Final = "half-open"

#: What a breaker asks a storage.
_ASKED: Final = ("state", "counter", "success_counter", "opened_at", "increment_counter", "reset_counter",
                 "increment_success_counter", "reset_success_counter")

_T = TypeVar("_T")


class CircuitBreakerStorage:
    """The base of storages; override everything but ``name``. Its methods may be called by any thread."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """What kind of storage it is."""
        return self._name

    @property
    def state(self) -> str:
        """STATE_CLOSED, STATE_OPEN or STATE_HALF_OPEN; may be set."""
        raise NotImplementedError

    @state.setter
    def state(self, state: str) -> None:
        raise NotImplementedError

    @property
    def counter(self) -> int:
        """Failures in a row."""
        raise NotImplementedError

    @property
    def success_counter(self) -> int:
        """Successes since it is half-open."""
        raise NotImplementedError

    @property
    def opened_at(self) -> datetime | None:
        """When it opened last, in UTC; may be set."""
        raise NotImplementedError

    @opened_at.setter
    def opened_at(self, opened_at: datetime) -> None:
        raise NotImplementedError

    def increment_counter(self) -> None:
        """Count a failure."""

    def reset_counter(self) -> None:
        """Count failures from zero."""

    def increment_success_counter(self) -> None:
        """Count a success while half-open."""

    def reset_success_counter(self) -> None:
        """Count successes from zero."""


class CircuitMemoryStorage(CircuitBreakerStorage):
    """A storage in this process; breakers that share one share their state.

    Args:
        state: The state to begin in.

    Raises:
        ValueError: There is no such state.
    """

    def __init__(self, state: str) -> None:
        super().__init__("memory")
        self._state = known(state)
        self._failures: deque[None] = deque()  # a deque counts without a lock
        self._successes: deque[None] = deque()
        self._opened_at: datetime | None = None

    @property
    def state(self) -> str:
        """STATE_CLOSED, STATE_OPEN or STATE_HALF_OPEN."""
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        self._state = state

    @property
    def counter(self) -> int:
        """Failures in a row."""
        return len(self._failures)

    @property
    def success_counter(self) -> int:
        """Successes since it is half-open."""
        return len(self._successes)

    @property
    def opened_at(self) -> datetime | None:
        """When it opened last."""
        return self._opened_at

    @opened_at.setter
    def opened_at(self, opened_at: datetime) -> None:
        self._opened_at = opened_at

    def increment_counter(self) -> None:
        """Count a failure."""
        self._failures.append(None)

    def reset_counter(self) -> None:
        """Count failures from zero."""
        self._failures.clear()

    def increment_success_counter(self) -> None:
        """Count a success while half-open."""
        self._successes.append(None)

    def reset_success_counter(self) -> None:
        """Count successes from zero."""
        self._successes.clear()


class CircuitRedisStorage(CircuitBreakerStorage):
    """A storage in Redis: breakers of all processes that name the same keys share their state.

    Every call asks Redis in the caller's thread, also on an event loop; give the client a ``socket_timeout``. While
    Redis cannot be asked, which is logged, the state is *fallback_circuit_state* and nothing is counted.

    Args:
        state: The state to begin in, if Redis holds none yet.
        redis_object: A client of redis-py, with or without ``decode_responses``.
        namespace: Goes before the names of the keys. Circuits of one Redis need one each.
        fallback_circuit_state: The state while Redis cannot be asked, and after it has lost what it held.
        cluster_mode: Whether to do without a transaction, for clients of a cluster.

    Raises:
        ImportError: redis-py is not installed.
        ValueError: There is no such state.
        redis.exceptions.RedisError: Redis cannot be asked.
    """

    BASE_NAMESPACE: ClassVar[str] = "pybreaker"
    logger: ClassVar[logging.Logger] = logging.getLogger("resilience")

    def __init__(self, state: str, redis_object: Any, namespace: str | None = None,
                 fallback_circuit_state: str = STATE_CLOSED, cluster_mode: bool = False) -> None:
        try:
            from redis.exceptions import RedisError
        except ImportError as missing:
            raise ImportError("CircuitRedisStorage needs redis-py, which is not installed: pip install redis",
                              name=missing.name) from missing
        super().__init__("redis")
        self._error: type[Exception] = RedisError
        self._redis, self._cluster = redis_object, cluster_mode
        self._prefix = f"{namespace}:{self.BASE_NAMESPACE}" if namespace else self.BASE_NAMESPACE
        self._fallback = known(fallback_circuit_state)
        self._begin(known(state))

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    def _begin(self, state: str) -> None:
        for name, value in (("fail_counter", 0), ("success_counter", 0), ("state", state)):
            self._redis.setnx(self._key(name), value)

    def _ask(self, question: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return question()
        except self._error:
            self.logger.exception("Redis could not be asked for the circuit at %s; it goes on as %s", self._prefix,
                                  self._fallback)
            return otherwise

    @property
    def state(self) -> str:
        """STATE_CLOSED, STATE_OPEN or STATE_HALF_OPEN."""

        def read() -> str:
            state = self._redis.get(self._key("state"))
            if state is None:  # flushed or evicted
                self._begin(self._fallback)
                return self._fallback
            return state if isinstance(state, str) else state.decode()

        return self._ask(read, self._fallback)

    @state.setter
    def state(self, state: str) -> None:
        self._ask(lambda: self._redis.set(self._key("state"), state), None)

    @property
    def counter(self) -> int:
        """Failures in a row."""
        return self._ask(lambda: int(self._redis.get(self._key("fail_counter")) or 0), 0)

    @property
    def success_counter(self) -> int:
        """Successes since it is half-open."""
        return self._ask(lambda: int(self._redis.get(self._key("success_counter")) or 0), 0)

    @property
    def opened_at(self) -> datetime | None:
        """When it opened last, in UTC, rounded down to a second."""
        seconds = self._ask(lambda: int(self._redis.get(self._key("opened_at")) or 0), 0)
        return datetime.fromtimestamp(seconds, UTC) if seconds else None

    @opened_at.setter
    def opened_at(self, opened_at: datetime) -> None:
        key, seconds = self._key("opened_at"), int(in_utc(opened_at).timestamp())

        def put(redis: Any) -> None:
            """Unless somebody has opened it later."""
            last = redis.get(key)
            if not self._cluster:
                redis.multi()
            if not last or seconds > int(last):
                redis.set(key, seconds)

        self._ask(lambda: put(self._redis) if self._cluster else self._redis.transaction(put, key), None)

    def increment_counter(self) -> None:
        """Count a failure."""
        self._ask(lambda: self._redis.incr(self._key("fail_counter")), None)

    def reset_counter(self) -> None:
        """Count failures from zero."""
        self._ask(lambda: self._redis.set(self._key("fail_counter"), 0), None)

    def increment_success_counter(self) -> None:
        """Count a success while half-open."""
        self._ask(lambda: self._redis.incr(self._key("success_counter")), None)

    def reset_success_counter(self) -> None:
        """Count successes from zero."""
        self._ask(lambda: self._redis.set(self._key("success_counter"), 0), None)


def known(state: str) -> str:
    """*state*, if there is one of that name.

    Raises:
        ValueError: There is none.
    """
    if state not in (STATE_CLOSED, STATE_OPEN, STATE_HALF_OPEN):
        raise ValueError(f"a state is {STATE_CLOSED!r}, {STATE_OPEN!r} or {STATE_HALF_OPEN!r}, not {state!r}")
    return state


def usable(storage: Any) -> Any:
    """*storage*, if a breaker can ask it what it must know, whatever its class.

    Raises:
        ConfigError: It cannot.
    """
    missing = [name for name in _ASKED if inspect.getattr_static(storage, name, None) is None]
    if missing:
        raise ConfigError("state_storage must be a CircuitMemoryStorage, a CircuitRedisStorage or what derives from "
                          f"CircuitBreakerStorage; {storage!r} lacks {', '.join(missing)}", "state_storage")
    return storage


def in_utc(moment: datetime) -> datetime:
    """*moment*, which is taken to be UTC if it does not say."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def now() -> datetime:
    """The time, in UTC."""
    return datetime.fromtimestamp(wall_clock(), UTC)
