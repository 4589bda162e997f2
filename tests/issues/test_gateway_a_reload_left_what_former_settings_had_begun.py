"""A reload took a setting away, or made it shorter, and what the setting had begun went on.

An endpoint that was to start slowly had a tenth of its share for ever. One that was left out stayed so for up to a
minute, although nobody was to be left out any more, or not for so long.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.core.failover import RestState
from resilience.gateway.balancing import Ejection, Ejector, EndpointState

from .gateway_parts import OK, asked, configured, served, upstream


async def _good(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def _bad(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Broken\r\nContent-Length: 3\r\n\r\nbad")


def test_an_endpoint_has_its_whole_share_when_nobody_starts_slowly_any_more() -> None:
    async def main() -> None:
        async with upstream(_good) as one, upstream(_good) as other:
            slowly = {"balancing": {"slow_start": {"window": 3600.0}}}
            async with served(configured({"endpoints": [one], **slowly})) as (gateway, front):
                gateway.reload(configured({"endpoints": [one, {"url": other, "weight": 2.0}], **slowly}))
                await front.ask(asked())
                shares = [each.share for each in gateway.services["up"].endpoints.states]
                assert shares[0] == 1.0
                assert shares[1] == pytest.approx(0.2)
                gateway.reload(configured({"endpoints": [one, {"url": other, "weight": 2.0}]}))
                await front.ask(asked())
                assert [1.0, 2.0] == [each.share for each in gateway.services["up"].endpoints.states]
                assert all(each.is_calm for each in gateway.services["up"].endpoints.states)

    asyncio.run(main())


@pytest.mark.parametrize(("later", "state", "longest"), [
    (False, RestState.AVAILABLE, 0.0), ({"rest": 0.5}, RestState.RESTING, 0.5),
    ({"rest": 60.0, "max_rest": 60.0}, RestState.RESTING, 60.0)])
def test_a_rest_that_has_begun_is_no_longer_than_the_settings_say_now(later: Any, state: RestState, longest: float) -> None:
    async def main() -> None:
        async with upstream(_bad) as one, upstream(_good) as other:
            service = {"endpoints": [one, other], "command": {"breaker": False}}
            config = configured({**service, "ejection": {"rest": 60.0}})
            async with served(config) as (gateway, front):
                while gateway.services["up"].endpoints.states[0].rest.state is RestState.AVAILABLE:
                    await front.ask(asked())
                gateway.reload(configured({**service, "ejection": later}))
                rest, now = gateway.services["up"].endpoints.states[0].rest, gateway.registry.clock()
                assert state is rest.state
                assert max(0.0, rest.until - now) <= longest
                if longest == 60.0:
                    assert rest.until - now > 30.0

    asyncio.run(main())


def test_a_pause_that_an_endpoint_asks_for_is_kept_and_shortened_by_the_same_rule() -> None:
    state = EndpointState("a")
    Ejector(Ejection(max_rest=100.0), [state], 0.0).pause(state, 90.0, 0.0)
    Ejector(None, [state], 10.0)
    assert (90.0, True) == (state.rest.until, state.rest.is_left_out)
    Ejector(Ejection(max_rest=60.0), [state], 10.0)
    assert 70.0 == state.rest.until
    Ejector(Ejection(max_rest=80.0), [state], 10.0)
    assert 70.0 == state.rest.until


def test_a_probe_under_way_decides_nothing_when_nobody_is_left_out_any_more() -> None:
    state = EndpointState("a")
    ejector = Ejector(Ejection(consecutive=1), [state, EndpointState("b")], 0.0)
    assert ejector.failed(state, None, 0.0)
    permit = state.rest.ask(10.0)
    assert permit is not None
    assert RestState.PROBING is permit.state
    Ejector(None, [state], 10.0).failed(state, permit, 11.0)
    assert RestState.AVAILABLE is state.rest.state
