"""Requests and answers through the real gateway, byte for byte, as raw sockets see them."""

from __future__ import annotations

import http.client

import pytest

from .harness import OK, Call, Gateway, Upstream, parsed, problem

pytestmark = pytest.mark.process


def test_a_request_reaches_the_upstream_with_the_headers_that_a_proxy_owes_it(
        gateway: Gateway, upstream: Upstream) -> None:
    assert (200, b"ok") == gateway.get("/owed", headers="X-A: 1\r\nX-a: 2\r\nTE: trailers\r\n")[::2]
    call = upstream.called("/owed")
    assert call.lines == [
        f"host: 127.0.0.1:{upstream.port}".encode(), b"x-a: 1", b"x-a: 2", b"x-forwarded-for: 127.0.0.1",
        b"x-forwarded-proto: http", b"x-forwarded-host: gw", b"x-forwarded-port: %d" % gateway.port,
        b"via: 1.1 resilience"]


@pytest.mark.parametrize("target", [
    "/b//c;d%20e?q=%41", "/x?it's", "/x?a=1?b", "/~!$&'()*+,;=:@-._", "/%7b%7B%c3", "/.well-known/x", "/x?[]|^",
    "/x/", "/x?%zz%"])
def test_targets_are_forwarded_byte_for_byte(gateway: Gateway, upstream: Upstream, target: str) -> None:
    assert 200 == gateway.get(target)[0]
    assert target == upstream.calls[-1].target


def test_header_values_that_are_not_ascii_pass_both_ways(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/latin", b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 0\r\n\r\n")
    assert "caf\xe9" == gateway.get("/latin", headers="X-Name: na\xefve\r\n")[1]["x-name"]
    assert [b"na\xefve"] == upstream.called("/latin").header(b"x-name")


def test_a_prefix_is_stripped_at_a_segment_boundary_only(gateway: Gateway, upstream: Upstream) -> None:
    assert [200, 200, 200] == [gateway.get(path)[0] for path in ("/strip/a%20b?q=1", "/strip", "/stripx")]
    assert ["/a%20b?q=1", "/", "/stripx"] == [call.target for call in upstream.calls[-3:]]


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


def test_a_kept_connection_that_the_upstream_closed_is_replaced_without_an_error(
        gateway: Gateway, upstream: Upstream) -> None:
    closed: list[Call] = []

    def once(call: Call) -> None:
        if not closed:
            call.send(OK)
            closed.append(call)
            data = call.connection.recv(1)  # the next request's first byte, and then no answer
            call.rest = data
            call.connection.close()
            return
        call.send(OK)

    upstream.on("/stale", once)
    for _ in range(4):
        assert (200, b"ok") == gateway.get("/stale")[::2]


def test_an_upstream_that_is_not_there_is_502(gateway: Gateway) -> None:
    assert "dead cannot be reached" == problem(gateway.get("/dead/x"))["detail"]


def test_a_host_of_its_own_and_its_methods_are_respected(gateway: Gateway) -> None:
    reply = gateway.raw(b"DELETE /read-only HTTP/1.1\r\nHost: only.example\r\nConnection: close\r\n\r\n")
    assert 200 == parsed(reply)[0]  # the route of every host has it


def test_a_websocket_handshake_is_forwarded_as_a_plain_request(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.raw(b"GET /ws HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
                        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    assert 200 == parsed(reply)[0]
    assert not upstream.called("/ws").header(b"upgrade")
