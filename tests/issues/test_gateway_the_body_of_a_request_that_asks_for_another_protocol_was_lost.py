"""A request with an Upgrade header and a body lost it, and what was in it was read as the next request on the connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from resilience.gateway.messages.framing import LARGE
from tests.gateway.front.test_parser import Requests
from tests.gateway.harness import Call, Upstream
from tests.seeds import over_seeds

from .gateway_parts import OK, configured, served

_ASKS = (b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n")
_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: gw\r\n\r\n"


def a_request(random_: random.Random, asks: bytes) -> bytes:
    """Any request, with these lines in its head."""
    body = random_.choice((b"", b"x", _HIDDEN, random_.randbytes(300), b"0\r\n\r\n" + _HIDDEN))
    method = random_.choice((b"POST", b"PUT", b"GET", b"BREW"))
    head = method + b" /%d HTTP/1.1\r\nHost: gw\r\n" % random_.randrange(9)
    if random_.random() < 0.1:
        asks += b"Expect: 100-continue\r\n"
    kind = random_.choice(("length", "chunked", "none"))
    if kind == "none" or (kind == "length" and not body):  # it may switch, and is not meant here
        return head + asks.replace(b"pgrade", b"nused") + (b"" if kind == "none" else b"Content-Length: 0\r\n") + b"\r\n"
    if kind == "length":
        return head + b"Content-Length: %d\r\n" % len(body) + asks + b"\r\n" + body
    cut = random_.randrange(len(body) + 1)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:cut], body[cut:]) if piece) + b"0\r\n"
    return head + b"Transfer-Encoding: chunked\r\n" + asks + b"\r\n" + chunks + random_.choice((b"", b"X-End: 1\r\n")) + b"\r\n"


def told(stream: bytes, pieces: Sequence[int]) -> list[object]:
    """What a parser makes of a stream that comes in such pieces, but for what the heads say of another protocol."""
    requests, at = Requests(), 0
    for size in (*pieces, len(stream)):
        requests.parser.feed(stream[at:at + size])
        at += size
    for each in requests.found:
        each.head.headers[:] = [line for line in each.head.headers if line[0] not in (b"upgrade", b"unused", b"connection")]
    return [*requests.told(), [each.hop for each in requests.found], requests.status, requests.parser.leftover]


@over_seeds(300)
def test_a_request_with_a_body_is_read_as_if_it_had_not_asked(seed: int) -> None:
    history = random.Random(seed).randbytes(8)
    random_, other = random.Random(history), random.Random(history)
    asks = _ASKS[seed % 2]
    number = random_.randrange(1, 5)
    assert number == other.randrange(1, 5)
    with_upgrade = b"".join(a_request(random_, asks) for _ in range(number))
    without = b"".join(a_request(other, b"Connection: keep-alive\r\n") for _ in range(number))
    cuts = random.Random(seed)
    pieces = [cuts.choice((1, 2, 7, 50, 400)) for _ in range(cuts.randrange(60))]
    if b"BREW" in with_upgrade:  # which is only parsed when it comes first in a piece
        return
    assert told(without, ()) == told(with_upgrade, pieces)


def test_a_large_body_and_one_of_a_client_that_closes() -> None:
    for asks in _ASKS:
        body = bytes(LARGE + 1000)
        requests = Requests().feed([b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n%b\r\n" % (len(body), asks), body[:9], body[9:],
                                    _HIDDEN])
        assert [(len(body), True), (0, True)] == [(each.buffered, each.complete) for each in requests.found]
    closing = Requests().feed([b"POST / HTTP/1.0\r\nContent-Length: 2\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nab"])
    assert ([True], 0) == ([each.complete for each in closing.found], closing.status)
    assert 400 == closing.feed([_HIDDEN]).status, "nothing follows a request of HTTP/1.0 that does not keep its connection"


@pytest.mark.parametrize("framing", [
    b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked, gzip", b"Content-Length: 2\r\nTransfer-Encoding: chunked",
    b"Content-Length: 2\r\nContent-Length: 2", b"Content-Length: 2x"])
def test_a_framing_that_nobody_understands_is_refused_with_the_header_too(framing: bytes) -> None:
    found = Requests().feed([b"POST / HTTP/1.1\r\nHost: gw\r\n%b\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nab" % framing, _HIDDEN])
    assert 400 == found.status
    assert not any(each.complete for each in found.found)


@pytest.mark.parametrize("asks", _ASKS)
def test_the_upstream_gets_the_body_and_nothing_that_was_in_it(asks: bytes) -> None:
    upstream, bodies = Upstream(), list[bytes]()

    def script(call: Call) -> None:
        bodies.append(call.body())
        call.send(OK)

    upstream.on("/x", script)
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN)
    plain = b"POST /x HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n%b\r\n%b" % (len(_HIDDEN), asks, _HIDDEN)
    pieces = b"POST /x HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n%b\r\n%b" % (asks, chunked)
    last = b"GET /last HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"

    async def main() -> bytes:
        async with served(configured({"endpoints": [upstream.url]})) as (_, front):
            return await front.ask(plain + pieces + last)

    answered = asyncio.run(main())
    upstream.close()
    assert 3 == answered.count(b"HTTP/1.1 200")
    assert ([_HIDDEN, chunked], 0, 1) == (sorted(bodies, key=len), upstream.count("/hidden"), upstream.count("/last"))
