"""A stream with a piece each 0.3 seconds was cut as soon as its client half-closed: a second of silence was to end it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.gateway.front import front as fronts
from resilience.gateway.front.http1 import Http1Connection
from resilience.gateway.front.http1_exchange import PROBE_AGAIN_S
from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import eventually, serving


async def test_it_ends_when_it_has_been_silent_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "SWEEP_EVERY_S", 3600.0)  # this test is the clock
    go_on, cancelled = asyncio.Event(), asyncio.Event()

    async def stream(inbound: Inbound) -> None:
        inbound.body_is_over()
        try:
            await inbound.start(200, [])
            while True:
                await inbound.write(b"x")
                go_on.clear()
                await go_on.wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(stream) as front:
        client = await front.client(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
        client.half_close()
        await client.until(b"\r\nx\r\n")
        connection: Any = next(iter(front.front._connections))
        assert isinstance(connection, Http1Connection)
        await eventually(lambda: connection._eof, "the end of what the client sends")
        now = connection.deadline
        connection.expire(now)
        for _ in range(3):
            assert now + PROBE_AGAIN_S == connection.deadline
            go_on.set()
            await client.until(b"\r\nx\r\n")
            now = connection.deadline
            connection.expire(now)
        connection.expire(connection.deadline)
        await asyncio.wait_for(cancelled.wait(), 10)
