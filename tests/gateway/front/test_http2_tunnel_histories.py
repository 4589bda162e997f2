"""Random histories of WebSockets over HTTP/2: whoever ends them, and whenever, nothing is left over, raised or logged."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from h2.events import StreamReset

from resilience.gateway.front.http2_tunnel import StreamTransport
from tests.gateway.harness import Call, Upstream

from .serving import eventually
from .test_http2 import HEAD, Raw
from .test_tunnels import gateway, switch
from .websockets import CONNECT

HISTORIES = 25
ASK = [*CONNECT, (b":path", b"/ws-any")]


def upstream_of(source: random.Random) -> Callable[[Call], None]:
    """A script that does what it likes."""

    def script(call: Call) -> None:
        kind = source.choice(("echo", "close", "reset", "flood", "half-close", "200", "403"))
        if kind in ("200", "403"):
            call.send(b"HTTP/1.1 %b X\r\nContent-Length: 2\r\n\r\nok" % kind.encode())
            return
        with contextlib.suppress(OSError):
            call.send(switch(call) + bytes(source.choice((0, 10, 100_000))))
            if kind == "flood":
                call.connection.settimeout(1.0)
                call.send(bytes(1_000_000))
            elif kind == "half-close":
                call.connection.shutdown(socket.SHUT_WR)
                call.until_closed()
            elif kind == "echo":
                while piece := call.connection.recv(65_536):
                    call.send(piece)
            else:
                call.connection.recv(source.choice((1, 70_000)))
        if kind == "reset":
            call.reset()
        call.connection.close()

    return script


async def heard(client: Raw, wait_s: float) -> None:
    """Read until nothing comes within this time."""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while data := await asyncio.wait_for(client.client.reader.read(65_536), wait_s):
            client.learn(data)


async def history(client: Raw, source: random.Random) -> None:
    """Open tunnels, and do with each whatever HTTP/2 allows, in any order."""
    tunnels = [client.ask(ASK, ends=False) for _ in range(source.randrange(1, 10))]
    ended = {client.ask(ASK)}
    for _ in range(source.randrange(50)):
        number, act = source.choice(tunnels), source.choice(("send", "send", "send", "end", "reset", "hear", "request"))
        if act == "request":
            client.ask(HEAD)
        elif act == "hear":
            await heard(client, 0.005)
        elif number in ended or client.of(StreamReset, number):
            continue
        elif act == "send":
            size = min(client.h2.local_flow_control_window(number), source.choice((1, 100, 16_384)))
            client.h2.send_data(number, bytes(size))
        else:
            ended.add(number)
            if act == "end":
                client.h2.end_stream(number)
            else:
                client.h2.reset_stream(number, source.choice(list(ErrorCodes)))
        client.flush()
    await heard(client, 0.01)


async def test_nothing_is_left_of_tunnels_and_nothing_is_raised(upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    async with gateway(upstream, max_concurrent=1000) as front:
        for seed in range(HISTORIES):
            source = random.Random(seed)
            upstream.on("/ws-any", upstream_of(source))
            client = Raw(await front.client(), window=source.choice((500, 20_000, 65_535, 1_000_000)))
            client.acknowledges = source.random() < 0.7
            await history(client, source)
            source.choice((client.client.leave, client.client.reset))()
        await eventually(lambda: (front.in_flight, front.front.connections) == (0, 0), "the end of all")
        assert not front.counts.keys() - {"success", "cancelled"}
    assert [] == [record.getMessage() for record in caplog.records]
    gc.collect()
    assert not any(isinstance(each, StreamTransport) for each in gc.get_objects())
