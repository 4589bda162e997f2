"""HttpClient: small requests to registries, by the standard library, each bounded in time and size.

``http.client`` knows the time of one wait for the network, so that a server which sends a byte now and then is never
late. Here the whole exchange has one end: what is left until then is the longest that each wait may take.
No redirect is followed, no proxy of the environment is used, and each request has a connection of its own: a registry
is asked a few times a minute, and there is none that may have died meanwhile.
"""

from __future__ import annotations

import base64
import functools
import http.client
import io
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import attrs

from ..drivers.system_clock import monotonic
from ..errors import ConfigError

#: Of an answer; 10,000 instances of Eureka's are some 15 MB.
MAX_BYTES: Final = 64 * 1024 * 1024
_CHUNK: Final = 64 * 1024
_LEAST_S: Final = 0.05
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\xa0-\xff]*").fullmatch


class HttpClientError(OSError):
    """A server cannot be asked, or does not answer as HTTP has it, or not in time."""


@attrs.frozen
class HttpAnswer:
    """What a server has answered.

    Attributes:
        status: HTTP status.
        body: All of it.
    """

    status: int
    body: bytes


class HttpServer:
    """A server that can be asked. Its methods may be called from any thread; each call has its own connection.

    Attributes:
        name: Host and port, without what is secret in the URL.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, ca_file: str | None = None) -> None:
        """A server; nothing is asked yet.

        Args:
            url: Base URL, http or https; a name and password in it are sent as basic authentication.
            headers: Set in each request.
            ca_file: Certificates in PEM of the authorities that the server is verified by; None: the system's. Read
                anew for each request, for it may be renewed.

        Raises:
            ConfigError: The URL has a mistake, or a header.
        """
        parts = _parsed(url)
        _check_headers(headers or {})
        self._tls, self._host, self._ca_file = parts.scheme == "https", parts.hostname or "", ca_file
        self._port = parts.port or (443 if self._tls else 80)
        self._base = parts.path.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "resilience-discovery", **(headers or {})}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers.setdefault("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
        self.name = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        self.url = urlunsplit((parts.scheme, self.name, parts.path, "", ""))

    def __repr__(self) -> str:
        return self.url

    def ask(self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None,
            timeout_s: float = 5.0, most_bytes: int = MAX_BYTES, clock: Callable[[], float] = monotonic) -> HttpAnswer:
        """Send a request, and wait for the whole answer.

        Args:
            method: Such as "GET".
            path: Below the base URL, with its query.
            body: Of the request.
            headers: Further ones.
            timeout_s: Longest time for all of it, but for looking up the host's name.
            most_bytes: The largest body that is read.
            clock: Monotonic seconds.

        Raises:
            HttpClientError: There is no answer.
        """
        ends_at = clock() + timeout_s
        connection = self._connection(timeout_s, lambda: ends_at - clock())
        try:
            connection.request(method, f"{self._base}{path}", body=body,
                               headers={**self._headers, **(headers or {}), "Connection": "close"})
            answer = connection.getresponse()
            return HttpAnswer(answer.status, _read(answer, most_bytes))
        except HttpClientError:
            raise
        except TimeoutError:
            raise HttpClientError(f"{self.name} gives no answer in time") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise HttpClientError(f"{self.name}: {f'{error}' or type(error).__name__}") from error
        finally:
            connection.close()

    def _connection(self, timeout_s: float, left: Callable[[], float]) -> http.client.HTTPConnection:
        if self._tls:
            try:
                context = ssl.create_default_context(cafile=self._ca_file)
            except OSError as error:
                raise HttpClientError(f"{self._ca_file} cannot be read: {error}") from None
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_s, context=context)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        connection.response_class = functools.partial(_response, left)  # type: ignore[assignment]
        connection._create_connection = functools.partial(_connected, left)  # type: ignore[attr-defined]
        return connection


def _parsed(url: str) -> SplitResult:
    wanted = "a registry's address must be an http:// or https:// URL with a host"
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(f"{wanted}, which this one is not") from None
    if not is_right or not url.isascii() or any(ord(c) <= 32 for c in url) or parts.query or parts.fragment:
        raise ConfigError(f"{wanted}, and without a query, which this one is not")
    return parts


def _check_headers(headers: Mapping[str, str]) -> None:
    """See that *headers* can be sent.

    Raises:
        ConfigError: One cannot; the message has its name, and not its value, which may be secret.
    """
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN(name):
            raise ConfigError(f"headers: {name!r} is no name of a header", "headers")
        if not isinstance(value, str) or not _HEADER_VALUE(value):
            raise ConfigError(f"headers: the value of {name} must be a text in Latin-1 without line breaks; if it is "
                              "read from a file, strip() it", "headers")


def _connected(left: Callable[[], float], address: tuple[str, int], *further: object) -> socket.socket:
    """A connection to the first address of a host that can be connected to; each has its share of what is *left*.

    Raises:
        OSError: None of them can be; the error is that of the last.
    """
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    for number, (*_, place) in enumerate(found, 1):
        share = max(_LEAST_S, left() / (len(found) - number + 1))
        try:
            connected = socket.create_connection((f"{place[0]}", address[1]), share)
        except OSError:
            if number == len(found):
                raise
        else:
            connected.settimeout(max(_LEAST_S, left()))  # for the handshake of TLS, and the request
            return connected
    raise OSError(f"{address[0]} has no address")


def _response(left: Callable[[], float], sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
    return http.client.HTTPResponse(_Socket(sock, left), *args, **kwargs)  # type: ignore[arg-type]


class _Socket:
    """A socket whose file waits for no longer than is left."""

    def __init__(self, sock: socket.socket, left: Callable[[], float]) -> None:
        self._sock, self._left = sock, left

    def makefile(self, _: str) -> io.BufferedReader:
        """What an answer is read from."""
        return io.BufferedReader(_Raw(self._sock, self._left))


class _Raw(io.RawIOBase):
    def __init__(self, sock: socket.socket, left: Callable[[], float]) -> None:
        self._sock, self._left = sock, left
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open after its connection has let go of it

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._left()
        if left <= 0.0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _read(answer: http.client.HTTPResponse, most_bytes: int) -> bytes:
    body = bytearray()
    try:
        while piece := answer.read(min(_CHUNK, most_bytes + 1 - len(body))):
            body += piece
            if len(body) > most_bytes:
                raise HttpClientError(f"the answer is larger than {most_bytes} bytes")
    finally:
        answer.close()
    if answer.length:
        raise HttpClientError("the answer ends too soon")
    return bytes(body)
