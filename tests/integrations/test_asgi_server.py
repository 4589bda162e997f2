"""The ASGI middleware on a real server, granian, on loopback: clients that leave, refusals by the limit, streams."""

import asyncio
import contextlib
import json
import socket

import pytest
from granian.constants import Interfaces
from granian.server.embed import Server

from resilience import AdaptiveLimit, Bulkhead, Registry, remaining
from resilience.integrations.asgi import ResilienceMiddleware

pytestmark = pytest.mark.process  # it listens on loopback
PATIENCE_S = 30.0


@contextlib.asynccontextmanager
async def serving(app):
    """The port of a real server with *app*, on this loop."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = Server(app, port=port, interface=Interfaces.ASGI, log_enabled=False, websockets=False)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.001)
                else:
                    writer.close()
                    break
        yield port
    finally:
        server.stop()
        await task


async def ask(port, path="/", headers=""):
    """A request whose answer is yet to be read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n".encode())
    await writer.drain()
    return reader, writer


async def answer_to(asked):
    """Status, headers and body."""
    reader, writer = asked
    async with asyncio.timeout(PATIENCE_S):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *lines = head.decode().splitlines()
    return int(first.split()[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


class Shop:
    """Answers a stream of two pieces: ``/slow`` waits between them until it is told to go on, or the client leaves."""

    def __init__(self):
        self.inside, self.go_on, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.seen = []

    async def __call__(self, scope, receive, send):
        self.seen.append((scope["path"], remaining()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        if scope["path"] == "/slow":
            self.inside.set()
            gone = asyncio.ensure_future(self._disconnected(receive))
            going = asyncio.ensure_future(self.go_on.wait())
            await asyncio.wait((gone, going), return_when=asyncio.FIRST_COMPLETED)
            going.cancel()
            if gone.done():
                self.left.set()
                return
            gone.cancel()
        await send({"type": "http.response.body", "body": b"two", "more_body": False})

    @staticmethod
    async def _disconnected(receive):
        while (await receive())["type"] != "http.disconnect":
            pass


async def until_free(command):
    async with asyncio.timeout(PATIENCE_S):
        while command.in_flight:
            await asyncio.sleep(0)


async def test_a_full_limit_refuses_over_http_and_opens_again_when_the_stream_has_been_sent():
    registry, shop = Registry(), Shop()
    app = ResilienceMiddleware(shop, limit=Bulkhead(1), exempt=lambda scope: scope["path"] == "/health", registry=registry)
    async with serving(app) as port:
        slow = await ask(port, "/slow")
        await shop.inside.wait()
        status, headers, body = await answer_to(await ask(port, "/fast"))
        assert (status, headers["content-type"], json.loads(body)["title"]) == (503, "application/problem+json", "Service Unavailable")
        assert (await answer_to(await ask(port, "/health")))[0] == 200
        shop.go_on.set()
        assert (await answer_to(slow))[0] == 200
        await until_free(registry["requests"])
        assert (await answer_to(await ask(port, "/fast")))[0] == 200
    counts = registry["requests"].snapshot().counts
    assert (counts["success"], counts["semaphore_rejected"]) == (2, 1)


async def test_a_client_that_leaves_in_the_middle_of_a_stream_gives_its_slot_back():
    registry, shop = Registry(), Shop()
    app = ResilienceMiddleware(shop, limit=AdaptiveLimit(initial=1, max_limit=1), registry=registry)
    async with serving(app) as port:
        _, writer = await ask(port, "/slow")
        await shop.inside.wait()
        assert registry["requests"].in_flight == 1
        writer.close()
        async with asyncio.timeout(PATIENCE_S):
            await shop.left.wait()
        await until_free(registry["requests"])
        assert (await answer_to(await ask(port, "/fast")))[0] == 200


async def test_the_deadline_comes_in_from_the_header():
    shop = Shop()
    async with serving(ResilienceMiddleware(shop, deadline=3600.0, registry=Registry())) as port:
        await answer_to(await ask(port, "/a", "X-Envoy-Expected-Rq-Timeout-Ms: 1800000\r\n"))
        await answer_to(await ask(port, "/b", "X-Envoy-Expected-Rq-Timeout-Ms: nonsense\r\n"))
    (_, first), (_, second) = shop.seen
    assert 0 < first <= 1800 < second <= 3600
