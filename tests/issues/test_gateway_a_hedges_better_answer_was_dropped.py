"""When the first endpoint failed while the second was still under way, its failure was passed on all the same."""

from __future__ import annotations

import asyncio

import pytest

from .gateway_parts import OK, asked, configured, served, upstream


@pytest.mark.parametrize("bad", [b"HTTP/1.1 500 Broken\r\nContent-Length: 3\r\n\r\nbad", b""])
def test_the_second_ways_answer_counts_when_the_first_way_fails(bad: bytes) -> None:
    async def main() -> None:
        first_is_bad, second_is_asked = asyncio.Event(), asyncio.Event()
        asked_first = list[bytes]()

        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            asked_first.append(head)
            if len(asked_first) == 1:
                await second_is_asked.wait()
                writer.write(bad)
                if not bad:
                    writer.transport.abort()
                first_is_bad.set()
            else:
                second_is_asked.set()
                await first_is_bad.wait()
                for _ in range(20):  # the gateway sees the first answer before this one
                    await asyncio.sleep(0)
                writer.write(OK)

        async with upstream(script) as one, upstream(script) as other:
            config = configured({"endpoints": [one, other], "hedge": 0.01})
            async with served(config) as (_, front):
                assert (await front.ask(asked())).startswith(b"HTTP/1.1 200 ")
        assert len(asked_first) >= 2

    asyncio.run(main())
