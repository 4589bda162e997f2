"""With ``raise_failures=True``, a response that is not handed out was not closed: a pool of urllib3 that blocks had one
connection less after each failure, until no request got one.
"""

import pytest

from resilience import FailureRules, http_status
from tests.integrations.http_clients import CLIENTS, Aiohttp, Requests, Urllib3, in_flight, serving

RULES = FailureRules(status=http_status(), raise_failures=True)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.mark.parametrize("kind", CLIENTS, ids=[client.__name__ for client in CLIENTS])
def test_a_failed_response_that_is_raised_gives_its_connection_back(kind, server, registry):
    client = kind(registry=registry, timeout=None, breaker=None, failures=RULES)
    kept = []
    try:
        for _ in range(3):
            with pytest.raises(client.family) as caught:
                client.open(f"{server.url}/503/wait")
            kept.append(caught.value)

        assert in_flight(client) == 0
        if kind is Aiohttp:
            assert len(client.client.connector._acquired) == 0
        if kind in (Requests, Urllib3):
            for error in kept:
                raw = error.result.raw if kind is Requests else error.result
                assert raw.connection is None
                assert raw.closed
    finally:
        client.finish()
