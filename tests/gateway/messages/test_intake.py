"""The bounds of a request's body, in virtual time, against a plain count of what was waited for and what came."""

from __future__ import annotations

import asyncio
import random

import pytest

from resilience.drivers.async_timeouts import AsyncTimeout
from resilience.gateway.messages.inbound import BodyBrokenError
from resilience.gateway.messages.problem import Problem
from resilience.gateway.messages.request_body import RATE_AFTER_S, Intake
from resilience.testing import virtual_time
from tests.seeds import over_seeds


def client(pieces: list[tuple[float, bytes]], *, leaves: bool = False):  # type: ignore[no-untyped-def]
    """A receive() that gives each piece so many seconds after it was asked for it."""
    left = list(pieces)

    async def receive() -> tuple[bytes, bool]:
        if leaves and not left:
            raise BodyBrokenError
        pause, body = left.pop(0)
        await asyncio.sleep(pause)
        return body, bool(left) or leaves

    return receive


async def taken(intake: Intake, *, rest: float = 0.0) -> tuple[bytes, int]:
    """What came, and the status of the problem that ended it, or 0; with a rest after each piece."""
    found, more = b"", True
    while more:
        try:
            piece, more = await intake.piece()
        except Problem as problem:
            assert problem.close
            return found, problem.status
        found += piece
        await asyncio.sleep(rest)
    return found, 0


def test_a_client_that_drips_just_within_its_patience_is_late_in_the_end() -> None:
    async def scenario() -> tuple[bytes, int, float]:
        began = asyncio.get_running_loop().time()
        intake = Intake(client([(29.0, b"x")] * 100), AsyncTimeout("client", 30.0), 300.0, None)
        found, status = await taken(intake)
        return found, status, asyncio.get_running_loop().time() - began

    assert (b"x" * 10, 408, 319.0) == virtual_time(scenario())


def test_what_the_upstream_takes_to_swallow_a_piece_is_not_counted() -> None:
    async def scenario() -> tuple[bytes, int]:
        return await taken(Intake(client([(1.0, b"x")] * 100), AsyncTimeout("client", 30.0), 100.5, None), rest=60.0)

    assert (b"x" * 100, 0) == virtual_time(scenario())


def test_a_last_piece_that_ends_the_body_is_taken_however_late_it_is_in_all() -> None:
    async def scenario() -> tuple[bytes, int]:
        return await taken(Intake(client([(6.0, b"x"), (6.0, b"y")]), AsyncTimeout("client", 30.0), 10.0, None))

    assert (b"xy", 0) == virtual_time(scenario())


def test_a_client_that_leaves_is_not_late_and_not_too_large() -> None:
    async def scenario() -> None:
        intake = Intake(client([(0.0, b"x")], leaves=True), AsyncTimeout("client", 30.0), 10.0, 1)
        assert (b"x", True) == await intake.piece()
        with pytest.raises(Problem) as caught:
            await intake.piece()
        assert (400, True) == (caught.value.status, caught.value.close)

    virtual_time(scenario())


@over_seeds(30)
def test_any_body_ends_as_a_plain_count_says(seed: int) -> None:
    random_ = random.Random(seed)
    for _ in range(50):
        patience = random_.choice([2.0, 10.0])
        total = random_.choice([None, 7.0, 40.0])
        most = random_.choice([None, 0, 5, 40])
        rate = random_.choice([None, 0.5, 3.0])
        pieces = [(random_.choice([0.0, 0.25, 1.5, 3.0]), b"x" * random_.choice([0, 0, 1, 7]))
                  for _ in range(random_.randint(1, 20))]

        async def scenario() -> tuple[bytes, int]:
            return await taken(Intake(client(pieces), AsyncTimeout("client", patience), total, most, rate),
                               rest=random_.choice([0.0, 5.0]))

        assert plain_count(pieces, patience, total, most, rate) == virtual_time(scenario())


def plain_count(pieces: list[tuple[float, bytes]], patience: float, total: float | None,
                most: int | None, rate: float | None) -> tuple[bytes, int]:
    waited, came = 0.0, b""
    for index, (pause, body) in enumerate(pieces):
        waited += min(pause, patience)
        is_last = index == len(pieces) - 1
        too_slow = rate is not None and waited > RATE_AFTER_S and len(came) + len(body) < waited * rate
        if pause > patience or (not is_last and (too_slow or (total is not None and waited >= total))):
            return came, 408
        if most is not None and len(came) + len(body) > most:
            return came, 413
        came += body
    return came, 0
