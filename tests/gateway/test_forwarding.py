"""Requests and answers through the real gateway, byte for byte, as raw sockets see them."""

from __future__ import annotations

import contextlib
import http.client
import threading

import pytest

from .harness import OK, Call, Gateway, Upstream, everything, parsed, problem

pytestmark = pytest.mark.process


def test_a_request_reaches_the_upstream_with_the_headers_that_a_proxy_owes_it(
        gateway: Gateway, upstream: Upstream) -> None:
    assert (200, b"ok") == gateway.get("/owed", headers="X-A: 1\r\nX-a: 2\r\nTE: trailers\r\n")[::2]
    call = upstream.called("/owed")
    assert call.lines == [
        f"host: 127.0.0.1:{upstream.port}".encode(), b"x-a: 1", b"x-a: 2", b"x-forwarded-for: 127.0.0.1",
        b"x-forwarded-proto: http", b"x-forwarded-host: gw", b"x-forwarded-port: %d" % gateway.port,
        b"via: 1.1 resilience", b"connection: te", b"te: trailers"]


@pytest.mark.parametrize("target", [
    "/b//c;d%20e?q=%41", "/x?it's", "/x?a=1?b", "/~!$&'()*+,;=:@-._", "/%7B%C3%5B", "/e[1]", "/.well-known/x", "/x?[]|^",
    "/x/", "/x?%zz%"])
def test_targets_are_forwarded_byte_for_byte(gateway: Gateway, upstream: Upstream, target: str) -> None:
    assert 200 == gateway.get(target)[0]
    assert 1 == upstream.count(target)


def test_header_values_that_are_not_ascii_pass_both_ways(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/latin", b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 0\r\n\r\n")
    assert "caf\xe9" == gateway.get("/latin", headers="X-Name: na\xefve\r\n")[1]["x-name"]
    assert [b"na\xefve"] == upstream.called("/latin").header(b"x-name")


def test_a_prefix_is_stripped_at_a_segment_boundary_only(gateway: Gateway, upstream: Upstream) -> None:
    before = upstream.count("/")
    assert [200, 200, 200] == [gateway.get(path)[0] for path in ("/strip/a%20b?q=1", "/strip", "/stripx")]
    assert (1, before + 1, 1) == (upstream.count("/a%20b?q=1"), upstream.count("/"), upstream.count("/stripx"))


def test_the_clients_host_is_sent_on_where_that_is_asked_for(gateway: Gateway, upstream: Upstream) -> None:
    gateway.get("/host/x")
    assert [b"gw"] == upstream.called("/host/x").header(b"host")


def test_an_answer_comes_back_with_its_headers_in_order_and_duplicated(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/cookies", b"HTTP/1.1 201 Made\r\nSet-Cookie: a=1\r\nServer: up\r\nSet-Cookie: b=2\r\nKeep-Alive: x\r\n"
                            b"Connection: X-Hop\r\nX-Hop: 1\r\nDate: today\r\nContent-Length: 2\r\n\r\nhi")
    head, _, body = gateway.raw(b"GET /cookies HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n").partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert (b"HTTP/1.1 201 Created", b"hi") == (lines[0], body)
    assert [b"set-cookie: a=1", b"server: up", b"set-cookie: b=2", b"date: today", b"content-length: 2",
            b"via: 1.1 resilience"] == sorted(lines[1:], key=_order)[:6]
    assert not [line for line in lines if b"x-hop" in line or b"keep-alive" in line]


def _order(line: bytes) -> int:
    names = (b"set-cookie: a", b"server", b"set-cookie: b", b"date", b"content-length", b"via")
    return next((i for i, name in enumerate(names) if line.startswith(name)), 99)


@pytest.mark.parametrize(("path", "answer", "expected"), [
    ("/head", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", ("HEAD", 200, "50")),
    ("/no-content", b"HTTP/1.1 204 No Content\r\n\r\n", ("GET", 204, None)),
    ("/not-modified", b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', ("GET", 304, None)),
    ("/hints", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, ("GET", 200, "2")),
    ("/old", b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", ("GET", 200, "0")),
])
def test_answers_without_a_body_and_interim_answers_are_understood(
        gateway: Gateway, upstream: Upstream, path: str, answer: bytes, expected: tuple[str, int, str | None]) -> None:
    upstream.on(path, answer)
    method, status, length = expected
    found = gateway.get(path, method=method)
    assert (status, length) == (found[0], found[1].get("content-length"))


def test_redirects_and_encoded_bodies_pass_untouched(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/moved", b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Encoding: gzip\r\n"
                          b"Content-Length: 3\r\n\r\n\x1f\x8b\x08")
    status, headers, body = gateway.get("/moved")
    assert (302, "/elsewhere", "gzip", b"\x1f\x8b\x08") == (
        status, headers["location"], headers["content-encoding"], body)


def test_upstream_connections_are_used_again(gateway: Gateway, upstream: Upstream) -> None:
    gateway.get("/again")
    before = upstream.connections
    client = http.client.HTTPConnection("127.0.0.1", gateway.port)
    for method in ("GET", "HEAD", "POST", "GET"):
        client.request(method, "/again", body=b"x" if method == "POST" else None)
        assert client.getresponse().read() == (b"" if method == "HEAD" else b"ok")
    client.close()
    assert upstream.connections - before <= 1  # our upstream's HEAD answer has a body that it should not have


def test_an_upstream_that_is_not_there_is_502(gateway: Gateway) -> None:
    assert "dead cannot be reached" == problem(gateway.get("/dead/x"))["detail"]


@pytest.mark.parametrize(("host", "service"), [
    ("only.example", "host"), ("ONLY.Example:8443", "host"), ("only.example:", "host"),
    ("only.example.", "host"), ("only.example.:80", "host"), ("other.example", "up"), ("sub.only.example", "up"), ("only.exampl", "up")])
def test_a_route_of_a_host_is_for_that_host_only(
        gateway: Gateway, upstream: Upstream, host: str, service: str) -> None:
    """The service "host" sends the client's Host on, and so can be told from "up"."""
    path = f"/of-a-host/{host.replace(':', '-')}"
    reply = gateway.raw(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert 200 == parsed(reply)[0]
    expected = host.lower().rstrip(":").replace(".:", ":").rstrip(".") if service == "host" else f"127.0.0.1:{upstream.port}"
    assert [expected.encode()] == upstream.called(path).header(b"host")


def test_a_method_that_a_host_does_not_have_is_led_as_for_any_host(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.raw(b"DELETE /of-a-host/deleted HTTP/1.1\r\nHost: only.example\r\nConnection: close\r\n\r\n")
    assert 200 == parsed(reply)[0]
    assert [f"127.0.0.1:{upstream.port}".encode()] == upstream.called("/of-a-host/deleted").header(b"host")


WEBSOCKET = (b"GET %b HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")


def test_a_websocket_handshake_that_the_upstream_ignores_is_the_plain_request_that_it_also_is(
        gateway: Gateway, upstream: Upstream) -> None:
    """RFC 9110, 7.8: a server may ignore Upgrade. The client sees no 101, and the connection goes on in HTTP."""
    reply = gateway.raw(WEBSOCKET % b"/ws" + b"GET /after-ws HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
    assert (2, 0) == (reply.count(b"HTTP/1.1 200 OK"), reply.count(b" 101 "))
    call = upstream.called("/ws")
    assert ([b"websocket"], [b"upgrade"]) == (call.header(b"upgrade"), call.header(b"connection"))
    assert 1 == upstream.count("/after-ws")


def test_an_upstream_that_switches_protocols_unasked_is_502_and_no_tunnel(gateway: Gateway, upstream: Upstream) -> None:
    tunnelled, ended = [], threading.Event()

    def switch(call: Call) -> None:
        call.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        with contextlib.suppress(OSError):
            while piece := call.connection.recv(65536):
                tunnelled.append(piece)
        ended.set()

    upstream.on("/ws-101", switch)
    with gateway.connect() as client:
        client.sendall(b"GET /ws-101 HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert b" 502 " in everything(client, b"\r\n\r\n")
        client.sendall(b"\x81\x85\0\0\0\0hello")  # a frame is no request
        everything(client)
    assert ended.wait(60), "the upstream's connection was not cut"
    assert [] == tunnelled
