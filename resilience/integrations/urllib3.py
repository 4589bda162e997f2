"""Pool manager for urllib3 whose every request is a guarded call, from its first byte to the end of the body.

The guard stands around each exchange of a pool, below all redirects: each hop counts for its own host. urllib3's own
retries are off there, else three attempts of theirs in each of ours would make nine. All else that a urllib3.Retry says
holds: which redirects are followed, and what is raised. The manager follows redirects by itself; a pool does so in its
urlopen(), where the guard stands, so this follows them in its place, in the same way.

A response is read by urllib3 itself, in many ways. ``watched()`` makes it say when that has ended, see
resilience.integrations.http_exchange. The adapter for requests, which reads responses of urllib3, uses it as well.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from threading import get_ident
from typing import Any, Final

import attrs
import urllib3
from urllib3._collections import HTTPHeaderDict  # at the top only since 2.0
from urllib3.connection import port_by_scheme
from urllib3.exceptions import EmptyPoolError, HTTPError, LocationValueError, MaxRetryError
from urllib3.poolmanager import PoolKey
from urllib3.util import Retry
from urllib3.util.request import set_file_position

from ..commands.command import Command
from ..commands.keyed_commands import KeyedCommands
from ..engine.failure_judge import Head
from ..errors import ConfigError
from .http_exchange import OURS, ClientTerms, Exchanges, Hold, end_of
from .request_mistakes import urllib3_mistake

__all__ = ["ResiliencePoolManager"]


class _WatchedResponse(urllib3.HTTPResponse):
    """A response that tells its Hold how the reading of its body has ended."""

    _hold: Hold
    _reader: int | None = None  # the thread that reads at present
    _was_released = False
    _was_closed = False

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        return self._watch(super().read, *args, **kwargs)  # type: ignore[no-any-return]

    def read1(self, *args: Any, **kwargs: Any) -> bytes:
        return self._watch(super().read1, *args, **kwargs)  # type: ignore[no-any-return]

    def read_chunked(self, *args: Any, **kwargs: Any) -> Generator[bytes, None, None]:
        chunks: Iterator[bytes] = super().read_chunked(*args, **kwargs)
        while (chunk := self._watch(next, chunks, None)) is not None:
            yield chunk

    def release_conn(self) -> None:
        super().release_conn()
        if self._reader is None:
            self._hold.end()
        else:  # how that ends is not known yet
            self._was_released = True

    def close(self) -> None:
        if self._reader != get_ident():  # else it is urllib3, at a chunk that is malformed or missing
            self._was_closed = True
        super().close()
        if self._reader is None:
            self._hold.end()

    def _watch(self, read: Any, *args: Any, **kwargs: Any) -> Any:
        if self._reader is not None:  # read1() by way of read()
            return read(*args, **kwargs)
        self._reader = get_ident()
        try:
            data = read(*args, **kwargs)
        except BaseException as error:
            self._hold.end(None if self._was_closed else error)  # whoever closes it while it is read wants no more
            raise
        finally:
            self._reader = None
        if self._was_released or self.connection is None:
            self._hold.end()
        return data


def given_out(response: Any, discard: Callable[[Any], object]) -> Generator[Any, Any, None]:
    """What an exchange is from its head on: it waits for the word that its Hold sends.

    Args:
        response: The response.
        discard: Closes it if it is not given out, because it counts as a failure that is raised.
    """
    head = Head(response)
    del response  # the exchange is to keep no response alive
    try:
        word = yield head
    except BaseException:
        if head.answer is not None:
            discard(head.answer)
        raise
    end_of(word)


def watched(response: Any, hold: Hold) -> None:
    """Let a response of urllib3 tell *hold* when its body was read or closed; of others, that is taken to be so.

    Args:
        response: The response.
        hold: What holds the call.
    """
    if type(response) is urllib3.HTTPResponse and response.connection is not None:
        response.__class__ = _WatchedResponse
        response._hold = hold  # type: ignore[attr-defined]
    else:
        hold.end()


@attrs.frozen(eq=False)
class _Request:
    """One call of a pool's urlopen()."""

    pool: Any
    send: Callable[..., Any]
    method: str
    url: str
    options: dict[str, Any]

    @property
    def headers(self) -> Any:
        return self.options["headers"]


def _host(request: _Request) -> str:
    pool = request.pool
    usual = port_by_scheme.get(pool.scheme)
    return pool.host if pool.port in (None, usual) else f"{pool.host}:{pool.port}"


def _discard(response: Any) -> None:
    response.close()
    response.release_conn()  # else a pool that blocks has one place less


_CLIENT: Final = ClientTerms(
    rejected=HTTPError, timed_out=urllib3.exceptions.TimeoutError, pool_errors=(EmptyPoolError,), host=_host,
    caller_faults=(LocationValueError, urllib3_mistake),
    method=lambda request: request.method.upper(), headers=lambda request: request.headers,
    may_repeat=lambda request: isinstance(request.options.get("body"), (bytes, str, type(None))), discard=_discard)


class ResiliencePoolManager(urllib3.PoolManager):
    """PoolManager that guards each request with the command of its host. It may be used from any thread.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    resilience: Command | KeyedCommands

    def __init__(self, num_pools: int = 10, headers: Any = None, *, guard: dict[str, Any] | None = None,
                 **connection_pool_kw: Any) -> None:
        """Make pools whose requests are guarded.

        Args:
            num_pools: As for PoolManager.
            headers: As for PoolManager.
            guard: The settings of resilience.command, except ``cache``, ``failover``, ``fallback``, ``hedge`` and
                ``timeout``, with the differences that resilience.integrations.httpx.ResilienceTransport has.
            **connection_pool_kw: As for PoolManager; what it does not know is a setting, as those in *guard* are.

        Raises:
            ConfigError: A setting is out of range, unknown, or not for a pool manager.
        """
        theirs = {name: value for name, value in connection_pool_kw.items() if f"key_{name}" in PoolKey._fields}
        super().__init__(num_pools, headers, **theirs)
        ours = {name: value for name, value in connection_pool_kw.items() if name not in theirs}
        settings = {**ours, **(guard or {})}
        if settings.get("timeout") is not None:
            raise ConfigError("timeout: urllib3 runs in its caller's thread, where no timeout can reach it; use its "
                              "own, timeout=urllib3.Timeout(...)", "timeout")

        def exchange(request: _Request) -> Generator[Any, Any, None]:
            exchanges.send_deadline(request)
            yield from given_out(request.send(request.method, request.url, **request.options), _discard)

        exchanges = Exchanges(exchange, _CLIENT, "urllib3.PoolManager", settings)
        self.resilience = exchanges.resilience
        self.pool_classes_by_scheme = {
            "http": _guarded(urllib3.HTTPConnectionPool, exchanges),
            "https": _guarded(urllib3.HTTPSConnectionPool, exchanges)}


def _guarded(pool: Any, exchanges: Exchanges) -> Any:
    """A class of pools whose exchanges are guarded."""

    def urlopen(self: Any, method: str, url: str, body: Any = None, headers: Any = None, retries: Any = None,
                redirect: bool = True, assert_same_host: bool = True, **options: Any) -> Any:
        """As the pool's own."""
        headers = HTTPHeaderDict(self.headers if headers is None else headers)
        retries = Retry.from_int(retries, redirect=redirect, default=self.retries)
        options["body_pos"] = set_file_position(body, options.get("body_pos"))
        while True:
            sent = {**options, "body": body, "headers": HTTPHeaderDict(headers), "retries": _once(retries),
                    "redirect": False, "assert_same_host": assert_same_host}
            request = _Request(self, functools.partial(pool.urlopen, self), method, url, sent)
            try:
                response, exchange = exchanges.begin(request)
            except OURS as error:
                raise exchanges.raised_as(error, request) from error.__cause__
            response.retries = retries
            watched(response, Hold(exchange))
            location = redirect and response.get_redirect_location()
            if not location:
                return response
            if response.status == 303:
                method, body, headers = "GET", None, _without_body(headers, options)
            headers = _for_location(headers, retries, self, location)
            try:
                retries = retries.increment(method, url, response=response, _pool=self)
            except MaxRetryError:
                if retries.raise_on_redirect:
                    response.drain_conn()
                    raise
                return response
            response.drain_conn()
            retries.sleep_for_retry(response)
            url = location

    return type(pool)(f"Guarded{pool.__name__}", (pool,), {"urlopen": urlopen, "__doc__": pool.__doc__})


def repeats(retries: Any) -> bool:
    """Whether *retries*, a Retry of urllib3's, repeat a request that has failed; None does not.

    Args:
        retries: As an adapter for requests has them. It follows redirects by itself, whatever they say of these.
    """
    def allow(kind: str) -> bool:
        number = getattr(retries, kind)
        return number is None or number > 0

    return isinstance(retries, Retry) and allow("total") and any(map(allow, ("connect", "read", "status", "other")))


def _once(retries: Retry) -> Retry:
    """What *retries* say about an error of the only attempt: whether it is raised bare, or in a MaxRetryError."""
    return retries.new(total=False if retries.total is False else 0, status_forcelist=())


def _without_body(headers: Any, options: dict[str, Any]) -> Any:
    """The headers for a request without a body in the place of one with a body, as status 303 wants it."""
    options.update(chunked=False, body_pos=None)
    prepare = getattr(HTTPHeaderDict(headers), "_prepare_for_method_change", None)  # since 2.0.7
    return headers if prepare is None else prepare()


def _for_location(headers: Any, retries: Retry, pool: Any, location: str) -> Any:
    """The headers for a redirect, without those that no other host is to see."""
    if not retries.remove_headers_on_redirect or pool.is_same_host(location):
        return headers
    others = HTTPHeaderDict(headers)
    for name in headers:
        if name.lower() in retries.remove_headers_on_redirect:
            others.discard(name)
    return others
