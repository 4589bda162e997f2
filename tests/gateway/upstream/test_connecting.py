"""Connecting to an endpoint: names with several addresses, what this machine lacks, and idle connections."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from resilience.gateway.messages.exchange import Endpoint, LocalLimitError, Request, UpstreamUnreachableError
from resilience.gateway.upstream import http1
from resilience.gateway.upstream.http1 import KEEP_IDLE_S, Http1Client
from resilience.testing import virtual_time

from ..harness import Upstream, free_port


def a_request() -> Request:
    return Request(method="GET", target=b"/named", host=None, headers=[])


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "several.example"
        return [(socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
                for each in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def answered(client: Http1Client, port: int) -> int:
    exchange = await client.send(Endpoint.parse(f"http://several.example:{port}"), a_request(), connect_timeout=5.0)
    try:
        await exchange.head()
        return exchange.status
    finally:
        exchange.release()
        client.close()


@pytest.mark.parametrize("addresses", [
    ("127.0.0.1",), ("127.0.0.3", "127.0.0.1"), ("::1", "127.0.0.1"), ("127.0.0.3", "127.0.0.4", "127.0.0.1")])
async def test_each_address_of_a_name_is_tried(
        monkeypatch: pytest.MonkeyPatch, upstream: Upstream, addresses: tuple[str, ...]) -> None:
    resolving(monkeypatch, *addresses)
    assert 200 == await answered(Http1Client(), upstream.port)


async def test_a_name_none_of_whose_addresses_answers_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.1", "127.0.0.2")
    with pytest.raises(UpstreamUnreachableError):
        await answered(Http1Client(), free_port())


@pytest.mark.parametrize(("number", "kind"), [
    (errno.EMFILE, LocalLimitError), (errno.EADDRNOTAVAIL, LocalLimitError), (errno.ECONNREFUSED, UpstreamUnreachableError)])
async def test_a_lack_of_files_or_ports_here_is_not_the_endpoints_fault(
        monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]) -> None:
    async def create_connection(*_: Any, **__: Any) -> Any:
        raise OSError(number, "no")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
    with pytest.raises(UpstreamUnreachableError) as caught:
        await Http1Client().send(Endpoint.parse("http://127.0.0.1:1"), a_request(), connect_timeout=1.0)
    assert kind is type(caught.value)


@pytest.mark.parametrize(("said", "kept_s"), [
    ([], KEEP_IDLE_S), ([b"timeout=5, max=100"], 4.0), ([b"timeout=5"], 4.0), ([b"max=9, Timeout=1"], 0.8), ([b"timeout=2"], 1.6),
    ([b'timeout="3"'], KEEP_IDLE_S), ([b"max=9"], KEEP_IDLE_S), ([b"timeout=0"], 0.0), ([b"timeout=3600"], KEEP_IDLE_S),
    ([b"xtimeout=1"], KEEP_IDLE_S), ([b"timeout=3", b"timeout=1"], 0.8), ([b"timeout=-1"], KEEP_IDLE_S)])
def test_a_connection_is_used_again_for_as_long_as_its_server_says_that_it_keeps_it(said: list[bytes], kept_s: float) -> None:
    class Kept:
        closed = reused = unread = False
        idle_since = keep_idle_s = 0.0
        headers = [(b"date", b"timeout=0"), *((b"keep-alive", each) for each in said)]

        def __init__(self) -> None:
            self.loop = asyncio.get_running_loop()

        def abort(self) -> None:
            self.closed = True

        def begin(self, request: Request) -> None: ...

    endpoint = Endpoint.parse("http://127.0.0.1:1")

    async def is_taken_after(seconds: float) -> bool:
        client, kept = Http1Client(), Kept()
        assert client.keep(endpoint, kept)  # type: ignore[arg-type]
        await asyncio.sleep(seconds)
        try:
            return await client.send(endpoint, a_request(), connect_timeout=1.0) is kept  # type: ignore[comparison-overlap]
        except UpstreamUnreachableError:
            assert kept.closed
            return False
        finally:
            client.close()

    for seconds, taken in ((kept_s - 0.01, True), (kept_s + 0.01, False)):
        if seconds >= 0:
            assert taken is virtual_time(is_taken_after(seconds))


async def test_idle_connections_are_closed_in_time_although_nobody_takes_them(
        monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    monkeypatch.setattr(http1, "KEEP_IDLE_S", 0.05)
    client, endpoint = Http1Client(), Endpoint.parse(upstream.url)
    exchanges = [await client.send(endpoint, a_request(), connect_timeout=5.0) for _ in range(3)]
    for each in exchanges:
        await each.head()
        while not each.complete:
            await each.more()
            each.take()
        each.take()
        each.release()
    assert [False] * 3 == [each.closed for each in exchanges]
    async with asyncio.timeout(30.0):
        while not all(each.closed for each in exchanges):
            await asyncio.sleep(0)
    assert client._timer is None
