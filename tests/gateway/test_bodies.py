"""Request bodies: streamed, bounded, and never the upstream's fault when they come late."""

from __future__ import annotations

import hashlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from .harness import Call, Gateway, Upstream, eventually, everything, parsed, problem

pytestmark = pytest.mark.process

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 5_000_000])
def test_a_body_with_a_length_arrives_as_it_was_sent(gateway: Gateway, upstream: Upstream, size: int) -> None:
    body, seen = bytes(range(256)) * (size // 256) + b"x" * (size % 256), []
    path = f"/sized-{size}"

    def script(call: Call) -> None:
        seen.append(hashlib.sha256(call.body()).digest())
        call.send(EMPTY)

    upstream.on(path, script)
    head = f"PUT {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    assert 200 == parsed(gateway.raw(head.encode() + body))[0]
    assert ([hashlib.sha256(body).digest()], [str(size).encode()]) == (
        seen, upstream.called(path).header(b"content-length"))


def test_bodies_on_one_connection_arrive_each_as_it_was_sent(gateway: Gateway, upstream: Upstream) -> None:
    bodies, seen = [bytes([65 + at]) * size for at, size in enumerate((1_000_000, 3, 0, 700_000, 300_000))], []

    def script(call: Call) -> None:
        seen.append(call.body())
        call.send(EMPTY)

    upstream.on("/body-kept", script)
    with gateway.connect() as client:
        for body in bodies:
            client.sendall(b"PUT /body-kept HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert everything(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert bodies == seen


def test_large_bodies_at_once_go_both_ways_as_they_were_sent(gateway: Gateway, upstream: Upstream) -> None:
    source = random.Random(2)
    bodies = [source.randbytes(3_000_000 + at) for at in range(6)]

    def echo(call: Call) -> None:
        body = call.body()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    upstream.on("/echo-large", echo)
    head = b"PUT /echo-large HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with ThreadPoolExecutor(len(bodies)) as clients:
        answers = [parsed(reply) for reply in clients.map(lambda body: gateway.raw(head % len(body) + body), bodies)]
    assert [(200, body) for body in bodies] == [(answer[0], answer[2]) for answer in answers]


def test_a_chunked_body_arrives_chunked(gateway: Gateway, upstream: Upstream) -> None:
    seen = []

    def script(call: Call) -> None:
        seen.append(call.body())
        call.send(EMPTY)

    upstream.on("/chunked", script)
    with gateway.connect() as client:
        client.sendall(b"POST /chunked HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                       b"3;ext=1\r\nabc\r\n")
        eventually(lambda: upstream.count("/chunked"), "the head arriving before the body is complete")
        client.sendall(b"2\r\nde\r\n0\r\n\r\n")
        assert 200 == parsed(everything(client))[0]
    assert b"abcde" == b"".join(seen[0].split(b"\r\n")[1:-2:2])


def test_a_large_upload_is_not_held_in_memory(gateway: Gateway, upstream: Upstream) -> None:
    size = 256 << 20

    def swallow(call: Call) -> None:
        left = size - len(call.rest)
        call.rest = b""
        while left:
            left -= len(call.connection.recv(1 << 20))
        call.send(EMPTY)

    upstream.on("/large-upload", swallow)
    before, most = gateway.rss_kib(), 0
    with gateway.connect() as client:
        client.sendall(b"POST /large-upload HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 20):
            client.sendall(bytes(1 << 20))
            most = max(most, gateway.rss_kib())
        assert 200 == parsed(everything(client))[0]
    assert most - before < 64 * 1024


def test_expect_100_continue_is_answered_by_the_gateway(gateway: Gateway, upstream: Upstream) -> None:
    with gateway.connect() as client:
        client.sendall(b"POST /expect HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
                       b"Connection: close\r\n\r\n")
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == everything(client, b"\r\n\r\n")
        client.sendall(b"hi")
        assert 200 == parsed(everything(client))[0]
    assert [] == upstream.called("/expect").header(b"expect")


@pytest.mark.parametrize("length", [1_000, 10_000_000])
def test_a_body_that_comes_too_slowly_is_408_and_not_the_upstreams_failure(
        impatient: Gateway, upstream: Upstream, length: int) -> None:
    """Slow body (incident class 8)."""
    path = f"/slow-{length}"
    upstream.on(path, lambda call: call.until_closed())
    before = impatient.metric("failure"), impatient.metric("timeout")
    with impatient.connect() as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: gw\r\nContent-Length: {length}\r\n\r\nabc".encode())
        assert 408 == problem(parsed(everything(client)))["status"]
    assert before == (impatient.metric("failure"), impatient.metric("timeout"))
    assert eventually(lambda: impatient.in_flight() == 0)
    assert (0 if length == 1_000 else 1) == upstream.count(path)


def test_an_answer_before_the_end_of_the_body_is_passed_on_at_once(gateway: Gateway, upstream: Upstream) -> None:
    """At once: while the client sends nothing more. Neither of the gateway's own waits ends within the test."""

    def early(call: Call) -> None:
        while not call.rest.endswith(b"abc"):  # closing a socket with unread bytes resets it, and the answer may be lost
            call.rest += call.connection.recv(65536)
        call.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        call.until_closed()

    upstream.on("/early", early)
    with gateway.connect() as client:
        client.sendall(b"POST /early HTTP/1.1\r\nHost: gw\r\nContent-Length: 10000000\r\n\r\nabc")
        status, _, body = parsed(everything(client, b"big"))
    assert (413, b"big") == (status, body)
    assert eventually(lambda: gateway.in_flight() == 0)


def test_an_upstream_that_takes_nothing_is_its_own_failure(impatient: Gateway, upstream: Upstream) -> None:
    closed = threading.Event()
    upstream.on("/takes-nothing", lambda call: closed.wait(60))
    before = impatient.metric("failure") + impatient.metric("timeout")
    with impatient.connect() as client:
        client.settimeout(60)
        client.sendall(b"POST /takes-nothing HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        try:
            while True:
                client.sendall(bytes(1 << 20))
        except OSError:
            pass
    closed.set()
    assert eventually(lambda: impatient.metric("failure") + impatient.metric("timeout") == before + 1)
    assert eventually(lambda: impatient.in_flight() == 0)
