"""halts=True opens the circuit; beside breaker=None it had no effect, and nobody said so."""

import pytest

from resilience import ConfigError, Failover, FailureRules, Registry, block, command

HALTS = FailureRules(halts=True)


@pytest.mark.parametrize("make", [
    lambda: command(failures=HALTS, breaker=None, registry=Registry())(lambda: 1),
    lambda: command(failures=HALTS, breaker=None, key=lambda host: host, registry=Registry())(lambda host: 1),
    lambda: command(failures=HALTS, breaker=None, failover=Failover(("eu", "us")), registry=Registry())(lambda target: 1),
    lambda: block("shop", failures=HALTS, breaker=None, registry=Registry())])
def test_a_halt_without_a_circuit_is_refused(make):
    with pytest.raises(ConfigError, match="halts=True opens the circuit .* drop one of the two") as caught:
        make()
    assert "halts" == caught.value.option


def test_a_halt_with_a_circuit_is_none():
    assert 1 == command(failures=HALTS, registry=Registry())(lambda: 1)()
