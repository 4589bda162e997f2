"""Exchange: one HTTP request and its response, from the first byte to the end of the body, as one guarded call.

Every HTTP client hands a response out while its body is still under way. So a guarded exchange is a stream: its first
item is the Head, which failure rules judge, and the rest is the body. The call holds its slot, and its verdict is open,
until the body was read, closed or dropped; an error on the way is a failure of that call. How the body gets to its
reader differs:

- *pulled*: the items after the head are the chunks of the body, so timeout and latency cover waits for them (httpx);
- *held*: the client reads its body by itself, and tells the Hold how that ended (requests, urllib3, aiohttp).

Who gives back what a call holds: the reader who reaches the end or closes; else the failing read; else, where a
response is dropped unclosed, the garbage collector, since the response alone keeps the generator of its exchange alive.

A generator's own wrapper, if it had the retry, would have to close the last failed response that the caller is to get.
So the retry stands here, above the guarded exchange: to the breaker and in the counts each attempt is a call.

Clients catch their own exceptions. Errors of ours leave an adapter as instances of both their own class and one of the
client's, ``CircuitOpenError`` and ``httpx.ConnectError`` for example.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Final

import attrs

from .. import command, default_registry
from ..commands.command import Command
from ..commands.dispatch import opener
from ..commands.keyed_commands import KeyedCommands, keyspace_of
from ..core.callbacks import check_plain
from ..core.failure_rules import ExceptionRule, rules_meant
from ..core.http_status import http_status
from ..core.retry import Retry
from ..core.vendor_errors import as_client_error
from ..core.verdict import FailedResultError
from ..drivers.deadline_context import DEADLINE_HEADER, attach, current, deadline_headers, detach, in_use
from ..drivers.sleeping import async_sleeper, sleeper
from ..engine.callables import OF_ADAPTER, USUAL_GROUP
from ..engine.failure_judge import BEGINS_WITH_HEAD, speaks_of
from ..errors import CallTimeoutError, ConfigError, RejectedError, ResilienceError
from ..registry import Registry
from .http_retries import RequestRetries

#: RFC 9110, section 9.2.2: methods that may be sent again without being meant again.
IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
#: draft-ietf-httpapi-idempotency-key-header: the server recognises a request that it has had before.
IDEMPOTENCY_KEY: Final = "Idempotency-Key"

#: Key of requests whose URL has no host: their clients answer them in their own words.
NO_HOST: Final = "no host"
#: Errors that leave an adapter as errors of its client too; a ConfigError is a mistake in the program.
OURS: Final = (RejectedError, CallTimeoutError, FailedResultError)
#: What the reader sends into an exchange instead of reading on: the body is not wanted any more.
LEAVE: Final = object()


@attrs.frozen(kw_only=True)
class ClientTerms:
    """What an HTTP client library calls things.

    Attributes:
        rejected: Class that our refusals, and other errors of ours, are instances of too.
        timed_out: Class that our timeouts are instances of too.
        pool_errors: What says that the client's own connection pool had no room: exceptions by class or by predicate,
            which is asked about the cancellation of a request, too, if its timeout has passed.
        caller_faults: What means that the request was wrong: exceptions by class or by predicate. Whatever else is
            raised while a request is sent, or its response is read, is a failure: a status never is, for clients raise
            by status later, if at all.
        host: The host of a request, with its port unless that is the scheme's own.
        method: The method of a request, in capitals.
        headers: The headers of a request, which deadline and idempotency key are read from and written to.
        may_repeat: Whether a request can be sent again: there is time left for it, and its body is still there.
        discard: Closes a response that is not handed out because its request is sent again; None: its exchange does.
        is_pulled: Whether the items of an exchange are the body; else the client reads it by itself.
    """

    rejected: type[Exception]
    timed_out: type[Exception]
    pool_errors: tuple[ExceptionRule, ...]
    caller_faults: tuple[ExceptionRule, ...]
    host: Callable[[Any], str]
    method: Callable[[Any], str]
    headers: Callable[[Any], Any]
    may_repeat: Callable[[Any], bool]
    discard: Callable[[Any], object] | None = None
    is_pulled: bool = False


class _Clients:
    """What all clients that are guarded call refusals of their own pools, and mistakes of their callers.

    The functions are the same for each of them, since guards of several clients share the command of a host, and must
    say the same of it.
    """

    def __init__(self) -> None:
        refused: dict[ExceptionRule, None] = {}  # both are copied in one step: other threads may add to them
        mistakes: dict[ExceptionRule, None] = {}
        self._refused, self._mistakes = refused, mistakes
        self.had_no_room: Callable[[BaseException], bool] = lambda error: speaks_of(tuple(refused), error)
        self.misused: Callable[[BaseException], bool] = lambda error: speaks_of(tuple(mistakes), error)

    def learn(self, client: ClientTerms) -> None:
        """Know the words of one more client."""
        self._refused.update(dict.fromkeys(client.pool_errors))
        self._mistakes.update(dict.fromkeys(client.caller_faults))


_CLIENTS: Final = _Clients()


# -- exchanges

class Exchanges:
    """The guarded exchanges of one adapter: a command for each host, or as its ``key`` says. Safe from any thread.

    Attributes:
        resilience: The handle of the commands.
        clock: The registry's.
        open: Given a request, and what else the exchange is given: the generator of its guarded exchange.
        has_retry: Whether begin() does more than to take the answer out of that.
        left: Bodies that somebody closed while somebody else read them: what that read raises is no failure.
    """

    def __init__(self, exchange: Callable[..., Any], client: ClientTerms, name: str, settings: dict[str, Any]) -> None:
        """Guard *exchange*.

        Args:
            exchange: Generator function that is given a request, yields a Head and then the body, or waits.
            client: What its client library calls things.
            name: The adapter's, for the handle of all its commands.
            settings: Of ``command``, and ``idempotent``.

        Raises:
            ConfigError: One of the settings is out of range, or not for an exchange.
        """
        for option, hint in _UNSUITED.items():
            if settings.get(option) is not None:
                raise ConfigError(f"{option}: {name} cannot have one; {hint}", option)
        if not client.is_pulled:
            _check_clocks(settings.get("stream_timeout"), name)
        self._client = client
        key: Any = settings.pop("key", None) or client.host
        if callable(key):
            check_plain(key, "key", "a request")
        self._key: Any = (lambda request, *_: key(request)) if callable(key) else key
        idempotent = settings.pop("idempotent", None)
        self._is_idempotent = self._by_method if idempotent is None else idempotent
        check_plain(self._is_idempotent, "idempotent", "a request")
        retry: Retry | None = settings.pop("retry", None)
        if retry is not None and not isinstance(retry, Retry):
            raise ConfigError(f"retry must be a Retry, or None, not {retry!r}", "retry")
        registry: Registry | None = settings.get("registry")
        registry = default_registry if registry is None else registry
        self.clock = registry.clock
        rules = rules_meant(settings.pop("failures", None) or http_status())
        _CLIENTS.learn(client)
        setattr(exchange, USUAL_GROUP, name)  # said in the settings, it would contradict that of another client
        exchange.__module__, _, exchange.__qualname__ = name.partition(".")
        setattr(exchange, BEGINS_WITH_HEAD, True)
        setattr(exchange, OF_ADAPTER, () if retry is None else (retry,))
        rules = attrs.evolve(
            rules, refused=(*rules.refused, _CLIENTS.had_no_room),
            caller_faults=(*rules.caller_faults, _CLIENTS.misused),
            exceptions=(Exception,) if rules.exceptions is None else rules.exceptions)
        self.guarded: Callable[..., Any] = command(key=self._key, failures=rules, **settings)(exchange)
        self.resilience: Command | KeyedCommands = vars(self.guarded)["resilience"]
        handle = self.resilience
        self.open: Callable[..., Any] = (
            self.guarded if isinstance(handle, Command) else opener(keyspace_of(handle), key))
        self._retries = RequestRetries(
            retry, self._may_repeat, settings.get("group") or name, tuple(_several(settings.get("ignore", ()))),
            registry)
        self.has_retry = self._retries.are_on
        self.left: weakref.WeakSet[Any] = weakref.WeakSet()
        self._told: weakref.WeakSet[Any] = weakref.WeakSet()  # requests that have a deadline in their headers

    def command_of(self, request: Any, args: tuple[Any, ...]) -> Command:
        """The command that a request is guarded by."""
        handle = self.resilience
        if isinstance(handle, Command):
            return handle
        found = handle.get(self._key(request, *args)) or handle.get(handle.overflow)
        return found if found is not None else next(iter(handle))

    def send_deadline(self, request: Any) -> None:
        """Tell the server what time is left of the caller's deadline, if there is one.

        The request is its caller's, who may send it again without a deadline.
        """
        if in_use:
            headers, told = self._client.headers(request), deadline_headers()
            for name, value in told.items():
                headers[name] = value
                self._told.add(request)
            if not told and request in self._told:
                self._told.discard(request)
                headers.pop(DEADLINE_HEADER, None)

    def raised_as(self, error: ResilienceError, request: Any) -> Exception:
        """The *error* as one of this client's family too, with the request, which exceptions of most clients have."""
        client = self._client
        both = as_client_error(client.rejected, client.timed_out, error)
        if both is not error:
            vars(both).update({name: request for name in ("request", "_request") if name in vars(both)})
        return both

    def begin(self, request: Any, *args: Any) -> tuple[Any, Generator[Any, Any, Any]]:
        """Send a request, again if the retry says so, and return the response and what guards its body."""
        attempts = self._retries.attempts(request) if self.has_retry else None
        if attempts is None:
            exchange = self.open(request, *args)
            try:
                return next(exchange).take(), exchange
            finally:
                del exchange  # the traceback of an error would keep it, and so its key
        while True:
            exchange = self.open(request, *args)
            try:
                response = next(exchange).take()
            except Exception as error:
                if (pause := attempts.pause(self.command_of(request, args), error)) is None:
                    del exchange
                    raise
            else:
                if (pause := attempts.pause(self.command_of(request, args), response)) is None:
                    return response, exchange
                leave(exchange)
                self._discard(response)
            sleeper(self.clock)(pause)

    async def begin_async(self, request: Any, *args: Any) -> tuple[Any, AsyncGenerator[Any, Any]]:
        """As begin(), for asynchronous clients."""
        attempts = self._retries.attempts(request) if self.has_retry else None
        if attempts is None:
            exchange = self.open(request, *args)
            try:
                return (await exchange.__anext__()).take(), exchange
            finally:
                del exchange
        while True:
            exchange = self.open(request, *args)
            try:
                response = (await exchange.__anext__()).take()
            except Exception as error:
                if (pause := attempts.pause(self.command_of(request, args), error)) is None:
                    del exchange
                    raise
            else:
                if (pause := attempts.pause(self.command_of(request, args), response)) is None:
                    return response, exchange
                await leave_async(exchange)
                self._discard(response)
            await async_sleeper(self.clock)(pause)

    def _discard(self, response: Any) -> None:
        if self._client.discard is not None:
            self._client.discard(response)

    def _may_repeat(self, request: Any) -> bool:
        return self._client.may_repeat(request) and bool(self._is_idempotent(request))

    def _by_method(self, request: Any) -> bool:
        client = self._client
        return client.method(request) in IDEMPOTENT or IDEMPOTENCY_KEY in client.headers(request)


_UNSUITED: Final = {
    "fallback": "catch the client's own exceptions around the call instead",
    "cache": "a response is a stream, which only one caller can read",
    "hedge": "hedge the function that calls the client instead",
    "failover": "put it on the function that calls the client, which is told the target",
}


def _check_clocks(clocks: Any, name: str) -> None:
    """Raise ConfigError if a stream timeout has clocks for a body that its exchange does not see."""
    unseen = [field for field in ("between_items", "total", "min_rate") if getattr(clocks, field, None) is not None]
    if unseen:
        raise ConfigError(f"stream_timeout: {name} reads the body by itself, so that {', '.join(unseen)} would do "
                          "nothing; use the client's own timeouts", "stream_timeout")


def _several(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, type) else tuple(value)


def leave(exchange: Generator[Any, Any, Any], error: BaseException | None = None) -> None:
    """End an exchange whose body nobody wants any more: the answer had come, so it is good if its head was.

    Args:
        exchange: The exchange.
        error: What its reader has found wrong with the body, and has got already: then it is a failure.
    """
    trace = None if error is None else error.__traceback__
    try:
        exchange.send(LEAVE if error is None else error)
    except StopIteration:
        pass
    except BaseException as ended:
        if ended is not error:
            raise
        ended.with_traceback(trace)
    finally:
        del exchange  # the traceback of an error would keep it, and so its key


async def leave_async(exchange: AsyncGenerator[Any, Any], error: BaseException | None = None) -> None:
    """As leave(), for asynchronous clients. It is no wait for the server, so no deadline of the caller ends it.

    Args:
        exchange: See leave().
        error: See leave().
    """
    trace = None if error is None else error.__traceback__
    end = current() if in_use else None
    try:
        if end is not None:
            detach()
        await exchange.asend(LEAVE if error is None else error)
    except StopAsyncIteration:
        pass
    except BaseException as ended:
        if ended is not error:
            raise
        ended.with_traceback(trace)
    finally:
        if end is not None:
            attach(end)
        del exchange


# -- bodies that the client reads by itself

class Hold:
    """Holds a call until its client has read the body of the response by itself. Safe from any thread."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Any) -> None:
        self._exchange = [exchange]

    def end(self, error: BaseException | None = None) -> None:
        """The body was read or closed, or reading it raised *error*. Only the first word counts."""
        exchange = self._taken()
        if exchange is not None:
            try:
                leave(exchange, error)
            finally:
                del exchange  # the traceback of another error would keep it, and so its key

    def _taken(self) -> Any:
        try:
            return self._exchange.pop()
        except IndexError:
            return None


def end_of(word: object) -> None:
    """In an exchange, after its head: raise what the reader says went wrong, if anything did.

    Args:
        word: What the reader sent in.
    """
    if isinstance(word, BaseException):
        raise word
