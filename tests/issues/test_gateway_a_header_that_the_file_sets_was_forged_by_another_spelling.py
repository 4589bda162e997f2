"""A header that the gateway sets or takes away passed in another spelling, or in a trailer.

WSGI and CGI have no hyphen in a header's name: ``X_User: root`` of a client and ``X-User: alice`` of the gateway are one
variable, ``HTTP_X_USER``, and some servers take the client's. Only identity headers were removed in every spelling.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.config import Document
from resilience.gateway import inbound_filter
from resilience.gateway.config import read
from resilience.gateway.filters.context import FilterContext
from resilience.gateway.filters.fields import Fields
from tests.gateway.harness import Call, Upstream, parsed, shared_upstream

from .gateway_parts import served

upstream = shared_upstream()

#: What the file of the test sets or removes, and what an upstream gets of it.
SET = {"X-User": b"alice", "X-Api-Key": b"secret", "X-Code": b"own", "X-Debug": None, "X-Importance": None, "X-Request-Id": ...,
       "X-Envoy-Expected-Rq-Timeout-Ms": ...}


@inbound_filter(name="code")
def code(context: FilterContext) -> None:
    """Set a header, as a filter of a user does."""
    context.request.headers["X-Code"] = "own"


def config(url: str) -> dict[str, Any]:
    endpoint = {"url": url, "headers": {"X-Api-Key": "secret"}}
    return {
        "tracing": {}, "gateway": {"trusted_proxies": ["192.0.2.1"]}, "shedding": {"priority": ["header:X-Importance"]},
        "services": {"up": {"endpoints": [endpoint], "pass_deadline": True}},
        "filters": {"headers": {"use": "headers", "request": {"remove": ["X-Debug"], "set": {"X-User": "alice"}}}},
        "routes": [{"path": "/*", "service": "up", "filters": ["headers"]}]}


def sent_on(upstream: Upstream, *lines: str, trailers: tuple[str, ...] = ()) -> bytes:
    """The lines of a request with a body as the upstream gets them, in lower case."""
    got = []

    def script(call: Call) -> None:
        whole = call.head + b"\r\n\r\n" + call.rest
        while not whole.endswith(b"\r\n\r\n") or not whole.count(b"\r\n0\r\n"):
            whole += call.connection.recv(65536)
        call.rest = b""
        got.append(whole.lower())
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def main() -> None:
        async with served(read(Document.of(config(upstream.url), "test")).with_filters([code])) as (_, front):
            head = "\r\n".join(("POST /x HTTP/1.1", "Host: gw", "Connection: close", "Transfer-Encoding: chunked", *lines))
            answer = await front.ask("\r\n".join((head, "", "1", "x", "0", *trailers, "", "")).encode())
            assert parsed(answer)[0] == 200

    upstream.on("/x", script)
    asyncio.run(main())
    return got[0]


@pytest.mark.parametrize("mark", ["_", ".", "!", "~", "-"])
def test_no_spelling_of_a_header_that_the_file_sets_passes(upstream: Upstream, mark: str) -> None:
    names = [name.replace("-", mark) for name in SET]
    mixed = [name.replace("-", mark, 1) for name in SET]
    got = sent_on(upstream, *(f"{name}: forged" for name in (*names, *mixed)), "X_Other: stays")

    assert b"forged" not in got
    assert b"\r\nx_other: stays\r\n" in got
    for name, value in SET.items():
        if isinstance(value, bytes):
            assert got.count(b"\r\n%b: %b\r\n" % (name.lower().encode(), value)) == 1


@pytest.mark.parametrize("mark", ["_", ".", "-"])
def test_no_trailer_has_the_name_of_a_header_that_the_file_sets(upstream: Upstream, mark: str) -> None:
    names = [name.replace("-", mark) for name in SET if name not in ("X-Code", "X-Envoy-Expected-Rq-Timeout-Ms")]
    got = sent_on(upstream, trailers=(*(f"{name}: forged" for name in names), "X-Checksum: 7"))

    assert b"forged" not in got
    assert b"x-checksum: 7\r\n" in got


def test_fields_lose_every_spelling_of_a_name_that_is_set_or_taken_away() -> None:
    fields = Fields([(b"x_user", b"1"), (b"x-user", b"2"), (b"xuser", b"3"), (b"x-user-id", b"4"), (b"y.z", b"5")])
    fields["X-User"] = "new"
    del fields["y-z"]
    assert fields.lines == [(b"xuser", b"3"), (b"x-user-id", b"4"), (b"x-user", b"new")]
    assert fields.all("x_user") == []
