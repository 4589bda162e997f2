"""An endpoint that asks to be left alone is, whatever a rule says that its answer counts as.

A rule of a service with ``counts`` replaced the error that carries the answer's headers, so Retry-After was lost, and the
endpoint was asked again at once.
"""

import pytest

from resilience import Registry
from resilience.gateway.answers.answer_rules import AnswerRule
from resilience.gateway.balancing.retry_state import Repetition
from resilience.gateway.config import ServiceConfig
from resilience.gateway.services.service import Service
from tests.gateway.services.stub_service import ONE, TWO, Answer, Client, ask


class Asking(Answer):
    headers = [(b"retry-after", b"5")]
    trailers = ()


class Busy(Client):
    """Its first endpoint is busy."""

    def __init__(self, status):
        super().__init__()
        self.status = status

    async def send(self, endpoint, request, *, connect_timeout):
        answer = await super().send(endpoint, request, connect_timeout=connect_timeout)
        return Asking(self.status) if endpoint.host == "10.0.0.1" else answer


@pytest.mark.parametrize("counts", [None, "failure", "ignored"])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_endpoint_rests_for_as_long_as_it_asked_for_whatever_a_rule_counts(counts, status):
    client, registry = Busy(status), Registry()
    service = Service("s", ServiceConfig(
        endpoints=(ONE, TWO), balancer="first", rules=(AnswerRule(status=(status,), counts=counts),)), client, registry)
    assert [200, 200, 200] == [await ask(service) for _ in range(3)]
    assert ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2"] == client.asked
    assert [0, 0] == [each.in_flight for each in service.endpoints.states]
    assert (counts == "failure") == (registry["s@10.0.0.1:80"].snapshot().counts["failure"] == 1)


@pytest.mark.parametrize(("statuses", "first"), [((502, 503, 504), 429), ((429, 503), 200)])
async def test_a_429_is_the_clients_unless_it_is_to_be_repeated_and_its_endpoint_rests_in_any_case(statuses, first):
    client = Busy(429)
    service = Service("s", ServiceConfig(endpoints=(ONE, TWO), balancer="first", retry=Repetition(statuses=statuses)),
                      client, Registry())
    assert [first, 200, 200] == [await ask(service) for _ in range(3)]
    assert 1 == client.asked.count("10.0.0.1")
