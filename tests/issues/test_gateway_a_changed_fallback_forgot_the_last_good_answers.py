"""Whoever changed a service's fallback, as one does while it is down, lost the last good answers of all its clients."""

from __future__ import annotations

import asyncio
from typing import Any

from .gateway_parts import OK, asked, configured, served, upstream


def test_the_last_good_answers_stay_whatever_is_changed_beside_them_and_no_longer_than_is_said_now() -> None:
    is_down = False

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n" if is_down else OK)

    async def main() -> None:
        nonlocal is_down
        async with upstream(answer) as url:
            service = {"endpoints": [url], "command": {"breaker": False}}

            def config(**fallback: Any) -> Any:
                return configured({**service, **({"fallback": fallback} if fallback else {})})

            async with served(config(stale=60.0)) as (gateway, front):
                assert (await front.ask(asked())).startswith(b"HTTP/1.1 200")
                is_down = True
                for fallback in ({"stale": 60.0, "body": "sorry"}, {"stale": 3600.0, "body": "sorry", "on": [500, 503]}):
                    gateway.reload(config(**fallback))
                    assert (await front.ask(asked())).endswith(b"\r\n\r\nok")
                fallbacks = gateway.services["up"].fallbacks
                assert fallbacks is not None
                assert fallbacks.answers is not None
                kept = next(iter(fallbacks.answers._answers.values()))
                gateway.reload(config(stale=0.001, body="sorry"))
                while gateway.registry.clock() - kept.at <= 0.001:
                    await asyncio.sleep(0)
                assert (await front.ask(asked())).endswith(b"\r\n\r\nsorry")
                gateway.reload(config(body="sorry"))
                gateway.reload(config(stale=60.0, body="sorry"))
                assert (await front.ask(asked())).endswith(b"\r\n\r\nsorry"), "nothing is kept where that is not said"

    asyncio.run(main())
