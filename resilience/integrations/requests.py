"""Transport adapter for requests: every request of a session is a guarded call, to the end of its body.

Without ``stream=True`` requests reads the body right after the adapter has returned, with it the caller does; the call
lasts as long in either case. See resilience.integrations.http_exchange.

Whatever asks a response for its connection, as digest authentication does to answer a challenge, gets the guarded
adapter. A copy of an adapter, and so of its session, has the same commands; a pickled one makes its own where it is
unpickled.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Generator
from typing import Any, Final, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.exceptions import EmptyPoolError, LocationValueError

from ..commands.command import Command
from ..commands.keyed_commands import KeyedCommands
from ..errors import ConfigError
from .http_exchange import NO_HOST, OURS, ClientTerms, Exchanges, Hold
from .request_mistakes import urllib3_mistake
from .urllib3 import given_out, repeats, watched

__all__ = ["ResilienceAdapter"]

_USUAL_PORTS: Final = {"http": 80, "https": 443}


def _host(request: Any) -> str:
    parts = urlsplit(request.url)
    host = parts.hostname or NO_HOST
    return host if parts.port in (None, _USUAL_PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def _discard(response: Any) -> None:
    response.close()


_CLIENT: Final = ClientTerms(
    rejected=requests.ConnectionError, timed_out=requests.ReadTimeout, pool_errors=(EmptyPoolError,), host=_host,
    # InvalidHeader is what the server sent, here.
    caller_faults=(requests.exceptions.InvalidURL, LocationValueError, urllib3_mistake),
    method=lambda request: (request.method or "GET").upper(), headers=lambda request: request.headers,
    may_repeat=lambda request: isinstance(request.body, (bytes, str, type(None))),
    discard=_discard)


class ResilienceAdapter(BaseAdapter):
    """Transport adapter of a ``requests.Session`` that guards each request with the command of its host.

    It may be used from any thread, as far as the adapter that it wraps may.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    resilience: Command | KeyedCommands

    def __init__(self, adapter: BaseAdapter | None = None, **settings: Any) -> None:
        """Guard the requests that go through an adapter.

        Args:
            adapter: What sends the requests; None: ``requests.adapters.HTTPAdapter()``.
            **settings: The settings of resilience.command, except ``cache``, ``failover``, ``fallback``, ``hedge`` and
                ``timeout``, with the differences that resilience.integrations.httpx.ResilienceTransport has.

        Raises:
            ConfigError: A setting is out of range, unknown, or not for an adapter; or *adapter* has ``max_retries``.
            TypeError: *adapter* is none, such as a session.
        """
        super().__init__()
        if settings.get("timeout") is not None:
            raise ConfigError("timeout: requests runs in its caller's thread, where no timeout can reach it; use its "
                              "own, session.get(url, timeout=...)", "timeout")
        inner: Any = HTTPAdapter() if adapter is None else adapter
        if isinstance(inner, requests.Session) or not callable(getattr(inner, "send", None)):
            raise TypeError(f"an adapter such as HTTPAdapter() is guarded, not {inner!r}; give the guard to the "
                            "session, as in session.mount('https://', ResilienceAdapter())")
        if repeats(getattr(inner, "max_retries", None)):
            raise ConfigError("the adapter would repeat requests by itself, below the retry of their command; make it "
                              "without max_retries=, and give retry= to the guard", "retry")
        self._inner = inner
        self._settings = dict(settings)

        def exchange(request: Any, inner: Any, options: dict[str, Any]) -> Generator[Any, Any, None]:
            exchanges.send_deadline(request)
            yield from given_out(inner.send(request, **options), _discard)

        exchanges = self._exchanges = Exchanges(exchange, _CLIENT, "requests.Session", settings)
        self.resilience = exchanges.resilience

    def send(self, request: requests.PreparedRequest, stream: bool = False, timeout: Any = None, verify: Any = True,
             cert: Any = None, proxies: Any = None) -> requests.Response:
        """Send a request; requests calls this.

        Args:
            request: What to send.
            stream: As for HTTPAdapter, like those that follow.
            timeout: See stream.
            verify: See stream.
            cert: See stream.
            proxies: See stream.
        """
        options = {"stream": stream, "timeout": timeout, "verify": verify, "cert": cert, "proxies": proxies}
        try:
            response, exchange = self._exchanges.begin(request, self._inner, options)
        except OURS as error:
            raise self._exchanges.raised_as(error, request) from error.__cause__
        response.connection = self
        watched(response.raw, Hold(exchange))
        return response  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the adapter that sends the requests."""
        self._inner.close()

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo: Any) -> Self:
        twin = self.__copy__()
        twin._inner = copy.deepcopy(self._inner, memo)
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), **self._settings), (self._inner,)
