"""EurekaServers: registries that know the same, of which one is asked, and the others in turn if it fails.

The one that has answered is asked first the next time. Nothing more guards these requests: each is bounded in time, one
is under way at a time, and who sends them waits longer after each failure. A circuit would have no calls to refuse.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from ..drivers.system_clock import monotonic
from ..errors import ConfigError
from .daemon_thread import in_daemon_thread
from .eureka_source import EurekaAnswer
from .http_client import HttpAnswer, HttpClientError, HttpServer

_LEAST_S: Final = 0.05
#: Of what a server says of a failure.
_MOST_SAID: Final = 200


class EurekaServers:
    """The servers of one registry, by their base URLs. Its methods may be called from any thread."""

    def __init__(self, urls: str | Sequence[str], *, headers: Mapping[str, str] | None = None,
                 ca_file: str | None = None, timeout_s: float = 5.0,
                 clock: Callable[[], float] = monotonic) -> None:
        """Servers; none is asked yet.

        Args:
            urls: Base URLs, such as "http://eureka-1:8761/eureka"; a name and password in one are sent.
            headers: Set in each request, such as Authorization.
            ca_file: Certificates in PEM of the authorities for https; None: the system's.
            timeout_s: Longest time for one question, with all servers tried; each gets its share of it.
            clock: Monotonic seconds.

        Raises:
            ConfigError: A URL has a mistake, or there is none.
        """
        given = (urls,) if isinstance(urls, str) else tuple(urls)
        if not given:
            raise ConfigError("a registry needs at least one URL", "urls")
        self._servers = tuple(HttpServer(each, headers=headers, ca_file=ca_file) for each in given)
        self._timeout_s, self._clock = timeout_s, clock

    def __repr__(self) -> str:
        return ", ".join(map(repr, self._servers))

    def ask(self, method: str, path: str, statuses: Collection[int], *, body: bytes | None = None,
            timeout_s: float | None = None) -> EurekaAnswer:
        """The answer of the first server that gives one of these *statuses*.

        Args:
            method: Such as "PUT".
            path: Below the base URL.
            statuses: Those that an answer has; with any other one the next server is asked.
            body: JSON.
            timeout_s: Longest time for all servers together; None: the usual.

        Raises:
            HttpClientError: None of them gives one; the message has the reason of each.
        """
        reasons = list[str]()
        headers = {} if body is None else {"Content-Type": "application/json"}
        servers, timeout_s = self._servers, self._timeout_s if timeout_s is None else timeout_s
        ends_at = self._clock() + timeout_s
        for number, server in enumerate(servers):
            share = max(_LEAST_S, (ends_at - self._clock()) / (len(servers) - number))
            try:
                answer: HttpAnswer = server.ask(method, path, body=body, timeout_s=share, headers=headers)
            except HttpClientError as error:
                reasons.append(f"{error}")
                continue
            if answer.status in statuses:
                self._servers = (server, *(each for each in servers if each is not server))
                return EurekaAnswer(answer.status, answer.body, server.name)
            reasons.append(f"{server.name}: HTTP status {_named(answer.status)}{_said(answer.body)}")
        raise HttpClientError("; ".join(reasons))

    async def get(self, path: str, statuses: Collection[int]) -> EurekaAnswer:
        """The answer to GET, for an EurekaSource.

        Args:
            path: Below the base URL.
            statuses: Those that an answer has.

        Raises:
            HttpClientError: No server gives one.
        """
        return await in_daemon_thread(functools.partial(self.ask, "GET", path, statuses))


def _said(body: bytes) -> str:
    """The sentence by which a server says why; nothing, if it has sent something else, such as a page."""
    text = body[:_MOST_SAID + 1].decode(errors="replace").strip()
    return f": {text}" if text and len(text) <= _MOST_SAID and text.isprintable() and text[0] not in "<{[" else ""


def _named(status: int) -> str:
    try:
        return f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        return f"{status}"
