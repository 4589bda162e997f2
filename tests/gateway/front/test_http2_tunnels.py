"""WebSockets over HTTP/2 (RFC 8441): what is asked of the service, which answers open one, and whom a tunnel leaves alone.

What tunnels have in common over HTTP/1.1 and HTTP/2 is in test_tunnels.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.events import ResponseReceived
from hyperframe.frame import GoAwayFrame

from resilience.gateway.config.fallbacks import FallbackConfig
from resilience.gateway.front.asgi_bridge import AsgiBridge
from resilience.gateway.front.http2 import CONNECTION_WINDOW
from resilience.gateway.front.http2_stream import STREAM_WINDOW
from resilience.gateway.messages.inbound import Inbound
from tests.gateway.harness import Call, Upstream

from .serving import eventually, serving
from .test_connection import echo
from .test_http2 import CONNECT, HEAD, POST, Raw, raw
from .test_tunnels import SWITCH, accepted, gateway, switch, talking
from .websockets import Tunnelled, answer, asked, opened


async def test_the_setting_says_that_websockets_can_be_opened() -> None:
    async with serving(echo) as front:
        client = await raw(front)
        await client.answer(client.ask())
        assert 1 == client.h2.remote_settings.enable_connect_protocol


async def test_the_service_is_asked_as_http1_asks_and_what_is_negotiated_passes_both_ways(upstream: Upstream) -> None:
    def script(call: Call) -> None:
        call.send(switch(call)[:-2] + b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
                  b"Set-Cookie: a=1\r\nX-Hop: 1\r\nConnection: x-hop\r\n\r\n" + bytes(range(256)))
        call.until_closed()

    upstream.on("/ws-asked", script)
    async with gateway(upstream) as front:
        tunnel = await asked(await raw(front), b"/ws-asked?a=b", headers=[
            (b"sec-websocket-protocol", b"chat, other"), (b"sec-websocket-extensions", b"permessage-deflate; x"),
            (b"origin", b"http://gw"), (b"sec-websocket-key", b"the client's"), (b"te", b"trailers")])
        assert bytes(range(256)) == await tunnel.until(b"\xff")
    assert (b"200", b"chat", b"permessage-deflate", b"a=1", b"1.1 resilience") == tuple(tunnel.head.get(name) for name in (
        b":status", b"sec-websocket-protocol", b"sec-websocket-extensions", b"set-cookie", b"via"))
    assert not {b"connection", b"upgrade", b"sec-websocket-accept", b"x-hop", b"content-length"} & tunnel.head.keys()
    call = upstream.called("/ws-asked?a=b")
    assert call.head.startswith(b"GET /ws-asked?a=b HTTP/1.1\r\n")
    assert ([b"websocket"], [b"upgrade"], [b"13"], [b"chat, other"], [b"permessage-deflate; x"], [b"http://gw"], [], [], []) == tuple(
        call.header(name) for name in (
            b"upgrade", b"connection", b"sec-websocket-version", b"sec-websocket-protocol", b"sec-websocket-extensions", b"origin",
            b"content-length", b"transfer-encoding", b"te"))
    [key] = call.header(b"sec-websocket-key")
    assert (24, True) == (len(key), key != b"the client's")


async def test_each_websocket_has_a_key_of_its_own(upstream: Upstream) -> None:
    upstream.on("/ws-keys", talking())
    async with gateway(upstream) as front:
        client = await raw(front)
        for _ in range(3):
            await asked(client, b"/ws-keys")
    assert 3 == len({call.header(b"sec-websocket-key")[0] for call in upstream.calls if call.target == "/ws-keys"})


@pytest.mark.parametrize(("line", "body", "status"), [
    (b"403 Forbidden", b"no", 403), (b"302 Found", b"", 302), (b"426 Upgrade Required", b"", 426), (b"500 No", b"x" * 300_000, 500),
    (b"200 OK", b"ok", 502), (b"206 Partial Content", b"ok", 502), (b"201 Created", b"x" * 300_000, 502)])
async def test_an_answer_that_opens_no_tunnel_passes_unless_it_could_be_taken_for_one(
        upstream: Upstream, line: bytes, body: bytes, status: int) -> None:
    path = f"/ws-{line[:3].decode()}"
    upstream.on(path, b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (line, len(body)) + body)
    async with gateway(upstream) as front:
        client = await raw(front)
        found = await answer(await asked(client, path.encode(), b"early"))
        assert (status, True) == (found[0], status == 502 or body == found[1])
        assert (200, b"ok") == await client.answer(client.ask(HEAD)), "the others of the connection go on"
        assert not {"failure", "timeout"} & front.counts.keys() or status == 500, "an endpoint is not to be blamed for it"


async def test_an_answer_without_a_body_opens_no_tunnel_either(upstream: Upstream) -> None:
    upstream.on("/ws-204", b"HTTP/1.1 204 No Content\r\n\r\n")
    async with gateway(upstream) as front:
        assert 502 == (await answer(await opened(front, b"/ws-204")))[0]


@pytest.mark.parametrize("service", [{"upgrades": ()}, {"fallback": FallbackConfig(body="instead")}])
async def test_whatever_answers_in_the_place_of_the_service_opens_no_tunnel(upstream: Upstream, service: dict[str, Any]) -> None:
    if "fallback" in service:
        upstream.on("/ws-instead", lambda call: call.reset())
    async with gateway(upstream, **service) as front:
        client = await raw(front)
        assert 502 == (await answer(await asked(client, b"/ws-instead")))[0]
        assert [] == upstream.called("/ws-instead").header(b"upgrade") or "fallback" in service


async def test_an_application_opens_no_tunnel_and_does_not_fail(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert {"type": "http.request", "body": b"", "more_body": False} == await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a page"})

    async with serving(AsgiBridge(app).serve) as front:
        with caplog.at_level(logging.ERROR):
            assert 502 == (await answer(await opened(front, b"/x", b"early")))[0]
    assert [] == caplog.records


async def test_other_protocols_than_websocket_are_not_implemented(upstream: Upstream) -> None:
    async with gateway(upstream, upgrades=("websocket", "foo")) as front:
        client = await raw(front)
        for protocol, status in ((b"foo", 501), (b"connect-udp", 501), (b"WebSocket", 502)):
            fields = [*CONNECT[:1], (b":protocol", protocol), *CONNECT[2:]]
            assert status == (await client.answer(client.ask(fields, ends=False)))[0]


@pytest.mark.parametrize("line", [b"", b"Sec-WebSocket-Accept: a\r\n", b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Accept: %b\r\n"])
async def test_a_service_that_does_not_accept_the_key_has_failed(upstream: Upstream, line: bytes) -> None:
    def script(call: Call) -> None:
        head, _, _ = SWITCH.partition(b"Sec-")
        call.send(head + line.replace(b"%b", accepted(call.header(b"sec-websocket-key")[0])) + b"\r\n")
        call.until_closed()

    upstream.on("/ws-wrong", script)
    async with gateway(upstream) as front:
        assert 502 == (await answer(await opened(front, b"/ws-wrong")))[0]
        await eventually(lambda: front.in_flight == 0)
        assert {"failure": 1} == front.counts
        await eventually(upstream.called("/ws-wrong").closed.is_set, "the upstream's end")


async def test_a_tunnel_that_is_cut_is_cancelled_and_one_that_is_sent_anything_but_data_is_malformed(upstream: Upstream) -> None:
    upstream.on("/ws-up-cut", lambda call: (call.send(switch(call) + b"bye"), call.connection.recv(1), call.reset()))
    upstream.on("/ws-trailers", talking())
    async with gateway(upstream) as front:
        client = await raw(front)
        tunnel = await asked(client, b"/ws-up-cut", b"x")
        assert ErrorCodes.CANCEL == await client.reset(tunnel.number)
        tunnel = await asked(client, b"/ws-trailers")
        client.h2.send_headers(tunnel.number, [(b"x", b"y")], end_stream=True)
        client.flush()
        assert ErrorCodes.PROTOCOL_ERROR == await client.reset(tunnel.number)
        await eventually(upstream.called("/ws-trailers").closed.is_set, "the upstream's end")
        await eventually(lambda: front.in_flight == 0)
        assert {"success": 2} == front.counts


async def test_a_client_that_resets_the_stream_before_the_switch_cancels_it(upstream: Upstream) -> None:
    upstream.on("/ws-before", lambda call: call.until_closed())
    async with gateway(upstream) as front:
        client = await raw(front)
        number = client.ask([*CONNECT[:3], (b":path", b"/ws-before"), CONNECT[4]], b"early", ends=False)
        await eventually(lambda: upstream.count("/ws-before"))
        client.h2.reset_stream(number, ErrorCodes.CANCEL)
        client.flush()
        await eventually(upstream.called("/ws-before").closed.is_set, "the upstream's end")
        await eventually(lambda: front.in_flight == 0)
        assert {"cancelled": 1} == front.counts


async def test_a_request_that_ends_at_once_is_a_tunnel_whose_client_has_ended(upstream: Upstream) -> None:
    upstream.on("/ws-ended", talking(b"hello", b"bye"))
    async with gateway(upstream) as front:
        client = await raw(front)
        number = client.ask([*CONNECT[:3], (b":path", b"/ws-ended"), CONNECT[4]])
        assert (200, b"hellobye") == await client.answer(number)


async def test_no_deadline_of_requests_ends_a_tunnel_and_one_that_is_open_outlasts_goaway(upstream: Upstream) -> None:
    upstream.on("/ws-long", talking())
    async with gateway(upstream) as front:
        client = await raw(front)
        client.h2._frame_dispatch_table[GoAwayFrame] = lambda _: ([], [])  # else it would take nothing after one
        tunnel = await asked(client, b"/ws-long")
        for connection in list(front.front._connections):
            connection.expire(connection.front.loop.time() + 1e6)
        assert b"<x>" == await tunnel.send(b"x").until(b"<x>")
        front.front.send_away()
        assert b"<y>" == await tunnel.send(b"y").until(b"<y>")
        draining = asyncio.ensure_future(front.listener.drain(30.0))
        assert b"<z>" == await tunnel.send(b"z").until(b"<z>")
        tunnel.half_close()
        assert b"" == await tunnel.all()
        await draining
        assert {"success": 1} == front.counts


# -- windows


class Held(asyncio.Protocol):
    """What is at the other side of a tunnel, if that is the test: it reads when it is told to."""

    def __init__(self, inbound: Inbound) -> None:
        self.came, self.ended = bytearray(), asyncio.Event()
        keys = [value for name, value in inbound.head.headers if name == b"sec-websocket-key"]
        self.end = inbound.switch([(b"sec-websocket-accept", accepted(keys[0]))])
        self.end.transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self.came += data

    def eof_received(self) -> bool:
        self.ended.set()
        return False


@contextlib.asynccontextmanager
async def holding(**settings: Any):  # type: ignore[no-untyped-def]
    """A front whose tunnels end at the test, and that echoes other requests."""
    held: list[Held] = []

    async def serve(inbound: Inbound) -> None:
        if inbound.hop is None:
            await echo(inbound)
            return
        held.append(Held(inbound))
        await held[-1].ended.wait()

    async with serving(serve, **settings) as front:
        yield front, held


async def test_tunnels_that_are_not_read_hold_no_more_than_their_own_windows_and_stop_nobody_else() -> None:
    count = 2 * CONNECTION_WINDOW // STREAM_WINDOW
    sent = random.Random(7).randbytes(3 * STREAM_WINDOW)
    async with holding() as (front, held):
        client = await raw(front)
        tunnels = [await asked(client, b"/held-%d" % number) for number in range(count)]
        for tunnel in tunnels:
            tunnel.send(sent)
        full = [STREAM_WINDOW] * count
        await client.hear(lambda: [tunnel.push() for tunnel in tunnels] and [len(each.came) for each in held] == full)
        body = bytes(range(256)) * 2048
        number = client.ask(POST, ends=False)
        post = Tunnelled(client, number).send(body)
        post.half_close()
        assert b"/x|" + body == await post.all()
        assert full == [len(each.came) for each in held]
        for each in held:
            each.end.transport.resume_reading()
        for tunnel in tunnels:
            tunnel.half_close()
        for tunnel, each in zip(tunnels, held, strict=True):
            assert b"" == await tunnel.all()
            assert sent == bytes(each.came)


async def test_what_waits_for_a_client_is_bounded_and_passes_in_order_beside_other_answers() -> None:
    source = random.Random(3)
    pieces = [source.randbytes(source.randrange(1, 40_000)) for _ in range(100)]
    async with holding() as (front, held):
        client = Raw(await front.client(), window=100)
        tunnels = [await asked(client, b"/slow-%d" % number) for number in range(5)]

        async def fill(each: Held) -> None:
            writable = asyncio.Event()
            writable.set()
            each.pause_writing, each.resume_writing = writable.clear, writable.set  # type: ignore[method-assign]
            for piece in pieces:
                each.end.transport.write(piece)
                assert len(each.end.transport._pending) <= 64 * 1024 + len(piece)  # type: ignore[attr-defined]
                await writable.wait()
            each.end.transport.close()

        filling = [asyncio.ensure_future(fill(each)) for each in held]
        await asyncio.sleep(0)
        for _ in range(3):
            assert (200, b"/x|abc") == await client.answer(client.ask(POST, b"abc"))
        client.h2.update_settings({4: 20_000})
        client.flush()
        for tunnel in tunnels:
            assert b"".join(pieces) == await tunnel.all()
            tunnel.half_close()
        await asyncio.gather(*filling)
        for each in held:
            each.ended.set()


async def test_many_tunnels_and_requests_share_a_connection_and_each_gets_its_own(upstream: Upstream) -> None:
    upstream.on("/ws-many", lambda call: _echo(call))
    sent = [random.Random(seed).randbytes(20_000 * seed) for seed in range(1, 13)]
    async with gateway(upstream, max_concurrent=50) as front:
        client = Raw(await front.client(), window=9000)
        tunnels = [await asked(client, b"/ws-many") for _ in sent]
        for tunnel, each in zip(tunnels, sent, strict=True):
            tunnel.send(each)
        for tunnel, each in zip(tunnels, sent, strict=True):
            assert (200, b"ok") == await client.answer(client.ask(HEAD))
            tunnel.half_close()
            assert each == await tunnel.all()
        assert 1 == len(client.of(ResponseReceived, tunnels[0].number))
        await eventually(lambda: front.in_flight == 0)


def _echo(call: Call) -> None:
    call.send(switch(call))
    with contextlib.suppress(OSError):
        while piece := call.connection.recv(65536):
            call.send(piece)
    call.connection.close()
