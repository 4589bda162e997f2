"""The cache of a keyed function could not be changed if it was decorated with ``stale_if_error``, nor a retry with ``hold``.

That was refused for a function with a callable key, and for one with a failover, "for it was decorated without".
"""

import pytest

from resilience import Cache, ConfigError, Failover, Registry, Retry, command
from resilience.testing import ManualClock

KEYS = {"callable key": {"key": lambda target="eu": f"shop {target}"}, "failover": {"failover": Failover(("eu", "us"))}}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_stale_if_error_of_a_keyed_function_can_be_changed_for_keys_there_are_and_keys_to_come(keys):
    clock, down = ManualClock(), []

    @command(cache=Cache(ttl=10.0, stale_if_error=5.0), timeout=None, registry=Registry(clock=clock), **keys)
    def price(*, target="eu"):
        if down:
            raise OSError
        return 7

    price.resilience.configure(cache=Cache(ttl=10.0, stale_if_error=50.0))
    assert price() == 7
    down.append(True)
    clock.advance(40.0)
    assert price() == 7
    price.resilience.configure(cache=Cache(ttl=10.0, stale_if_error=5.0))
    with pytest.raises(OSError):
        price()


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_hold_of_a_keyed_generator_can_be_changed(keys):
    @command(retry=Retry(hold=1, base=0.0), timeout=None, registry=Registry(), **keys)
    def rows(*, target="eu"):
        attempts.append(target)
        yield from range(2)
        if len(attempts) == 1:
            raise OSError

    rows.resilience.configure(retry=Retry(hold=3, base=0.0))
    attempts = []
    assert list(rows()) == [0, 1]
    assert len(attempts) == 2


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_what_a_keyed_function_was_decorated_without_is_refused(keys):
    @command(cache=Cache(ttl=10.0), timeout=None, registry=Registry(), **keys)
    def price(*, target="eu"):
        return 7

    with pytest.raises(ConfigError, match="decorated without stale_if_error"):
        price.resilience.configure(cache=Cache(ttl=10.0, stale_if_error=5.0))
