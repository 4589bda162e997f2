"""Upgrades, and WebSockets over HTTP/2: a tunnel is in flight until it ends, and never is a failure.

It ends with either side, with silence or with the drain.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from resilience import Registry
from resilience.gateway import Gateway, GatewayConfig
from resilience.gateway.config import RouteConfig, ServiceConfig
from resilience.gateway.messages import tunnel as tunnels
from tests.gateway.harness import Call, Upstream

from .serving import Client, Serving, eventually, serving
from .websockets import Tunnelled, opened

ASK = b"GET /%b HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n"
both_versions = pytest.mark.parametrize("version", ["1.1", "2"])


class Guarded(Serving):
    """A gateway on a front, and the command of its one service."""

    def __init__(self, serving: Serving, registry: Registry) -> None:
        super().__init__(serving.front, serving.listener, serving.port)
        self.clients = serving.clients
        self.command = registry["up"]

    @property
    def in_flight(self) -> int:
        return self.command.snapshot().in_flight

    @property
    def counts(self) -> dict[str, int]:
        counts = self.command.snapshot().counts
        return {name: counts[name] for name in ("success", "failure", "timeout", "cancelled") if counts[name]}


@contextlib.asynccontextmanager
async def gateway(upstream: Upstream, *, max_concurrent: int = 3, **service: Any) -> AsyncIterator[Guarded]:
    registry = Registry()
    app = Gateway(GatewayConfig(
        services={"up": ServiceConfig(
            endpoints=(upstream.url,), command={"timeout": 5.0, "max_concurrent": max_concurrent}, **service)},
        routes=(RouteConfig(path="/*", service="up"),)), registry=registry)
    async with serving(app.serve) as front:
        found = Guarded(front, registry)
        yield found
        await drain(found)
        assert 0 == found.in_flight, "a permit was not given back"
    app.close()
    await asyncio.sleep(0)


async def drain(front: Guarded, time_s: float = 0.0) -> None:
    await front.listener.drain(time_s)


def accepted(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def switch(call: Call) -> bytes:
    """The head by which an upstream switches."""
    [key] = call.header(b"sec-websocket-key")
    return SWITCH % accepted(key)


async def switched(front: Guarded, path: bytes, more: bytes = b"", *, version: str = "1.1", **how: Any) -> Client | Tunnelled:
    if version == "2":
        tunnel = await opened(front, b"/" + path, more, **how)
        assert (b"200", []) == (tunnel.head[b":status"], [name for name in tunnel.head if name in (
            b"connection", b"upgrade", b"sec-websocket-accept", b"content-length")])
        return tunnel
    client = await front.client(ASK % path + more, **how)
    head = await client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert (1, 1, 1) == tuple(head.count(line) for line in (
        b"\r\nconnection: upgrade", b"\r\nupgrade: websocket", b"sec-websocket-accept: " + accepted(b"k")))
    return client


def talking(greeting: bytes = b"", farewell: bytes = b"") -> Callable[[Call], None]:
    """A script that switches, and answers each piece in angle brackets until the client's end."""

    def script(call: Call) -> None:
        call.send(switch(call) + greeting)
        with contextlib.suppress(OSError):
            while piece := call.connection.recv(65536):
                call.send(b"<" + piece + b">")
            call.send(farewell)
        call.connection.close()
        call.closed.set()

    return script


@both_versions
async def test_bytes_pass_both_ways_the_early_ones_too_and_each_side_s_end(upstream: Upstream, version: str) -> None:
    upstream.on("/ws-talk", talking(b"hello", b"bye"))
    async with gateway(upstream) as front:
        client = await switched(front, b"ws-talk", b"early", version=version)
        assert b"hello<early>" == await client.until(b">")
        assert b"<again>" == await client.send(b"again").until(b">")
        assert 1 == front.in_flight
        client.half_close()
        assert b"bye" == await client.all(), "what is said after the client's end still comes"
        await eventually(lambda: front.in_flight == 0)
        assert {"success": 1} == front.counts


@both_versions
@pytest.mark.parametrize("how", ["leave", "reset"])
async def test_a_client_that_leaves_a_tunnel_ends_it_at_the_upstream_and_is_no_failure(
        upstream: Upstream, how: str, version: str) -> None:
    upstream.on(f"/ws-{how}", talking())
    async with gateway(upstream) as front:
        client = await switched(front, f"ws-{how}".encode(), version=version)
        getattr(client, how)()
        await eventually(upstream.called(f"/ws-{how}").closed.is_set, "the upstream's end")
        await eventually(lambda: front.in_flight == 0)
        assert {"success": 1} == front.counts


@both_versions
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_upstream_that_leaves_a_tunnel_ends_it_at_the_client_and_is_no_failure(
        upstream: Upstream, how: str, version: str) -> None:
    upstream.on(f"/ws-up-{how}", lambda call: (call.send(switch(call) + b"bye"), call.connection.recv(1),
                                              call.reset() if how == "reset" else call.connection.close()))
    async with gateway(upstream) as front:
        client = await switched(front, f"ws-up-{how}".encode(), version=version)
        await client.until(b"bye")
        client.send(b"x")
        assert b"" == await client.all()
        client.leave()
        await eventually(lambda: front.in_flight == 0)
        assert {"success": 1} == front.counts


@both_versions
async def test_what_a_client_says_after_the_upstream_s_end_still_comes(upstream: Upstream, version: str) -> None:
    heard = []

    def script(call: Call) -> None:
        call.send(switch(call) + b"bye")
        call.connection.shutdown(socket.SHUT_WR)
        while piece := call.connection.recv(65536):
            heard.append(piece)
        call.closed.set()

    upstream.on("/ws-half", script)
    async with gateway(upstream) as front:
        client = await switched(front, b"ws-half", version=version)
        assert b"bye" == await client.all()
        client.send(b"still here").half_close()
        await eventually(upstream.called("/ws-half").closed.is_set, "the client's end")
        await eventually(lambda: front.in_flight == 0)
        assert (b"still here", {"success": 1}) == (b"".join(heard), front.counts)


@both_versions
async def test_a_client_that_is_silent_after_the_upstream_s_end_does_not_keep_its_slot(
        upstream: Upstream, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chromium 150 leaves a WebSocket's stream of HTTP/2 half open for good after both have closed the WebSocket."""
    monkeypatch.setattr(tunnels, "CLOSE_S", 0.2)

    def script(call: Call) -> None:
        call.send(switch(call) + b"bye")
        call.connection.shutdown(socket.SHUT_WR)
        while call.connection.recv(65536):
            pass
        call.closed.set()

    upstream.on("/ws-over", script)
    async with gateway(upstream) as front:
        silent, lively = [await switched(front, b"ws-over", version=version) for _ in range(2)]
        assert [b"bye", b"bye"] == [await each.all() for each in (silent, lively)]
        while front.in_flight == 2:
            lively.send(b"still here")
            await asyncio.sleep(0.01)
        await eventually(lambda: front.in_flight == 0)
        await eventually(upstream.called("/ws-over").closed.is_set, "the tunnel's end")
        assert {"success": 2} == front.counts


@both_versions
async def test_a_silent_tunnel_is_cut_and_one_with_traffic_is_not(upstream: Upstream, version: str) -> None:
    upstream.on("/ws-idle", talking())
    async with gateway(upstream, tunnel_idle_timeout=0.3) as front:
        silent, lively = [await switched(front, b"ws-idle", version=version) for _ in range(2)]
        ended = asyncio.ensure_future(silent.all())
        while not ended.done():
            await lively.send(b"x").until(b"<x>")
        assert b"" == ended.result()
        assert b"<y>" == await lively.send(b"y").until(b"<y>")
        assert b"" == await lively.all()
        await eventually(lambda: front.in_flight == 0)
        assert {"success": 2} == front.counts


@both_versions
async def test_tunnels_take_permits_and_give_them_back(upstream: Upstream, version: str) -> None:
    upstream.on("/ws-permit", talking())
    async with gateway(upstream) as front:
        clients = [await switched(front, b"ws-permit", version=version) for _ in range(3)]
        assert b" 503 " in await (await front.client(ASK % b"ws-permit")).until(b"\r\n")
        clients[0].leave()
        await eventually(lambda: front.in_flight == 2)
        await switched(front, b"ws-permit", version=version)


@both_versions
async def test_a_drain_cuts_tunnels_when_its_time_is_over(upstream: Upstream, version: str) -> None:
    upstream.on("/ws-drain", talking())
    async with gateway(upstream) as front:
        client = await switched(front, b"ws-drain", version=version)
        await drain(front)
        assert (b"", 0, {"success": 1}) == (await client.all(), front.in_flight, front.counts)
        await eventually(upstream.called("/ws-drain").closed.is_set, "the upstream's end")


@both_versions
async def test_neither_side_is_read_faster_than_the_other_takes(upstream: Upstream, version: str) -> None:
    """A gateway that took all it gets would be sent the whole. What the sockets between them hold is the machine's to say."""
    sent, size = 0, 512 << 20

    def flood(call: Call) -> None:
        nonlocal sent
        call.send(switch(call))
        with contextlib.suppress(OSError):
            while sent < size:
                sent += call.connection.send(bytes(65_536))

    upstream.on("/ws-flood", flood)
    async with gateway(upstream) as front:
        client = await switched(front, b"ws-flood", version=version, limit=1024)
        before = -1
        while before != sent:  # until it stands still
            before = sent
            await asyncio.sleep(0.2)
        assert sent < size
        client.reset()
        await eventually(lambda: front.in_flight == 0)


@pytest.mark.parametrize(("upgrades", "asked", "passed"), [
    ((), b"websocket", []), (("websocket",), b"h2c", []), (("websocket",), b"foo", []), (("Foo/2",), b"foo/2", [b"foo/2"]),
    (("websocket",), b"foo, WebSocket", [b"websocket"])])
async def test_only_protocols_that_the_service_lets_pass_are_asked_for(
        upstream: Upstream, upgrades: tuple[str, ...], asked: bytes, passed: list[bytes]) -> None:
    path = f"/ws-which-{len(upgrades)}{asked.decode().replace('/', '').replace(', ', '')}"
    async with gateway(upstream, upgrades=upgrades) as front:
        client = await front.client((ASK % path[1:].encode()).replace(b"websocket", asked))
        assert b" 200 " in await client.until(b"ok")
        assert (passed, [b"upgrade"] if passed else []) == (
            upstream.called(path).header(b"upgrade"), upstream.called(path).header(b"connection"))
        assert b" 200 " in await client.send(b"GET /after HTTP/1.1\r\nHost: gw\r\n\r\n").until(b"ok"), "HTTP goes on"


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"])
async def test_an_upstream_that_switches_to_something_else_is_502(upstream: Upstream, answer: bytes) -> None:
    upstream.on("/ws-other", answer)
    async with gateway(upstream) as front:
        assert b" 502 " in await (await front.client(ASK % b"ws-other")).until(b"\r\n")
        await eventually(lambda: front.in_flight == 0)
        assert {"failure": 1} == front.counts


async def test_a_client_that_leaves_before_the_switch_cancels_it(upstream: Upstream) -> None:
    upstream.on("/ws-never", lambda call: call.until_closed())
    async with gateway(upstream) as front:
        client = await front.client(ASK % b"ws-never")
        await eventually(lambda: upstream.count("/ws-never"))
        client.reset()
        await eventually(upstream.called("/ws-never").closed.is_set)
        await eventually(lambda: front.in_flight == 0)
        assert {"cancelled": 1} == front.counts


# -- interim responses and trailers


async def test_interim_responses_pass_but_100_and_those_for_http_1_0(upstream: Upstream) -> None:
    upstream.on("/hints", lambda call: call.send(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    async with gateway(upstream) as front:
        reply = await front.ask(b"GET /hints HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
        assert reply.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert (await front.ask(b"GET /hints HTTP/1.0\r\nHost: gw\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")


TRAILERS = b"X-Sum: 1\r\nGrpc-Status: 0\r\nSet-Cookie: a\r\nAuthorization: b\r\nX-Forwarded-For: c\r\nX_Sum: d\r\n"


async def test_trailers_of_an_answer_pass_to_who_takes_them_and_forbidden_ones_to_nobody(upstream: Upstream) -> None:
    upstream.on("/trailers", lambda call: call.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + TRAILERS + b"\r\n"))
    ask = b"GET /trailers HTTP/1.1\r\nHost: gw\r\nConnection: close, te\r\n%b\r\n"
    async with gateway(upstream) as front:
        assert (await front.ask(ask % b"TE: trailers\r\n")).endswith(b"2\r\nok\r\n0\r\nx-sum: 1\r\ngrpc-status: 0\r\n\r\n")
        assert [b"trailers"] == upstream.called("/trailers").header(b"te")
        assert (await front.ask(ask % b"")).endswith(b"2\r\nok\r\n0\r\n\r\n")
        assert (await front.ask(b"GET /trailers HTTP/1.0\r\nTE: trailers\r\nHost: gw\r\n\r\n")).endswith(b"\r\n\r\nok")


async def test_trailers_of_a_request_pass_and_forbidden_ones_do_not(upstream: Upstream) -> None:
    seen = []

    def script(call: Call) -> None:
        data = call.rest
        while not data.endswith(b"\r\n\r\n"):
            data += call.connection.recv(65536)
        seen.append(data)
        call.rest = b""
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.on("/sent-trailers", script)
    async with gateway(upstream) as front:
        assert b" 200 " in await front.ask(
            b"POST /sent-trailers HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
            + TRAILERS + b"\r\n")
    assert [b"2\r\nok\r\n0\r\nx-sum: 1\r\ngrpc-status: 0\r\n\r\n"] == seen


@both_versions
async def test_more_than_either_side_takes_at_once_passes_both_ways_while_it_waits(upstream: Upstream, version: str) -> None:
    size = 8 << 20
    sent = bytes(range(251)) * (size // 251)
    seen = list[bytes]()

    def script(call: Call) -> None:
        call.send(switch(call))
        sending = threading.Thread(target=call.connection.sendall, args=(sent,))
        sending.start()
        read = bytearray()
        while len(read) < len(sent):
            read += call.connection.recv(1 << 20)
        seen.append(bytes(read))
        sending.join()
        call.connection.shutdown(socket.SHUT_WR)

    upstream.on("/ws-both-ways", script)
    async with gateway(upstream) as front:
        client = await switched(front, b"ws-both-ways", version=version)
        client.send(sent)
        assert sent == await client.all()
    assert [sent] == seen
