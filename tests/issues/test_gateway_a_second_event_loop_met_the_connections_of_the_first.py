"""A gateway that had served on one event loop answered 500 on the next, and could not be closed after its loop.

A program's tests run an application on one loop each: with Starlette's TestClient, whose mounted applications have no
lifespan, the second test met the connections that were idle on the first one's loop.
"""

from __future__ import annotations

import asyncio
import gc
import warnings

from resilience import Registry
from resilience.config import Document
from resilience.gateway import Gateway
from resilience.gateway.config import read
from resilience.gateway.upstream.http2 import Http2Client
from tests.gateway.harness import Upstream, shared_upstream
from tests.gateway.http2.peer import answers, asked, peer

upstream = shared_upstream()


async def status_of(app: Gateway) -> int:
    """The status of a request, whose connection to the service stays idle."""
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/x", "query_string": b"",
             "headers": [(b"host", b"gw")], "client": ("192.0.2.1", 1), "server": ("gw", 80)}
    sent: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if "status" in message:
            sent.append(int(str(message["status"])))

    await app(scope, receive, send)
    return sent[0]


def test_an_application_that_is_served_on_one_loop_after_the_other_answers_on_each_and_closes_after_them(upstream: Upstream) -> None:
    config = {"services": {"up": {"endpoints": [upstream.url]}}, "routes": [{"path": "/*", "service": "up"}]}
    app = Gateway(read(Document.of(config, "test")), registry=Registry())
    for _ in range(3):
        assert asyncio.run(status_of(app)) == 200
    app.close()
    app.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, of transports whose loop was closed without them
        del app
        gc.collect()


def test_a_client_of_http2_makes_connections_of_its_own_on_each_loop() -> None:
    client = Http2Client()

    async def status() -> int:
        async with peer(answers) as there:
            found = (await asked(client, there))[0]
            assert list(client._pools) == [there.endpoint], "and forgets those of the loop before"
            return found

    assert [asyncio.run(status()) for _ in range(3)] == [200, 200, 200]


def test_connections_are_kept_on_one_loop_as_ever(upstream: Upstream) -> None:
    config = {"services": {"up": {"endpoints": [upstream.url]}}, "routes": [{"path": "/*", "service": "up"}]}
    app = Gateway(read(Document.of(config, "test")), registry=Registry())
    before = upstream.connections

    async def main() -> None:
        for _ in range(3):
            assert await status_of(app) == 200
        app.close()

    asyncio.run(main())
    assert upstream.connections == before + 1
