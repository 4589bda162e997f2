"""A stream's ticks came from a task of the first event loop: none came in a forked child, or once that loop was closed."""

from __future__ import annotations

import asyncio

from resilience.asgi import Ticker
from tests.forked import forked


def ticker() -> Ticker:
    return Ticker(lambda: iter(["news"]), interval=0.001, ping=b"", max_listeners=1)


async def joined(one: Ticker) -> asyncio.Queue[list[bytes]]:
    queue = one.join()
    assert queue is not None
    async with asyncio.timeout(30.0):
        assert [b"", b"data: news\n\n"] == await queue.get()
    return queue


async def heard(one: Ticker) -> None:
    one.part(await joined(one))


def test_a_loop_that_was_closed_before_its_listener_had_parted_keeps_none_from_the_next() -> None:
    one, loop = ticker(), asyncio.new_event_loop()
    left = loop.run_until_complete(joined(one))
    tasks = asyncio.all_tasks(loop)
    loop.close()
    asyncio.run(heard(one))
    one.part(left)  # as does who is collected later
    assert not one._audiences
    for each in tasks:
        each._log_destroy_pending = False  # type: ignore[attr-defined]


def test_one_who_parts_from_a_closed_loop_is_forgotten() -> None:
    one, loop = ticker(), asyncio.new_event_loop()
    left = loop.run_until_complete(joined(one))
    for each in asyncio.all_tasks(loop):
        each._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    one.part(left)
    assert not one._audiences


async def test_a_forked_child_has_its_own() -> None:
    one = ticker()
    queue = await joined(one)
    assert 0 == forked(lambda: asyncio.run(heard(one)))
    one.part(queue)
