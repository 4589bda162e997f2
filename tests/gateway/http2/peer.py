"""A server of HTTP/2 in the test's own event loop that does as it is told, and the client under test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, TrailersReceived, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from resilience.gateway.messages.exchange import Endpoint, Exchange, Header, Request
from resilience.gateway.upstream.http2 import Http2Client
from tests.gateway.front.serving import eventually

CONNECT_S = 5.0


class Connection:
    """One connection of the peer: what it has heard, and what it says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: dict[Any, int]) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = H2Connection(H2Configuration(
            client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False))
        self.h2.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 100, **settings})
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.acknowledges = True
        self.closed = False
        self.on_request: Callable[[Connection, int], None] | None = None
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self) -> None:
        with contextlib.suppress(ConnectionError, ProtocolError):  # also if the client has reset what is to be answered
            while data := await self.reader.read(65_536):
                for event in self.h2.receive_data(data):
                    self.events.append(event)
                    if isinstance(event, DataReceived) and self.acknowledges and event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
                    if isinstance(event, RequestReceived) and self.on_request is not None:
                        self.on_request(self, event.stream_id or 0)
                self.flush()
        self.closed = True
        self.writer.close()

    def of(self, kind: type, number: int | None = None) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind) and (number is None or each.stream_id == number)]

    async def heard(self, kind: type, number: int | None = None, count: int = 1) -> Any:
        await eventually(lambda: len(self.of(kind, number)) >= count, f"{kind.__name__} of {number}")
        return self.of(kind, number)[count - 1]

    @property
    def asked(self) -> list[int]:
        """The streams that requests came on."""
        return [each.stream_id for each in self.of(RequestReceived)]

    async def request(self, count: int = 1) -> int:
        """The stream of the request that came as the first, or as whichever."""
        return int((await self.heard(RequestReceived, count=count)).stream_id)

    def headers(self, number: int) -> dict[bytes, bytes]:
        return dict(self.of(RequestReceived, number)[0].headers)

    def body(self, number: int) -> bytes:
        return b"".join(each.data for each in self.of(DataReceived, number))

    def head(self, number: int, status: int = 200, headers: Sequence[Header] = (), *, end: bool = False) -> None:
        self.h2.send_headers(number, [(b":status", b"%d" % status), *headers], end_stream=end)
        self.flush()

    def data(self, number: int, data: bytes = b"", *, end: bool = False) -> None:
        self.h2.send_data(number, data, end_stream=end)
        self.flush()

    def answer(self, number: int, body: bytes = b"ok", status: int = 200) -> None:
        self.head(number, status)
        self.data(number, body, end=True)

    def reset(self, number: int, code: int) -> None:
        self.h2.reset_stream(number, code)
        self.flush()

    def cut(self) -> None:
        self.writer.transport.abort()


class Peer:
    """A server that listens; *on_request* is called with the connection and the stream of each request."""

    def __init__(self, on_request: Callable[[Connection, int], None] | None, settings: dict[Any, int]) -> None:
        self._on_request, self._settings = on_request, settings
        self.connections: list[Connection] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self._settings)
        connection.on_request = self._on_request
        self.connections.append(connection)
        await connection.read()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.parse(self.url)

    async def connection(self, count: int = 1) -> Connection:
        await eventually(lambda: len(self.connections) >= count, f"connection {count}")
        return self.connections[count - 1]


@contextlib.asynccontextmanager
async def peer(on_request: Callable[[Connection, int], None] | None = None, **settings: int) -> AsyncIterator[Peer]:
    """A peer on a port of its own, with these SETTINGS."""
    made = Peer(on_request, {SettingCodes[name]: value for name, value in settings.items()})
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for each in made.connections:
            each.cut()
        await eventually(lambda: all(each.closed for each in made.connections))


def answers(connection: Connection, number: int) -> None:
    """Answer every request with 200 "ok"."""
    connection.answer(number)


@contextlib.asynccontextmanager
async def a_client() -> AsyncIterator[Http2Client]:
    """The client under test. In the end no exchange may be left on any of its connections."""
    client = Http2Client()
    try:
        yield client
        held = [connection for pool in client._pools.values() for connection in pool.connections]
        assert all(connection.is_idle for connection in held)
    finally:
        client.close()


def a_request(method: str = "GET", body: bytes | None = b"", **how: Any) -> Request:
    length = how.pop("length", None if body is None else len(body))
    return Request(method=method, target=b"/x", host=None, headers=how.pop("headers", []), length=length, body=body, **how)


async def begun(client: Http2Client, peer: Peer, request: Request | None = None, timeout: float = CONNECT_S) -> Exchange:
    return await client.send(peer.endpoint, request or a_request(), connect_timeout=timeout)


async def whole(exchange: Exchange) -> tuple[int, bytes]:
    """Status and body of an answer, which is then released."""
    try:
        await exchange.head()
        body = b""
        while not exchange.complete:
            await exchange.more()
            body += exchange.take()
        return exchange.status, body + exchange.take()
    finally:
        exchange.release()


async def asked(client: Http2Client, peer: Peer, request: Request | None = None) -> tuple[int, bytes]:
    return await whole(await begun(client, peer, request))


__all__ = ["CONNECT_S", "Connection", "Peer", "StreamEnded", "StreamReset", "TrailersReceived", "WindowUpdated",
           "a_client", "a_request", "answers", "asked", "begun", "peer", "whole"]
