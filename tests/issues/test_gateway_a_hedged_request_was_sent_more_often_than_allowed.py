"""Each of a hedged request's two ways had all the attempts for itself, and went to endpoints that the other was at."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from .gateway_parts import asked, configured, served, upstream

BAD = b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown"


@pytest.mark.parametrize(("endpoints", "retry", "sent"), [
    (6, {"attempts": 3}, 3), (6, {"attempts": 4}, 4), (2, {"attempts": 4}, 2), (3, {"attempts": 9}, 3),
    (6, {"attempts": 1}, 2), (6, False, 2), (6, {"attempts": 3, "per_endpoint": 2, "base": 0.001}, 3)])
def test_both_ways_together_send_it_as_often_as_allowed_and_never_meet(endpoints: int, retry: Any, sent: int) -> None:
    async def main() -> None:
        heads, are_two = list[int](), asyncio.Event()

        def script(number: int) -> Any:
            async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
                heads.append(number)
                if len(heads) > 1:
                    are_two.set()
                await are_two.wait()
                writer.write(BAD)

            return answer

        async with contextlib.AsyncExitStack() as stack:
            urls = [await stack.enter_async_context(upstream(script(number))) for number in range(endpoints)]
            config = configured({"endpoints": urls, "hedge": 0.01, "retry": retry})
            _, front = await stack.enter_async_context(served(config))
            assert (await front.ask(asked())).startswith(b"HTTP/1.1 503 ")
        assert sent == len(heads)
        if not isinstance(retry, dict) or "per_endpoint" not in retry:
            assert sent == len(set(heads))

    asyncio.run(main())
