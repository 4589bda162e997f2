"""Guards of two clients that send requests to the same host share its command. Each of them said a group and failure
rules of its own, so that the second client, be it the asynchronous one of the same library, could not send any request
to that host.
"""

import itertools

import pytest

from resilience import ConfigError
from tests.integrations.http_clients import CLIENTS, serving


@pytest.fixture
def server():
    with serving() as server:
        yield server


def counts(registry):
    (handle,) = registry
    found = handle.snapshot().counts
    return {name: found[name] for name in ("success", "bad_request", "failure") if found[name]}


@pytest.mark.parametrize("kinds", list(itertools.permutations(CLIENTS, 2)), ids=lambda kinds: " ".join(each.__name__ for each in kinds))
def test_two_clients_share_the_command_of_a_host(kinds, server, registry):
    clients = [kind(registry=registry) for kind in kinds]
    for client in clients:
        assert client.request("GET", f"{server.url}/200")[0] == 200
        with pytest.raises(client.family):
            client.request("GET", f"{server.url}/200/cut")
    for client in clients:
        client.turn()
        client.finish()
    assert counts(registry) == {"success": 2, "failure": 2}
    assert next(iter(registry)).in_flight == 0


def test_the_group_is_the_first_clients_and_one_that_is_said_must_agree(server, registry):
    first, second, other = CLIENTS[0](registry=registry), CLIENTS[4](registry=registry), CLIENTS[0](registry=registry, group="shop")
    for client in (first, second):
        client.request("GET", f"{server.url}/200")
    (handle,) = registry
    assert handle.group == "httpx.Client"
    with pytest.raises(ConfigError, match="group"):
        other.request("GET", f"{server.url}/200")
    for client in (first, second, other):
        client.finish()


def test_a_group_that_is_said_is_the_commands(server, registry):
    client = CLIENTS[0](registry=registry, group="shop")
    client.request("GET", f"{server.url}/200")
    (handle,) = registry
    assert handle.group == "shop"
    client.finish()
