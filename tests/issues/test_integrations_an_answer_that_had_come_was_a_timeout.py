"""An answer of aiohttp that had come completely counted as a timeout if the caller's deadline had passed meanwhile, and
"Task exception was never retrieved" was logged; closing a response of an asynchronous httpx client raised a
DeadlineExceededError then.
"""

import pytest

from resilience import deadline, remaining
from tests.integrations.http_clients import CLIENTS, counts_of, in_flight, serving

ASYNCHRONOUS = [client for client in CLIENTS if client.is_async]


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(params=CLIENTS, ids=[client.__name__ for client in CLIENTS])
def client(request, registry):
    client = request.param(registry=registry, **({"timeout": 60.0} if request.param in ASYNCHRONOUS else {}))
    yield client
    client.finish()


@pytest.mark.parametrize("ending", ["closed", "has come"])
def test_the_end_of_an_answer_is_no_wait_that_a_deadline_ends(client, server, clock, ending, caplog):
    with deadline(5.0, clock=clock):
        response = client.open(f"{server.url}/200/{'wait' if ending == 'closed' else ''}")
        clock.advance(6.0)
        client.close(response)
        assert remaining() == -1.0

    assert counts_of(client) == {"success": 1}
    assert in_flight(client) == 0
    assert caplog.text == ""
