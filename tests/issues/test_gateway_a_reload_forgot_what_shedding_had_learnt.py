"""Another priority for one route, and the limit that shedding had found out began anew.

A healthy service with room for 160 requests was given 20, and most of its requests were shed until that was learnt
again. Who was in already was not counted any more.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import Registry
from resilience.config import Document
from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.config import GatewayConfig, read
from resilience.gateway.config.shedding import SheddingSettings
from resilience.gateway.limits.admission_control import admission_control_of

from .gateway_parts import OK, asked, served, upstream


def _config(url: str, **shedding: Any) -> GatewayConfig:
    return read(Document.of({
        "services": {"up": {"endpoints": [url], "command": {"timeout": 60.0}}}, "routes": [{"path": "/*", "service": "up"}],
        "shedding": {"initial": 2, "max_limit": 2, "min_limit": 2, "reserved": 0.0, "lag": False, "max_queue": 0, **shedding},
    }, "test"))


def test_who_is_in_counts_after_a_reload_and_gives_the_place_back() -> None:
    async def main() -> None:
        heads, ends = list[bytes](), asyncio.Event()

        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            heads.append(head)
            await ends.wait()
            writer.write(OK)

        async with upstream(script) as url, served(_config(url)) as (gateway, front):
            clients = [await front.client(asked()) for _ in range(2)]
            while len(heads) < 2:
                await asyncio.sleep(0)
            for change in ({"default_priority": 5}, {"route_priority": {"/*": 0}}, {"tolerance": 2.0}, {"lag": 10.0}):
                gateway.reload(_config(url, **change))
                assert (await front.ask(asked())).startswith(b"HTTP/1.1 503 ")
            ends.set()
            for client in clients:
                assert (await client.all()).startswith(b"HTTP/1.1 200 ")
            assert (await front.ask(asked())).startswith(b"HTTP/1.1 200 ")

    asyncio.run(main())


@pytest.mark.parametrize(("before", "after", "stays"), [
    ({}, {"default_priority": 1}, True), ({}, {"lag": 1.0}, True), ({"tenant": ("address",)}, {"tenant": ("route",)}, True),
    ({}, {"max_limit": 100}, True), ({"adaptive": False}, {}, True), ({}, {"scope": "gateway"}, False),
    ({}, {"tenant": ("address",)}, False)])
def test_a_limit_goes_on_unless_it_is_one_of_another_kind(before: Any, after: Any, *, stays: bool) -> None:
    registry, addresses = Registry(), ClientAddresses(lambda peer: False)
    first = admission_control_of(registry, SheddingSettings(**before), addresses)
    limiter = first._limit("up").limiter
    second = admission_control_of(registry, SheddingSettings(**after), addresses)
    assert second is not first
    assert stays is (second._limit("up").limiter is limiter)
    assert second._limit("up").limiter._config.max_limit == after.get("max_limit", 1000)


def test_the_share_that_the_lag_has_left_stays_and_goes_by_the_new_target() -> None:
    registry, addresses = Registry(), ClientAddresses(lambda peer: False)
    first = admission_control_of(registry, SheddingSettings(), addresses)
    assert first.shedder is not None
    first.shedder.share = 0.5
    second = admission_control_of(registry, SheddingSettings(lag=0.2), addresses)
    assert second.shedder is not None
    assert (0.5, 0.2) == (second.shedder.share, second.shedder.target_s)
    assert admission_control_of(registry, SheddingSettings(lag=None), addresses).shedder is None
