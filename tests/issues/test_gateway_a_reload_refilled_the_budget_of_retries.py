"""A reload of a service gave it a new budget for its retries, so that reloads in an outage paid for a storm of them."""

from __future__ import annotations

from typing import Any

from resilience import RetryBudget
from resilience.gateway.balancing.retry_state import Repetition
from resilience.gateway.config import ServiceConfig
from tests.gateway.services.stub_service import ONE, TWO, a_service, ask, updated

_BUDGET = RetryBudget(ratio=0.1, per_second=0.0, window=3600.0)


def _config(budget: RetryBudget | None = _BUDGET, **said: Any) -> dict[str, Any]:
    return {"retry": Repetition(statuses=(503,), budget=budget, base=0.0), "ejection": None, "command": {"breaker": None}, **said}


async def test_what_was_spent_stays_spent_whatever_a_reload_changes() -> None:
    service, client, _ = a_service(ONE, TWO, **_config())
    for _ in range(100):
        await ask(service)
    client.does = {"10.0.0.1": lambda: 503, "10.0.0.2": lambda: 503}

    async def retries() -> int:
        client.asked.clear()
        for _ in range(10):
            assert await ask(service) == 503
        return len(client.asked) - 10

    spent = sum([await retries() for _ in range(2)])
    assert 10 <= spent <= 12, "a tenth of all requests"
    for number, budget in enumerate((_BUDGET, RetryBudget(ratio=0.1, per_second=0.0, window=1800.0))):
        service = updated(service, ServiceConfig(endpoints=(ONE, TWO), **_config(budget, idle_timeout=20.0 + number)))
        spent += await retries()
        assert spent <= 14
    service = updated(service, ServiceConfig(endpoints=(ONE, TWO), **_config(RetryBudget(ratio=1.0, per_second=0.0, window=1800.0))))
    assert 10 == await retries(), "a larger share is one from now on"
    service = updated(service, ServiceConfig(endpoints=(ONE, TWO), **_config(None)))
    assert 10 == await retries()
