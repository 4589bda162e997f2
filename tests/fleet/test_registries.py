"""Three registries that are peers, on hosts of their own: what one has missed it hears, and what is gone stays gone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.gateway.harness import eventually

from .fleet import REGISTRY_PORT, Fleet, Node
from .network import Network

pytestmark = pytest.mark.process


@pytest.fixture
def peers(network: Network, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(network, tmp_path)
    made.add_registries("peer1", "peer2", "peer3")
    made.start()
    yield made
    made.until_mended()
    made.stop()


def register(registry: Node, names: Iterable[str]) -> None:
    for name in names:
        body = {"instance": {
            "instanceId": name, "app": "SHOP", "hostName": name, "ipAddr": "10.77.0.200", "status": "UP",
            "port": {"$": 80, "@enabled": "true"}, "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90},
            "lastDirtyTimestamp": str(int(time.time() * 1000)), "dataCenterInfo": {"name": "MyOwn"}}}
        assert 204 == registry.ask(REGISTRY_PORT, "/eureka/apps/SHOP", "POST", json.dumps(body))[0]


def leave(registry: Node, names: Iterable[str]) -> None:
    for name in names:
        assert 200 == registry.ask(REGISTRY_PORT, f"/eureka/apps/SHOP/{name}", "DELETE")[0]


def agree(fleet: Fleet, wanted: set[str], registries: Iterable[Node]) -> None:
    for each in registries:
        eventually(lambda: fleet.listed(each) == wanted, f"{each} has {len(wanted)} instances")  # noqa: B023


def test_registries_agree_after_one_was_cut_off_or_killed_and_what_has_left_does_not_come_back(peers: Fleet) -> None:
    first, second, third = peers.registries.values()
    names = {f"i{number}" for number in range(30)}
    for number, name in enumerate(sorted(names)):
        register([first, second, third][number % 3], [name])
    agree(peers, names, (first, second, third))

    third.host.cut_off()
    gone, new = {f"i{number}" for number in range(0, 30, 3)}, {"n1", "n2", "n3"}
    leave(first, gone)
    register(second, new)
    register(third, {"alone"})
    agree(peers, names - gone | new, (first, second))
    assert peers.listed(third) == names | {"alone"}
    third.host.heal()
    agree(peers, names - gone | new | {"alone"}, (first, second, third))

    second.die()
    leave(third, new)
    register(first, {"later"})
    second.start()
    now = names - gone | {"alone", "later"}
    agree(peers, now, (first, second, third))

    first.host.lose_power()
    first.host.heal()
    leave(second, {"later"})
    first.start()
    agree(peers, now - {"later"}, (first, second, third))
    for _ in range(2):  # each has compared itself with the others once more
        before = compared(first)
        eventually(lambda: compared(first) > before, "another comparison")  # noqa: B023
        agree(peers, now - {"later"}, (first, second, third))


def compared(registry: Node) -> float:
    """How often it was compared with its peers."""
    text = registry.ask(REGISTRY_PORT, "/metrics")[1]
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith("resilience_registry_peer_") and "compar" in line)
