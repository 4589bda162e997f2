"""An endpoint that failed, was well and failed again for the same reason was told of once a minute, as if it had failed all the time.

And that an endpoint which was left out is back was said with the level INFO, which ``resilience gateway`` did not print.
"""

from __future__ import annotations

import logging

from resilience import Registry
from resilience.gateway.config import ServiceConfig
from resilience.gateway.messages.exchange import UpstreamError
from resilience.gateway.services.service import Service
from resilience.testing import ManualClock
from tests.gateway.services.stub_service import ONE, Client, ask


async def test_each_outage_is_told_of_and_one_that_goes_on_once_a_minute(caplog):
    clock, client = ManualClock(1000.0), Client()
    service = Service("s", ServiceConfig(endpoints=(ONE,), command={"breaker": None}), client, Registry(clock=clock))

    async def told(outcome: object, seconds: float) -> int:
        caplog.clear()
        client.does = {"10.0.0.1": lambda: outcome}
        with caplog.at_level(logging.WARNING, "resilience"):
            for _ in range(int(seconds)):
                await ask(service)
                clock.advance(1.0)
        return sum("failed: cut" in each for each in caplog.messages)

    cut = UpstreamError("cut")
    assert 1 == await told(cut, 10)
    assert [0, 1] == [await told(200, 6), await told(cut, 20)]
    assert [0, 1] == [await told(cut, 30), await told(cut, 20)], "a minute has passed"
    flapping = [await told(cut, 1) + await told(200, 1) for _ in range(25)]
    assert 1 >= sum(flapping), "what fails now and then does not fill the log"
