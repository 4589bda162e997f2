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
from resilience_dashboard.upstream import Limits

from tests.dashboard.asgi_client import Answer, request, scope
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
        ([b"HTTP/1.1 401 Unauthorized\r\n\r\n"], b"user:password@"),
        ([b"HTTP/1.1 503 Service Unavailable\r\n\r\n"], b"close another page"),
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


@pytest.mark.parametrize("path", ["/stream/0", "/streams"])
async def test_a_slow_browser_slows_the_upstream_instead_of_filling_memory(path: str) -> None:
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

        task = asyncio.create_task(app([url])(scope(path), receive, send))
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


async def test_relays_are_bounded_and_every_way_to_end_one_makes_room(
    stream: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count that leaked would answer 503 to everybody, for ever, after 256 streams."""
    monkeypatch.setattr("resilience_dashboard.server._MAX_RELAYS", 2)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        away = f"http://127.0.0.1:{probe.getsockname()[1]}/x"
    with liar(says(OK + b"Content-Length: %d\r\n\r\n" % len(HELLO), HELLO)) as ends, liar(holds) as mute:
        dashboard = app([stream.url, ends, away, mute])
        impatient = Limits(connect=0.05)
        for _ in range(3):
            await _first_event(dashboard, stream)  # the browser leaves
            assert (await request(dashboard, "/stream/1")).status == 200  # the upstream ends
            assert (await request(dashboard, "/stream/2")).status == 502  # there is none
            with monkeypatch.context() as patch:
                patch.setattr(dashboard, "_limits", impatient)  # only here: a busy machine may need longer to connect
                assert (await request(dashboard, "/stream/3")).status == 504  # it never answers
            assert (await request(dashboard, "/stream/0", method="HEAD")).status == 200
            await _cancelled(dashboard, stream)  # the server shuts the request down
            with pytest.raises(RuntimeError):
                await _first_event(dashboard, stream, RuntimeError("the server's own fault"))
        held = [asyncio.create_task(dashboard(scope("/stream/0"), _never, _ignore)) for _ in range(2)]
        await asyncio.to_thread(stream.wait_for_connections, 2)
        refused = await asyncio.wait_for(request(dashboard, "/stream/0"), 10)
        for task in held:
            task.cancel()
        await asyncio.wait(held)
        assert (refused.status, refused.body) == (503, b"too many open relays\n")
        await _first_event(dashboard, stream)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nowhere", "GET", 404), ("/", "POST", 405), ("/stream/7", "GET", 404), ("/stream/1", "GET", 502),
        ("/stream/2", "GET", 504), ("/stream/0", "GET", 503), ("/stream/1", "HEAD", 200), ("", "GET", 308),
    ],
)  # fmt: skip
async def test_every_answer_carries_the_safety_headers(
    monkeypatch: pytest.MonkeyPatch, path: str, method: str, status: int
) -> None:
    """An error page is a page too: it must not be framed, sniffed, or run anything."""
    if status == 503:
        monkeypatch.setattr("resilience_dashboard.server._MAX_RELAYS", 0)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        away = f"http://127.0.0.1:{probe.getsockname()[1]}/x"
    with liar(holds) as mute:
        answer = await request(app([away, away, mute], connect_timeout=0.05), path, method=method)
    assert answer.status == status
    assert_safe(answer)


async def test_a_relayed_stream_and_a_known_file_carry_the_safety_headers(stream: StreamServer) -> None:
    with liar(says(OK + b"Content-Length: %d\r\n\r\n" % len(HELLO), HELLO)) as url:
        assert_safe(await request(app([url]), "/stream/0"))
        page = await request(app([url]), "/")
        known = [(b"if-none-match", page.headers[b"etag"])]
        assert_safe(await request(app([url]), "/", headers=known))


def assert_safe(answer: Answer) -> None:
    assert answer.headers[b"x-content-type-options"] == b"nosniff"
    assert answer.headers[b"referrer-policy"] == b"no-referrer"
    assert answer.headers[b"cross-origin-resource-policy"] == b"same-origin"
    policy = answer.headers[b"content-security-policy"]
    for rule in (b"default-src 'none'", b"frame-ancestors 'none'", b"form-action 'none'", b"base-uri 'none'"):
        assert rule in policy
    assert b"unsafe" not in policy


async def _never() -> dict[str, str]:
    await asyncio.Event().wait()
    raise AssertionError


async def _ignore(message: dict[str, Any]) -> None:
    """A browser that reads and says nothing."""


async def _cancelled(dashboard: Dashboard, stream: StreamServer) -> None:
    stream.messages = ['{"type":"a"}']
    open_now = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        if b"data:" in message.get("body", b""):
            open_now.set()

    task = asyncio.create_task(dashboard(scope("/stream/0"), _never, send))
    await asyncio.wait_for(open_now.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _first_event(dashboard: Dashboard, stream: StreamServer, fault: Exception | None = None) -> None:
    """Relay until the first event, then leave, or fail to send it."""
    leave = asyncio.Event()
    stream.messages = ['{"type":"a"}']

    async def send(message: dict[str, Any]) -> None:
        if b"data:" in message.get("body", b""):
            if fault is not None:
                raise fault
            leave.set()

    async def receive() -> dict[str, str]:
        await leave.wait()
        return {"type": "http.disconnect"}

    await asyncio.wait_for(dashboard(scope("/stream/0"), receive, send), 10)
