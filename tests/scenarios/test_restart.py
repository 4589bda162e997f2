"""A process that is started anew goes on with the circuits of the one before."""

import json

import pytest

from resilience import CircuitBreaker, CircuitOpenError, ConfigError, Registry, StateChanged, command
from resilience.testing import ManualClock


def declare(registry, key="billing"):
    @command(key=key, registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=2, open_for=60.0))
    def charge(works=True):
        if not works:
            raise OSError

    return charge


def broken(registry):
    charge = declare(registry)
    for _ in range(2):
        with pytest.raises(OSError):
            charge(False)
    return charge


@pytest.mark.parametrize("declared_first", [True, False])
def test_an_open_circuit_stays_open_over_a_restart(declared_first):
    clock = ManualClock()
    before = Registry(clock=clock)
    broken(before)
    clock.advance(10.0)
    file = json.dumps(before.save())

    later = ManualClock()
    after, seen = Registry(clock=later), []
    after.subscribe(StateChanged, seen.append)
    if declared_first:
        charge = declare(after)
    after.restore(json.loads(file), elapsed=20.0)
    if not declared_first:
        later.advance(5.0)
        charge = declare(after)
    with pytest.raises(CircuitOpenError) as refused:
        charge()

    assert (30.0 if declared_first else 25.0) == refused.value.retry_after
    assert [("closed", "open", "restored")] == [(e.old, e.new, e.trigger) for e in seen]
    later.advance(30.0)
    charge()
    assert "closed" == charge.resilience.state


def test_a_command_without_a_breaker_is_not_saved(registry):
    @command(registry=registry, timeout=None, breaker=None)
    def plain():
        pass

    assert {} == registry.save()
    with pytest.raises(ConfigError):
        plain.resilience.save()
    with pytest.raises(ConfigError):
        plain.resilience.restore({})


@pytest.mark.parametrize(("saved", "option"), [
    ({}, "saved"), ({"state": "open", "mood": 1}, "saved"), ({"state": "ajar"}, "state"),
    ({"state": "open", "remaining": "x"}, "remaining"), ({"state": "closed", "counts": 3}, "counts")])
def test_what_save_never_returned_is_refused_by_name(registry, saved, option):
    charge = declare(registry)
    with pytest.raises(ConfigError) as refused:
        registry.restore({"billing": saved})

    assert option == refused.value.option
    charge()


@pytest.mark.parametrize("elapsed", ["1", float("nan"), None])
def test_a_time_that_is_none_is_refused(registry, elapsed):
    with pytest.raises(ConfigError) as refused:
        declare(registry).resilience.restore({"state": "closed"}, elapsed=elapsed)

    assert "elapsed" == refused.value.option
