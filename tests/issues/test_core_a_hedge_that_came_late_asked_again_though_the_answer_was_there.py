"""A hedge's delay that ended while the loop was blocked began another attempt before the answer in the socket was read."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from resilience import Hedge, Registry, command
from resilience.drivers import local_stalls
from resilience.engine import hedging


@pytest.fixture(autouse=True)
def _no_stall_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_stalls, "system_stalls", local_stalls.Stalls())


def hold_up() -> None:
    """Let the next timers of the loop come two minutes late, as they do after something has blocked it."""
    loop = asyncio.get_running_loop()
    plain = type(loop).time
    loop.time = lambda: plain(loop) + 120.0  # type: ignore[method-assign]


@asynccontextmanager
async def line_sent_in_a_stall() -> AsyncIterator[Any]:
    """What reads a line, and what sends it and holds the loop up."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)

    async def line() -> bytes:
        found = await reader.readline()
        for _ in range(4):  # a client's own tasks take some turns to hand it on
            await asyncio.sleep(0)
        return found

    def send() -> None:
        theirs.sendall(b"well\n")
        hold_up()

    try:
        yield line, send
    finally:
        theirs.close()
        writer.close()


@pytest.mark.parametrize("flavour", ["async", "async generator"])
async def test_an_answer_that_came_in_a_stall_needs_no_second_attempt(flavour: str) -> None:
    registry, begun = Registry(), list[None]()
    async with line_sent_in_a_stall() as (line, send):

        @command(key="target", registry=registry, timeout=600.0, hedge=Hedge(idempotent=True, delay=60.0))
        async def call() -> bytes:
            begun.append(None)
            return await line()

        @command(key="stream", registry=registry, timeout=600.0, hedge=Hedge(idempotent=True, delay=60.0))
        async def lines() -> AsyncIterator[bytes]:
            begun.append(None)
            yield await line()

        asked = asyncio.ensure_future(call() if flavour == "async" else anext(lines()))
        while not begun:
            await asyncio.sleep(0)
        send()
        assert b"well\n" == await asked
    assert 1 == len(begun)


async def test_a_hedge_begins_after_a_stall_if_no_answer_came() -> None:
    begun = list[None]()

    @command(key="target", registry=Registry(), timeout=600.0, hedge=Hedge(idempotent=True, delay=60.0))
    async def call() -> None:
        begun.append(None)
        if len(begun) == 1:
            hold_up()
            await asyncio.Event().wait()

    await call()
    assert 2 == len(begun)


def test_a_call_on_a_thread_that_ends_with_the_delay_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, registry = hedging.JobRace, Registry()

    def late(starter: Any, isolation: Any, clock: Any, job: Any, *rest: Any) -> Any:
        """As if the thread had got no turn meanwhile."""
        race = plain(starter, isolation, clock, job, *rest)
        race._ends.put(race._ends.get(timeout=30.0))
        return race

    monkeypatch.setattr(hedging, "JobRace", late)

    @command(key="target", registry=registry, hedge=Hedge(idempotent=True, delay=0.001), timeout=30.0)
    def call() -> None:
        time.sleep(0.02)  # longer than the delay

    call()
    assert 0 == registry["target"].snapshot().counts["hedge"]
