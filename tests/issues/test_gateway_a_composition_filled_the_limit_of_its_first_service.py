"""For shedding, statistics and logs a composition was a request to the service of its first part, for as long as all took.

So another part that hung filled the limit of that service, and plain requests to it were shed although it was well.
"""

from __future__ import annotations

import asyncio

from prometheus_client import generate_latest

from resilience.config import Document
from resilience.gateway.config import read
from resilience.metrics.prometheus import Collector

from .gateway_parts import asked, served, upstream

JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def test_a_part_that_hangs_fills_the_limit_of_the_composition_and_of_no_service() -> None:
    async def main() -> None:
        heads, ends = list[bytes](), asyncio.Event()

        async def good(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(JSON)

        async def hangs(head: bytes, writer: asyncio.StreamWriter) -> None:
            heads.append(head)
            await ends.wait()
            writer.write(JSON)

        async with upstream(good) as fast, upstream(hangs) as slow:
            config = read(Document.of({
                "services": {"fast": {"endpoints": [fast]}, "slow": {"endpoints": [slow], "command": {"timeout": 60.0}}},
                "compositions": {"page": {"timeout": 60.0, "parts": {
                    "one": {"service": "fast", "path": "/"}, "two": {"service": "slow", "path": "/"}}}},
                "shedding": {"initial": 2, "min_limit": 2, "max_limit": 2, "reserved": 0.0, "max_queue": 0, "lag": False},
                "routes": [{"path": "/fast", "service": "fast"}, {"path": "/page", "compose": "page"}]}, "test"))
            async with served(config) as (gateway, front):
                pages = [await front.client(asked("/page")) for _ in range(2)]
                while len(heads) < 2:
                    await asyncio.sleep(0)
                assert (await front.ask(asked("/page"))).startswith(b"HTTP/1.1 503 ")
                assert (await front.ask(asked("/fast"))).startswith(b"HTTP/1.1 200 ")
                ends.set()
                for page in pages:
                    assert (await page.all()).startswith(b"HTTP/1.1 200 ")
                text = generate_latest(Collector(gateway.registry)).decode()
                assert 'resilience_gateway_requests_total{route="/page",service="composition.page",status="2xx"} 2.0' in text
                assert 'resilience_gateway_requests_total{route="/fast",service="fast",status="2xx"} 1.0' in text

    asyncio.run(main())
