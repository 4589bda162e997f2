"""The relay against real upstreams: honest ones, liars, slow ones; and browsers that go away."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from resilience_dashboard import Dashboard, app

from tests.dashboard.asgi_client import request, scope
from tests.dashboard.servers import StreamServer, event, liar, served

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
HELLO = event({"type": "hello"})


def says(*pieces: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


def holds(connection: socket.socket) -> None:
    """Answer nothing until the other side gives up."""
    with contextlib.suppress(OSError):
        while connection.recv(4096):
            pass


@pytest.fixture(params=[False, True], ids=["until close", "chunked"])
def stream(request: pytest.FixtureRequest) -> Iterator[StreamServer]:
    server = StreamServer(chunked=request.param)
    server.start()
    yield server
    server.stop()


def read_events(response: http.client.HTTPResponse, count: int) -> list[bytes]:
    events: list[bytes] = []
    while len(events) < count:
        line = response.readline()
        assert line, "the relay ended"
        if line.startswith(b"data:"):
            events.append(line)
    return events


def test_events_pass_through_unchanged_and_a_leaving_browser_frees_the_upstream(stream: StreamServer) -> None:
    stream.messages = ['{"type":"a"}', '{"type":"\u00fc"}']
    with served(app, ["/own.stream", stream.url]) as base:
        client = http.client.HTTPConnection(base.removeprefix("http://"), timeout=10)
        client.request("GET", "/stream/1")
        response = client.getresponse()
        assert response.status == 200
        assert response.getheader("content-type", "").startswith("text/event-stream")
        assert response.getheader("x-content-type-options") == "nosniff"
        expected = [b'data: {"type":"a"}\n', 'data: {"type":"\u00fc"}\n'.encode()]
        assert expected * 3 == read_events(response, 6)
        stream.wait_for_connections(1)
        response.close()
        client.close()
        stream.wait_for_connections(0)
    assert stream.requests[0]["accept"] == "text/event-stream"
    assert stream.requests[0]["host"] in stream.url


def test_every_browser_gets_its_own_connection(stream: StreamServer) -> None:
    stream.messages = ['{"type":"a"}']
    with served(app, [stream.url]) as base:
        clients = [http.client.HTTPConnection(base.removeprefix("http://"), timeout=10) for _ in range(5)]
        for client in clients:
            client.request("GET", "/stream/0")
        responses = [client.getresponse() for client in clients]
        for response in responses:
            read_events(response, 2)
        stream.wait_for_connections(5)
        for response, client in zip(responses, clients, strict=True):
            response.close()
            client.close()
        stream.wait_for_connections(0)


@pytest.mark.parametrize(
    "path",
    [
        "/stream/0", "/stream/2", "/stream/-1", "/stream/01", "/stream/1/", "/stream/", "/stream/99999",
        "/stream/\u0661", "/stream/1?url=http://127.0.0.1/", "/stream/http://127.0.0.1/", "/stream/1\n",
        "/proxy.stream",
    ],
)  # fmt: skip
async def test_only_configured_absolute_streams_are_relayed(path: str) -> None:
    assert (await request(app(["/own.stream", "http://127.0.0.1:9/x"]), path)).status == 404


async def test_head_does_not_bother_the_upstream(stream: StreamServer) -> None:
    answer = await request(app([stream.url]), "/stream/0", method="HEAD")
    assert (answer.status, answer.headers[b"content-type"], answer.body) == (200, b"text/event-stream", b"")
    assert stream.requests == []


async def test_an_upstream_that_is_away_is_a_502_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    answer = await request(app([f"http://127.0.0.1:{port}/x"]), "/stream/0")
    assert answer.status == 502
    assert answer.body == b"cannot connect: Connection refused\n"


async def test_an_unknown_host_is_a_502() -> None:
    answer = await request(app(["http://nowhere.invalid/x"]), "/stream/0")
    assert answer.status == 502


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([b"HTTP/1.1 404 Not Found\r\n\r\n"], b"answered 404"),
        ([b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:22/\r\n\r\n"], b"redirects are not followed"),
        ([b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>"], b"no event stream"),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], b"no event stream"),
        ([OK + b"Content-Encoding: gzip\r\n\r\n"], b"compressed"),
        ([OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n"], b"transfer coding"),
        ([OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"], b"contradicts itself"),
        ([OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n"], b"contradicts itself"),
        ([OK + b"Content-Length: -1\r\n\r\n"], b"length is malformed"),
        ([OK + b"no colon\r\n\r\n"], b"head is malformed"),
        ([OK + b"X: a\rb\r\n\r\n"], b"head is malformed"),
        ([b"SSH-2.0-OpenSSH_9\r\n\r\n"], b"not HTTP/1.1"),
        ([b"HTTP/1.1 200 OK\r\nContent-Ty"], b"closed before an answer"),
        ([b""], b"closed before an answer"),
        ([OK, b"X: " + b"a" * 100_000 + b"\r\n\r\n"], b"head is too large"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" * 20], b"only interim"),
    ],
)  # fmt: skip
async def test_a_lying_head_is_a_502_that_says_what_is_wrong(pieces: list[bytes], reason: bytes) -> None:
    with liar(says(*pieces)) as url:
        answer = await request(app([url]), "/stream/0")
    assert answer.status == 502
    assert reason in answer.body


@pytest.mark.parametrize(
    ("pieces", "arrived"),
    [
        ([OK + b"Content-Length: 1000\r\n\r\n", HELLO], HELLO),
        ([OK + b"Content-Length: %d\r\n\r\n" % len(HELLO), HELLO + b"data: smuggled\n\n"], HELLO),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (len(HELLO) + 9), HELLO], HELLO),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", HELLO], b""),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", HELLO], b""),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(HELLO), HELLO, b"junk\r\n"], HELLO),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1" * 100_000], b""),
        ([OK + b"\r\n", HELLO], HELLO),
        ([b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"\r\n", HELLO], HELLO),
    ],
)  # fmt: skip
async def test_a_broken_body_ends_the_relay_after_what_was_good(pieces: list[bytes], arrived: bytes) -> None:
    with liar(says(*pieces)) as url:
        answer = await request(app([url]), "/stream/0")
    assert (answer.status, answer.body.removeprefix(b": relayed\n\n")) == (200, arrived)


async def test_a_reset_ends_the_relay() -> None:
    def reset(connection: socket.socket) -> None:
        connection.sendall(OK + b"\r\n" + HELLO)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    with liar(reset) as url:
        assert (await request(app([url]), "/stream/0")).status in (200, 502)


async def test_an_upstream_that_never_answers_is_a_504() -> None:
    with liar(holds) as url:
        answer = await request(app([url], connect_timeout=0.05), "/stream/0")
    assert answer.status == 504
    assert b"no answer within 0.05 s" in answer.body


async def test_an_upstream_that_falls_silent_ends_the_relay() -> None:
    def falls_silent(connection: socket.socket) -> None:
        connection.sendall(OK + b"\r\n" + HELLO)
        holds(connection)

    with liar(falls_silent) as url:
        answer = await request(app([url], read_timeout=0.05), "/stream/0")
    assert (answer.status, answer.body) == (200, b": relayed\n\n" + HELLO)


async def test_an_event_without_end_is_cut_off() -> None:
    sent = 0

    def endless(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(OK + b"\r\ndata: ")
        while sent < 100:
            connection.sendall(b"a" * (1024 * 1024))
            sent += 1

    with liar(endless) as url:
        answer = await request(app([url]), "/stream/0")
    assert len(answer.body) < 5 * 1024 * 1024
    assert sent < 100


async def test_a_slow_browser_slows_the_upstream_instead_of_filling_memory() -> None:
    sent = 0
    stuck = threading.Event()

    def firehose(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(OK + b"\r\n")
        connection.settimeout(0.3)
        try:
            while True:
                connection.sendall(HELLO * 4096)
                sent += len(HELLO) * 4096
        except TimeoutError:
            stuck.set()

    with liar(firehose) as url:
        leave = asyncio.Event()
        bodies = 0

        async def send(message: dict[str, Any]) -> None:
            nonlocal bodies
            bodies += message["type"] == "http.response.body"
            if bodies > 1:
                await asyncio.Event().wait()

        async def receive() -> dict[str, str]:
            await leave.wait()
            return {"type": "http.disconnect"}

        task = asyncio.create_task(app([url])(scope("/stream/0"), receive, send))
        assert await asyncio.to_thread(stuck.wait, 20)
        leave.set()
        await asyncio.wait_for(task, 10)
    assert sent < 32 * 1024 * 1024


async def test_the_credentials_of_the_address_reach_the_upstream_only(stream: StreamServer) -> None:
    address = stream.url.replace("http://", "http://joe:secret@")
    await _first_event(app([address]), stream)
    assert stream.requests[0]["authorization"] == "Basic am9lOnNlY3JldA=="


async def test_https_upstreams_are_verified() -> None:
    pem = Path(__file__).with_name("localhost.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    trusting = ssl.create_default_context(cafile=pem)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\n" + HELLO)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        trusted = await request(app([url], tls_context=trusting), "/stream/0")
        assert (trusted.status, trusted.body) == (200, b": relayed\n\n" + HELLO)
        distrusted = await request(app([url]), "/stream/0")
        assert distrusted.status == 502
        assert b"certificate" in distrusted.body.lower()


async def _first_event(dashboard: Dashboard, stream: StreamServer) -> None:
    """Relay until the first event, then leave."""
    leave = asyncio.Event()
    stream.messages = ['{"type":"a"}']

    async def send(message: dict[str, Any]) -> None:
        if b"data:" in message.get("body", b""):
            leave.set()

    async def receive() -> dict[str, str]:
        await leave.wait()
        return {"type": "http.disconnect"}

    await asyncio.wait_for(dashboard(scope("/stream/0"), receive, send), 10)
