"""A WebSocket over HTTP/2 that its service had closed went on, and held its slot, until tunnel_idle_timeout.

The service's end is END_STREAM to the client (RFC 8441, 5), which should answer with its own; Chromium 150 does not, nor
does it reset the stream. So a client that sends nothing more has a few seconds.
"""

from __future__ import annotations

import socket

import pytest

from resilience.gateway.front import http2_tunnel
from tests.gateway.front.serving import eventually
from tests.gateway.front.test_tunnels import gateway, switch
from tests.gateway.front.websockets import opened
from tests.gateway.harness import Call, Upstream, shared_upstream

upstream = shared_upstream()


def closing(call: Call) -> None:
    """Say something, end, and hear what comes until the other side ends, too."""
    call.send(switch(call) + b"bye")
    call.connection.shutdown(socket.SHUT_WR)
    call.until_closed()


async def test_a_client_that_neither_ends_nor_speaks_is_not_waited_for(
        upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2_tunnel, "CLOSE_S", 0.05)
    upstream.on("/ws-over", closing)
    async with gateway(upstream) as front:
        tunnel = await opened(front, b"/ws-over")
        assert b"bye" == await tunnel.all()
        await eventually(lambda: front.in_flight == 0, "the slot back")
        assert {"success": 1} == front.counts
        assert upstream.called("/ws-over").closed.wait(10), "the service heard of it"


async def test_one_that_goes_on_speaking_is_heard(upstream: Upstream) -> None:
    said = bytearray()

    def listening(call: Call) -> None:
        call.send(switch(call) + b"bye")
        call.connection.shutdown(socket.SHUT_WR)
        while piece := call.connection.recv(100):
            said.extend(piece)
        call.closed.set()

    upstream.on("/ws-listens", listening)
    async with gateway(upstream) as front:
        tunnel = await opened(front, b"/ws-listens")
        assert b"bye" == await tunnel.all()
        [connection] = front.front._connections
        [transport] = connection._streams.values()
        for word in (b"one", b" two", b" three"):
            before = len(said)
            tunnel.send(word)
            await eventually(lambda before=before, word=word: len(said) == before + len(word))
            transport.expire()
            assert not transport.is_closing()
            assert transport.deadline < front.front.loop.time() + 6
        tunnel.half_close()
        await eventually(lambda: front.in_flight == 0)
    assert b"one two three" == said
