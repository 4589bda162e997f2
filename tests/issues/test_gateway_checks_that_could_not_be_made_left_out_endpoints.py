"""Active checks that the gateway could not make, for want of open files, left out all endpoints of all services.

An error that nobody had thought of ended the checks of a service for good, and nothing said so.
"""

import asyncio
import logging

import pytest

from resilience.gateway.balancing.health import HealthChecks
from resilience.gateway.messages.exchange import LocalLimitError
from resilience.testing import virtual_time
from tests.gateway.services.stub_service import ONE, TWO, a_service, ask


@pytest.mark.parametrize("error", [LocalLimitError("Too many open files"), RuntimeError("nobody thought of it")])
def test_a_check_that_cannot_be_made_says_nothing_and_the_next_ones_follow(error, caplog):
    async def scenario():
        service, client, _ = a_service(ONE, TWO, checks=HealthChecks(interval=1.0, unhealthy=2, healthy=2))
        await ask(service)  # checks begin with the first request
        client.does = {"10.0.0.1": lambda: error, "10.0.0.2": lambda: error}
        await asyncio.sleep(5.0)
        assert [True, True] == [each.is_healthy for each in service.endpoints.states]
        client.does = {"10.0.0.1": lambda: 503}
        await asyncio.sleep(5.0)
        client.does = {}
        assert [False, True] == [each.is_healthy for each in service.endpoints.states]
        client.asked.clear()
        assert {200} == {await ask(service) for _ in range(10)}
        assert "10.0.0.1" not in client.asked
        service.stop()
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR, "resilience"):
        virtual_time(scenario())
    logged = [record for record in caplog.records if "could not be checked" in record.getMessage()]
    assert bool(logged) is isinstance(error, RuntimeError)
