"""Exchanges over HTTP/2 with a peer that does as it is told: what passes, what is shared, and how each of them ends."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived, PingReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame, SettingsFrame

from resilience.gateway.messages.exchange import (
    Endpoint,
    InvalidRequestError,
    UnprocessedError,
    UpstreamError,
    UpstreamUnreachableError,
    client_tls,
)
from resilience.gateway.upstream import http2 as client_module
from resilience.gateway.upstream import silence
from resilience.gateway.upstream.http2_connection import STREAM_WINDOW
from tests.gateway.front.serving import eventually, serving
from tests.gateway.front.test_connection import echo
from tests.gateway.front.test_listener import ELSEWHERE, LOCALHOST, tls
from tests.gateway.harness import free_port

from .peer import Connection, Peer, a_client, a_request, answers, asked, begun, peer, whole

# -- what passes


async def test_what_a_request_says_arrives_and_what_concerns_a_connection_does_not() -> None:
    async with peer(answers) as there, a_client() as client:
        request = a_request("POST", b"abc", headers=[
            (b"x-a", b"1"), (b"connection", b"te"), (b"te", b"trailers"), (b"x-padded", b" b\t")])
        assert (200, b"ok") == await asked(client, there, request)
        connection = there.connections[0]
        assert {
            b":method": b"POST", b":scheme": b"http", b":authority": there.endpoint.authority, b":path": b"/x", b"x-a": b"1",
            b"te": b"trailers", b"x-padded": b"b", b"content-length": b"3"} == connection.headers(1)
        await connection.heard(StreamEnded, 1)
        assert b"abc" == connection.body(1)


async def test_a_header_that_would_break_out_is_refused_and_nothing_is_sent() -> None:
    async with peer(answers) as there, a_client() as client:
        for value in (b"a\r\nb: c", b"a\nb", b"a\0b"):
            with pytest.raises(InvalidRequestError):
                await begun(client, there, a_request(headers=[(b"x", value)]))
        assert (200, b"ok") == await asked(client, there)
        assert 1 == len(there.connections[0].asked)


async def test_interim_responses_and_trailers_pass_both_ways() -> None:
    said: list[Any] = []

    async with peer() as there, a_client() as client:
        request = a_request("POST", None, interim=lambda *each: said.append(each))
        exchange = await begun(client, there, request)
        connection = await there.connection()
        number = await connection.request()
        await exchange.write(b"abc")
        exchange.end([(b"x-sum", b"7"), (b"content-length", b"3"), (b"x_forwarded_for", b"::1"), (b"te", b"trailers")])
        await connection.heard(TrailersReceived, number)
        assert [(b"x-sum", b"7")] == connection.of(TrailersReceived, number)[0].headers
        connection.head(number, 100)
        connection.head(number, 103, [(b"link", b"</a>")])
        connection.head(number)
        connection.data(number, b"body")
        connection.h2.send_headers(number, [(b"grpc-status", b"0")], end_stream=True)
        connection.flush()
        assert (200, b"body") == await whole(exchange)
        assert ([(b"grpc-status", b"0")], [(103, [(b"link", b"</a>")])]) == (exchange.trailers, said)


async def test_answers_without_a_body_end_with_their_heads() -> None:
    def bare(connection: Connection, number: int) -> None:
        status = int(connection.headers(number)[b":path"][1:])
        connection.head(number, status, [(b"content-length", b"5")] if status == 304 else [], end=True)

    async with peer(bare) as there, a_client() as client:
        for status in (200, 204, 404):
            request = a_request()
            request.target = b"/%d" % status
            assert (status, b"") == await asked(client, there, request)
        request = a_request("HEAD")
        request.target = b"/304"
        assert (304, b"") == await asked(client, there, request)


async def test_tls_agrees_on_http2_and_an_endpoint_that_does_not_is_never_sent_a_request() -> None:
    async with serving(echo, tls=tls()) as front, a_client() as client:
        endpoint = Endpoint.parse(f"https://127.0.0.1:{front.port}", lambda: client_tls(str(LOCALHOST), http2=True))
        exchange = await client.send(endpoint, a_request("POST", b"abc"), connect_timeout=5.0)
        assert (200, b"/x|abc") == await whole(exchange)
    async with serving(echo, tls=tls(), http2=False) as front, a_client() as client:
        endpoint = Endpoint.parse(f"https://127.0.0.1:{front.port}", lambda: client_tls(str(LOCALHOST), http2=True))
        with pytest.raises(UpstreamUnreachableError):
            await client.send(endpoint, a_request("POST", b"abc"), connect_timeout=5.0)


async def test_an_endpoint_is_verified_for_its_server_name() -> None:
    async with serving(echo, tls=tls()) as front, a_client() as client:
        good, bad = (Endpoint.parse(f"https://127.0.0.1:{front.port}", lambda: client_tls(str(ELSEWHERE), http2=True), name)
                     for name in ("elsewhere.example:8443", "other.example"))
        assert (200, b"/x|abc") == await whole(await client.send(good, a_request("POST", b"abc"), connect_timeout=5.0))
        with pytest.raises(UpstreamUnreachableError):
            await client.send(bad, a_request("POST", b"abc"), connect_timeout=5.0)


# -- what is shared


async def test_exchanges_share_one_connection_and_those_beyond_its_streams_get_others() -> None:
    async with peer(MAX_CONCURRENT_STREAMS=3) as there, a_client() as client:
        exchanges = await asyncio.gather(*(begun(client, there) for _ in range(7)))
        await eventually(lambda: 7 == sum(len(each.asked) for each in there.connections))
        assert Counter({3: 2, 1: 1}) == Counter(len(each.asked) for each in there.connections)
        for connection in there.connections:
            for number in connection.asked:
                connection.answer(number, b"%d" % number)
        assert {(200, b"1"), (200, b"3"), (200, b"5")} == set(await asyncio.gather(*map(whole, exchanges)))
        exchange = await begun(client, there)  # the first one has places again
        await eventually(lambda: 4 == len(there.connections[0].asked))
        there.connections[0].answer(7)
        assert (200, b"ok") == await whole(exchange)


async def test_the_peer_may_change_its_settings_while_exchanges_go_on() -> None:
    async with peer(INITIAL_WINDOW_SIZE=10) as there, a_client() as client:
        exchange = await begun(client, there, a_request("POST", b"x" * 100))
        connection = await there.connection()
        connection.acknowledges = False
        number = await connection.request()
        await eventually(lambda: 10 == len(connection.body(number)))
        connection.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 50, SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        connection.flush()
        await eventually(lambda: 50 == len(connection.body(number)))
        second = await begun(client, there)  # there is no place for it any more
        other = await there.connection(2)
        other.answer(await other.request())
        assert (200, b"ok") == await whole(second)
        connection.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        connection.flush()
        await connection.heard(StreamEnded, number)
        connection.answer(number)
        assert (200, b"ok") == await whole(exchange)


async def test_a_peer_that_takes_no_requests_cannot_be_reached() -> None:
    async with peer(MAX_CONCURRENT_STREAMS=0) as there, a_client() as client:
        with pytest.raises(UpstreamUnreachableError, match="takes no requests"):
            await begun(client, there)
        assert 1 == len(there.connections)


async def test_a_peer_that_leaves_as_soon_as_it_is_there_is_told_so_and_asked_by_one_connection_for_all() -> None:
    class Leaving(Peer):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(SettingsFrame(0, settings={3: 100}).serialize() + GoAwayFrame(0).serialize())
            await super().serve(reader, writer)

    there = Leaving(None, {})
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    there.port = server.sockets[0].getsockname()[1]
    async with a_client() as client:
        for _ in range(2):
            before = len(there.connections)
            failures = await asyncio.gather(*(begun(client, there) for _ in range(10)), return_exceptions=True)
            assert {"the endpoint ends each connection as soon as it is made"} == {f"{each}" for each in failures}
            assert before + 1 == len(there.connections)
    server.close()
    await eventually(lambda: all(each.closed for each in there.connections))


async def test_waiting_requests_that_leave_do_not_take_the_connection_of_the_others_along() -> None:
    async with peer(answers) as there, a_client() as client:
        tasks = [asyncio.ensure_future(asked(client, there)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks[:4]:
            task.cancel()
        assert (200, b"ok") == await tasks[4]
        assert 1 == len(there.connections)
        task = asyncio.ensure_future(client.send(
            Endpoint.parse(f"http://127.0.0.2:{there.port}"), a_request(), connect_timeout=5.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert len(there.connections) == len(asyncio.all_tasks() - {asyncio.current_task()})  # the peer's own


# -- flow control


async def test_an_upload_waits_for_the_peer_s_window_and_the_others_go_on() -> None:
    async with peer() as there, a_client() as client:
        slow = await begun(client, there, a_request("POST", None))
        connection = await there.connection()
        connection.acknowledges = False
        writing = asyncio.ensure_future(slow.write(b"x" * 100_000))
        number = await connection.request()
        await eventually(lambda: 65_535 == len(connection.body(number)))
        assert not writing.done()
        exchange = await begun(client, there)
        connection.answer(await connection.request(2))
        assert (200, b"ok") == await whole(exchange)
        connection.h2.increment_flow_control_window(100_000)
        connection.h2.increment_flow_control_window(100_000, number)
        connection.flush()
        await writing
        slow.end()
        await connection.heard(StreamEnded, number)
        assert 100_000 == len(connection.body(number))
        connection.answer(number)
        assert (200, b"ok") == await whole(slow)


async def test_uploads_share_the_window_of_their_connection_by_turns() -> None:
    async with peer() as there, a_client() as client:
        exchanges = [await begun(client, there, a_request("POST", b"x" * 200_000)) for _ in range(4)]
        connection = await there.connection()
        connection.acknowledges = False
        await connection.request(4)
        for number in connection.asked:
            connection.h2.increment_flow_control_window(200_000, number)
        before = 65_535
        while before < 400_000:  # of 800,000
            connection.h2.increment_flow_control_window(32_768)
            connection.flush()
            before += 32_768
            await eventually(lambda before=before: before == sum(len(connection.body(each)) for each in connection.asked))
        shares = [len(connection.body(each)) for each in connection.asked]
        assert max(shares) - min(shares) <= 65_535 + 32_768, shares
        for each in exchanges:
            each.release()


async def test_answers_that_nobody_takes_stop_at_their_window_and_hold_up_no_other() -> None:
    async with peer() as there, a_client() as client:
        slow = [await begun(client, there) for _ in range(12)]  # together more than any window of a connection's own
        connection = await there.connection()
        await connection.request(12)
        for number in connection.asked:
            connection.head(number)
            while (room := min(connection.h2.local_flow_control_window(number), 16_384)) > 0:
                connection.data(number, b"x" * room)
        await eventually(lambda: all(each.answered for each in slow))
        exchange = await begun(client, there)
        connection.answer(await connection.request(13))
        assert (200, b"ok") == await whole(exchange)
        taken = 0
        while taken < STREAM_WINDOW:
            await slow[0].more()
            taken += len(slow[0].take())
        await eventually(lambda: connection.h2.local_flow_control_window(1) == STREAM_WINDOW)
        for each in slow:
            each.release()
        await eventually(lambda: 12 == len(connection.of(StreamReset)))


# -- how they end


async def test_an_exchange_that_is_given_up_is_reset_and_its_connection_goes_on() -> None:
    async with peer() as there, a_client() as client:
        exchange = await begun(client, there)
        connection = await there.connection()
        number = await connection.request()
        exchange.release()
        assert ErrorCodes.CANCEL == (await connection.heard(StreamReset, number)).error_code
        exchange = await begun(client, there)
        connection.answer(await connection.request(2))
        assert ((200, b"ok"), 1) == (await whole(exchange), len(there.connections))


async def test_an_answer_before_the_end_of_the_request_is_whole_and_the_rest_is_not_wanted() -> None:
    async with peer() as there, a_client() as client:
        exchange = await begun(client, there, a_request("POST", None))
        await exchange.write(b"abc")
        connection = await there.connection()
        number = await connection.request()
        connection.answer(number, b"no", 413)
        connection.reset(number, ErrorCodes.NO_ERROR)
        await exchange.answering()
        await eventually(lambda: exchange.complete)
        await exchange.write(b"d" * 200_000)
        assert (413, b"no") == await whole(exchange)


@pytest.mark.parametrize(("code", "kind"), [
    (ErrorCodes.REFUSED_STREAM, UnprocessedError), (ErrorCodes.CANCEL, UpstreamError),
    (ErrorCodes.INTERNAL_ERROR, UpstreamError), (77, UpstreamError)])
async def test_a_reset_fails_its_exchange_alone(code: int, kind: type) -> None:
    async with peer() as there, a_client() as client:
        exchange, other = await begun(client, there), await begun(client, there)
        connection = await there.connection()
        await connection.request(2)
        connection.reset(1, code)
        with pytest.raises(UpstreamError) as caught:
            await whole(exchange)
        assert kind is type(caught.value)
        connection.answer(3)
        assert (200, b"ok") == await whole(other)


async def test_after_goaway_the_old_exchanges_end_and_new_ones_go_to_another_connection() -> None:
    async with peer() as there, a_client() as client:
        old, unseen, upload = [await begun(client, there, each) for each in (
            a_request(), a_request("POST", b"abc"), a_request("POST", None))]
        first = await there.connection()
        await first.request(3)
        first.head(1)
        first.send(GoAwayFrame(0, last_stream_id=2**31 - 1).serialize() + GoAwayFrame(0, last_stream_id=1).serialize())
        with pytest.raises(UnprocessedError):  # of its body nothing is left, or will be
            await upload.head()
        upload.release()
        answered = asyncio.ensure_future(whole(unseen))
        second = await there.connection(2)
        number = await second.request()
        await second.heard(StreamEnded, number)
        assert b"abc" == second.body(number)
        second.answer(number)
        assert (200, b"ok") == await answered
        first.data(1, b"late", end=True)
        assert (200, b"late") == await whole(old)
        await eventually(lambda: first.closed)


async def test_an_unseen_request_is_sent_once_more_and_no_oftener() -> None:
    def away(connection: Connection, number: int) -> None:
        connection.send(GoAwayFrame(0, last_stream_id=0).serialize())

    async with peer(away) as there, a_client() as client:
        with pytest.raises(UnprocessedError):
            await asked(client, there, a_request("POST", b"abc"))
        assert 2 == len(there.connections)


async def test_a_connection_that_breaks_fails_each_of_its_exchanges_once() -> None:
    async with peer() as there, a_client() as client:
        exchanges = [await begun(client, there) for _ in range(5)]
        connection = await there.connection()
        await connection.request(5)
        connection.head(1)
        connection.answer(3)
        await eventually(lambda: exchanges[1].complete)
        connection.cut()
        failures = await asyncio.gather(*map(whole, exchanges), return_exceptions=True)
        assert (200, b"ok") == failures[1]
        errors = [each for each in failures if isinstance(each, UpstreamError)]
        assert (4, 4) == (len(errors), len({id(each) for each in errors}))
        assert (200, b"ok") == await _answered(client, there)


async def test_a_kept_connection_that_is_closed_just_then_costs_an_idempotent_request_nothing() -> None:
    def once(connection: Connection, number: int) -> None:
        if number == 1:
            connection.answer(number)
        else:
            connection.cut()

    async with peer(once) as there, a_client() as client:
        assert (200, b"ok") == await asked(client, there)
        assert (200, b"ok") == await asked(client, there)
        assert 2 == len(there.connections)
        with pytest.raises(UpstreamError):
            await asked(client, there, a_request("POST", b"abc"))


async def _answered(client: Any, there: Peer) -> tuple[int, bytes]:
    exchange = await begun(client, there)
    await eventually(lambda: len(there.connections) == 2 and there.connections[1].asked)
    there.connections[1].answer(1)
    return await whole(exchange)


# -- connections that say nothing, or have nothing to do


async def test_a_silent_connection_is_doubted_gets_no_more_exchanges_and_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "SILENCE_S", 0.0)
    async with peer() as there, a_client() as client:
        hanging, given_up = [await begun(client, there, timeout=0.2) for _ in range(2)]
        first = await there.connection()
        await first.request(2)
        first.flush = lambda: None  # type: ignore[method-assign] # it hears, and says nothing
        given_up.release()
        await first.heard(PingReceived)
        assert (200, b"ok") == await _answered(client, there)
        with pytest.raises(UpstreamError, match="says nothing"):
            await whole(hanging)


async def test_a_connection_that_answers_a_ping_goes_on_and_gets_no_other_before_it_has_answered_a_request(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "SILENCE_S", 0.0)
    async with peer() as there, a_client() as client:
        old, given_up = await begun(client, there), await begun(client, there)
        given_up.release()
        first = await there.connection()
        await first.heard(PingReceived)
        held = client._pools[there.endpoint].connections[0]
        await eventually(lambda: held.places)
        again = await begun(client, there)
        assert 1 == len(there.connections)
        again.release()
        assert (200, b"ok") == await _answered(client, there)
        assert 1 == len(first.of(PingReceived))
        first.answer(1)  # what it had taken on still ends there
        assert (200, b"ok") == await whole(old)
        await eventually(lambda: first.closed)


async def test_idle_connections_are_closed_in_time_and_those_to_endpoints_that_are_gone_at_once(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "KEEP_IDLE_S", 0.1)
    async with peer(answers) as there, a_client() as client:
        assert (200, b"ok") == await asked(client, there)
        await eventually(lambda: there.connections[0].closed)
        assert {} == client._pools or await eventually(lambda: not client._pools) is None
        exchange = await begun(client, there)
        client.let_go(there.endpoint)
        assert (200, b"ok") == await whole(exchange)
        await eventually(lambda: there.connections[1].closed)
        assert (200, b"ok") == await asked(client, there)
        client.close()
        await eventually(lambda: there.connections[2].closed)


async def test_nobody_listening_is_unreachable_and_so_is_one_who_never_says_a_word() -> None:
    async with a_client() as client:
        with pytest.raises(UpstreamUnreachableError, match="ConnectionRefused"):
            await client.send(Endpoint.parse(f"http://127.0.0.1:{free_port()}"), a_request(), connect_timeout=5.0)

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            gone.set()

        gone = asyncio.Event()
        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UpstreamUnreachableError, match="TimeoutError"):
            await client.send(Endpoint.parse(f"http://127.0.0.1:{port}"), a_request(), connect_timeout=0.1)
        await gone.wait()
        server.close()


# -- at random


async def test_whatever_is_cancelled_whenever_nothing_stays_behind_and_the_others_are_answered() -> None:
    chance = random.Random(7)
    numbers = itertools.count()

    def piecemeal(connection: Connection, number: int) -> None:
        async def answer() -> None:
            for _ in range(next(numbers) % 3):
                await asyncio.sleep(0)
            if number in {each.stream_id for each in connection.of(StreamReset)} or connection.closed:
                return
            connection.head(number)
            await asyncio.sleep(0)
            if number not in {each.stream_id for each in connection.of(StreamReset)} and not connection.closed:
                connection.data(number, b"ok", end=True)

        tasks.append(asyncio.ensure_future(answer()))

    async def one(client: Any, there: Peer) -> tuple[int, bytes]:
        if chance.random() < 0.5:
            return await asked(client, there, a_request("POST", b"x" * chance.choice([0, 10, 100_000])))
        exchange = await begun(client, there, a_request("POST", None))
        try:
            for _ in range(3):
                await exchange.write(b"x" * 30_000)
            exchange.end()
        except BaseException:
            exchange.release()
            raise
        return await whole(exchange)

    tasks: list[Any] = []
    async with peer(piecemeal, MAX_CONCURRENT_STREAMS=8) as there, a_client() as client:
        for _ in range(25):
            begun_ = [asyncio.ensure_future(one(client, there)) for _ in range(12)]
            doomed = chance.sample(begun_, 6)
            for each in doomed:
                for _ in range(chance.randrange(12)):
                    await asyncio.sleep(0)
                each.cancel()
            found = await asyncio.gather(*begun_, return_exceptions=True)
            assert all(each == (200, b"ok") for task, each in zip(begun_, found, strict=True) if task not in doomed), found
        assert not any(each._attempts for each in client._pools.values())
        assert not [each for each in there.connections if each.of(DataReceived) and not each.asked]
