"""The file of the demo's gateway is one that `resilience check` accepts, with a public and a private side."""

from resilience.demo.gateway_file import commands_of, gateway_file
from resilience.demo.script import PROGRAMS, SERVICES
from resilience.gateway.config import load
from resilience.gateway.gateway import Gateway
from resilience.registry import Registry

PORTS = {program: 9001 + i for i, program in enumerate(PROGRAMS)}


def test_the_file_is_valid_and_the_private_service_is_on_the_private_side_only(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text(gateway_file(SERVICES, PORTS, gateway=8080, private=8081, admin=8090))
    config = load(file)

    assert {"/inventory/*", "/orders/*", "/pricing/*"} == {route.path for route in config.routes}
    assert {"/ledger/*"} == {route.path for route in config.private.routes}
    assert {"pricing": 80, "pricing-canary": 20} == dict(next(r for r in config.routes if r.services).services)


def test_the_story_knows_the_commands_that_the_gateway_has(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text(gateway_file(SERVICES, PORTS, gateway=8080, private=8081, admin=8090))
    registry = Registry()
    gateway = Gateway(load(file), registry=registry)

    known = commands_of(SERVICES, PORTS)
    assert set(known) <= {command.key for command in registry}
    assert set(PROGRAMS) == set(known.values())
    del gateway
