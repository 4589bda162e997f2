"""Settings of a service whose rules have models elsewhere: that they are heeded, seen from both ends of a gateway."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from resilience.gateway.messages import request_body
from tests.issues.gateway_parts import OK, Script, asked, configured, served, upstream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize("rate", [100.0, None])
async def test_an_answer_that_comes_slower_than_min_rate_is_cut(monkeypatch: pytest.MonkeyPatch, rate: float | None) -> None:
    monkeypatch.setattr(request_body, "RATE_AFTER_S", 0.1)
    sent = 0

    async def slow(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD)
        while sent < 30 and not writer.is_closing():
            sent += 1
            writer.write(b"x")
            await asyncio.sleep(0.01)
        writer.write(b"y" * (1000 - sent))

    async with upstream(slow) as url, served(configured({"endpoints": [url], "min_rate": rate or False})) as (gateway, front):
        answer = await front.ask(asked())
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (rate is None) is answer.endswith(b"y")
        assert int(rate is not None) == gateway.registry["up"].snapshot().counts["failure"]


@pytest.mark.parametrize(("per_endpoint", "asks"), [(1, "ab"), (2, "aab"), (3, "aaa")])
async def test_an_endpoint_is_asked_per_endpoint_times_before_the_next(per_endpoint: int, asks: str) -> None:
    seen = ""

    def script(name: str) -> Script:
        async def run(_: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            seen += name
            writer.write(OK if name == "b" or seen.count("a") == 3 else b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

        return run

    retry = {"attempts": 4, "per_endpoint": per_endpoint, "base": 0.001}
    async with upstream(script("a")) as one, upstream(script("b")) as two:
        config = configured({"endpoints": [one, two], "balancer": "first", "retry": retry})
        async with served(config) as (_, front):
            assert (await front.ask(asked())).startswith(b"HTTP/1.1 200 OK\r\n")
    assert asks == seen


@pytest.mark.parametrize("balancer", ["peak_ewma", "weighted_response_time"])
async def test_a_balancer_that_goes_by_time_prefers_the_faster_endpoint(balancer: str) -> None:
    seen = Counter[float]()

    def script(takes_s: float) -> Script:
        async def run(_: bytes, writer: asyncio.StreamWriter) -> None:
            seen[takes_s] += 1
            await asyncio.sleep(takes_s)
            writer.write(OK)

        return run

    async with upstream(script(0.0)) as fast, upstream(script(0.1)) as slow:
        async with served(configured({"endpoints": [slow, fast], "balancer": balancer})) as (_, front):
            for _ in range(60):
                await front.ask(asked())
    assert seen[0.0] > 3 * seen[0.1]


async def test_the_filter_shed_refuses_what_is_too_much_and_says_when_to_come_again() -> None:
    go_on = asyncio.Event()

    async def waits(_: bytes, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(OK)

    async with upstream(waits) as url:
        config = configured({"endpoints": [url]}, filters={"load": {"use": "shed", "initial": 5}},
                            routes=[{"path": "/*", "service": "up", "filters": ["load"]}])
        async with served(config) as (_, front):
            asking = [asyncio.ensure_future(front.ask(asked())) for _ in range(50)]
            done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            go_on.set()
            answers = await asyncio.gather(*asking)
    refused = [each for each in answers if not each.startswith(b"HTTP/1.1 200 OK\r\n")]
    assert 5 <= len(answers) - len(refused) < 50
    assert {next(iter(done)).result()} <= set(refused)
    assert all(each.startswith(b"HTTP/1.1 503") and b"\r\nretry-after: 1\r\n" in each.lower() for each in refused)
