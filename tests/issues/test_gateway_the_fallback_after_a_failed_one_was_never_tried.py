"""A service that failed was replaced by another one, whatever that answered: by its error, or by the gateway's word that it is dead.

The ``body`` of the fallback never came, and a service's own answer with status 500 was lost for the gateway's 502.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.gateway.harness import free_port

from .gateway_parts import asked, configured, served, upstream

_LONG = b"x" * 70_000


def _answering(said: bytes) -> Any:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %b No\r\nContent-Length: %d\r\nX-From: it\r\n\r\n%b" % (said[:3], len(said), said))

    return answer


async def _got(first: bytes, fallback: dict[str, Any], **others: tuple[bytes, dict[str, Any] | None]) -> tuple[bytes, bytes]:
    """Status and body that a client gets, by what the services say; b"": nothing is there."""
    async with AsyncExitStack() as stack:
        async def service(says: bytes, fallback: dict[str, Any] | None) -> dict[str, Any]:
            url = await stack.enter_async_context(upstream(_answering(says))) if says else f"http://127.0.0.1:{free_port()}"
            return {"endpoints": [url], **({} if fallback is None else {"fallback": fallback})}

        up = await service(first, fallback)
        services = {"up": up, **{name: await service(*each) for name, each in others.items()}}
        async with served(configured(up, services=services)) as (_, front):
            head, _, body = (await front.ask(asked())).partition(b"\r\n\r\n")
            return head[9:12], body


@pytest.mark.parametrize("first", [b"", b"500 of the first"])
@pytest.mark.parametrize("second", [b"", b"500 of the second", b"503 of the second", b"500" + _LONG])
async def test_the_body_comes_where_the_other_service_has_failed_too(first, second):
    assert (b"200", b"last") == await _got(first, {"service": "b", "body": "last"}, b=(second, None))


@pytest.mark.parametrize("own", [{"service": "c"}, {"stale": 60.0}, {"service": "c", "body": "of b"}])
async def test_the_other_service_s_own_fallbacks_come_before_that(own):
    expected = b"of b" if "body" in own else b"last"
    assert (b"200", expected) == await _got(b"", {"service": "b", "body": "last"}, b=(b"500", own), c=(b"502", None))


@pytest.mark.parametrize(("first", "second", "expected"), [
    (b"500 of the first", b"", (b"500", b"500 of the first")),
    (b"500 of the first", b"503 of the second", (b"503", b"503 of the second")),
    (b"500 of the first", b"404 of the second", (b"404", b"404 of the second")),
    (b"500 of the first", b"200 of the second", (b"200", b"200 of the second"))])
async def test_the_last_answer_of_a_service_is_given_where_there_is_nothing_better(first, second, expected):
    assert expected == await _got(first, {"service": "b"}, b=(second, None))


async def test_a_long_answer_is_not_kept_for_that():
    status, body = await _got(b"500" + _LONG, {"service": "b"}, b=(b"", None))
    assert (b"500", True) == (status, b"up failed" in body)
