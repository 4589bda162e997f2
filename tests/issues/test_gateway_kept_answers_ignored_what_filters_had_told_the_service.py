"""The last good answer was given to requests for which filters had told the service something else in a header.

``forward_auth`` that copies X-User and names no consumer: alice's page for bob. The same of routes with headers of their
own below one service, and of http and https.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.config import Document
from resilience.gateway.config import GatewayConfig, read
from tests.issues.gateway_parts import asked, served, upstream


async def answer(head: bytes, writer: asyncio.StreamWriter, heads: list[bytes]) -> None:
    """The first request is answered by its X-User, and then the service is down."""
    heads.append(head)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst" if len(heads) == 1 else
                 b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown")


async def authority(head: bytes, writer: asyncio.StreamWriter) -> None:
    [key] = [line for line in head.split(b"\r\n") if line.startswith(b"x-api-key: ")]
    writer.write(b"HTTP/1.1 200 OK\r\nX-User: %b\r\nContent-Length: 0\r\n\r\n" % key.partition(b": ")[2])


def configured(url: str, auth: str) -> GatewayConfig:
    setting: Any = lambda site: {"use": "headers", "request": {"set": {"X-Site": site}}}  # noqa: E731
    return read(Document.of({
        "gateway": {"trusted_proxies": ["127.0.0.1"]},
        "services": {"up": {"endpoints": [url], "fallback": {"stale": 60.0}, "retry": False},
                     "auth": {"endpoints": [auth]}},
        "filters": {"who": {"use": "forward_auth", "service": "auth", "send_headers": ["X-API-Key"],
                            "copy_headers": ["X-User"]}, "a": setting("a"), "b": setting("b")},
        "routes": [{"path": f"/{each}/*", "service": "up", "strip_prefix": f"/{each}", "filters": [each]}
                   for each in ("a", "b", "who")] + [{"path": "/*", "service": "up"}]}, "test"))


@pytest.mark.parametrize(("first", "other"), [
    (("/who/x", "X-API-Key: alice"), ("/who/x", "X-API-Key: bob")),
    (("/a/x", "Accept: */*"), ("/b/x", "Accept: */*")),
    (("/x", "X-Forwarded-Proto: https"), ("/x", "X-Forwarded-Proto: http"))])
async def test_an_answer_is_given_again_only_where_the_service_was_told_the_same(
        first: tuple[str, str], other: tuple[str, str]) -> None:
    heads: list[bytes] = []
    async with upstream(lambda head, writer: answer(head, writer, heads)) as url, upstream(authority) as auth, \
            served(configured(url, auth)) as (_, front):
        assert b"\r\n\r\nfirst" in await front.ask(asked(*first))
        assert b"\r\n\r\ndown" in await front.ask(asked(*other))
        told = await front.ask(asked(*first))
        assert b"\r\n\r\nfirst" in told
        assert b"\r\nage: " in told
