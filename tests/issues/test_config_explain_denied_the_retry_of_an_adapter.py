"""The retry of a guarded HTTP client stands above its commands. explain() knew nothing of it: it said that the retry was
off, by the library's default, and that a request was one attempt.
"""

import httpx
import pytest

from resilience import Retry, explain
from resilience.integrations import httpx as guarded_httpx
from resilience.integrations import httpx2 as guarded_httpx2
from resilience.integrations.aiohttp import ResilienceMiddleware
from resilience.integrations.requests import ResilienceAdapter
from resilience.integrations.urllib3 import ResiliencePoolManager

ADAPTERS = [guarded_httpx.ResilienceTransport, guarded_httpx.AsyncResilienceTransport, guarded_httpx2.ResilienceTransport,
            guarded_httpx2.AsyncResilienceTransport, ResilienceAdapter, ResiliencePoolManager, ResilienceMiddleware]
RETRY = Retry(attempts=3, time_limit=20.0)


def retry_in(explanation):
    (chain,) = explanation.chains
    settings = {each.name: (each.value, each.place.file) for each in explanation.settings if each.name.startswith("retry")}
    return chain.policies[0].startswith("Retry"), chain.worst_case.attempts, chain.worst_case.last_begins, settings


@pytest.mark.parametrize("key", [None, "stock"])
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_the_retry_of_an_adapter_is_explained(registry, adapter, key):
    stands, attempts, limit, settings = retry_in(explain(adapter(registry=registry, retry=RETRY, key=key)))
    assert (stands, attempts, limit) == (True, 3, 20.0)
    assert settings["retry.attempts"] == (3, "its adapter")
    assert "retry" not in settings


def test_so_is_it_for_the_command_of_a_host(registry):
    transport = guarded_httpx.ResilienceTransport(httpx.MockTransport(lambda _: httpx.Response(200)), registry=registry, retry=RETRY)
    with httpx.Client(transport=transport) as client:
        client.get("http://shop/")
    assert retry_in(explain("shop", registry=registry))[:3] == (True, 3, 20.0)


def test_without_one_nothing_is_said_of_it(registry):
    stands, attempts, _, settings = retry_in(explain(ResilienceAdapter(registry=registry)))
    assert (stands, attempts, settings) == (False, 1, {"retry": (None, "the library's default")})


def test_the_limit_that_follows_from_the_other_settings_is_that_of_the_adapter(registry):
    assert retry_in(explain(ResilienceAdapter(registry=registry, retry=Retry(attempts=3))))[2] == 50.0
