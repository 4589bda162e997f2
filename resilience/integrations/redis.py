"""Redis clients: what a command amounts to, and a guard of a whole client, redis.Redis or redis.asyncio.Redis.

redis-py has one tree of exceptions for the server's health and for the caller's mistakes: ReadOnlyError, which means
that a failover is under way, stands below ResponseError, as does the answer to a misspelt command. ``judge`` tells them
apart. It is what entries of ``[guards]`` for redis have by default, and it needs no import of redis: it goes by the
names of the classes.

``guard_client`` gives the client a class that guards what its calls pass through, on three commands:

| key | calls | policies |
|---|---|---|
| ``redis`` | every command: ``execute_command`` | all that are said |
| ``redis.pipeline`` | a pipeline or transaction as one call: ``execute`` | no retry, hedge, cache and fallback |
| ``redis.blocking`` | what waits at the server: BLPOP, XREAD BLOCK, WAIT | nor timeouts, limits and slow calls |

A pipeline is empty once it has run, so that a second run would return no answers. To wait is what the blocking commands
are for.

What the guard raises of its own accord is an error of redis-py as well: a ConnectionError, or a TimeoutError.

Not guarded are the messages of pub/sub and MONITOR, which have no end to wait for, and what a pipeline reads between
WATCH and MULTI. Clusters have nodes with a health of their own, and are refused.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from typing import Any, Final, TypeVar

import attrs

from .. import CircuitBreaker, Ending, FailureRules, Verdict, command
from ..core.vendor_errors import as_client_error
from ..engine.callables import flavour_of
from ..engine.error_translation import translated
from ..errors import ConfigError
from .pool_waits import was_cancelled_in

__all__ = ["FAILURES", "guard_client"]

C = TypeVar("C")

_BUSY: Final = frozenset({"BusyLoadingError", "TryAgainError"})
_FAILED: Final = frozenset({"ReadOnlyError", "OutOfMemoryError", "ClusterDownError", "MasterDownError",
                            "ExternalAuthProviderError"})
_CALLER_FAULTS: Final = frozenset({"ResponseError", "DataError", "WatchError", "PubSubError", "LockError",
                                   "AuthenticationError", "AuthorizationError", "CrossSlotTransactionError",
                                   "InvalidPipelineStack"})
#: First words of server errors that redis-py has no class for; for the last, none before 6.
_WORDS: Final = {"BUSY": Verdict.BUSY, "MISCONF": Verdict.FAILED, "NOREPLICAS": Verdict.FAILED,
                 "MASTERDOWN": Verdict.FAILED}
#: What a pipeline puts before the words of the server; redis.asyncio shows a tuple of them.
_OF_A_PIPELINE: Final = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: (?:\(['\"])?", re.DOTALL)
#: What pools say when all of their connections are taken; before redis-py 6, ConnectionPool had no class for that.
_POOL: Final = ("No connection available", "Too many connections")

#: What clients of clusters say of a command, with the class that they have for a cluster without nodes, too.
_OF_THE_COMMAND: Final = ("all keys must map to the same key slot", "No way to dispatch this command")

#: What waits at the server, and what waits if it is told to BLOCK.
_BLOCKING: Final = frozenset({"BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP",
                              "WAIT", "WAITAOF"})
_MAY_BLOCK: Final = frozenset({"XREAD", "XREADGROUP"})
#: Of the words that come before STREAMS in these: how many belong to it.
_OPERANDS: Final = {"GROUP": 2, "COUNT": 1, "CLAIM": 1}
_REPEATING: Final = frozenset({"retry", "hedge", "cache", "fallback"})
_IMPATIENT: Final = frozenset({*_REPEATING, "timeout", "max_concurrent", "adaptive_limit", "isolation", "pool"})


def judge(ending: Ending) -> Verdict | None:
    """Return what a call of redis-py amounts to; a judge for ``failures``.

    Args:
        ending: How the call ended.

    Returns:
        Busy while the server loads its data or runs a script; failed for an answer that says that the server cannot
        work (read-only replica, out of memory, cluster down); refused for a connection pool of the client's own that is
        exhausted; the caller's fault for all other errors in its answers, and for wrong credentials. None for all
        other exceptions, such as a lost connection: these are failures. None for a result, too, but for the answers of
        a pipeline that raises no errors (``raise_on_error=False``): what one of them says of the server counts.
    """
    if ending.error is not None:
        return _of_error(ending.error)
    answers = ending.result
    if type(answers) is not list or not any(issubclass(kind, Exception) for kind in set(map(type, answers))):
        return None
    found = {_of_error(each) for each in answers if isinstance(each, Exception)}
    return next((each for each in (Verdict.FAILED, Verdict.BUSY) if each in found), None)


def _of_error(error: Exception) -> Verdict | None:
    names = {kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "redis.exceptions"}
    if names & _BUSY:
        return Verdict.BUSY
    if names & _FAILED:
        return Verdict.FAILED
    said = str(error)
    if "ResponseError" in names and (word := _OF_A_PIPELINE.sub("", said, 1).partition(" ")[0]) in _WORDS:
        return _WORDS[word]
    if "MaxConnectionsError" in names or ("ConnectionError" in names and said.startswith(_POOL)):
        return Verdict.REFUSED
    is_wrong = bool(names & _CALLER_FAULTS) or (
        "RedisClusterException" in names and any(words in said for words in _OF_THE_COMMAND))
    return Verdict.CALLER_FAULT if is_wrong else None


def waited_for_pool(error: BaseException) -> bool:
    """Whether *error* cancelled the wait for a connection of an asynchronous BlockingConnectionPool.

    Args:
        error: What was raised.
    """
    return was_cancelled_in(error, "asyncio.locks:wait_for")


#: Failure rules for functions that use redis-py.
FAILURES: Final = FailureRules(judge, refused=waited_for_pool)


def guard_client(client: C, *, key: str = "redis", **settings: Any) -> C:
    """Guard a client: its commands, its pipelines and transactions, and its blocking commands.

    The client's own retries are switched off, so that attempts do not multiply; ``retry=`` repeats commands, which is
    for programs whose commands can all be repeated. Retries are a matter of the connection pool, so a pool that the
    client was given, and that other clients may use, must have none.

    Args:
        client: A redis.Redis or redis.asyncio.Redis; it is changed, and its own connection pool, and nothing else is.
        key: Name of the command for plain commands; those for pipelines and for blocking commands are called
            ``key.pipeline`` and ``key.blocking``.
        **settings: As of ``command``. By default the group is *key* and the failure rules are those of this module.

    Returns:
        The client.

    Raises:
        ConfigError: A setting is out of range, unknown, or contradicts another; or the client was given a connection
            pool that retries.
        TypeError: The client is no such client, or it is guarded already.
    """
    kind: Any = type(client)
    if not hasattr(client, "connection_pool") or not hasattr(client, "set_retry"):
        raise TypeError(f"guard_client guards a redis.Redis or redis.asyncio.Redis, not a {kind.__qualname__}")
    if "_is_guarded" in vars(kind):
        raise TypeError("the client is guarded already")
    is_async = inspect.iscoroutinefunction(kind.execute_command)
    if is_async and settings.get("isolation") == "thread":
        raise ConfigError("isolation='thread' is for redis.Redis; calls of redis.asyncio.Redis run in their task",
                          "isolation")
    if settings.get("failover") is not None:
        raise ConfigError("a client has one server; decorate the function that is told the target, and chooses the "
                          "client by it", "failover")
    settings = {"group": key, "failures": FAILURES, **settings}
    found: Any = client
    if getattr(found, "auto_close_connection_pool", True):
        pool = found.connection_pool
    elif getattr(found.connection_pool.connection_kwargs.get("retry"), "_retries", 0):
        raise ConfigError("the client was given a connection pool that retries, below the retry of its commands, and "
                          "other clients may use it; make the pool with retry=Retry(NoBackoff(), 0)", "retry")
    else:
        pool = None
    found.__class__ = _guarded_class(kind, key, settings)
    if pool is not None:
        _switch_retries_off(pool, is_async)
    return client


def _switch_retries_off(pool: Any, is_async: bool) -> None:
    """Let no connection of *pool* retry; its own set_retry() fails if it is a BlockingConnectionPool of redis.Redis."""
    retries: Any = importlib.import_module("redis.asyncio.retry" if is_async else "redis.retry")
    backoff: Any = importlib.import_module("redis.backoff")
    none = pool.connection_kwargs["retry"] = retries.Retry(backoff.NoBackoff(), 0)
    for made in ("_connections", "_available_connections", "_in_use_connections"):
        for connection in getattr(pool, made, ()):
            connection.retry = none


def _guarded_class(kind: Any, key: str, settings: dict[str, Any]) -> Any:
    """A subclass of the client's class; one of an instance of its own would be a cycle, and outlive its last user."""
    plain = _guarded(kind.execute_command, key, settings)
    blocking = _guarded(kind.execute_command, f"{key}.blocking", _patient(settings))
    once = {name: value for name, value in settings.items() if name not in _REPEATING}
    pipelines: dict[Any, Any] = {}

    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        return (blocking if _blocks(args) else plain)(self, *args, **options)

    def pipeline(self: Any, *args: Any, **options: Any) -> Any:
        made = kind.pipeline(self, *args, **options)
        own = type(made)
        if own not in pipelines:
            pipelines[own] = type(own.__name__, (own,), {
                "__module__": own.__module__, "__qualname__": own.__qualname__,
                "execute": _guarded(own.execute, f"{key}.pipeline", once)})
        made.__class__ = pipelines[own]
        return made

    return type(kind.__name__, (kind,), {
        "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__,
        "_is_guarded": True, "execute_command": execute_command, "pipeline": pipeline})


def _guarded(function: Any, key: str, settings: dict[str, Any]) -> Any:
    """*function* as a command, whose own errors are redis-py's, too."""
    theirs: Any = importlib.import_module("redis.exceptions")
    return translated(command(key=key, **settings)(function), flavour_of(function),
                      functools.partial(as_client_error, theirs.ConnectionError, theirs.TimeoutError))


def _patient(settings: dict[str, Any]) -> dict[str, Any]:
    """What of *settings* is for calls that wait at the server as long as they please."""
    found = {name: value for name, value in settings.items() if name not in _IMPATIENT}
    if isinstance(found.get("breaker"), CircuitBreaker):
        found["breaker"] = attrs.evolve(found["breaker"], slow_call=None)
    return {**found, "timeout": None, "max_concurrent": None}


def _blocks(args: tuple[Any, ...]) -> bool:
    """Whether a command may wait at the server; redis-py takes ``"XREAD BLOCK"`` for two words."""
    words = _word(args[0]).split() if args else []
    if not words or words[0] in _BLOCKING:
        return bool(words)
    if words[0] not in _MAY_BLOCK:
        return False
    rest = iter((*words[1:], *args[1:]))
    for each in rest:
        word = _word(each)
        if word in ("BLOCK", "STREAMS"):
            return word == "BLOCK"
        for _ in range(_OPERANDS.get(word, 0)):
            next(rest, None)
    return False


def _word(part: Any) -> str:
    return part.upper() if isinstance(part, str) else part.decode("latin-1").upper() if isinstance(part, bytes) else ""
