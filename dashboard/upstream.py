"""Upstream: one read-only HTTP/1.1 exchange with a metrics stream, over asyncio streams.

Theory of operation. `open_upstream` connects, sends one GET and reads the response head; `Upstream.pieces` then yields
the body as it arrives, whatever its framing (chunked, Content-Length, until close). Nothing is trusted:

- the head is bounded in size, and connecting plus reading the head in time;
- each read of the body has a time limit, so a silent upstream ends rather than hangs;
- memory is bounded by the reader's limit: a slow browser stops the reading, and so the upstream;
- redirects are not followed, since they would lead to an address that the operator did not name;
- an event that never ends is cut off, because the browser would have to keep all of it.

Everything that can go wrong is an `UpstreamError` with one plain sentence for the page.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from .source import StreamSource

_HEAD_LIMIT = 32 * 1024
_PIECE = 16 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\Z")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n]*?)[ \t]*\Z")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n\Z")
_LENGTH = re.compile(rb"[0-9]{1,18}\Z")


class UpstreamError(Exception):
    """The stream cannot be had, or broke off.

    Attributes:
        status: The HTTP status that tells the page so: 502, or 504 for time limits.
    """

    def __init__(self, reason: str, status: int = 502) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What an upstream may take.

    Attributes:
        connect: Seconds for connecting and receiving the response head.
        read: Seconds without a single byte before the exchange is given up.
        event_bytes: Longest event in bytes.
    """

    connect: float = 5.0
    read: float = 30.0
    event_bytes: int = 4 * 1024 * 1024


class Upstream:
    """The body of an open exchange. Belongs to one task."""

    def __init__(self, reader: asyncio.StreamReader, headers: dict[bytes, bytes], limits: Limits) -> None:
        self._reader = reader
        self._limits = limits
        self._chunked = b"transfer-encoding" in headers
        self._length = None if self._chunked else _content_length(headers)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes in arrival order, at most 16 KiB at a time.

        Raises:
            UpstreamError: Read time limit, broken framing, reset, early end, or an endless event.
        """
        gauge = _EventGauge(self._limits.event_bytes)
        body = self._chunks() if self._chunked else self._plain()
        async for piece in body:
            gauge.feed(piece)
            yield piece

    async def _plain(self) -> AsyncIterator[bytes]:
        left = self._length
        while left is None or left > 0:
            piece = await self._read(_PIECE if left is None else min(left, _PIECE))
            if not piece:
                if left is None:
                    return
                raise UpstreamError("the stream ended before its announced length")
            if left is not None:
                left -= len(piece)
            yield piece

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := await self._chunk_size():
            while size:
                piece = await self._read(min(size, _PIECE))
                if not piece:
                    raise UpstreamError("the stream ended in the middle of a chunk")
                size -= len(piece)
                yield piece
            if await self._line() not in (b"\r\n", b"\n"):
                raise UpstreamError("the stream's chunked framing is broken")

    async def _chunk_size(self) -> int:
        match = _CHUNK_SIZE.match(await self._line())
        if match is None:
            raise UpstreamError("the stream's chunked framing is broken")
        return int(match[1], 16)

    async def _line(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.read):
                return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            raise UpstreamError("the stream ended in the middle of a chunk") from None
        except asyncio.LimitOverrunError:
            raise UpstreamError("the stream's chunked framing is broken") from None
        except (OSError, TimeoutError) as error:
            raise _read_error(error, self._limits) from None

    async def _read(self, size: int) -> bytes:
        try:
            async with asyncio.timeout(self._limits.read):
                return await self._reader.read(size)
        except (OSError, TimeoutError) as error:
            raise _read_error(error, self._limits) from None


@asynccontextmanager
async def open_upstream(
    source: StreamSource, limits: Limits, tls_context: ssl.SSLContext | None
) -> AsyncIterator[Upstream]:
    """Connect to a stream, ask for it, and close the connection when the block ends.

    Raises:
        UpstreamError: No connection, no answer in time, or an answer that is no event stream.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        try:
            async with asyncio.timeout(limits.connect):
                reader, writer = await _connect(source, tls_context)
                writer.write(_request(source))
                await writer.drain()
                status, headers = await _response(reader)
        except TimeoutError:
            raise UpstreamError(f"no answer within {limits.connect:g} s", 504) from None
        except (OSError, UnicodeError) as error:
            raise UpstreamError(f"cannot connect: {_reason(error)}") from None
        _check(status, headers)
        yield Upstream(reader, headers, limits)
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.transport.abort()


async def _connect(
    source: StreamSource, tls_context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if not source.tls:
        return await asyncio.open_connection(source.host, source.port, limit=_HEAD_LIMIT)
    context = tls_context or ssl.create_default_context()
    return await asyncio.open_connection(source.host, source.port, limit=_HEAD_LIMIT, ssl=context)


def _request(source: StreamSource) -> bytes:
    lines = [
        f"GET {source.target} HTTP/1.1",
        f"Host: {source.authority}",
        "Accept: text/event-stream",
        "Accept-Encoding: identity",
        "Cache-Control: no-cache",
        "User-Agent: resilience-dashboard",
        "Connection: close",
    ]
    if source.authorization is not None:
        lines.append(f"Authorization: {source.authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


async def _response(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes]]:
    """Read response heads until one that is final."""
    for _ in range(8):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            raise UpstreamError("the connection was closed before an answer") from None
        except asyncio.LimitOverrunError:
            raise UpstreamError("the answer's head is too large") from None
        status_line, *lines = head[:-4].split(b"\r\n")
        status = _STATUS_LINE.match(status_line)
        if status is None:
            raise UpstreamError("the answer is not HTTP/1.1")
        if status[1][0:1] != b"1":
            return int(status[1]), _headers(lines)
    raise UpstreamError("the answer never came, only interim ones")


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in lines:
        match = _HEADER.match(line)
        if match is None:
            raise UpstreamError("the answer's head is malformed")
        name = match[1].lower()
        if name in (b"content-length", b"transfer-encoding") and headers.get(name, match[2]) != match[2]:
            raise UpstreamError("the answer contradicts itself about its length")
        headers[name] = match[2]
    return headers


def _check(status: int, headers: dict[bytes, bytes]) -> None:
    if status != 200:
        hint = ": redirects are not followed, name the final address" if 300 <= status < 400 else ""
        if status == 503:
            hint = ": it may have as many listeners as it takes; close another page, or raise its max_streams"
        if status == 401:
            hint = ": name a user and a password, as user:password@ before the host of its address"
        raise UpstreamError(f"the stream's server answered {status}{hint}")
    media = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if media != b"text/event-stream":
        shown = media.decode("latin-1")[:80] or "nothing"
        raise UpstreamError(f"the address is no event stream: its content type is {shown}")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UpstreamError("the stream is compressed, which was not asked for")
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise UpstreamError("the stream's transfer coding is unknown")
    if b"transfer-encoding" in headers and b"content-length" in headers:
        raise UpstreamError("the answer contradicts itself about its length")


def _content_length(headers: dict[bytes, bytes]) -> int | None:
    text = headers.get(b"content-length")
    if text is None:
        return None
    if not _LENGTH.match(text):
        raise UpstreamError("the answer's length is malformed")
    return int(text)


def _read_error(error: OSError, limits: Limits) -> UpstreamError:
    if isinstance(error, TimeoutError):
        return UpstreamError(f"the stream was silent for {limits.read:g} s", 504)
    return UpstreamError(f"the connection broke: {_reason(error)}")


def _reason(error: Exception) -> str:
    """The system's own words, without the addresses that asyncio adds; name resolution and TLS have better ones."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, (socket.gaierror, ssl.SSLError)):
        return os.strerror(error.errno)
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:200]


class _EventGauge:
    """Counts the bytes since the last blank line, the end of an event."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._tail = b""

    def feed(self, piece: bytes) -> None:
        seen = self._tail + piece
        end = max(seen.rfind(b"\n\n"), seen.rfind(b"\r\r"), seen.rfind(b"\n\r\n"))
        self._size = self._size + len(piece) if end < 0 else len(seen) - end
        self._tail = seen[-2:]
        if self._size > self._limit:
            raise UpstreamError(f"the stream sent an event of more than {self._limit} bytes")
