"""A registry kept each function whose key is a callable until its keys were idle, and one with a failover for ever.

A client that guards a method for each instance made 16 kB a client of that, and all that the method held. Their commands
are named by what the key returned, so they stay until they are idle: the next client finds the circuit of its host.
"""

import gc
import weakref

import pytest

from resilience import CircuitBreaker, CircuitOpenError, Failover, Registry, command
from resilience.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def registry(clock):
    return Registry(clock=clock)


def down(registry, key="down.example"):
    """A function of one factory that was called once, and failed."""

    @command(key=lambda: key, timeout=None, breaker=CircuitBreaker(consecutive=1, failure_rate=None), registry=registry)
    def fetch():
        raise OSError

    with pytest.raises((OSError, CircuitOpenError)):
        fetch()
    return fetch


def test_a_keyed_function_goes_with_its_last_user(registry):
    functions = [weakref.ref(down(registry).__wrapped__) for _ in range(50)]
    gc.collect()

    assert [None] * 50 == [function() for function in functions]
    assert [] == registry._table.living_keyspaces()


def test_so_does_a_function_with_a_failover(registry):
    def made():
        @command(timeout=None, failover=Failover(("eu", "us")), registry=registry)
        def fetch(target):
            return target

        assert "eu" == fetch()
        return weakref.ref(fetch.__wrapped__)

    functions = [made() for _ in range(50)]
    gc.collect()

    assert [None] * 50 == [function() for function in functions]
    assert [] == registry._table.living_keyspaces()


def test_the_next_function_of_the_factory_finds_the_circuit(registry):
    down(registry)
    gc.collect()

    with pytest.raises(CircuitOpenError):
        down(registry)()
    assert ["down.example"] == [handle.key for handle in registry]


def test_the_command_goes_when_it_has_been_idle(registry, clock):
    down(registry)
    gc.collect()
    assert 1 == len(list(registry))

    clock.advance(299.0)
    assert 1 == len(list(registry))
    clock.advance(1000.0)
    assert [] == list(registry)


def test_a_command_that_another_function_took_up_stays(registry, clock):
    down(registry)
    gc.collect()
    assert 1 == len(list(registry))
    clock.advance(200.0)
    again = down(registry)
    clock.advance(150.0)

    assert ["down.example"] == [handle.key for handle in registry]
    del again


def test_keys_that_differ_leave_nothing_behind(registry, clock):
    for number in range(100):
        down(registry, f"host-{number}")
        gc.collect()
        clock.advance(60.0)

    assert len(registry._table.commands) < 15
    assert len(registry._table._orphans) < 15


def test_a_function_that_is_used_keeps_its_keys(registry, clock):
    fetch = down(registry)
    gc.collect()
    clock.advance(100.0)

    assert ["down.example"] == [handle.key for handle in fetch.resilience]
