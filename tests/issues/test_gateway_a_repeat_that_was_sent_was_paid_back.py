"""The budget for repetitions got a token back for an attempt that was sent, if its client left or its deadline passed.

So the budget bounded nothing where it is needed most: while an endpoint hangs and clients give up.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from .gateway_parts import OK, asked, configured, served, upstream

BAD = b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown"
ONE_TOKEN = {"ratio": 0.0, "per_second": 0.01, "window": 100.0}


def _service(*endpoints: str, **said: Any) -> dict[str, Any]:
    return {"endpoints": list(endpoints), "balancer": "first", "ejection": False, "retry": {"budget": ONE_TOKEN},
            "command": {"timeout": 60.0, "breaker": False}, **said}


async def _bad(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(BAD)


class _Hanging:
    """An endpoint that never answers."""

    def __init__(self) -> None:
        self.heads = asyncio.Queue[bytes]()
        self.count = 0

    async def __call__(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        self.heads.put_nowait(head)
        await asyncio.Event().wait()


def _leave(client: Any) -> None:
    at_once = struct.pack("ii", 1, 0)
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    client.reset()


def test_an_attempt_that_was_sent_is_paid_for_when_the_client_leaves() -> None:
    async def main() -> None:
        hanging = _Hanging()
        async with upstream(_bad) as bad, upstream(hanging) as other, \
                served(configured(_service(bad, other))) as (gateway, front):
            client = await front.client(asked())
            await hanging.heads.get()
            _leave(client)
            while any(each.in_flight for each in gateway.services["up"].endpoints.states):
                await asyncio.sleep(0)
            for _ in range(3):
                assert (await front.ask(asked())).startswith(b"HTTP/1.1 503 ")
        assert 1 == hanging.count

    asyncio.run(main())


def test_an_attempt_that_was_sent_is_paid_for_when_the_deadline_passes() -> None:
    async def main() -> None:
        hanging = _Hanging()
        async with upstream(_bad) as bad, upstream(hanging) as other, \
                served(configured(_service(bad, other, deadline=0.05))) as (_, front):
            for _ in range(3):
                assert (await front.ask(asked())).startswith(b"HTTP/1.1 503 ")
        assert 1 == hanging.count

    asyncio.run(main())


def test_a_repeat_whose_client_leaves_in_the_delay_before_it_is_paid_back() -> None:
    async def main() -> None:
        retry = {"budget": ONE_TOKEN, "per_endpoint": 2, "base": 60.0, "max_delay": 60.0}
        async with upstream(_bad) as bad, served(configured(_service(bad, retry=retry))) as (gateway, front):
            budget = gateway.services["up"].retry.budget
            assert budget is not None
            client = await front.client(asked())
            while budget.withdraw(gateway.registry.clock()):  # once this is false, the repeat has it
                budget.refund()
                await asyncio.sleep(0)
            _leave(client)
            async with asyncio.timeout(10.0):
                while not budget.withdraw(gateway.registry.clock()):
                    await asyncio.sleep(0)

    asyncio.run(main())


def test_a_hedge_that_was_not_sent_is_paid_back() -> None:
    async def main() -> None:
        heads, held_ends, slow_ends = list[bytes](), asyncio.Event(), asyncio.Event()

        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            heads.append(head)
            await (held_ends if b"/held" in head else slow_ends).wait()
            writer.write(OK)

        full = {"timeout": 60.0, "breaker": False, "max_concurrent": 1}
        async with upstream(script) as one, upstream(script) as other, \
                served(configured(_service(one, other, hedge=0.02, command=full))) as (gateway, front):
            budget = gateway.services["up"].retry.budget
            assert budget is not None
            held = await front.client(asked("/held", method="POST"))  # is not hedged, and fills one endpoint
            while len(heads) < 1:
                await asyncio.sleep(0)
            asking = await front.client(asked("/slow"))
            while not gateway.registry["up"].snapshot().as_dict()["counts"]["semaphore_rejected"]:
                await asyncio.sleep(0)
            slow_ends.set()
            assert (await asking.all()).startswith(b"HTTP/1.1 200 ")
            held_ends.set()
            assert (await held.all()).startswith(b"HTTP/1.1 200 ")
            assert 2 == len(heads)
            assert budget.withdraw(gateway.registry.clock())

    asyncio.run(main())
