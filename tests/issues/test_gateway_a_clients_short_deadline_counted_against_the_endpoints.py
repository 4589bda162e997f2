"""With ``pass_deadline``, a client that gave its requests a millisecond had healthy endpoints left out by ejection.

An attempt that a deadline cuts says something of its endpoint only if it had about as long as attempts have as a rule.
The endpoint's circuit knew that; the ejector did not.
"""

import asyncio

import pytest

from resilience import Registry, deadline
from resilience.core.events import State
from resilience.gateway.config import ServiceConfig
from resilience.gateway.services.service import Service
from resilience.testing.virtual_loop import VirtualTimeLoop
from tests.gateway.services.stub_service import ONE, TWO, Client, ask


def left_out(given_s, **said):
    """The most endpoints that were left out while a service hung, and whether its circuit was ever open."""

    async def main():
        async def hang():
            await asyncio.sleep(1000.0)
            return 200

        client = Client()
        client.does = dict.fromkeys(("10.0.0.1", "10.0.0.2"), hang)
        loop = asyncio.get_running_loop()
        registry = Registry(clock=loop.time)
        service = Service("s", ServiceConfig(endpoints=(ONE, TWO), retry=None, pass_deadline=True, **said), client, registry)
        most, opened = 0, False
        for _ in range(30):
            with deadline(given_s):
                await ask(service)
            most = max(most, 2 - len(service.endpoints.balanced.available))
            opened |= service.circuit.circuit.state is State.OPEN
        service.stop()
        return most, opened

    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(0.0)) as runner:
        return runner.run(main())


@pytest.mark.parametrize("said", [{}, {"deadline": 0.5}, {"command": {"timeout": None}, "deadline": 3.0}])
def test_deadlines_that_are_short_by_the_clients_will_leave_nobody_out(said):
    assert left_out(0.001, **said) == (0, False)
    assert left_out(0.2, **said) == (0, False)


@pytest.mark.parametrize("said", [{}, {"deadline": 0.5}, {"command": {"timeout": None}, "deadline": 3.0}])
def test_a_service_that_has_had_as_long_as_ever_is_left_out(said):
    most, opened = left_out(said.get("deadline", 10.0), **said)
    assert most >= 1 or opened
