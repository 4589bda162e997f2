"""``RateLimit: "l";r=0;t=60`` where the next request was due in 30 s: the page says that ``t`` is then the wait for the next one."""

from __future__ import annotations

import asyncio
import re

import pytest

from resilience.gateway.limits.rate_fields import left_of
from resilience.gateway.limits.request_limit import RequestLimit, policy_of
from tests.issues.gateway_parts import OK, asked, configured, served, upstream


@pytest.mark.parametrize(("used", "told"), [
    (0.0, (2, 0)), (1.0, (1, 30)), (1.5, (0, 15)), (2.0, (0, 30)), (1.98, (0, 29.4)), (5.0, (0, 120))])
def test_what_is_told_of_two_units_that_come_back_in_a_minute(used: float, told: tuple[int, float]) -> None:
    left, wait_s = left_of(2, used, 30.0)
    assert (told[0], pytest.approx(told[1])) == (max(0, int(left)), wait_s)


def test_the_wait_is_as_long_as_that_of_the_next_refusal() -> None:
    now = [0.0]
    limit = RequestLimit(policy_of(3, 60.0, settles=True), name="l", max_waiting=1, clock=lambda: now[0])
    waits = []
    for _ in range(3):
        now[0] += 0.5
        booking = limit.book("k", 1.0)
        waits.append(limit.left(booking)[1])
    with pytest.raises(Exception, match="l") as refused:
        limit.book("k", 1.0)
    assert waits[-1] == pytest.approx(refused.value.retry_after, abs=1e-3)  # type: ignore[attr-defined]
    limit.settle(booking, 4.0)
    assert limit.left(booking)[1] == pytest.approx(waits[-1] + 60.0)


async def test_on_the_wire() -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    limit = {"use": "rate_limit", "rate": 2, "per": 60.0, "by": ["route"]}
    async with upstream(answer) as url, served(
            configured({"endpoints": [url]}, filters={"l": limit}, gateway={"filters": ["l"]})) as (_, front):
        told = [re.findall(rb"ratelimit: \"l\";r=(\d);t=(\d+)", await front.ask(asked())) for _ in range(3)]
    assert [[(b"1", b"30")], [b"0"], [b"0"]] == [told[0], *([left for left, _ in each] for each in told[1:])]
    assert all(int(wait) <= 30 for each in told for _, wait in each)
