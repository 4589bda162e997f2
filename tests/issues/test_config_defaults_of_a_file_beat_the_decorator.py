"""A [defaults] table overrode what a decorator says of a policy that is off unless somebody asks for it."""

import attrs
import pytest

from resilience import RateLimit, Registry, Retry, Throttle, command, configure, custom_policy, explain
from resilience.policies import order


class Open:
    def acquire(self, now, call): ...

    def settle(self, permit, outcome, started, now): ...


@pytest.fixture
def gate():
    @custom_policy("gate", about="Admits every call.")
    @attrs.frozen
    class Gate:
        width: int = 1
        height: int = 1

        def machine(self, key, now):
            return Open()

    yield Gate
    order.discard("gate")


def test_the_decorator_beats_the_tables_for_many_commands_and_loses_to_the_commands_own(gate):
    registry = Registry()

    @command(key="k", group="g", registry=registry, timeout=None, rate_limit=RateLimit(5), throttle=Throttle(k=3.0),
             retry=Retry(attempts=7), policies=[gate(width=4)])
    async def k(): ...

    many = {"rate_limit": {"calls": 9, "per": 2.0}, "throttle": {"k": 1.5}, "retry": {"attempts": 2},
            "gate": {"width": 9, "height": 9}}
    for table in ({"defaults": many}, {"groups": {"g": many}}):
        configuration = configure(table, registry=registry, environ={})
        settings = k.resilience.settings
        assert (5, 2.0) == (settings.rate_limit.calls, settings.rate_limit.per)
        assert (3.0, 7) == (settings.throttle.k, settings.retry.attempts)
        assert (4, 9) == (settings.gate.width, settings.gate.height)
        configuration.close()
    configuration = configure({"commands": {"k": {"gate": {"width": 3}}}}, registry=registry, environ={})
    assert 3 == k.resilience.settings.gate.width
    configuration.close()


def test_explain_says_that_the_code_has_said_it(gate):
    @command(key="k", registry=Registry(), timeout=None, rate_limit=RateLimit(5), policies=[gate(width=4)])
    async def k(): ...

    found = {line.split()[0]: " ".join(line.split()[2:]) for line in str(explain(k)).splitlines()[2:]}
    assert "the code" == found["rate_limit.calls"] == found["gate.width"]
    assert "the library's default" == found["rate_limit.per"] == found["gate.height"]
