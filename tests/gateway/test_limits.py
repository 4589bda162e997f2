"""Limits on what a client may send, on the wire: slow heads, bodies that drip, bodies that are too large."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from .harness import DEADLINE_S, Call, Gateway, Upstream, eventually, everything, parsed, problem, running

pytestmark = pytest.mark.process

MOST = 1_000_000

CONFIG = """
{settings}
[services.up]
endpoints = ["{url}"]
max_body = 1000000
command = {{ timeout = 60.0, max_concurrent = 1, breaker = false }}
[services.closed]
endpoints = ["{url}"]
max_body = 0
[[routes]]
path = "/*"
service = "up"
[[routes]]
path = "/closed"
service = "closed"
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("limits"), CONFIG.format(url=upstream.url, settings="")) as made:
        yield made


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    config = CONFIG.format(url=upstream.url, settings="upload_timeout = 0.5")
    with running(tmp_path_factory.mktemp("hasty"), config, header_timeout=1.0) as made:
        yield made


class Broken:
    """A script that listens until the gateway cuts the connection, and keeps what came of the body."""

    def __init__(self) -> None:
        self.got = b""
        self.cut = threading.Event()

    def __call__(self, call: Call) -> None:
        self.got = call.rest
        with contextlib.suppress(OSError):
            while piece := call.connection.recv(65536):
                self.got += piece
        self.cut.set()


def dripped(client: socket.socket, drops: bytes, *, every_s: float) -> bytes:
    """Send one byte of *drops* every so often, until the other side answers or ends; what it says then."""
    end = time.monotonic() + DEADLINE_S
    for drop in drops:
        if time.monotonic() > end or select.select([client], [], [], every_s)[0]:
            break
        with contextlib.suppress(OSError):
            client.sendall(bytes([drop]))
    return everything(client)


# -- heads


def test_a_head_that_comes_byte_by_byte_is_cut_off(hasty: Gateway, upstream: Upstream) -> None:
    """Slowloris (incident class 8): each byte comes well within the bound, and all of them do not."""
    began = time.monotonic()
    with hasty.connect() as client:
        reply = dripped(client, b"GET /slow-head HTTP/1.1\r\nHost: gw\r\n" + b"X: " + b"y" * 10_000, every_s=0.1)
    assert reply == b"" or 408 == parsed(reply)[0]
    assert 0.9 < time.monotonic() - began < DEADLINE_S
    assert 0 == upstream.count("/slow-head")


def test_a_connection_that_says_nothing_is_cut_off_too(hasty: Gateway) -> None:
    with hasty.connect() as client:
        assert b"" == everything(client)  # or the socket's timeout is an error


def test_a_kept_connection_is_closed_when_no_further_request_comes(hasty: Gateway) -> None:
    """By the same clock: granian has one for the first head and for the next."""
    with hasty.connect() as client:
        client.sendall(b"GET /kept HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert everything(client).endswith(b"\r\n\r\nok")


def test_many_slow_heads_leave_the_others_alone(hasty: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(hasty.connect()) for _ in range(200)]
        for client in slow:
            client.sendall(b"GET /slow-head HTTP/1.1\r\nHo")
        assert (200, b"ok") == hasty.get("/beside-slow-heads")[::2]
        for client in slow:
            assert b" 200 " not in everything(client)


# -- bodies that drip


@pytest.mark.parametrize("framing", [b"Content-Length: 900000", b"Transfer-Encoding: chunked"])
def test_a_body_that_drips_is_408_and_gives_its_permit_back(
        hasty: Gateway, upstream: Upstream, framing: bytes) -> None:
    path = f"/drip-{framing.decode()[:7]}"
    broken = Broken()
    upstream.on(path, broken)
    before = [hasty.metric(event) for event in ("failure", "timeout", "success", "cancelled")]
    with hasty.connect() as client:
        client.sendall(b"POST %b HTTP/1.1\r\nHost: gw\r\n%b\r\n\r\n" % (path.encode(), framing))
        upstream.called(path)
        assert 503 == hasty.get("/beside-a-drip")[0], "the drip holds the only permit"
        body = b"x" * 900_000 if b"Length" in framing else b"1\r\nx\r\n" * 100_000
        reply = parsed(dripped(client, body, every_s=0.02))
    assert ("the request's body did not come in time", "close") == (problem(reply)["detail"], reply[1]["connection"])
    assert broken.cut.wait(DEADLINE_S), "the upstream's connection was not cut"
    assert not broken.got.endswith(b"0\r\n\r\n"), "the upstream took it for complete"
    eventually(lambda: hasty.in_flight() == 0, "the permit back")
    before[-1] += 1
    assert before == [hasty.metric(event) for event in ("failure", "timeout", "success", "cancelled")]
    assert 200 == hasty.get("/after-a-drip")[0]


def test_a_small_body_that_drips_never_reaches_the_upstream(hasty: Gateway, upstream: Upstream) -> None:
    with hasty.connect() as client:
        client.sendall(b"POST /small-drip HTTP/1.1\r\nHost: gw\r\nContent-Length: 60000\r\n\r\n")
        assert 408 == problem(parsed(dripped(client, b"x" * 60_000, every_s=0.02)))["status"]
    assert 0 == upstream.count("/small-drip")


# -- bodies that are too large


def test_a_body_as_large_as_it_may_be_passes(limited: Gateway, upstream: Upstream) -> None:
    head = b"POST /as-large HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n"
    assert 200 == parsed(limited.raw(head + b"Content-Length: %d\r\n\r\n" % MOST + bytes(MOST)))[0]
    assert 200 == parsed(limited.raw(
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (MOST, bytes(MOST))))[0]
    assert 2 == upstream.count("/as-large")


@pytest.mark.parametrize("path", ["/too-large", "/closed"])
def test_a_length_that_is_too_large_is_413_before_the_upstream_is_asked(
        limited: Gateway, upstream: Upstream, path: str) -> None:
    most = MOST if path == "/too-large" else 0
    reply = parsed(limited.raw(
        b"POST %b HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (path.encode(), most + 1)))
    assert (413, f"the body is larger than {most} bytes") == (reply[0], problem(reply)["detail"])  # and no 100
    assert "close" == reply[1]["connection"]
    assert 0 == upstream.count(path)


def test_a_client_that_sends_it_all_the_same_is_told_413(limited: Gateway, upstream: Upstream) -> None:
    reply = b""
    with limited.connect() as client, contextlib.suppress(OSError):
        client.sendall(b"POST /sent-anyway HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % (MOST * 10))
        with contextlib.suppress(OSError):
            for _ in range(10):
                client.sendall(bytes(MOST))
        reply = everything(client)
    assert 413 == parsed(reply)[0]
    assert 0 == upstream.count("/sent-anyway")


def test_chunks_that_become_too_large_are_413_and_break_off_at_the_upstream(
        limited: Gateway, upstream: Upstream) -> None:
    broken = Broken()
    upstream.on("/chunks", broken)
    before = [limited.metric(event) for event in ("failure", "timeout", "success", "cancelled")]
    with limited.connect() as client:
        client.sendall(b"POST /chunks HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(20):
                client.sendall(b"%x\r\n%b\r\n" % (MOST // 10, bytes(MOST // 10)))
            client.sendall(b"0\r\n\r\n")
        assert 413 == problem(parsed(everything(client)))["status"]
    assert broken.cut.wait(DEADLINE_S), "the upstream's connection was not cut"
    assert not broken.got.endswith(b"0\r\n\r\n"), "the upstream took it for complete"
    eventually(lambda: limited.in_flight() == 0, "the permit back")
    before[-1] += 1
    assert before == [limited.metric(event) for event in ("failure", "timeout", "success", "cancelled")]
    assert 200 == limited.get("/after-chunks")[0]
