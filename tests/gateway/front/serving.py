"""A front in the test's own event loop, and raw clients of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from resilience.gateway.config import GatewaySettings
from resilience.gateway.front.front import Front, Refused, Serve
from resilience.gateway.front.listener import Listener, bound
from tests.gateway.harness import free_port

PATIENCE_S = 10.0


class Client:
    """A raw client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> Client:
        self.writer.write(data)
        return self

    async def until(self, mark: bytes) -> bytes:
        """What comes, up to and with *mark*."""
        return await asyncio.wait_for(self.reader.readuntil(mark), PATIENCE_S)

    async def all(self) -> bytes:
        """What comes until the front ends the connection, whichever way."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := await asyncio.wait_for(self.reader.read(65536), PATIENCE_S):
                data += piece
        return data

    def half_close(self) -> None:
        self.writer.write_eof()

    def leave(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


class Serving:
    """A front that listens."""

    def __init__(self, front: Front, listener: Listener, port: int) -> None:
        self.front, self.listener, self.port = front, listener, port
        self.clients: list[Client] = []

    async def client(self, data: bytes = b"", **how: Any) -> Client:
        where = {} if "sock" in how else {"host": "127.0.0.1", "port": self.port}
        client = Client(*await asyncio.open_connection(**where, **how))
        self.clients.append(client)
        return client.send(data)

    async def ask(self, data: bytes, **how: Any) -> bytes:
        """All that is said to *data*, until the front ends the connection."""
        return await (await self.client(data, **how)).all()


@contextlib.asynccontextmanager
async def serving(serve: Serve, refused: Refused | None = None, **settings: Any) -> AsyncIterator[Serving]:
    """A front on a port of its own. In the end every connection must be gone, and every count given back."""
    front = Front(serve, GatewaySettings(**settings), asyncio.get_running_loop(), refused=refused)
    listener = Listener(front)
    sockets = bound(f"127.0.0.1:{free_port()}")
    port = sockets[0].getsockname()[1]
    await listener.listen(sockets)
    made = Serving(front, listener, port)
    try:
        yield made
    finally:
        await listener.drain(0.0)
        for client in made.clients:
            client.writer.close()
        assert (0, 0) == (front.connections, front.peers.connections)


async def eventually(check: Any, what: str = "the condition") -> None:
    """Let the event loop turn until it is true."""
    end = asyncio.get_running_loop().time() + PATIENCE_S
    while not check():
        assert asyncio.get_running_loop().time() < end, f"{what} did not come true"
        await asyncio.sleep(0.005)
