"""A reload removed an endpoint, and what the requests that were there came to was in no statistic of the service."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from resilience.gateway import Gateway
from tests.seeds import over_seeds

from .gateway_parts import OK, asked, configured, served, upstream


def _counts(gateway: Gateway) -> tuple[int, int]:
    """Requests in flight, and those that have ended."""
    snapshot = gateway.registry["up"].snapshot()
    return snapshot.in_flight, sum(gateway.registry["up"].__recorder__.totals()[0][:4])


@over_seeds(10)
def test_every_request_is_in_flight_or_counted_however_often_endpoints_come_and_go(seed: int) -> None:
    dice = random.Random(seed)

    async def main() -> None:
        waiting, arrived = list[asyncio.Event](), 0

        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal arrived
            arrived += 1
            ends = asyncio.Event()
            waiting.append(ends)
            await ends.wait()
            writer.write(OK if dice.random() < 0.8 else b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n")

        async with upstream(script) as a, upstream(script) as b, upstream(script) as c, upstream(script) as d:
            urls = [a, b, c, d]

            def service() -> dict[str, Any]:
                found = dice.sample(urls, dice.randrange(2, 5))
                bounds = {"max_concurrent": dice.choice((False, 100)), "timeout": dice.choice((False, 60.0))}
                return {"endpoints": found, "ejection": False, "idle_timeout": dice.choice((30.0, 31.0)),
                        "command": {"breaker": False, **bounds}}

            clients, begun = [], 0
            async with served(configured(service())) as (gateway, front):
                for _ in range(40):
                    move = dice.random()
                    if move < 0.5:
                        begun += 1
                        clients.append(await front.client(asked()))
                        while arrived < begun:
                            await asyncio.sleep(0)
                    elif move < 0.8 and waiting:
                        before = _counts(gateway)[1]
                        waiting.pop(dice.randrange(len(waiting))).set()
                        while _counts(gateway)[1] == before:
                            await asyncio.sleep(0)
                    else:
                        gateway.reload(configured(service()))
                    assert (len(waiting), begun - len(waiting)) == _counts(gateway)
                for each in waiting:
                    each.set()
                for client in clients:
                    assert (await client.all()).startswith(b"HTTP/1.1 ")
                assert (0, begun) == _counts(gateway)

    asyncio.run(main())
