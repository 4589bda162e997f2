"""The ``hmac`` filter took a request's body in, up to ``max_body``, before it looked whether somebody had signed it.

Whoever opened connections had the gateway keep a mebibyte for each, as long as an upload may take. Where signatures are
optional, uploads without one were kept, and refused if they were larger.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.gateway.filters.test_hmac import COVERED, SECRET, Sent
from tests.gateway.harness import parsed

from .gateway_parts import OK, asked, configured, served, upstream

HEAD = ("Content-Length: 1000000", "Expect: 100-continue")


def guarded(url: str, **said: Any) -> Any:
    key = {"id": "billing", "secret": "env:BILLING", "consumer": "billing"}
    return configured({"endpoints": [url]}, filters={"signed": {"use": "hmac", "keys": [key], **said}},
                      gateway={"filters": ["signed"]})


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING", SECRET)


async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


def signed(body: bytes, nonce: str, **more: Any) -> bytes:
    sent = Sent("POST", query="", body=body).sign(covered=(*COVERED, "content-digest"), nonce=nonce, **more)
    lines = [f"{name}: {value}" for name, value in sent.headers.items() if name.lower() != "content-length"]
    return asked("/x", *lines, f"Content-Length: {len(body)}", method="POST")


async def test_a_request_that_nobody_has_signed_is_refused_before_its_body_comes() -> None:
    async with upstream(script) as url, served(guarded(url)) as (_, front):
        for lines in ((), ("Signature: a=:AAAA:", 'Signature-Input: a=();keyid="x"')):
            answer = await front.ask(asked("/x", *HEAD, *lines, method="POST"))  # which sends no body
            assert (parsed(answer)[0], answer.count(b"HTTP/1.1")) == (401, 1)
        forged = signed(b"x", "1", secret="o" * 32).replace(b"Content-Length: 1\r\n", b"Content-Length: 1000000\r\n")
        assert parsed(await front.ask(forged))[0] == 401


async def test_a_signed_body_is_compared_and_a_broken_upload_can_be_sent_again() -> None:
    async with upstream(script) as url, served(guarded(url)) as (gateway, front):
        request = signed(b"body", "1")
        broken = await front.client(request + b"bo")
        broken.half_close()
        assert parsed(await broken.all())[0] == 400
        assert parsed(await front.ask(request + b"Body"))[0] == 401
        assert [parsed(await front.ask(request + b"body"))[0] for _ in range(2)] == [200, 401]
        assert {command.key for command in gateway.registry} >= {"filter.signed.signature", "filter.signed.body"}


async def test_an_upload_without_a_signature_streams_where_that_is_optional() -> None:
    async def taking(head: bytes, writer: asyncio.StreamWriter) -> None:
        took.set()
        await asyncio.Event().wait()

    took = asyncio.Event()
    async with upstream(taking) as url, served(guarded(url, optional=True, max_body=10)) as (_, front):
        client = await front.client(asked("/x", "Content-Length: 200000", method="POST") + b"x" * 100_000)
        await asyncio.wait_for(took.wait(), 10)
        client.leave()
