"""An endpoint's ``json`` values were set in bodies that parsers read differently, and what was sent on was no JSON.

``1e400`` became ``Infinity``, half of a surrogate pair bytes that are not UTF-8, and of two members with one name the
first was lost without a word.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from resilience.config import Document
from resilience.gateway.config import read
from tests.gateway.harness import Call, Upstream, parsed, shared_upstream

from .gateway_parts import served

upstream = shared_upstream()


def asked(upstream: Upstream, body: bytes) -> tuple[int, bytes | None]:
    """The status of a request with this *body*, and the body that the upstream gets."""
    got: list[bytes] = []

    def script(call: Call) -> None:
        length = int(call.head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        rest = call.rest
        while len(rest) < length:
            rest += call.connection.recv(65536)
        call.rest = rest[length:]
        got.append(rest[:length])
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.on("/x", script)
    config = {"services": {"up": {"endpoints": [{"url": upstream.url, "json": {"/model": "large"}}]}},
              "routes": [{"path": "/*", "service": "up"}]}

    async def main() -> int:
        async with served(read(Document.of(config, "test"))) as (_, front):
            head = b"POST /x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            return int(parsed(await front.ask(head % len(body) + body))[0])

    return asyncio.run(main()), got[0] if got else None


@pytest.mark.parametrize("body", [b'{"a":1e400}', b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1,"a":2}', b"{", b'{"a":"\xff"}'])
def test_what_parsers_read_differently_is_rejected(upstream: Upstream, body: bytes) -> None:
    assert asked(upstream, body) == (400, None)


@pytest.mark.parametrize("body", [b'{"a":"\\ud83d"}', b'{"a":"\\udc00 \xc3\xa9"}', b'{"a":12345678901234567890123}', b"{}"])
def test_what_is_sent_on_is_json_in_utf_8_with_the_same_values(upstream: Upstream, body: bytes) -> None:
    status, sent = asked(upstream, body)
    assert sent is not None
    assert (status, json.loads(sent.decode())) == (200, {**json.loads(body), "model": "large"})
