"""An issuer of keys that did not answer in time was cancelled by a second timeout, as long as the first and a moment older.

So no timeout was counted, its circuit never opened, and the log said that the gateway had failed. A key set that was
compressed was no JSON, although nobody had asked for a plain one (RFC 9110, 12.5.3); and the body of an answer of
``forward_auth`` went to the client without the coding that it had.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
from typing import Any

import pytest

from tests.gateway.filters import tokens
from tests.gateway.harness import parsed

from .gateway_parts import OK, asked, configured, served, upstream


def config(url: str, **said: Any) -> Any:
    jwt = {"use": "jwt", "issuer": False, "audience": False, "jwks": f"{url}/keys", **said}
    ask = {"use": "forward_auth", "url": f"{url}/ask"}
    return configured({"endpoints": [url]}, filters={"token": jwt, "ask": ask}, routes=[
        {"path": "/x", "service": "up", "filters": ["token"]}, {"path": "/asked", "service": "up", "filters": ["ask"]}])


def bearer() -> str:
    return f"Authorization: Bearer {tokens.token('a')}"


async def test_an_issuer_that_hangs_has_timeouts_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with upstream(script) as url, served(config(url, fetch_timeout=0.02)) as (gateway, front):
        with caplog.at_level(logging.ERROR, "resilience"):
            assert parsed(await front.ask(asked("/x", bearer())))[0] == 503
        counts = gateway.registry["filter.token.keys"].snapshot().counts
        assert (counts["timeout"], counts["cancelled"]) == (1, 0)
    assert "gives no keys: it did not answer in time" in caplog.text


async def test_a_key_set_may_be_compressed_and_answers_keep_their_coding() -> None:
    heads = []

    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        if head.startswith(b"GET /x"):
            writer.write(OK)
            return
        status, text = (b"200 OK", tokens.key_set("a")) if head.startswith(b"GET /keys") else (b"403 Forbidden", b"no")
        body = gzip.compress(text)
        writer.write(b"HTTP/1.1 %b\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    async with upstream(script) as url, served(config(url)) as (_, front):
        assert parsed(await front.ask(asked("/x", bearer())))[0] == 200
        status, headers, body = parsed(await front.ask(asked("/asked")))
    assert (status, dict(headers)["content-encoding"], gzip.decompress(body)) == (403, "gzip", b"no")
    assert [b"\r\naccept-encoding: identity\r\n" in head for head in heads] == [True, False, True]
