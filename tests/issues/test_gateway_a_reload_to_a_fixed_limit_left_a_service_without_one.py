"""A reload put a number in the place of an adaptive limit, and from then on as many requests ran at once as came.

What was off let everybody pass, as it should, but had told that to the slots as well, which are those of the number. The
other way round, the adaptive limit began at nothing, since the bulkhead that left took the slots' limit along, and forgot
the requests that were under way.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from resilience import AdaptiveLimit, Registry
from resilience.commands.command import internals_of
from resilience.gateway.config import ServiceConfig
from tests.gateway.services.stub_service import ONE, a_service, ask, updated

_ADAPTIVE = AdaptiveLimit(initial=3, max_limit=3)
_LIMITS: dict[int | None, dict[str, Any]] = {
    100: {}, 5: {"max_concurrent": 5}, None: {"max_concurrent": None}, 3: {"adaptive_limit": _ADAPTIVE}}
_MANY = 110


async def _at_once(steps: tuple[int | None, ...]) -> tuple[int, int, int | None]:
    """How many requests were in flight before others came, and then, and what the service says that it admits."""
    service, client, registry = a_service(ONE, command=_LIMITS[steps[0]])
    go = asyncio.Event()

    async def held() -> int:
        await go.wait()
        return 200

    client.does = {"10.0.0.1": held}
    asking = [asyncio.ensure_future(ask(service)) for _ in range(2)]
    while len(client.asked) < 2:
        await asyncio.sleep(0)
    for step in steps[1:]:
        service = updated(service, ServiceConfig(endpoints=(ONE,), command=_LIMITS[step]))
    before = registry["s"].in_flight
    asking += [asyncio.ensure_future(ask(service)) for _ in range(_MANY)]
    for _ in range(20):
        await asyncio.sleep(0)
    found = before, registry["s"].in_flight, _shown(registry)
    go.set()
    await asyncio.gather(*asking)
    assert 0 == registry["s"].in_flight
    service.close()
    return found


def _shown(registry: Registry) -> int | None:
    assert internals_of(registry["s"]).runtime.slots.limit == registry["s"].snapshot().max_concurrent
    return registry["s"].snapshot().max_concurrent


async def test_whatever_limits_came_before_the_last_one_is_in_force() -> None:
    for steps in itertools.product(_LIMITS, repeat=3):
        limit = steps[-1]
        assert (2, _MANY + 2 if limit is None else limit, limit) == await _at_once(steps), steps
