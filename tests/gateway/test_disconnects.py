"""Clients that leave: the upstream's work is cancelled, the permit comes back, and nobody has failed."""

from __future__ import annotations

import select
import threading
from pathlib import Path

import pytest

from .harness import Call, Gateway, Upstream, eventually, everything, running

pytestmark = pytest.mark.process

#: A gateway whose every patience outlasts the tests', so that what happens is due to the client's leaving.
PATIENT = """
client_timeout = 60.0
[services.up]
endpoints = ["{url}"]
idle_timeout = 60.0
command = {{ timeout = 60.0 }}
[[routes]]
path = "/*"
service = "up"
"""


@pytest.fixture
def counts(gateway: Gateway):  # type: ignore[no-untyped-def]
    return lambda: tuple(gateway.metric(event) for event in ("failure", "timeout", "cancelled"))


def test_leaving_before_the_answer_cancels_the_upstream_and_is_no_failure(
        upstream: Upstream, tmp_path: Path) -> None:
    ended = threading.Event()

    def hang(call: Call) -> None:
        call.until_closed()
        ended.set()

    upstream.on("/left-early", hang)
    with running(tmp_path, PATIENT.format(url=upstream.url)) as gateway:
        with gateway.connect() as client:
            client.sendall(b"GET /left-early HTTP/1.1\r\nHost: gw\r\n\r\n")
            upstream.called("/left-early")
        assert ended.wait(60), "the upstream's connection was not cut"
        assert eventually(lambda: gateway.in_flight() == 0)
        assert (0, 0, 1) == tuple(gateway.metric(event) for event in ("failure", "timeout", "cancelled"))


def test_leaving_in_the_middle_of_the_answer_cancels_the_upstream(
        gateway: Gateway, upstream: Upstream, counts) -> None:  # type: ignore[no-untyped-def]
    ended = threading.Event()

    def drip(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not ended.wait(0.02):
                call.send(b"1\r\nx\r\n")
        except OSError:
            ended.set()

    upstream.on("/left-midway", drip)
    before = counts()
    with gateway.connect() as client:
        client.sendall(b"GET /left-midway HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert everything(client, b"1\r\nx\r\n")
    assert ended.wait(60), "the upstream's connection was not cut"
    assert eventually(lambda: gateway.in_flight() == 0)
    assert (before[0], before[1], before[2] + 1) == counts()


def test_leaving_in_the_middle_of_a_flood_stops_the_upstream(tmp_path: Path, upstream: Upstream) -> None:
    """While the gateway waits for the client to take, and reads nothing: not only when its patience is over."""
    stopped, held_back = threading.Event(), threading.Event()

    def flood(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        try:
            while True:
                if not select.select([], [call.connection], [], 0.1)[1]:
                    held_back.set()
                call.send(bytes(1 << 16))
        except OSError:
            stopped.set()

    upstream.on("/left-flood", flood)
    with running(tmp_path, PATIENT.format(url=upstream.url)) as gateway:
        before = gateway.rss_kib()
        for _ in range(3):
            stopped.clear()
            held_back.clear()
            with gateway.connect() as client:
                client.sendall(b"GET /left-flood HTTP/1.1\r\nHost: gw\r\n\r\n")
                assert held_back.wait(60), "the upstream was not held back"
            assert stopped.wait(60), "the upstream's connection was not cut"
            eventually(lambda: gateway.in_flight() == 0, "the permit back")
        assert gateway.rss_kib() - before < 64 * 1024
        assert (0, 0, 3) == tuple(gateway.metric(event) for event in ("failure", "timeout", "cancelled"))


def test_leaving_in_the_middle_of_the_request_cancels_the_upstream(
        gateway: Gateway, upstream: Upstream, counts) -> None:  # type: ignore[no-untyped-def]
    ended = threading.Event()

    def listen(call: Call) -> None:
        call.until_closed()
        ended.set()

    upstream.on("/left-uploading", listen)
    before = counts()
    with gateway.connect() as client:
        client.sendall(b"POST /left-uploading HTTP/1.1\r\nHost: gw\r\nContent-Length: 10000000\r\n\r\nabc")
        upstream.called("/left-uploading")
    assert ended.wait(60), "the upstream's connection was not cut"
    assert eventually(lambda: gateway.in_flight() == 0)
    assert (before[0], before[1], before[2] + 1) == counts()


def test_many_that_leave_give_every_permit_back(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/crowd", lambda call: call.until_closed())
    clients = [gateway.connect() for _ in range(40)]
    for client in clients:
        client.sendall(b"GET /crowd HTTP/1.1\r\nHost: gw\r\n\r\n")
    eventually(lambda: upstream.count("/crowd") == 40)
    for client in clients:
        client.close()
    assert eventually(lambda: gateway.in_flight() == 0)
    assert 200 == gateway.get("/after-crowd")[0]
