"""A fallback answered for a service that was never asked, and the caller paid the estimate, or what a kept answer had cost.

And a fallback for a status below 500 was never given: the client got the gateway's own answer with that status.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.gateway.harness import free_port

from .gateway_parts import asked, configured, served, upstream

_USAGE = b'{"usage": 300}'


def _limited(service: dict[str, Any], **others: Any) -> Any:
    return configured(
        service, filters={"tokens": {"use": "rate_limit", "rate": 1000, "per": 86400.0, "by": ["address"], "cost": 100.0,
                                     "answer_pointer": ["/usage"]}},
        routes=[{"path": "/*", "service": "up", "filters": ["tokens"]}],
        services={"up": {"command": {"breaker": False}, **service}, **others})


async def _left(front: Any) -> int:
    """What is left for this request, whose estimate is booked, after those before it."""
    said = await front.ask(asked())
    assert said.startswith(b"HTTP/1.1 200"), said
    found = re.search(rb'ratelimit: "tokens";r=(\d+)', said.lower())
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("down", ["unreachable", "open circuit", "full"])
def test_what_reached_no_service_costs_nothing(down: str) -> None:
    async def hang(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        async with upstream(hang) as url:
            service: dict[str, Any] = {"endpoints": [url], "fallback": {"body": _USAGE.decode(), "headers": {"Content-Type": "application/json"}}}
            if down == "unreachable":
                service["endpoints"] = [f"http://127.0.0.1:{free_port()}"]
            elif down == "open circuit":
                service["command"] = {}
            else:
                service["command"] = {"max_concurrent": 1}
            async with served(_limited(service)) as (gateway, front):
                if down == "open circuit":
                    gateway.registry["up"].force_open()
                waiting = await front.client(asked("/hangs")) if down == "full" else None
                while waiting is not None and not gateway.services["up"].endpoints.states[0].in_flight:
                    await asyncio.sleep(0.005)
                booked = 100 if waiting is not None else 0
                assert [900 - booked] * 3 == [await _left(front) for _ in range(3)]
                if waiting is not None:
                    waiting.leave()
                    while gateway.services["up"].endpoints.states[0].in_flight:
                        await asyncio.sleep(0.005)

    asyncio.run(main())


def test_a_kept_answer_is_not_paid_for_again_and_a_failed_request_costs_the_estimate() -> None:
    is_down = False

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Down\r\nContent-Length: 0\r\n\r\n" if is_down else
                     b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_USAGE), _USAGE))

    async def main() -> None:
        nonlocal is_down
        async with upstream(answer) as url, served(_limited({"endpoints": [url], "fallback": {"stale": 60.0}})) as (_, front):
            assert await _left(front) == 900
            is_down = True
            assert [600, 500, 400] == [await _left(front) for _ in range(3)]

    asyncio.run(main())


def test_another_service_s_answer_costs_what_it_says() -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_USAGE), _USAGE))

    async def main() -> None:
        async with upstream(answer) as url:
            service = {"endpoints": [f"http://127.0.0.1:{free_port()}"], "fallback": {"service": "other"}}
            async with served(_limited(service, other={"endpoints": [url]})) as (_, front):
                assert [900, 600, 300] == [await _left(front) for _ in range(3)]

    asyncio.run(main())


@pytest.mark.parametrize("status", [404, 429, 503])
def test_any_status_can_be_replaced(status: int) -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)

    async def main() -> None:
        async with upstream(answer) as url, served(configured(
                {"endpoints": [url], "fallback": {"body": "instead", "on": [status]}})) as (_, front):
            said = await front.ask(asked())
            assert (b"HTTP/1.1 200", b"instead") == (said[:12], said.partition(b"\r\n\r\n")[2])

    asyncio.run(main())
