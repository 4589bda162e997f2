"""What happens to a fleet of gateways while clients send requests, and what the clients see of it: nothing.

load.py says what "accepted", "broken" and the like mean. Faults begin and end here by events: so many requests that
are over, an instance that answers again, a gateway that says that it knows something.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.gateway.harness import eventually

from .chaos import Chaos
from .fleet import Fleet, GatewayNode
from .load import Load, Record

pytestmark = pytest.mark.process


def of(name: str) -> Callable[[Record], bool]:
    """Whether a service has answered."""
    return lambda record: record.last.body.startswith(f"{name} ")


def through(gateway: GatewayNode) -> Callable[[Record], bool]:
    """Whether a gateway has passed the answer on."""
    return lambda record: record.is_answered and record.last.gateway == gateway.address


def test_an_instance_that_is_killed_frozen_or_cut_off_under_load_costs_no_request(fleet: Fleet) -> None:
    killed, frozen, cut = fleet.services.values()
    with fleet.load(path="/?ms=30") as load, fleet.load(
            method="POST", path="/NUMBER?ms=30", clients=3, repeat=False) as posts:
        load.go_on(40)
        killed.die()
        load.go_on(80)
        killed.start()
        load.go_on(1, until=of("service1"))
        frozen.host.freeze()
        load.go_on(80)
        frozen.host.thaw()
        load.go_on(1, until=of("service2"))
        cut.host.cut_off()
        load.go_on(80)
        cut.host.heal()
        load.go_on(1, until=of("service3"))
    assert ([], {"200"}) == (load.lost(), {*load.fates()})
    assert {"200", "502", "504"} >= {*posts.fates()}, "what nobody may repeat is answered, too, by an error at worst"


def test_an_instance_that_leaves_or_whose_lease_runs_out_is_asked_no_more_and_one_that_comes_is(fleet: Fleet) -> None:
    leaving, *_ = fleet.services.values()
    address = f"{leaving.address}:9000"
    with fleet.load() as load:
        load.go_on(20)
        leaving.terminate()
        eventually(lambda: not any(address in each.listed() for each in fleet.gateways.values()), "all have heard that it leaves")
        assert 0 == leaving.ended()
        before = len(load.records)
        load.go_on(30)
        assert not any(map(of("service1"), load.records[before + 10:]))
        leaving.start()
        load.go_on(3, until=of("service1"))
    assert ([], {"200"}) == (load.lost(), {*load.fates()})


def test_a_rolling_restart_breaks_no_connection_not_even_for_requests_that_nobody_repeats(fleet: Fleet) -> None:
    with fleet.readiness() as is_ready, \
            fleet.load(is_wanted=is_ready, method="POST", path="/NUMBER?ms=5", repeat=False) as load:
        for gateway in fleet.gateways.values():
            load.go_on(10, until=through(gateway))
            gateway.restart()
            load.go_on(10, until=through(gateway))
    assert [] == load.lost(), load.fates()
    assert {"200", "not connected"} >= {*load.fates()}
    assert {"1"} == {record.last.body.split()[1] for record in load.records}, "no request was done twice"


def test_a_rolling_change_of_the_configuration_is_seen_in_what_changed_and_a_bad_file_is_refused(fleet: Fleet) -> None:
    before = {each: each.reloads() for each in fleet.gateways.values()}
    with fleet.load(method="POST", path="/NUMBER?ms=5", repeat=False) as load:
        for gateway, (applied, refused) in before.items():
            good = gateway.file.read_text()
            changed = good + '\n[[routes]]\npath = "/new/*"\nstrip_prefix = "/new"\nservice = "shop"\n[services.shop.command]\ntimeout = 5.0\n'
            gateway.file.write_text(changed.replace("interval = 0.4", "interval = 0.3"))
            gateway.reload()
            eventually(lambda: gateway.reloads() == (applied + 1, refused), "the file is in force")  # noqa: B023
            gateway.file.write_text(changed.replace('service = "shop"', 'service = "stop"'))
            gateway.reload()
            eventually(lambda: gateway.reloads() == (applied + 1, refused + 1), "the bad file is refused")  # noqa: B023
            assert "stop" not in str(gateway.tells("/admin/routes"))
            assert '"/new/*"' in str(gateway.tells("/admin/routes")).replace("'", '"')
            load.go_on(10, until=through(gateway))
            gateway.file.write_text(good)
            gateway.reload()
            eventually(lambda: gateway.reloads() == (applied + 2, refused + 1), "the file from before is in force")  # noqa: B023
    assert ([], {"200"}) == (load.lost(), {*load.fates()})
    assert {"1"} == {record.last.body.split()[1] for record in load.records}, "no request was done twice"


def broken(load: Load) -> dict[str, int]:
    """How many requests broke at each gateway, by its address."""
    found = [each.gateway for record in load.records for each in record.attempts if each.fate in ("broken", "silent")]
    return {address: found.count(address) for address in found}


def test_a_gateway_that_is_killed_breaks_what_it_had_in_flight_and_nothing_else(fleet: Fleet) -> None:
    gateway, other, third = fleet.gateways.values()
    with fleet.load(path="/?ms=50", clients=9) as load:
        load.go_on(10, until=through(gateway))
        gateway.die()
        load.go_on(60)
        at_first = broken(load)
        gateway.start()
        load.go_on(40)
        for pid in third.workers()[:1]:
            os.kill(pid, signal.SIGKILL)
        load.go_on(60)
        eventually(lambda: len(third.tells("/admin/workers")["workers"]) == 2 and all(
            each["listens"] for each in third.tells("/admin/workers")["workers"]), "the worker's successor")
    assert [] == load.lost(), load.fates()
    assert {gateway.address} >= {*at_first}
    assert {gateway.address, third.address} >= {*broken(load)}
    assert 9 >= max(broken(load).values(), default=0), "no more than there are clients"


def test_a_gateway_that_is_cut_off_costs_its_clients_their_patience_and_others_nothing(fleet: Fleet) -> None:
    gateway, *others = fleet.gateways.values()
    with fleet.load(path="/?ms=20", patience_s=1.0) as load:
        load.go_on(10, until=through(gateway))
        gateway.host.cut_off()
        load.go_on(1, until=lambda record: any(each.fate == "silent" for each in record.attempts))
        load.go_on(60)
        gateway.host.heal()
        load.go_on(60)
    assert [] == load.lost(), load.fates()
    assert {gateway.address: True} == {address: count <= 6 for address, count in broken(load).items()}


@pytest.mark.parametrize("fault", ["killed", "cut off", "frozen"])
def test_a_registry_that_is_away_takes_no_endpoint_away_and_has_all_registrations_again(fleet: Fleet, fault: str) -> None:
    registry, *_ = fleet.registries.values()
    begin, end = {"killed": (registry.die, registry.start), "cut off": (registry.host.cut_off, registry.host.heal),
                  "frozen": (registry.host.freeze, registry.host.thaw)}[fault]
    with fleet.load() as load:
        begin()
        eventually(lambda: all(each["trouble"] for gateway in fleet.gateways.values() for each in gateway.sources()),
                   "all gateways miss the registry")
        assert {3} == {len(each.listed()) for each in fleet.gateways.values()}
        load.go_on(30)
        end()
        eventually(lambda: fleet.registered == fleet.listed(registry), "all are registered")
        eventually(lambda: not any(each["trouble"] for gateway in fleet.gateways.values() for each in gateway.sources()),
                   "all gateways have the list")
        for name in fleet.services:
            load.go_on(1, until=of(name))
    assert ([], {"200"}) == (load.lost(), {*load.fates()})



def test_faults_that_coincide_cost_no_request_that_may_be_repeated(fleet: Fleet) -> None:
    Chaos(fleet, seed=2).run(steps=1)  # all four at once
