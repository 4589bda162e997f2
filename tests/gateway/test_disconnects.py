"""Clients that leave: the upstream's work is cancelled, the permit comes back, and nobody has failed."""

from __future__ import annotations

import threading

import pytest

from .harness import Call, Gateway, Upstream, eventually, everything

pytestmark = pytest.mark.process


@pytest.fixture
def counts(gateway: Gateway):  # type: ignore[no-untyped-def]
    return lambda: tuple(gateway.metric(event) for event in ("failure", "timeout", "cancelled"))


def test_leaving_before_the_answer_cancels_the_upstream_and_is_no_failure(
        upstream: Upstream, tmp_path, counts) -> None:  # type: ignore[no-untyped-def]
    from .harness import running

    ended = threading.Event()

    def hang(call: Call) -> None:
        call.until_closed()
        ended.set()

    upstream.on("/left-early", hang)
    config = f'[services.up]\nendpoints = ["{upstream.url}"]\ncommand = {{ timeout = 30.0 }}\n' \
             '[[routes]]\npath = "/*"\nservice = "up"\n'
    with running(tmp_path, "\n" + config) as gateway:
        with gateway.connect() as client:
            client.sendall(b"GET /left-early HTTP/1.1\r\nHost: gw\r\n\r\n")
            upstream.called("/left-early")
        assert ended.wait(5), "the upstream's connection was not cut"
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
    assert ended.wait(5), "the upstream's connection was not cut"
    assert eventually(lambda: gateway.in_flight() == 0)
    assert (before[0], before[1], before[2] + 1) == counts()


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
    assert ended.wait(5), "the upstream's connection was not cut"
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
