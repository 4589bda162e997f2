"""The file of the demo's gateway is one that `resilience check` accepts, with a public and a private listener."""

from resilience.demo.gateway_file import applications_of, commands_of, gateway_file
from resilience.demo.script import PROGRAMS, SERVICES
from resilience.gateway.config import load
from resilience.gateway.config.endpoints import EndpointConfig
from resilience.gateway.gateway import Gateway
from resilience.registry import Registry

PORTS = {program: 9001 + i for i, program in enumerate(PROGRAMS)}


def test_the_file_is_valid_and_the_private_service_is_on_the_private_listener_only(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text(gateway_file(SERVICES, gateway=8080, private=8081, admin=8090, registry=8761))
    config = load(file)

    assert {"/inventory/*", "/orders/*", "/pricing/*"} == {route.path for route in config.routes}
    assert {"/ledger/*"} == {route.path for route in config.private.routes}
    assert {"pricing": 80, "pricing-canary": 20} == dict(next(r for r in config.routes if r.services).services)


def test_the_story_knows_the_commands_that_the_gateway_has_once_the_programs_are_registered(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text(gateway_file(SERVICES, gateway=8080, private=8081, admin=8090, registry=8761))
    registry = Registry()
    gateway = Gateway(load(file), registry=registry)
    for service in gateway.services.values():
        programs = [program for program, (app, _) in applications_of(SERVICES).items() if app == service.name]
        service.endpoints.replace([EndpointConfig(url=f"http://127.0.0.1:{PORTS[each]}") for each in programs])

    known = commands_of(SERVICES, PORTS)
    assert set(known) <= {command.key for command in registry}
    assert set(PROGRAMS) == set(known.values())
    del gateway


def test_of_two_programs_of_one_service_the_one_that_usually_answers_is_listed_first():
    assert [("orders", "0-orders-primary"), ("orders", "1-orders-backup")] == sorted(
        each for program, each in applications_of(SERVICES).items() if program.startswith("orders"))
