"""An HTTP/2 endpoint was held to be out of reach by requests that had only waited for connections that others took.

Requests that come together wait for one connection, since nobody knows yet how many places it has. Those without a place
waited for the next one in what was left of their time to connect. If each took more than half of that, all but the first
counted as failures of the endpoint, which had answered each time as fast as it should.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.gateway.messages.exchange import Endpoint, UpstreamUnreachableError
from resilience.gateway.upstream import http2 as http2_client
from resilience.gateway.upstream.http2 import Http2Client
from resilience.testing import virtual_time

_ENDPOINT = Endpoint.parse("http://10.0.0.1:80", None)


class _Connection:
    """A connection with as many places as its endpoint gives one."""

    protocol, is_retired, is_idle, idle_since = None, False, False, 0.0
    each = 1

    def __init__(self, owner: Any, loop: asyncio.AbstractEventLoop, patience_s: float) -> None:
        self.places = self.each
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ready.set_result(None)

    def abort(self) -> None: ...

    def retire(self) -> None: ...


def _connecting(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    async def connect(endpoint: Endpoint, protocol: Any, connect_timeout: float | None) -> None:
        await asyncio.sleep(seconds)

    monkeypatch.setattr(http2_client, "connect", connect)
    monkeypatch.setattr(http2_client, "Http2Connection", _Connection)


async def _placed(client: Http2Client) -> float:
    """When a request has a place that nobody else gets."""
    connection = await client.connection(_ENDPOINT, 1.0)
    connection.places -= 1  # type: ignore[misc]
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("places", [1, 3])
def test_each_connection_that_is_made_in_time_gives_those_without_a_place_as_long_again(
        monkeypatch: pytest.MonkeyPatch, places: int) -> None:
    _connecting(monkeypatch, 0.8)
    monkeypatch.setattr(_Connection, "each", places)

    async def main() -> None:
        client, began = Http2Client(), asyncio.get_running_loop().time()
        when = [round(each - began, 3) for each in await asyncio.gather(*(_placed(client) for _ in range(10)))]
        assert sorted(when) == [0.8] * places + [1.6] * (10 - places)

    virtual_time(main())


def test_an_endpoint_that_makes_no_connection_in_time_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    _connecting(monkeypatch, 1.2)

    async def main() -> None:
        client, began = Http2Client(), asyncio.get_running_loop().time()
        for failure in await asyncio.gather(*(_placed(client) for _ in range(3)), return_exceptions=True):
            assert isinstance(failure, UpstreamUnreachableError)
        assert asyncio.get_running_loop().time() - began == pytest.approx(1.0)

    virtual_time(main())
