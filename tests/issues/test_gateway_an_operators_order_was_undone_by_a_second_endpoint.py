"""An operator had closed a service to all requests; when a reload gave it a second endpoint, or took one, it was open."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from resilience import State

from .gateway_parts import OK, asked, configured, served, upstream


async def _good(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


@pytest.mark.parametrize("numbers", [(1, 2, 1), (2, 1, 3), (1, 1), (2, 3)])
def test_what_an_operator_has_ordered_for_a_service_stays_in_force_however_many_endpoints_it_has(
        numbers: tuple[int, ...]) -> None:
    async def main() -> None:
        async with upstream(_good) as a, upstream(_good) as b, upstream(_good) as c:
            async with served(configured({"endpoints": [a, b, c][:numbers[0]]})) as (gateway, front):
                gateway.registry["up"].force_open()
                for _, number in pairwise(numbers):
                    gateway.reload(configured({"endpoints": [a, b, c][:number]}))
                    assert {State.FORCED_OPEN} == {each.state for each in gateway.registry}
                    assert (await front.ask(asked())).startswith(b"HTTP/1.1 503 ")
                gateway.registry["up"].release()
                assert (await front.ask(asked())).startswith(b"HTTP/1.1 200 ")

    asyncio.run(main())


def test_an_order_for_commands_without_a_circuit_is_no_order() -> None:
    async def main() -> None:
        async with upstream(_good) as a, upstream(_good) as b:
            async with served(configured({"endpoints": [a]})) as (gateway, front):
                gateway.registry["up"].force_open()
                gateway.reload(configured({"endpoints": [a, b], "command": {"breaker": False}}))
                assert (await front.ask(asked())).startswith(b"HTTP/1.1 200 ")

    asyncio.run(main())
