"""An answer that was compressed fitted no rule about its body or first event, and had no first item."""

from __future__ import annotations

import asyncio
import gzip
import random
import re
import zlib
from typing import Any

import pytest

from resilience.gateway.messages.content import beginning
from resilience.gateway.messages.event_stream import first_event
from tests.gateway.harness import parsed

from .gateway_parts import OK, asked, configured, served, upstream

_QUOTA = b'{"error": {"code": "quota"}}'
_RULES = {"rules": [{"status": 429, "json": {"/error/code": "quota"}}, {"event": "error"}]}
_EVENTS = b"text/event-stream"


def answer(body: bytes, coding: bytes, kind: bytes = b"application/json", status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        status, kind, coding, len(body), body)


def flushed(text: bytes) -> bytes:
    """What a service that compresses as it streams has sent when it has sent this."""
    made = zlib.compressobj(wbits=31)
    return made.compress(text) + made.flush(zlib.Z_SYNC_FLUSH)


def ask(first: bytes, *lines: str, goes_on: bool = False, **said: Any) -> tuple[tuple[int, dict[str, str], bytes], bytes]:
    """What the client gets if the first of two endpoints answers so, and the head that this one has seen."""
    heads = list[bytes]()

    async def bad(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(first)
        if goes_on:
            await asyncio.sleep(60)

    async def good(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async def main() -> bytes:
        async with upstream(bad) as one, upstream(good) as two:
            config = configured({"endpoints": [one, two], "balancer": "first", "retry": {"attempts": 2}, **said})
            async with served(config) as (_, front):
                return await front.ask(asked("/x", *lines))

    return parsed(asyncio.run(main())), heads[0]


@pytest.mark.parametrize(("body", "coding"), [
    (gzip.compress(_QUOTA), b"gzip"), (gzip.compress(_QUOTA), b"X-GZIP"), (zlib.compress(_QUOTA), b"deflate"),
    (_QUOTA, b"identity")])
def test_a_rule_about_a_body_reads_it_as_the_client_will(body: bytes, coding: bytes) -> None:
    assert b"ok" == ask(answer(body, coding, status=429), **_RULES)[0][2]
    other = gzip.compress(b'{"error": {"code": "slow down"}}')
    status, headers, got = ask(answer(other, b"gzip", status=429), "Accept-Encoding: gzip", **_RULES)[0]
    assert (429, "gzip", other) == (status, headers["content-encoding"], got), "it is passed on as it came"


def test_a_rule_about_the_first_event_reads_it_as_the_client_will() -> None:
    error = gzip.compress(b": ping\n\nevent: error\ndata: {}\n\n")
    assert b"ok" == ask(answer(error, b"gzip", _EVENTS), **_RULES)[0][2]
    well = gzip.compress(b"data: 1\n\n")
    assert well == ask(answer(well, b"gzip", _EVENTS), **_RULES)[0][2]


def test_the_first_item_of_a_compressed_stream_comes_with_its_first_event() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
    assert b"ok" == ask(head + flushed(b": ping\n\n"), first_item=0.05, goes_on=True)[0][2], "only pings"
    found: list[bytes] = []

    async def main() -> None:
        async def script(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(head + flushed(b"data: 1\n\n"))
            await asyncio.sleep(60)

        async with upstream(script) as url, served(configured({"endpoints": [url], "first_item": 5.0})) as (gateway, front):
            client = await front.client(asked())
            found.append(await asyncio.wait_for(client.until(flushed(b"data: 1\n\n")), 5.0))
            client.leave()
            while gateway.services["up"].endpoints.states[0].in_flight:
                await asyncio.sleep(0.01)

    asyncio.run(main())
    assert [True] == [b"200 OK" in each for each in found]


def test_a_stream_that_nobody_here_can_read_is_passed_on_with_its_first_byte() -> None:
    assert b"zstd" == ask(answer(b"zstd", b"zstd", _EVENTS), first_item=5.0)[0][2]
    assert b"\x1f\x8bxx" == ask(answer(b"\x1f\x8bxx", b"gzip", _EVENTS), first_item=5.0, **_RULES)[0][2]


@pytest.mark.parametrize(("wanted", "sent"), [
    ([], b"identity"), (["gzip, deflate, br, zstd"], b"gzip"), (["br"], b"identity"), (["br, gzip;q=0"], b"identity"),
    (["br", "gzip"], b"gzip")])
def test_the_endpoint_is_asked_for_what_can_be_read_here_and_by_the_client(wanted: list[str], sent: bytes) -> None:
    lines = [f"Accept-Encoding: {each}" for each in wanted]
    for said in (_RULES, {"first_item": 5.0}):
        assert [sent] == re.findall(rb"(?i)accept-encoding: (.*)\r\n", ask(OK, *lines, **said)[1])
    plain = ask(OK, *lines, rules=[{"status": 429}])[1]
    assert [each.encode() for each in wanted] == re.findall(rb"(?i)accept-encoding: (.*)\r\n", plain), "nobody reads it"


def test_the_beginning_of_a_coded_body_is_as_much_of_it_as_can_be_read() -> None:
    rng = random.Random(7)
    text = b": ping\n\n" * 50 + b"event: error\ndata: {}\n\n" + rng.randbytes(3000)
    for coding, whole in ((b"gzip", gzip.compress(text)), (b"deflate", zlib.compress(text)), (b"", text)):
        headers = [(b"content-encoding", coding)]
        found = [beginning(whole[:end], headers, 10_000) for end in range(len(whole) + 1)]
        assert all(each is not None and text.startswith(each) for each in found)
        assert (b"", text) == (found[0], found[-1])
        assert [len(each or b"") for each in found] == sorted(len(each or b"") for each in found)
        assert first_event(found[-1] or b"") is not None
    bomb = gzip.compress(bytes(30_000_000))
    assert 10_000 == len(beginning(bomb, [(b"content-encoding", b"gzip")], 10_000) or b"")
    for coding in (b"br", b"gzip, gzip", b"zstd"):
        assert beginning(b"x", [(b"content-encoding", coding)], 10) is None
    assert beginning(b"not gzip at all", [(b"content-encoding", b"gzip")], 10) is None
