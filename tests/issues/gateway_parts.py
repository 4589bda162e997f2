"""What tests of a gateway's faults share: a gateway in the test's own event loop, served by its front."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from resilience import Registry
from resilience.config import Document
from resilience.gateway import Gateway
from resilience.gateway.config import GatewayConfig, read
from tests.gateway.front.serving import Serving, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def configured(service: Mapping[str, Any], **tables: Any) -> GatewayConfig:
    """A configuration with one service, ``up``, and one route to it."""
    return read(Document.of({"services": {"up": service}, "routes": [{"path": "/*", "service": "up"}], **tables}, "test"))


def asked(target: str = "/x", *lines: str, method: str = "GET") -> bytes:
    """The bytes of a request on a connection of its own."""
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: gw", "Connection: close", *lines, "", "")).encode()


@contextlib.asynccontextmanager
async def served(config: GatewayConfig) -> AsyncIterator[tuple[Gateway, Serving]]:
    """A gateway behind its front. In the end nothing may be in flight."""
    gateway = Gateway(config, registry=Registry())
    async with serving(gateway.serve) as front:
        yield gateway, front
    gateway.close()
    for service in gateway.services.values():
        assert [0] * len(service.endpoints.states) == [endpoint.in_flight for endpoint in service.endpoints.states]
    assert {command.key: 0 for command in gateway.registry} == {
        command.key: command.snapshot().in_flight for command in gateway.registry}


Script = Callable[[bytes, asyncio.StreamWriter], Awaitable[object]]


@contextlib.asynccontextmanager
async def upstream(script: Script) -> AsyncIterator[str]:
    """An upstream, by its URL; *script* gets each request's head, and answers it."""
    tasks = set[asyncio.Task[None]]()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                await script(await reader.readuntil(b"\r\n\r\n"), writer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks)
