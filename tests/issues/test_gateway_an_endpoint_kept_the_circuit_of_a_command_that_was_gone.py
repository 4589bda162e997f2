"""A reload gave the endpoints of a service one command, and all but the first went by the circuits they had had before.

One that was open kept its endpoint out for as long as it was, whatever the service's own circuit said.
"""

from __future__ import annotations

from resilience import State
from resilience.gateway.config import ServiceConfig
from tests.gateway.services.stub_service import ONE, THREE, TWO, a_service, ask, updated


async def test_endpoints_that_share_a_command_have_no_circuits_of_their_own() -> None:
    service, client, registry = a_service(ONE, TWO, THREE)
    registry["s@10.0.0.2:80"].force_open()
    service = updated(service, ServiceConfig(endpoints=(ONE, TWO, THREE), command={"per": "service"}))
    assert State.CLOSED is registry["s"].state
    assert [None] * 3 == [each.circuit for each in service.endpoints.states]
    assert [200] * 6 == [await ask(service) for _ in range(6)]
    assert {"10.0.0.1", "10.0.0.2", "10.0.0.3"} == set(client.asked)
