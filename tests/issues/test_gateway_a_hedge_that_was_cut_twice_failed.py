"""A hedged request that was cancelled a second time while its ways ended raised RuntimeError, and left ways unclosed."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Registry
from resilience.gateway import Gateway
from resilience.gateway.messages.exchange import Request

from .gateway_parts import configured, upstream


@pytest.mark.parametrize("turns", range(6))
def test_a_hedged_request_that_is_cancelled_twice_gives_everything_back(turns: int) -> None:
    async def main() -> None:
        heads, both = list[bytes](), asyncio.Event()

        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            heads.append(head)
            if len(heads) == 2:
                both.set()
            await asyncio.Event().wait()

        async with upstream(script) as one, upstream(script) as other:
            gateway = Gateway(configured({"endpoints": [one, other], "hedge": 0.01}), registry=Registry())
            service = gateway.services["up"]

            async def request() -> None:
                attempts = service.attempts(Request(method="GET", target=b"/", host=None, headers=[]))
                try:
                    await attempts.answered()
                finally:
                    await attempts.close()

            task = asyncio.ensure_future(request())
            await both.wait()
            task.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [0, 0] == [endpoint.in_flight for endpoint in service.endpoints.states]
            assert {0} == {command.snapshot().in_flight for command in gateway.registry}
            gateway.close()

    asyncio.run(main())
