"""HTTP/2: real clients over sockets and TLS, and what those get that keep no rules."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PingFrame, SettingsFrame

from resilience.gateway.front import lingering
from resilience.gateway.front.http2 import PREFACE, RESETS, Http2Connection
from resilience.gateway.front.http2_stream import MAX_STREAMS, MOST_HELD, STREAM_WINDOW
from resilience.gateway.front.lingering import LINGER_BYTES
from resilience.gateway.http2.allowance import CHEAP_FRAMES
from resilience.gateway.messages.inbound import Inbound
from tests.gateway.harness import Call, Gateway, Upstream
from tests.gateway.harness import eventually as eventually_true

from .serving import PATIENCE_S, Client, Serving, eventually, serving
from .test_connection import Hanging, echo
from .test_listener import LOCALHOST, tls, trusting, who

HEAD = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/x"), (b":authority", b"gw")]
POST = [(b":method", b"POST"), *HEAD[1:]]
CONNECT = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *HEAD[1:]]


class Raw:
    """A client of HTTP/2 that sends whatever it is told to, and keeps what it hears."""

    def __init__(self, client: Client, *, window: int = 65_535) -> None:
        self.client = client
        self.h2 = H2Connection(H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False))
        self.h2.initiate_connection()
        if window != 65_535:
            self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.events: list[Any] = []
        self.acknowledges = True
        self.flush()

    def flush(self) -> None:
        self.client.send(self.h2.data_to_send())

    def ask(self, headers: Any = HEAD, body: bytes | None = None, *, ends: bool = True) -> int:
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, headers, end_stream=ends and body is None)
        if body is not None:
            self.h2.send_data(number, body, end_stream=ends)
        self.flush()
        return number

    async def hear(self, check: Callable[[], Any]) -> Any:
        """Read until it is true; what it is then. None: the front has ended the connection."""
        while not (found := check()):
            data = await asyncio.wait_for(self.client.reader.read(65_536), PATIENCE_S)
            if not data:
                return check()
            self.learn(data)
        return found

    def learn(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, DataReceived) and self.acknowledges and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
        self.flush()

    def of(self, kind: type, number: int | None = None) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind) and (number is None or each.stream_id == number)]

    def status(self, number: int) -> int:
        return int(dict(self.of(ResponseReceived, number)[0].headers)[b":status"])

    def body(self, number: int) -> bytes:
        return b"".join(each.data for each in self.of(DataReceived, number))

    async def answer(self, number: int) -> tuple[int, bytes]:
        await self.hear(lambda: self.of(StreamEnded, number))
        return self.status(number), self.body(number)

    async def reset(self, number: int) -> int:
        """The code that its stream is reset with."""
        return int((await self.hear(lambda: self.of(StreamReset, number)))[0].error_code)

    async def goaway(self) -> int:
        """The code that the connection is ended with."""
        return int((await self.hear(lambda: self.of(ConnectionTerminated)))[0].error_code)


async def raw(front: Serving, **how: Any) -> Raw:
    return Raw(await front.client(), **how)


async def heads(inbound: Inbound) -> None:
    """Answer with the headers."""
    await inbound.respond(200, [], b"\n".join(b"%b=%b" % header for header in inbound.head.headers))


# -- clients that others wrote


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_httpx_speaks_http2_in_the_clear_and_by_alpn(scheme: str) -> None:
    async with serving(who, **({"tls": tls()} if scheme == "https" else {})) as front:
        async with httpx.AsyncClient(http1=scheme == "https", http2=True, verify=trusting(LOCALHOST)) as client:
            for _ in range(3):
                answer = await client.get(f"{scheme}://127.0.0.1:{front.port}/x")
                assert ("HTTP/2", 200, True) == (
                    answer.http_version, answer.status_code, answer.text.startswith(f"{scheme} 127.0.0.1")), answer.text
            assert 1 == front.front.connections


async def test_the_certificate_of_a_client_of_http2_is_known() -> None:
    async with serving(who, tls=tls(client_ca_file=str(LOCALHOST))) as front:
        async with httpx.AsyncClient(http2=True, verify=trusting(LOCALHOST, own=LOCALHOST)) as client:
            answer = await client.get(f"https://127.0.0.1:{front.port}/x")
            assert ("HTTP/2", "localhost.") == (answer.http_version, answer.text.rpartition(" ")[2])


async def test_without_http2_in_the_settings_alpn_chooses_http1_and_the_preface_is_refused() -> None:
    async with serving(who, tls=tls(), http2=False) as front:
        async with httpx.AsyncClient(http2=True, verify=trusting(LOCALHOST)) as client:
            assert "HTTP/1.1" == (await client.get(f"https://127.0.0.1:{front.port}/x")).http_version
    async with serving(who, http2=False) as front:
        assert (await front.ask(PREFACE)).startswith(b"HTTP/1.1 505")


async def test_bodies_pass_both_ways_through_windows_that_are_smaller_than_they() -> None:
    body = bytes(range(256)) * 4096
    async with serving(echo) as front, httpx.AsyncClient(http1=False, http2=True) as client:
        url = f"http://127.0.0.1:{front.port}/x"
        answers = await asyncio.gather(*(client.post(url, content=body) for _ in range(5)))
        assert [b"/x|" + body] * 5 == [each.content for each in answers]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_curl_speaks_http2_with_prior_knowledge() -> None:
    async with serving(echo) as front:
        done = await asyncio.to_thread(subprocess.run, [
            "curl", "-s", "--http2-prior-knowledge", "-d", "abc", "-w", " %{http_version} %{http_code}",
            f"http://127.0.0.1:{front.port}/y"], capture_output=True, timeout=PATIENCE_S, check=False)
        assert b"/y|abc 2 200" == done.stdout


async def test_a_preface_that_comes_byte_by_byte_is_one_and_a_post_is_none() -> None:
    async with serving(echo) as front:
        client = await front.client()
        for each in PREFACE:
            client.send(bytes([each]))
            await client.writer.drain()
            await asyncio.sleep(0)
        client.send(SettingsFrame(0).serialize())
        assert b"\x00\x00" == (await client.until(b"\x00\x00"))[:2]
        client.leave()
        for begun in (b"P", b"PR", b"PO"):
            client = await front.client(begun)
            await asyncio.sleep(0.02)
            client.send(b"PROPFIND /z HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"[len(begun):] if begun != b"PO"
                        else b"ST /z HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in await client.all()


# -- requests


async def test_the_authority_is_the_host_and_cookies_are_one_header() -> None:
    async with serving(heads) as front:
        client = await raw(front)
        number = client.ask([*HEAD, (b"cookie", b"a=1"), (b"host", b"GW"), (b"cookie", b"b=2")])
        assert (200, b"host=gw\ncookie=a=1; b=2") == await client.answer(number)
        assert 400 == (await client.answer(client.ask([*HEAD, (b"host", b"other")])))[0]
        assert 501 == (await client.answer(client.ask([(b":method", b"CONNECT"), (b":authority", b"gw:1")])))[0]
        assert 414 == (await client.answer(client.ask([*HEAD[:2], (b":path", b"/" + b"x" * 20_000), HEAD[3]])))[0]
        assert 200 == (await client.answer(client.ask()))[0]


async def test_a_malformed_request_is_reset_and_the_others_of_its_connection_go_on() -> None:
    malformed = [
        [*HEAD, (b"X-Upper", b"1")], [*HEAD, (b"x", b"a\r\nb: c")], [*HEAD, (b"x", b"a\nb")], [*HEAD, (b"x", b"a\0b")],
        [*HEAD, (b"x", b" a")], [*HEAD, (b"x", b"a\t")], [*HEAD, (b"x\r\ny", b"a")], [*HEAD, (b"x:y", b"a")],
        [*HEAD, (b"x y", b"a")],
        *([*HEAD, (name, b"x")] for name in (
            b"connection", b"transfer-encoding", b"upgrade", b"keep-alive", b"proxy-connection", b"http2-settings")),
        [*HEAD, (b"te", b"gzip")], HEAD[1:], [HEAD[0], *HEAD[2:]], [*HEAD[:2], HEAD[3]],
        [*HEAD, HEAD[0]], [*HEAD, (b":status", b"200")], [(b"x", b"y"), *HEAD], [*HEAD, (b":protocol", b"websocket")],
        [*CONNECT, (b"content-length", b"0")], [*CONNECT[:2], *CONNECT[3:]], [*CONNECT[:3], CONNECT[4]], [*CONNECT, CONNECT[1]],
        [(b":method", b"GET /y HTTP/1.1\r\n"), *HEAD[1:]], [(b":method", b"G T"), *HEAD[1:]],
        *([*HEAD[:2], (b":path", path), HEAD[3]] for path in (
            b"", b"x", b"/x HTTP/1.1\r\nhost: y\r\n\r\n", b"/x HTTP/1.1", b"/\0", b"http://other/x")),
        [*HEAD[:3], (b":authority", b"gw\r\nx: y")], [HEAD[0], (b":scheme", b"ftp"), *HEAD[2:]],
    ]
    hanging = Hanging()
    async with serving(hanging) as front:
        client = await raw(front)
        good = client.ask()
        for each in malformed:
            assert ErrorCodes.PROTOCOL_ERROR == await client.reset(client.ask(each)), each
        await eventually(lambda: 1 == len(hanging.begun))
        hanging.go.set()
        assert (200, b"late") == await client.answer(good)
        assert 1 == len(hanging.begun)


async def test_a_head_that_is_too_large_is_answered_and_one_without_end_ends_the_connection() -> None:
    async with serving(heads, max_header_bytes=4096, max_headers=20) as front:
        client = await raw(front)
        assert 431 == (await client.answer(client.ask([*HEAD, (b"x", b"y" * 5000)])))[0]
        assert 431 == (await client.answer(client.ask([*HEAD, *[(b"x", b"y")] * 21])))[0]
        assert 200 == (await client.answer(client.ask([*HEAD, (b"x", b"y" * 3000)])))[0]
        client.ask([*HEAD, (b"x", b"y" * 9000)])
        assert ErrorCodes.ENHANCE_YOUR_CALM == await client.goaway()


async def test_continuations_without_end_end_the_connection() -> None:
    async with serving(heads) as front:
        client = await raw(front)
        client.client.send(HeadersFrame(1, b"").serialize() + b"".join(
            ContinuationFrame(1, b"").serialize() for _ in range(100)))
        assert await client.goaway()


@pytest.mark.parametrize("length", [b"2", b"4", b"x", b"-1"])
async def test_a_body_of_another_length_than_was_said_is_never_served_as_whole(length: bytes) -> None:
    served = []

    async def note(inbound: Inbound) -> None:
        await echo(inbound)
        served.append(inbound)

    async with serving(note) as front:
        client = await raw(front)
        number = client.ask([*POST, (b"content-length", length)], b"abc")
        assert ErrorCodes.PROTOCOL_ERROR == await client.goaway()
        assert ([], []) == (served, client.of(ResponseReceived, number))


async def test_trailers_and_interim_responses_pass_both_ways() -> None:
    async def serve(inbound: Inbound) -> None:
        inbound.interim(103, [(b"link", b"</a>")])
        while (await inbound.receive())[1]:
            pass
        assert inbound.hop is not None
        assert inbound.hop.takes_trailers
        await inbound.start(200, [])
        await inbound.write(b"body")
        await inbound.end(b"", [*inbound.trailers, (b"content-length", b"9")])

    async with serving(serve) as front:
        client = await raw(front)
        number = client.ask([*POST, (b"te", b"trailers"), (b"expect", b"100-continue")], ends=False)
        await client.hear(lambda: len(client.of(InformationalResponseReceived, number)) == 2)
        client.h2.send_data(number, b"abc")
        client.h2.send_headers(number, [(b"x-sum", b"7")], end_stream=True)
        client.flush()
        assert (200, b"body") == await client.answer(number)
        assert [b"103", b"100"] == [dict(each.headers)[b":status"] for each in client.of(InformationalResponseReceived)]
        assert [(b"x-sum", b"7")] == client.of(TrailersReceived, number)[0].headers


async def test_what_would_break_out_of_a_header_is_never_sent_and_an_answer_that_breaks_off_is_reset(
        caplog: pytest.LogCaptureFixture) -> None:
    async def serve(inbound: Inbound) -> None:
        if inbound.head.query == b"short":
            await inbound.start(200, [(b"content-length", b"9")])
            await inbound.end(b"abc")
        else:
            await inbound.respond(200, [(b"x", b"a\r\nb: c"), (b"connection", b"close")], b"")

    async with serving(serve) as front:
        client = await raw(front)
        assert 500 == (await client.answer(client.ask()))[0]
        assert ErrorCodes.INTERNAL_ERROR == await client.reset(client.ask([*HEAD[:2], (b":path", b"/?short"), HEAD[3]]))
    assert "failed in the gateway" in caplog.text


# -- answers before the body has come


async def early(inbound: Inbound) -> None:
    await inbound.respond(413, [], b"no")


async def test_a_body_whose_request_was_answered_is_thrown_away_to_its_end_and_the_stream_is_never_reset() -> None:
    async with serving(early) as front:
        client = await raw(front)
        number = client.ask(POST, b"abc", ends=False)
        assert (413, b"no") == await client.answer(number)
        for _ in range(6):  # more than the window: what is thrown away is given back
            await client.hear(lambda: client.h2.local_flow_control_window(number) >= STREAM_WINDOW // 2)
            for _ in range(4):
                client.h2.send_data(number, bytes(16_000))
                client.flush()
        client.h2.end_stream(number)
        client.flush()
        assert (413, b"no") == await client.answer(client.ask())
        assert [] == client.of(StreamReset)


async def test_a_body_that_goes_on_and_on_after_the_answer_is_reset_without_an_error() -> None:
    async with serving(early) as front:
        client = await raw(front)
        number, sent = client.ask(POST, b"abc", ends=False), 0
        while not client.of(StreamReset):
            await client.hear(lambda: client.of(StreamReset) or client.h2.local_flow_control_window(number) >= 16_000)
            if not client.of(StreamReset):
                client.h2.send_data(number, bytes(16_000))
                client.flush()
                sent += 16_000
        assert (ErrorCodes.NO_ERROR, 413) == (await client.reset(number), client.status(number))
        assert sent <= LINGER_BYTES + STREAM_WINDOW
        assert (413, b"no") == await client.answer(client.ask())


async def test_a_body_that_stops_after_the_answer_is_reset_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", 0.1)
    async with serving(early, keep_alive_timeout=0.3) as front:
        client = await raw(front)
        number = client.ask(POST, b"abc", ends=False)
        assert (413, b"no") == await client.answer(number)
        assert ErrorCodes.NO_ERROR == await client.reset(number)
        assert ErrorCodes.NO_ERROR == await client.goaway()


async def test_a_client_that_resets_what_was_answered_and_one_that_leaves_leave_nothing_behind() -> None:
    async with serving(early, keep_alive_timeout=0.2) as front:
        client, gone = await raw(front), await raw(front)
        number = client.ask(POST, b"abc", ends=False)
        assert (413, b"no") == await gone.answer(gone.ask(POST, b"abc", ends=False))
        gone.client.leave()
        assert (413, b"no") == await client.answer(number)
        client.h2.reset_stream(number)
        client.flush()
        assert ErrorCodes.NO_ERROR == await client.goaway()


async def test_a_drain_waits_for_a_body_that_is_thrown_away_and_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", 0.1)
    async with serving(early) as front:
        client = await raw(front)
        assert (413, b"no") == await client.answer(client.ask(POST, b"abc", ends=False))
        await front.listener.drain(5.0)
        assert 0 == front.front.connections


@pytest.mark.parametrize("size", [200_000, 30_000_000])
async def test_curl_reads_an_answer_that_comes_before_its_upload_is_over(size: int, tmp_path: Path) -> None:
    file = tmp_path / "body"
    with file.open("wb") as made:
        made.truncate(size)
    async with serving(early) as front:
        done = await asyncio.to_thread(subprocess.run, [
            "curl", "-s", "--http2-prior-knowledge", "-T", str(file), "-w", " %{http_version} %{http_code}",
            f"http://127.0.0.1:{front.port}/y"], capture_output=True, timeout=PATIENCE_S, check=False)
        assert (0, b"no 2 413") == (done.returncode, done.stdout)


# -- flow control


async def test_a_body_that_is_not_taken_is_not_asked_for_beyond_the_window() -> None:
    go, taken = asyncio.Event(), 0

    async def later(inbound: Inbound) -> None:
        nonlocal taken
        await go.wait()
        more = True
        while more:
            piece, more = await inbound.receive()
            taken += len(piece)
        await inbound.respond(200, [], b"")

    async with serving(later) as front:
        client = await raw(front)
        number, sent, size = client.ask(POST, ends=False), 0, 3 * STREAM_WINDOW
        while sent < size:
            room = min(client.h2.local_flow_control_window(number), client.h2.max_outbound_frame_size, size - sent)
            if room:
                client.h2.send_data(number, b"x" * room, end_stream=sent + room == size)
                client.flush()
                sent += room
            elif sent == STREAM_WINDOW and not go.is_set():
                assert 0 == taken
                go.set()
            else:
                await client.hear(lambda: client.h2.local_flow_control_window(number))
        assert (200, b"") == await client.answer(number)
        assert taken == size == sent


async def test_uploads_that_nobody_takes_stop_no_others() -> None:
    go = asyncio.Event()

    async def serve(inbound: Inbound) -> None:
        if inbound.head.path.startswith(b"/held"):
            await go.wait()
        more = True
        while more:
            _, more = await inbound.receive()
        await inbound.respond(200, [], b"")

    async with serving(serve) as front:
        client = await raw(front)
        held = [client.ask([(name, b"/held" if name == b":path" else value) for name, value in POST], ends=False)
                for _ in range(MAX_STREAMS - 1)]

        async def send(number: int, size: int, *, ends: bool) -> None:
            while size:
                room = min(client.h2.local_flow_control_window(number), client.h2.max_outbound_frame_size, size)
                if room:
                    size -= room
                    client.h2.send_data(number, b"x" * room, end_stream=ends and not size)
                    client.flush()
                else:
                    await client.hear(lambda: client.h2.local_flow_control_window(number))

        for number in held:
            await send(number, STREAM_WINDOW, ends=False)
        last = client.ask(POST, ends=False)
        await send(last, 3 * STREAM_WINDOW, ends=True)
        assert 200 == (await client.answer(last))[0]
        [connection] = front.front._connections
        assert isinstance(connection, Http2Connection)
        assert connection.wire._window == MOST_HELD
        go.set()
        for number in held:
            client.h2.end_stream(number)
        client.flush()
        for number in held:
            assert 200 == (await client.answer(number))[0]
        assert connection.wire._held == 0


async def test_a_client_that_opens_no_window_is_reset_after_client_timeout_and_the_others_go_on() -> None:
    async with serving(echo, client_timeout=0.3) as front:
        client = await raw(front, window=4)
        client.acknowledges = False
        slow = client.ask(POST, b"abcdef")
        assert ErrorCodes.CANCEL == await client.reset(slow)
        assert b"/x|a" == client.body(slow)
        assert 200 == (await client.answer(client.ask([(b":method", b"HEAD"), *HEAD[1:]])))[0]


# -- the end


async def test_a_reset_cancels_the_request_and_that_of_no_other() -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        client = await raw(front)
        first, second = client.ask(), client.ask(POST, b"abc", ends=False)
        await eventually(lambda: 2 == len(hanging.begun))
        client.h2.reset_stream(second, ErrorCodes.CANCEL)
        client.flush()
        await eventually(lambda: 1 == hanging.cancelled)
        hanging.go.set()
        assert (200, b"late") == await client.answer(first)


async def test_a_client_that_leaves_cancels_all_its_requests() -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        client = await raw(front)
        for _ in range(5):
            client.ask()
        await eventually(lambda: 5 == len(hanging.begun))
        client.client.reset()
        await eventually(lambda: 5 == hanging.cancelled)


async def test_a_drain_says_goaway_lets_requests_end_and_refuses_new_ones() -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        idle, client = await raw(front), await raw(front)
        await idle.hear(lambda: idle.events)
        number = client.ask()
        await eventually(lambda: 1 == len(hanging.begun))
        draining = asyncio.create_task(front.listener.drain(5.0))
        assert ErrorCodes.NO_ERROR == await idle.goaway()
        await client.hear(lambda: client.of(ConnectionTerminated))
        assert number == client.of(ConnectionTerminated)[0].last_stream_id
        hanging.go.set()
        # h2 as a client takes nothing after GOAWAY, so what comes is read as bytes
        assert b"late" in await client.client.all()
        await draining


async def test_a_client_that_speaks_http2_only_once_the_front_drains_has_one_request_and_does_not_hold_the_drain_up() -> None:
    async with serving(heads) as front:
        silent = await front.client()
        await eventually(lambda: front.front.connections == 1)
        draining = asyncio.create_task(front.listener.drain(60.0))
        await eventually(lambda: front.front.draining)
        client = Raw(silent)
        number = client.ask()
        await client.hear(lambda: client.of(ConnectionTerminated))
        assert number == client.of(ConnectionTerminated)[0].last_stream_id
        async with asyncio.timeout(10):
            await draining


async def test_while_the_gateway_leaves_a_goaway_refuses_nothing_and_comes_after_a_request() -> None:
    async with serving(heads) as front:
        idle, client = await raw(front), await raw(front)
        assert 200 == (await client.answer(client.ask()))[0]
        front.front.send_away()
        await client.hear(lambda: client.of(ConnectionTerminated))
        assert 2**31 - 1 == client.of(ConnectionTerminated)[0].last_stream_id
        block = client.h2.encoder.encode([*HEAD, (b"x-still", b"served")])
        client.client.send(HeadersFrame(3, block, flags=["END_HEADERS", "END_STREAM"]).serialize())
        assert b"served" in await client.client.until(b"served")
        assert not idle.of(ConnectionTerminated)
        idle.ask()
        await idle.hear(lambda: idle.of(ConnectionTerminated))
        assert 2**31 - 1 == idle.of(ConnectionTerminated)[0].last_stream_id


async def test_what_is_not_done_when_the_drain_is_over_gets_503() -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        client = await raw(front)
        client.ask()
        await eventually(lambda: hanging.begun)
        await front.listener.drain(0.0)
        assert b"the gateway is shutting down" in await client.client.all()
        assert 1 == hanging.cancelled


async def test_idle_connections_and_those_that_ask_for_nothing_are_closed() -> None:
    async with serving(echo, keep_alive_timeout=0.2, header_timeout=0.2) as front:
        silent, client = await raw(front), await raw(front)
        assert 200 == (await client.answer(client.ask()))[0]
        assert [ErrorCodes.NO_ERROR] * 2 == [await silent.goaway(), await client.goaway()]


async def test_a_connection_ends_after_max_requests_per_connection() -> None:
    async with serving(echo, max_requests_per_connection=3) as front:
        client = await raw(front)
        for _ in range(2):
            assert 200 == (await client.answer(client.ask()))[0]
        client.ask()
        assert ErrorCodes.NO_ERROR == await client.goaway()
        await client.client.all()


# -- floods


async def test_rapid_resets_end_the_connection_and_nothing_of_them_stays() -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        client = await raw(front)
        for _ in range(RESETS[1] + 200):
            client.h2.reset_stream(client.ask(), ErrorCodes.CANCEL)
        client.flush()
        assert ErrorCodes.ENHANCE_YOUR_CALM == await client.goaway()
        await eventually(lambda: hanging.cancelled == len(hanging.begun))


async def test_resets_that_the_front_is_made_to_send_count_too() -> None:
    async with serving(echo) as front:
        client, began = await raw(front), time.monotonic()
        while not client.of(ConnectionTerminated):
            number = client.ask([*HEAD, (b"connection", b"x")])
            await client.hear(lambda number=number: client.of(StreamReset, number) or client.of(ConnectionTerminated))
        refilled = RESETS[0] * (time.monotonic() - began)
        assert RESETS[1] <= len(client.of(StreamReset)) <= RESETS[1] + refilled + 1  # the last one is too much
        assert ErrorCodes.ENHANCE_YOUR_CALM == await client.goaway()


@pytest.mark.parametrize("frame", [PingFrame(0, b"12345678"), SettingsFrame(0), SettingsFrame(0, {4: 70_000})])
async def test_a_flood_of_frames_that_cost_nothing_ends_the_connection(frame: Any) -> None:
    async with serving(echo) as front:
        client = await raw(front)
        client.client.send(frame.serialize() * (CHEAP_FRAMES[1] + 500))
        assert ErrorCodes.ENHANCE_YOUR_CALM == await client.goaway()


async def test_a_flood_of_empty_data_ends_the_connection() -> None:
    async with serving(echo) as front:
        client = await raw(front)
        number = client.ask(POST, ends=False)
        for _ in range(CHEAP_FRAMES[1] + 500):
            client.h2.send_data(number, b"")
        client.flush()
        assert ErrorCodes.ENHANCE_YOUR_CALM == await client.goaway()


async def test_more_streams_than_may_be_end_the_connection_and_so_do_bytes_that_are_no_frames() -> None:
    hanging = Hanging()
    async with serving(hanging) as front:
        client = await raw(front)
        await client.hear(lambda: client.events)
        client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.h2.remote_settings.acknowledge()
        for _ in range(MAX_STREAMS + 1):
            client.ask()
        assert await client.goaway()
        await eventually(lambda: hanging.cancelled == len(hanging.begun))
        for junk in (DataFrame(1, b"x").serialize(), b"GET / HTTP/1.1\r\n\r\n" * 70_000, b"\xff" * 1_200_000):
            client = await raw(front)
            client.client.send(junk)
            assert await client.goaway()


async def test_the_limits_of_one_address_hold_for_streams() -> None:
    async with serving(echo, client_rate=0.001, client_burst=2, max_connections_per_client=1) as front:
        client = await raw(front)
        assert [200, 200, 429] == [(await client.answer(client.ask()))[0] for _ in range(3)]
        assert b"HTTP/1.1 429" in await front.ask(PREFACE)


# -- through the whole gateway


def test_bodies_without_a_length_reach_the_upstream_whole_and_those_of_get_have_none(
        gateway: Gateway, upstream: Upstream) -> None:
    def repeat(call: Call) -> None:
        body = call.body() if b"chunked" in b"".join(call.header(b"transfer-encoding")) else b"none"
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    upstream.on("/h2/stream", repeat)
    with httpx.Client(http1=False, http2=True) as client:
        url = f"http://127.0.0.1:{gateway.port}/h2/stream"
        large = b"abc" * 50_000
        assert b"%x\r\n" % 3 in client.post(url, content=iter([b"abc"])).content or upstream.called("/h2/stream")
        assert large[:100] in client.post(url, content=iter([large])).content
        assert b"none" == client.get(url).content
        assert [b"2 resilience"] == upstream.called("/h2/stream").header(b"via")


@contextlib.asynccontextmanager
async def raw_of(gateway: Gateway) -> AsyncIterator[Raw]:
    client = Client(*await asyncio.open_connection("127.0.0.1", gateway.port))
    try:
        yield Raw(client)
    finally:
        client.reset()
        await asyncio.sleep(0)


def to(path: str, method: bytes = b"GET") -> list[tuple[bytes, bytes]]:
    return [(b":method", method), HEAD[1], (b":path", path.encode()), HEAD[3]]


def test_a_reset_cuts_the_exchange_with_the_upstream_counts_as_cancelled_and_gives_the_permit_back(
        gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/h2/hang", Call.until_closed)
    before = gateway.metric("cancelled")

    async def ask() -> None:
        async with raw_of(gateway) as client:
            number = client.ask(to("/h2/hang"))
            await asyncio.to_thread(upstream.called, "/h2/hang")
            client.h2.reset_stream(number, ErrorCodes.CANCEL)
            client.flush()
            await asyncio.to_thread(upstream.called("/h2/hang").closed.wait, PATIENCE_S)

    asyncio.run(ask())
    assert upstream.called("/h2/hang").closed.is_set()
    eventually_true(lambda: 1 == gateway.metric("cancelled") - before, "the cancelled exchange")
    assert {} == gateway.busy()


def test_permits_come_back_from_clients_that_reset_rapidly_take_nothing_or_leave_in_the_middle(
        gateway: Gateway, impatient: Gateway, upstream: Upstream) -> None:
    upstream.on("/h2/rapid", Call.until_closed)
    upstream.on("/h2/large", b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
    upstream.on("/h2/upload", Call.until_closed)

    async def rapid() -> None:
        async with raw_of(gateway) as client:
            while not client.of(ConnectionTerminated):
                number = client.ask(to("/h2/rapid"))
                client.h2.reset_stream(number, ErrorCodes.CANCEL)
                client.client.send(PingFrame(0, b"12345678").serialize())
                client.flush()
                await client.hear(lambda pings=len(client.of(PingAckReceived)): (
                    client.of(ConnectionTerminated) or len(client.of(PingAckReceived)) > pings))
            assert ErrorCodes.ENHANCE_YOUR_CALM == await client.goaway()

    async def slow() -> None:
        async with raw_of(impatient) as client:
            client.acknowledges = False
            assert await client.reset(client.ask(to("/h2/large"))) in (ErrorCodes.CANCEL, ErrorCodes.INTERNAL_ERROR)
            assert 65_535 == sum(len(each.data) for each in client.of(DataReceived))

    async def leaving() -> None:
        async with raw_of(gateway) as client:
            client.ask(to("/h2/upload", b"POST"), b"x" * 16_000, ends=False)
            client.ask(to("/h2/large"))
            await client.hear(lambda: client.of(DataReceived))

    for each in (rapid, slow, leaving):
        asyncio.run(each())
        eventually_true(lambda: not (gateway.busy() or impatient.busy()), f"every permit back after {each.__name__}")
