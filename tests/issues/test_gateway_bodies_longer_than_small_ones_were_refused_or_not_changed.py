"""Bodies of more than 64 KiB: with a larger ``replay_body`` they got 400, and no endpoint's values were set in them."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.harness import Call, Upstream, parsed

from .gateway_parts import OK, configured, served


class Seen:
    """An upstream that keeps the requests it got, and answers some of them with 503 first."""

    def __init__(self, upstream: Upstream, bad: int = 0) -> None:
        self.calls, self.bodies, self._bad = list[Call](), list[bytes](), bad
        self.url = upstream.url
        upstream.on("/x", self._answer)

    def _answer(self, call: Call) -> None:
        self.calls.append(call)
        body = call.body()
        if call.header(b"transfer-encoding"):
            body = b"".join(body.split(b"\r\n")[1::2])
        self.bodies.append(body)
        call.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" if len(self.bodies) <= self._bad else OK)


@pytest.fixture
def upstreams() -> Iterator[list[Upstream]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Upstream())) for _ in range(2)]


def post(body: bytes, *lines: str, chunked: bool = False, kind: str = "application/json") -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = "\r\n".join(("POST /x HTTP/1.1", "Host: gw", "Connection: close", f"Content-Type: {kind}", framing, *lines))
    size = max(1, len(body) // 3)
    pieces = (body[start:start + size] for start in range(0, len(body), size))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return head.encode() + b"\r\n\r\n" + (chunks if chunked else body)


def ask(service: dict[str, Any], *requests: bytes) -> list[int]:
    """The statuses that the requests get, one after the other."""
    found = []

    async def main() -> None:
        async with served(configured(service)) as (_, front):
            found.extend([parsed(await front.ask(request))[0] for request in requests])

    asyncio.run(main())
    return found


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 500_000, 1_000_000])
def test_a_body_of_up_to_replay_body_is_sent_again_as_it_was(
        upstreams: list[Upstream], size: int, chunked: bool) -> None:
    first, second = Seen(upstreams[0], bad=1), Seen(upstreams[1])
    retry = {"repeatable": True, "replay_body": 1_000_000}
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert [200] == ask({"endpoints": [first.url, second.url], "retry": retry, "balancer": "first"},
                        post(body, chunked=chunked, kind="text/plain"))
    assert [body] == first.bodies == second.bodies


def test_a_longer_body_is_sent_once(upstreams: list[Upstream]) -> None:
    first, second = Seen(upstreams[0], bad=1), Seen(upstreams[1])
    retry = {"repeatable": True, "replay_body": 100_000}
    body = b"x" * 100_001
    assert [503] == ask({"endpoints": [first.url, second.url], "retry": retry, "balancer": "first"},
                        post(body, kind="text/plain"))
    assert ([body], []) == (first.bodies, second.bodies)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [10, 70_000, 1_000_000])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_values_are_set_in_json_of_up_to_a_mebibyte_however_it_comes(
        upstreams: list[Upstream], size: int, chunked: bool, coding: str) -> None:
    seen = Seen(upstreams[0])
    body = json.dumps({"model": "large", "text": "x" * size}).encode()
    sent = gzip.compress(body) if coding == "gzip" else body
    endpoint = {"url": seen.url, "json": {"/model": "small"}}
    assert [200] == ask({"endpoints": [endpoint]}, post(
        sent, f"Content-Encoding: {coding}", "Content-Digest: sha-256=:of=:", chunked=chunked))
    assert [{"model": "small", "text": "x" * size}] == [json.loads(each) for each in seen.bodies]
    assert [[], []] == [seen.calls[0].header(name) for name in (b"content-encoding", b"content-digest")]


def test_what_cannot_be_changed_is_refused_and_not_sent_as_it_is(upstreams: list[Upstream]) -> None:
    seen = Seen(upstreams[0])
    service = {"endpoints": [{"url": seen.url, "json": {"/model": "small"}}]}
    body = json.dumps({"model": "large", "text": "x" * (1 << 20)}).encode()
    bomb = gzip.compress(json.dumps({"text": "x" * (1 << 24)}).encode())
    many = b"[" + b"0," * 100_000 + b"0]"
    assert [413, 413, 413, 413, 415, 400, 400] == ask(
        service, post(body), post(body, chunked=True), post(many), post(bomb, "Content-Encoding: gzip"),
        post(b"{}", "Content-Encoding: br"), post(b"{}", "Content-Encoding: gzip"), post(b"nothing", chunked=True))
    assert [] == seen.bodies
    assert [200] == ask({**service, "retry": {"replay_body": 1 << 21}}, post(body)), "replay_body says that it may be longer"
    assert [200] == ask(service, post(body, kind="application/octet-stream")), "it is no JSON"
    assert ["small", body] == [json.loads(seen.bodies[0])["model"], seen.bodies[1]]
