"""A request whose endpoints were all busy was given up at once, though they had asked for less than ``max_delay``.

Whether an answer may be followed by another attempt was asked before it was known that this answer says "come back in a second".
With ``per_endpoint = 1``, the default, nothing could follow where no other endpoint was left.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from .gateway_parts import OK, asked, configured, served, upstream


async def _asked(answers: list[bytes], endpoints: int, service: dict[str, Any], method: str = "GET") -> tuple[bytes, list[float]]:
    """What the client gets of endpoints that give each of these answers once, in turn; and when they were asked."""
    times = list[float]()

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[len(times)])
        times.append(asyncio.get_running_loop().time())

    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(upstream(answer)) for _ in range(endpoints)]
        async with served(configured({"endpoints": urls, "balancer": "first", **service})) as (_, front):
            return (await front.ask(asked(method=method)))[9:12], times


def _busy(status: int, header: str) -> bytes:
    return f"HTTP/1.1 {status} Busy\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("endpoints", [1, 2])
@pytest.mark.parametrize(("status", "retry"), [(503, {}), (429, {"statuses": [429, 503], "max_delay": 5.0})])
async def test_the_last_one_is_asked_again_after_what_it_asks_for(endpoints, status, retry):
    busy = [_busy(status, "Retry-After-Ms: 50")] * endpoints
    found, times = await _asked([*busy, OK], endpoints, {"retry": retry})
    assert (b"200", endpoints + 1) == (found, len(times))
    assert times[-1] - times[-2] >= 0.049


@pytest.mark.parametrize(("header", "service", "method"), [
    ("Retry-After: 2", {}, "GET"),  # more than max_delay
    ("X: y", {}, "GET"),
    ("Retry-After: 0", {"retry": {"attempts": 1}}, "GET"),
    ("Retry-After: 0", {}, "POST"),
    ("Retry-After: 900", {"deadline": 60.0, "retry": {"max_delay": 3600.0}}, "GET"),  # the deadline would pass meanwhile
])
async def test_the_client_is_told_at_once_where_nothing_can_follow(header, service, method):
    found, times = await _asked([_busy(503, header)], 1, service, method)
    assert (b"503", 1) == (found, len(times))
