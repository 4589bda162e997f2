"""One client's connection on real sockets: what is answered, in which order and framing, who is cut, and what is given back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from resilience.gateway.messages.inbound import BodyBrokenError, Inbound

from .serving import Client, Serving, eventually, serving

GET = b"GET /%b HTTP/1.1\r\nHost: gw\r\n\r\n"
LAST = b"GET /%b HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"

Served = Callable[[Inbound], Awaitable[None]]


async def echo(inbound: Inbound) -> None:
    """Answer with the path and the body."""
    body, more = await inbound.receive()
    while more:
        piece, more = await inbound.receive()
        body += piece
    inbound.body_is_over()
    await inbound.respond(200, [], inbound.head.path + b"|" + body)


class Hanging:
    """Answers nothing until it is told to, and knows how its requests ended."""

    def __init__(self) -> None:
        self.begun: list[Inbound] = []
        self.cancelled = 0
        self.go = asyncio.Event()

    async def __call__(self, inbound: Inbound) -> None:
        self.begun.append(inbound)
        inbound.body_is_over()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        await inbound.respond(200, [], b"late")


def bodies(reply: bytes) -> list[bytes]:
    """The bodies of answers with a length."""
    found = []
    while reply:
        head, _, reply = reply.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None, head
        found.append(reply[: int(length.group(1))])
        reply = reply[int(length.group(1)):]
    return found


# -- keep-alive and pipelining


async def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    under_way = most = 0

    async def slower_first(inbound: Inbound) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(20 - int(inbound.head.path[1:])):
            await asyncio.sleep(0)
        under_way -= 1
        await echo(inbound)

    async with serving(slower_first) as front:
        reply = await front.ask(b"".join(GET % b"%d" % i for i in range(19)) + LAST % b"19")
    assert ([b"/%d|" % i for i in range(20)], 1) == (bodies(reply), most)


async def test_no_more_is_read_while_pipelined_requests_wait() -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        client = await front.client(GET % b"x")
        await eventually(lambda: hanging.begun)
        sent = 0
        with contextlib.suppress(TimeoutError):
            for _ in range(1_000):
                client.send(GET % (b"y" * 8_000))
                sent += 1
                await asyncio.wait_for(client.writer.drain(), 0.3)
        assert sent < 1_000
        assert 1 == len(hanging.begun)


async def test_after_an_error_nothing_that_was_pipelined_is_read() -> None:
    async with serving(echo) as front:
        reply = await front.ask(GET % b"1" + b"GET / HTTP/1.1\nHost: gw\r\n\r\n" + GET % b"2")
    assert (1, 1, b"close" in reply) == (reply.count(b" 200 "), reply.count(b" 400 "), True)
    assert reply.index(b" 200 ") < reply.index(b" 400 ")


@pytest.mark.parametrize(("request_bytes", "kept"), [
    (b"GET /x HTTP/1.1\r\nHost: gw\r\n\r\n", True),
    (b"GET /x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n", False),
    (b"GET /x HTTP/1.0\r\n\r\n", False),
    (b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True)])
async def test_a_connection_is_kept_as_the_client_says_and_its_version_means(request_bytes: bytes, kept: bool) -> None:
    async with serving(echo) as front:
        client = await front.client(request_bytes)
        reply = await client.until(b"/x|")
        assert (b"HTTP/1.1 200 OK\r\n", kept) == (reply[:17], b"connection: close" not in reply)
        assert (b"connection: keep-alive" in reply) is (kept and b"HTTP/1.0" in request_bytes)
        assert (b"" == await client.send(LAST % b"y").all()) is not kept


async def test_a_connection_closes_after_so_many_requests() -> None:
    async with serving(echo, max_requests_per_connection=3) as front:
        reply = await front.ask(GET % b"x" * 5)
    assert (3, 1) == (len(bodies(reply)), reply.count(b"connection: close"))


# -- framing of answers


def answering(status: int, headers: list[tuple[bytes, bytes]], pieces: list[bytes]) -> Served:
    async def serve(inbound: Inbound) -> None:
        if len(pieces) == 1:
            await inbound.respond(status, headers, pieces[0])
            return
        await inbound.start(status, headers)
        for piece in pieces[:-1]:
            await inbound.write(piece)
        await inbound.end(pieces[-1])

    return serve


@pytest.mark.parametrize(("method", "version", "status", "headers", "pieces", "framing", "body"), [
    ("GET", "1.1", 200, [], [b"ab"], b"content-length: 2", b"ab"),
    ("GET", "1.1", 200, [(b"transfer-encoding", b"chunked"), (b"keep-alive", b"x")], [b"ab"], b"content-length: 2", b"ab"),
    ("GET", "1.1", 200, [], [b"a", b"", b"b"], b"transfer-encoding: chunked", b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
    ("GET", "1.1", 200, [], [b"", b""], b"transfer-encoding: chunked", b"0\r\n\r\n"),
    ("GET", "1.1", 200, [(b"content-length", b"2")], [b"a", b"b"], b"content-length: 2", b"ab"),
    ("GET", "1.0", 200, [], [b"a", b"b"], b"connection: close", b"ab"),
    ("HEAD", "1.1", 200, [(b"content-length", b"9")], [b""], b"content-length: 9", b""),
    ("HEAD", "1.1", 200, [], [b""], b"connection: close", b""),
    ("HEAD", "1.1", 200, [(b"content-length", b"9")], [b"", b""], b"content-length: 9", b""),
    ("GET", "1.1", 304, [(b"content-length", b"9")], [b""], b"content-length: 9", b""),
    ("GET", "1.1", 204, [(b"content-length", b"9")], [b""], b"connection: close", b""),
    ("GET", "1.1", 299, [], [b"x"], b"content-length: 1", b"x"),
])
async def test_answers_are_framed_by_what_is_known_of_them(
        method: str, version: str, status: int, headers: Any, pieces: list[bytes], framing: bytes, body: bytes) -> None:
    async with serving(answering(status, headers, pieces)) as front:
        reply = await front.ask(f"{method} / HTTP/{version}\r\nHost: gw\r\nConnection: close\r\n\r\n".encode())
    head, _, found = reply.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert (body, True) == (found, framing in lines), head
    lengths = sum(line.startswith((b"content-length", b"transfer-encoding")) for line in lines)
    assert (lengths, 1) == (int(not framing.startswith(b"connection")), sum(line.startswith(b"date: ") for line in lines))


async def test_the_date_of_the_upstream_stays() -> None:
    async with serving(answering(200, [(b"date", b"then")], [b""])) as front:
        assert 1 == (await front.ask(LAST % b"")).count(b"\r\ndate: ")


@pytest.mark.parametrize(("what", "headers", "pieces"), [
    ("shorter than its length", [(b"content-length", b"5")], [b"a", b"b"]),
    ("longer than its length", [(b"content-length", b"1")], [b"a", b"b", b""]),
])
async def test_an_answer_that_does_not_keep_its_word_is_cut(what: str, headers: Any, pieces: list[bytes]) -> None:
    async with serving(answering(200, headers, pieces)) as front:
        client = await front.client(GET % b"" + GET % b"")
        reply = await client.all()
    assert 1 == reply.count(b"HTTP/1.1"), "another answer was taken for the rest of this one"


async def test_an_answer_that_breaks_off_is_not_taken_for_complete_and_its_connection_is_cut() -> None:
    async def half(inbound: Inbound) -> None:
        await inbound.start(200, [])
        await inbound.write(b"half")

    async with serving(half) as front:
        reply = await front.ask(GET % b"")
    assert (True, False) == (b"4\r\nhalf\r\n" in reply, b"0\r\n\r\n" in reply)


async def test_a_header_that_would_break_out_of_its_line_is_500(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(answering(200, [(b"x", b"a\r\nset-cookie: b")], [b""])) as front:
        with caplog.at_level(logging.CRITICAL, "resilience.gateway"):
            reply = await front.ask(GET % b"")
    assert (True, False) == (reply.startswith(b"HTTP/1.1 500 "), b"set-cookie" in reply)


async def test_a_mistake_in_the_gateway_is_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def mistake(inbound: Inbound) -> None:
        raise ZeroDivisionError

    async with serving(mistake) as front:
        assert (await front.ask(GET % b"")).startswith(b"HTTP/1.1 500 ")
    assert "a request failed in the gateway" in caplog.text


# -- request bodies


async def test_100_continue_is_said_when_the_body_is_wanted_and_not_before() -> None:
    async def refusing(inbound: Inbound) -> None:
        if inbound.head.path == b"/no":
            await inbound.respond(413, [], b"")
        else:
            await echo(inbound)

    head = b"POST /%b HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    async with serving(refusing) as front:
        refused = await front.ask(head % b"no")
        client = await front.client(head % b"yes")
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == await client.until(b"\r\n\r\n")
        assert b"connection" not in await client.send(b"abc").until(b"/yes|abc")
        early = await front.client(head % b"early" + b"abc")
        assert (await early.until(b"/early|abc")).startswith(b"HTTP/1.1 200")
    assert (True, True) == (refused.startswith(b"HTTP/1.1 413 "), b"connection: close" in refused)


async def test_a_body_that_is_not_taken_holds_its_client_back() -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        client = await front.client(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 100000000\r\n\r\n")
        with pytest.raises(TimeoutError):
            for _ in range(1_500):
                client.send(bytes(65_536))
                await asyncio.wait_for(client.writer.drain(), 0.5)
        [connection] = front.front._connections
        assert connection.pipeline.incoming is not None
        assert connection.pipeline.incoming.buffered < 1_000_000


async def test_an_answer_before_the_body_s_end_reaches_a_client_that_goes_on_sending() -> None:
    async def refuse(inbound: Inbound) -> None:
        await inbound.respond(413, [], b"too much")

    async with serving(refuse) as front:
        client = await front.client(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 5000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                client.send(bytes(100_000))
                await client.writer.drain()
        assert b"connection: close" in await client.until(b"too much")


async def test_a_body_that_breaks_off_says_so_to_who_waits_for_it() -> None:
    broken = asyncio.Event()

    async def wait(inbound: Inbound) -> None:
        try:
            await echo(inbound)
        except BodyBrokenError:
            broken.set()
            await inbound.respond(400, [(b"connection", b"close")], b"")

    head = b"POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    async with serving(wait) as front:
        assert (await front.ask(head + b"nonsense")).startswith(b"HTTP/1.1 400 ")
        broken.clear()
        client = await front.client(head)
        client.half_close()
        assert (await client.all()).startswith(b"HTTP/1.1 400 ")
        broken.clear()
        (await front.client(head)).reset()
        await asyncio.wait_for(broken.wait(), 10)


# -- clients that leave, or only half


@pytest.mark.parametrize("how", ["reset", "leave"])
async def test_a_client_that_leaves_cancels_its_request(how: str) -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        client = await front.client(GET % b"")
        await eventually(lambda: hanging.begun)
        getattr(client, how)()
        await eventually(lambda: hanging.cancelled == 1, "the request cancelled")
        await eventually(lambda: front.front.connections == 0, "the connection gone")


async def test_a_half_closed_client_is_answered_however_late() -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        client = await front.client(GET % b"1" + LAST % b"2")
        client.half_close()
        await client.until(b"HTTP/1.1 100 Continue\r\n\r\n")  # it is asked whether it is still there
        hanging.go.set()
        assert 2 == (await client.all()).count(b"late")
    assert 0 == hanging.cancelled


async def test_a_stream_to_a_half_closed_client_goes_on_while_it_flows_and_ends_in_silence() -> None:
    silent, cancelled = asyncio.Event(), asyncio.Event()

    async def stream(inbound: Inbound) -> None:
        inbound.body_is_over()
        await inbound.start(200, [])
        try:
            for _ in range(30):
                await inbound.write(b"x")
                await asyncio.sleep(0.05)
            silent.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(stream) as front:
        client = await front.client(GET % b"")
        client.half_close()
        assert 30 == (await client.all()).count(b"\r\nx\r\n")
        assert silent.is_set()
        await asyncio.wait_for(cancelled.wait(), 10)


# -- time


async def test_a_client_that_takes_nothing_is_cut_and_its_request_with_it() -> None:
    ended = asyncio.Event()

    async def flood(inbound: Inbound) -> None:
        await inbound.respond(200, [], bytes(20_000_000))
        ended.set()

    async with serving(flood, client_timeout=0.3) as front:
        client = await front.client(GET % b"", limit=1024)
        await ended.wait()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await eventually(lambda: front.front.connections == 0, "the connection cut")


@pytest.mark.parametrize(("data", "status"), [(b"", b""), (b"GET / HT", b" 408 "), (GET % b"" + b"GET / HT", b" 408 ")])
async def test_a_head_that_does_not_come_in_time_is_408_and_silence_is_closed(data: bytes, status: bytes) -> None:
    async with serving(echo, header_timeout=0.3) as front:
        client = await front.client(data)
        assert status in await client.all()


async def test_a_kept_connection_is_closed_when_it_was_idle_for_long() -> None:
    async with serving(echo, keep_alive_timeout=0.3) as front:
        assert (await front.ask(GET % b"x")).endswith(b"/x|")


# -- limits of one client


async def test_one_address_has_so_many_connections_and_gets_them_back() -> None:
    async with serving(echo, max_connections_per_client=2) as front:
        first, second = await front.client(GET % b"1"), await front.client(GET % b"2")
        await first.until(b"/1|")
        await second.until(b"/2|")
        assert b" 429 " in await front.ask(GET % b"3")
        first.leave()
        await eventually(lambda: front.front.peers.connections == 1)
        assert b"/4|" in await front.ask(LAST % b"4")


async def test_one_address_asks_so_often_and_is_told_when_to_come_back() -> None:
    async with serving(echo, client_rate=0.1, client_burst=2) as front:
        reply = await front.ask(GET % b"1" + GET % b"2" + LAST % b"3")
    assert (2, 1) == (reply.count(b" 200 "), reply.count(b" 429 "))
    assert b"retry-after: 10\r\n" in reply


async def test_a_trusted_proxy_is_not_one_client() -> None:
    async with serving(echo, client_rate=0.1, client_burst=1, max_connections_per_client=1, trusted_proxies=("127.0.0.0/8",)) as front:
        replies = await asyncio.gather(*(front.ask(LAST % b"%d" % i) for i in range(5)))
    assert all(b" 200 " in reply for reply in replies)


async def test_more_connections_than_may_be_are_closed_at_once() -> None:
    async with serving(echo, max_connections=3) as front:
        clients = [await front.client(GET % b"x") for _ in range(3)]
        for client in clients:
            await client.until(b"/x|")
        assert b"" == await front.ask(GET % b"y")
        clients[0].leave()
        await eventually(lambda: front.front.connections == 2)
        assert b" 200 " in await front.ask(LAST % b"z")


# -- drain


async def drained(front: Serving, time_s: float) -> None:
    await front.listener.drain(time_s)


async def test_a_drain_closes_what_is_idle_and_lets_the_rest_end_and_say_close() -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        idle, busy = await front.client(), await front.client(GET % b"" + GET % b"next")
        await eventually(lambda: hanging.begun)
        drain = asyncio.ensure_future(drained(front, 10.0))
        assert b"" == await idle.all()
        hanging.go.set()
        reply = await busy.all()
        await drain
    assert (1, 1) == (reply.count(b"late"), reply.count(b"connection: close"))


async def test_a_drain_ends_with_503_for_who_has_no_answer_and_a_cut_for_who_has_half_of_one() -> None:
    hanging = Hanging()

    async def serve(inbound: Inbound) -> None:
        if inbound.head.path == b"/half":
            await inbound.start(200, [])
            await inbound.write(b"half")
        await hanging(inbound)

    async with serving(serve) as front:
        none, half = await front.client(GET % b"none"), await front.client(GET % b"half")
        await eventually(lambda: len(hanging.begun) == 2)
        await drained(front, 0.0)
        assert (2, 0) == (hanging.cancelled, front.front.connections)
        assert (await none.all()).startswith(b"HTTP/1.1 503 ")
        assert not (await half.all()).endswith(b"0\r\n\r\n")


async def test_many_clients_of_every_kind_leave_nothing_behind() -> None:
    """Whatever a client does, the front forgets it: the end of serving() looks."""
    async with serving(echo) as front:
        clients: list[Client] = []
        for number in range(300):
            client = await front.client([b"", b"GET / HT", GET % b"x", LAST % b"y", b"nonsense\r\n\r\n",
                                         b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 9\r\n\r\nabc"][number % 6])
            clients.append(client)
            [client.reset, client.half_close, client.leave, lambda: None][number // 6 % 4]()
        assert b" 200 " in await front.ask(LAST % b"z")


async def test_a_listener_s_sockets_send_without_delay() -> None:
    async with serving(echo) as front:
        client = await front.client(GET % b"x")
        await client.until(b"/x|")
        [connection] = front.front._connections
        found = connection.transport.get_extra_info("socket")
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
