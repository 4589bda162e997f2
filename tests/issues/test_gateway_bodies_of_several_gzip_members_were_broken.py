"""gzip with a second member (``cat a.gz b.gz``, bgzip, pigz -i) was "not coded as its Content-Encoding says" (RFC 1952, 2.2)."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import zlib

import pytest

from resilience.gateway.messages.content import MOST_MEMBERS, BrokenCodingError, TooLargeError, beginning, decoded
from tests.issues.gateway_parts import OK, configured, served, upstream

GZIP = [(b"content-encoding", b"gzip")]
TEXT = json.dumps({"model": "their own", "text": "x" * 500}).encode()


def in_members(text: bytes, count: int) -> bytes:
    size = max(1, len(text) // count)
    cuts = [*range(0, size * (count - 1), size), len(text)]
    return b"".join(gzip.compress(text[start:end]) for start, end in zip([0, *cuts[1:-1]], cuts[1:], strict=True))


@pytest.mark.parametrize("count", [2, 3, 17, MOST_MEMBERS])
def test_they_are_read_one_after_the_other(count: int) -> None:
    body = in_members(TEXT, count)
    assert TEXT == decoded(body, GZIP, len(TEXT)) == beginning(body, GZIP, len(TEXT))
    assert TEXT[:99] == beginning(body, GZIP, 99)
    with pytest.raises(TooLargeError):
        decoded(body, GZIP, len(TEXT) - 1)


def test_what_has_come_of_a_member_is_read_wherever_it_is_cut() -> None:
    body = in_members(TEXT, 3)
    for cut in range(len(body)):
        found = beginning(body[:cut], GZIP, len(TEXT))
        assert found is not None
        assert TEXT.startswith(found)


def test_something_else_behind_a_member_is_still_a_broken_body_and_no_reason_to_read_nothing() -> None:
    for rest in (b"\0", b"junk", gzip.compress(b"more")[:-1], zlib.compress(b"more")):
        with pytest.raises(BrokenCodingError):
            decoded(gzip.compress(TEXT) + rest, GZIP, 10_000)
        assert (beginning(gzip.compress(TEXT) + rest, GZIP, 10_000) or b"").startswith(TEXT)
    with pytest.raises(BrokenCodingError):
        decoded(zlib.compress(b"a") + zlib.compress(b"b"), [(b"content-encoding", b"deflate")], 100)


def test_members_without_end_cost_little() -> None:
    body = gzip.compress(b"") * (MOST_MEMBERS + random.Random(1).randrange(1, 9_000))
    with pytest.raises(TooLargeError, match="members"):
        decoded(body, GZIP, 1 << 20)
    assert beginning(body, GZIP, 100) is None


async def test_a_value_is_set_in_such_a_body() -> None:
    sent: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        sent.append(head)
        writer.write(OK)

    body = in_members(TEXT, 2)
    async with upstream(answer) as url, served(
            configured({"endpoints": [{"url": url, "json": {"/model": "ours"}}]})) as (_, front):
        head = (f"POST /x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nContent-Type: application/json\r\n"
                f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n")
        assert (await front.ask(head.encode() + body)).startswith(b"HTTP/1.1 200 ")
        assert b"content-encoding" not in sent[0]
