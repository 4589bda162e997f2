"""All relayed streams over one response: what it says of each, and that none holds another up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from resilience_dashboard import app
from resilience_dashboard.events import EventReader

from tests.dashboard.asgi_client import request, scope
from tests.dashboard.servers import StreamServer, event, liar
from tests.dashboard.test_relay import OK, holds, says


@contextlib.asynccontextmanager
async def carried(dashboard: Any) -> AsyncIterator[asyncio.Queue[tuple[str, Any]]]:
    """The events of `/streams`, as (head, data); the browser leaves at the end."""
    heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    reader, leave = EventReader(), asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
        for data in reader.feed(message.get("body", b"")):
            head, _, text = data.decode().partition(" ")
            heard.put_nowait((head, json.loads(text)))

    async def receive() -> dict[str, str]:
        await leave.wait()
        return {"type": "http.disconnect"}

    task = asyncio.create_task(dashboard(scope("/streams"), receive, send))
    try:
        yield heard
    finally:
        leave.set()
        await asyncio.wait_for(task, 30)


async def until(heard: asyncio.Queue[tuple[str, Any]], head: str, **wanted: object) -> dict[str, Any]:
    """The next event of this head that has these fields."""
    while True:
        found, data = await asyncio.wait_for(heard.get(), 30)
        if found == head and wanted.items() <= data.items():
            return dict(data)


async def test_a_stream_that_is_away_and_one_that_hangs_hold_no_other_up() -> None:
    stream = StreamServer()
    stream.start()
    stream.messages = [{"type": "a"}]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        away = f"http://127.0.0.1:{probe.getsockname()[1]}/x"
    with liar(holds) as mute:
        async with carried(app(["/own.stream", away, mute, stream.url], retry_min=0.01)) as heard:
            waiting = await until(heard, "1!", state="waiting")
            assert waiting["reason"] == "cannot connect: Connection refused"
            assert 5 <= waiting["retry_in_ms"] <= 10
            assert 10 <= (await until(heard, "1!", state="waiting"))["retry_in_ms"] <= 20
            assert {"type": "a"} == await until(heard, "3")
        stream.wait_for_connections(0)
    stream.stop()


async def test_a_stream_that_comes_back_is_live_again() -> None:
    stream = StreamServer()
    stream.start()
    stream.messages = [{"type": "a"}]
    async with carried(app([stream.url], retry_min=0.01)) as heard:
        await until(heard, "0!", state="live")
        await until(heard, "0")
        stream.stop()
        await until(heard, "0!", state="waiting")
        stream.start()
        await until(heard, "0!", state="live")
        await until(heard, "0")
    stream.stop()


async def test_a_redirect_is_not_followed_and_a_broken_body_is_told() -> None:
    redirect = says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:22/\r\n\r\n")
    broken = says(OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % 9999, event({"type": "a"}), b"data: half a li")
    with liar(redirect) as first, liar(broken) as second:
        async with carried(app([first, second])) as heard:
            reasons = {}
            while len(reasons) < 2:
                head, data = await asyncio.wait_for(heard.get(), 30)
                if data.get("state") == "waiting":
                    reasons[head] = data["reason"]
    assert "redirects are not followed" in reasons["0!"]
    assert reasons["1!"] == "the stream ended in the middle of a chunk"


async def test_no_request_can_name_an_address_and_no_relayed_stream_is_no_carrier() -> None:
    assert (await request(app(["/own.stream"]), "/streams")).status == 404
    assert (await request(app(["http://127.0.0.1:9/x"]), "/streams/http://127.0.0.1/")).status == 404


async def test_a_carrier_counts_for_as_many_connections_as_it_has_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resilience_dashboard.server._MAX_CONNECTIONS", 2)
    with liar(holds) as mute:
        dashboard = app([mute, mute])
        for _ in range(2):
            async with carried(dashboard):
                await asyncio.sleep(0)
                assert (await request(dashboard, "/streams")).body == b"too many open relays\n"
        assert (await request(dashboard, "/streams", method="HEAD")).status == 200


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_events_are_read_however_the_bytes_are_cut(line_end: bytes) -> None:
    text = line_end.join([b": ping", b"", b"data: one", b"data:two", b"id: 7", b"", b"ping: ", b"", b"data: \xc3\xbc", b"", b"x"])
    expected = [b"one\ntwo", b"\xc3\xbc"]
    for size in range(1, len(text) + 1):
        reader = EventReader()
        found = [data for at in range(0, len(text), size) for data in reader.feed(text[at : at + size])]
        assert expected == found, size
