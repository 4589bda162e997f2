"""Upstreams that lie, break off, hang or flood: an honest error or an honest abort, bounded memory, the permit back."""

from __future__ import annotations

import random
import threading

import pytest

from resilience.gateway.messages.framing import LARGE

from .harness import Call, Gateway, Upstream, eventually, everything, parsed, problem

pytestmark = pytest.mark.process

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def idle(gateway: Gateway) -> bool:
    return eventually(lambda: gateway.in_flight() == 0, "every permit back")


@pytest.mark.parametrize(("what", "answer"), [
    ("nothing", b""), ("half a head", b"HTTP/1.1 200 OK\r\nConte"), ("no HTTP", b"hello world\r\n\r\n"),
    ("HTTP/0.9", b"<html>\r\n\r\n"), ("a bad status", b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n"),
    ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokx"),
    ("a length and chunks", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a length that is none", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    ("a protocol switch", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    ("a folded header", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    ("NUL in a header", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    ("a space before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
    ("a status that no server has a line for", b"HTTP/1.1 999 Denied\r\nContent-Length: 2\r\n\r\nno"),
    ("a status just above the range", b"HTTP/1.1 600 No\r\nContent-Length: 2\r\n\r\nno"),
    ("another version", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a version before versions", b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a control character in a header", b"HTTP/1.1 200 OK\r\nX: a\x07b\r\nContent-Length: 0\r\n\r\n"),
    ("a list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"),
    ("a coding that would be dropped", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("a coding on another line", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("a coding and no chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"),
    ("chunks of chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("a head without end", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 2_000_000),
    ("interim answers without end", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 50_000),
])
def test_nonsense_instead_of_an_answer_is_502(gateway: Gateway, upstream: Upstream, what: str, answer: bytes) -> None:
    path = "/nonsense-" + what.replace(" ", "-").replace("/", "-")

    def script(call: Call) -> None:
        call.send(answer)
        call.connection.close()

    upstream.on(path, script)
    assert "up gave no valid answer" == problem(gateway.get(path))["detail"]
    assert idle(gateway)


@pytest.mark.parametrize(("what", "answer"), [
    ("shorter than it says", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
    ("cut before the last chunk", CHUNKED + b"3\r\nabc\r\n"), ("cut in a chunk", CHUNKED + b"ff\r\nabc"),
    ("chunk that is none", CHUNKED + b"3\r\nabc\r\nzz\r\n"), ("too many trailers", CHUNKED + b"0\r\n" + b"X: y\r\n" * 500),
])
@pytest.mark.parametrize("reset", [False, True])
def test_a_body_that_breaks_off_is_never_ended_cleanly(
        gateway: Gateway, upstream: Upstream, what: str, answer: bytes, reset: bool) -> None:
    path = f"/cut-{what.replace(' ', '-')}-{reset}"
    sent = threading.Event()

    def script(call: Call) -> None:
        head, end, body = answer.partition(b"\r\n\r\n")
        call.send(head + end + body[:3])
        sent.wait(60)  # until the client has the head, so that it is too late for a 502
        call.send(body[3:])
        call.reset() if reset else call.connection.close()

    upstream.on(path, script)
    before = gateway.metric("failure")
    with gateway.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: gw\r\n\r\n".encode())
        data = everything(client, b"\r\n\r\n")
        sent.set()
        data += everything(client)
    status, headers, body = parsed(data)
    assert 200 == status
    if "content-length" in headers:
        assert len(body) < int(headers["content-length"])
    else:
        assert not body.endswith(b"0\r\n\r\n")
    assert eventually(lambda: gateway.metric("failure") == before + 1, "the failure counted")
    assert idle(gateway)


def test_chunks_in_an_answer_of_http_1_0_end_its_connection(gateway: Gateway, upstream: Upstream) -> None:
    """RFC 9112, 6.1: its framing is doubtful; what follows it is not trusted."""
    upstream.on("/chunks-1.0", lambda call: (call.send(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), call.until_closed()))
    assert b"ok" in gateway.get("/chunks-1.0")[2]
    assert upstream.called("/chunks-1.0").closed.wait(60)


def test_a_body_that_breaks_off_at_once_is_502(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/short", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    status, _, body = gateway.get("/short")
    assert status == 502 or (status, body) == (200, b"abc")  # whichever reached the gateway first, head or end
    assert idle(gateway)


def test_more_than_it_says_is_not_taken_for_the_next_answer(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/long", lambda call: call.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
    upstream.on("/head-long", lambda call: call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
    for _ in range(3):
        assert b"ok" == gateway.get("/long")[2]
        assert b"" == gateway.get("/head-long", method="HEAD")[2]
        assert b"ok" == gateway.get("/after-long")[2]


def test_a_large_answer_ends_where_it_says_and_keeps_its_connection(gateway: Gateway, upstream: Upstream) -> None:
    body, sizes = random.Random(1).randbytes(1_500_000), [LARGE, LARGE + 1, 700_000, 1_500_000]
    random_ = random.Random(2)

    def script(call: Call) -> None:
        size = int(call.target.partition("?")[2])
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body[:size]
        while answer:
            cut = random_.randint(1, 400_000)
            call.send(answer[:cut])
            answer = answer[cut:]

    upstream.on("/large", script)
    gateway.get(f"/large?{sizes[0]}")
    before = upstream.connections
    for size in sizes * 3:
        assert (200, body[:size]) == gateway.get(f"/large?{size}")[::2]
    assert before == upstream.connections


def test_more_than_a_large_answer_says_is_not_taken_for_the_next(gateway: Gateway, upstream: Upstream) -> None:
    size = 3 * LARGE
    head, body = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size
    upstream.on("/large-and-more", lambda call: (
        call.send(head + body[:-1]), call.send(b"xHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")))
    upstream.on("/large-and-less", head + body[:-1])
    for _ in range(3):
        assert body == gateway.get("/large-and-more")[2]
        assert b"ok" == gateway.get("/after-large")[2]
    failures = gateway.metric("failure")
    assert body[:-1] == gateway.get("/large-and-less")[2]
    assert eventually(lambda: gateway.metric("failure") == failures + 1, "the failure counted")


def test_bytes_that_nobody_asked_for_cut_a_kept_connection(gateway: Gateway, upstream: Upstream) -> None:
    sent, cut = threading.Event(), threading.Event()

    def script(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        sent.wait(60)
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        call.until_closed()
        cut.set()

    upstream.on("/unasked", script)
    assert b"ok" == gateway.get("/unasked")[2]
    sent.set()
    assert cut.wait(60)
    assert b"ok" == gateway.get("/after-unasked")[2]


def test_an_answer_without_length_ends_with_its_connection(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/close", b"HTTP/1.1 200 OK\r\n\r\nuntil close")
    _, headers, body = gateway.get("/close")
    assert ("chunked", b"b\r\nuntil close\r\n0\r\n\r\n") == (headers["transfer-encoding"], body)


def test_a_hanging_upstream_is_504_within_the_timeout(impatient: Gateway, upstream: Upstream) -> None:
    ended = threading.Event()

    def hang(call: Call) -> None:
        call.until_closed()
        ended.set()

    upstream.on("/hang", hang)
    before = impatient.metric("timeout")
    assert "up did not answer in time" == problem(impatient.get("/hang"))["detail"]
    assert ended.wait(60), "the upstream's connection was not cut"
    assert (before + 1, True) == (impatient.metric("timeout"), idle(impatient))


def test_a_body_that_stops_without_ending_is_cut_after_the_idle_timeout(impatient: Gateway, upstream: Upstream) -> None:
    def stall(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        call.until_closed()

    upstream.on("/stall", stall)
    before = impatient.metric("failure")
    assert (200, b"abc") == impatient.get("/stall")[::2]
    assert eventually(lambda: impatient.metric("failure") == before + 1)
    assert idle(impatient)


def test_a_stream_that_pauses_longer_than_the_command_times_out_is_no_failure(
        gateway: Gateway, upstream: Upstream) -> None:
    """The head comes through at once, so that events are not held back until some body has come."""
    got_head = threading.Event()

    def events(call: Call) -> None:
        call.send(CHUNKED)
        assert got_head.wait(60)
        call.send(b"5\r\nhello\r\n0\r\n\r\n")

    upstream.on("/events", events)
    with gateway.connect() as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert b"200 OK" in everything(client, b"\r\n\r\n")
        got_head.set()
        assert everything(client, b"0\r\n\r\n").endswith(b"5\r\nhello\r\n0\r\n\r\n")


def test_a_gigabyte_passes_in_bounded_memory(gateway: Gateway, upstream: Upstream) -> None:
    size = 1 << 30

    def flood(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = bytes(1 << 20)
        for _ in range(size >> 20):
            call.send(block)

    upstream.on("/gigabyte", flood)
    before, most, received = gateway.rss_kib(), 0, 0
    buffer = bytearray(1 << 20)
    with gateway.connect() as client:
        client.sendall(b"GET /gigabyte HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
        while count := client.recv_into(buffer):
            received += count
            if received >> 26 != (received - count) >> 26:
                most = max(most, gateway.rss_kib())
    assert size < received < size + 1000
    assert most - before < 64 * 1024


def test_a_slow_reader_stops_the_upstream_and_then_loses_its_permit(impatient: Gateway, upstream: Upstream) -> None:
    """Slow reader (incident class 8): neither memory nor the permit is held for as long as it likes."""
    stopped = threading.Event()
    sent = [0]

    def flood(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        try:
            while True:
                call.send(bytes(1 << 16))
                sent[0] += 1 << 16
        except OSError:
            stopped.set()

    upstream.on("/slow-reader", flood)
    before = impatient.rss_kib(), impatient.metric("failure"), impatient.metric("cancelled")
    with impatient.connect() as client:
        client.sendall(b"GET /slow-reader HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert everything(client, b"\r\n\r\n")
        assert stopped.wait(60)
        assert sent[0] < 512 << 20, "half of it, which is more than the sockets between them hold on any machine"
        assert impatient.rss_kib() - before[0] < 64 * 1024
        assert idle(impatient)
    assert (before[1], before[2] + 1) == (impatient.metric("failure"), impatient.metric("cancelled"))


@pytest.mark.parametrize(("status", "event"), [(500, "failure"), (502, "failure"), (503, "busy"), (504, "failure")])
def test_an_upstreams_own_error_is_passed_on_and_counted_as_its_failure_or_as_busy_if_it_asks_to_wait(
        gateway: Gateway, upstream: Upstream, status: int, event: str) -> None:
    upstream.on(f"/{status}", b"HTTP/1.1 %d Oops\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nmine" % status)
    before = gateway.metric(event)
    found, headers, body = gateway.get(f"/{status}")
    assert (status, "7", b"mine") == (found, headers["retry-after"], body)
    assert eventually(lambda: gateway.metric(event) == before + 1)


@pytest.mark.parametrize(("status", "event"), [(503, "failure"), (429, "busy")])
def test_an_upstream_that_does_not_say_how_long_to_wait_is_judged_by_its_status(
        gateway: Gateway, upstream: Upstream, status: int, event: str) -> None:
    upstream.on(f"/{status}", b"HTTP/1.1 %d Oops\r\nContent-Length: 0\r\n\r\n" % status)
    before = gateway.metric(event)
    assert status == gateway.get(f"/{status}")[0]
    assert eventually(lambda: gateway.metric(event) == before + 1)


@pytest.mark.parametrize("status", [400, 404, 501])
def test_an_upstreams_refusal_is_no_failure(gateway: Gateway, upstream: Upstream, status: int) -> None:
    upstream.on(f"/{status}", b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
    before = gateway.metric("failure"), gateway.metric("success")
    assert status == gateway.get(f"/{status}")[0]
    assert eventually(lambda: gateway.metric("success") == before[1] + 1)
    assert before[0] == gateway.metric("failure")
