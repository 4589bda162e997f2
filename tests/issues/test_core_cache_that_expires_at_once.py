"""A cache whose only answer had expired when it was put in raised StopIteration, as every cache did under disabled()."""

from resilience import Cache, Registry, command
from resilience.core.cache import Store
from resilience.testing import disabled


def test_an_answer_that_expires_at_once_is_thrown_out_and_nothing_else_happens():
    store = Store(Cache(ttl=5e-324))
    store.put("key", 1, 1000.0, store.epoch)

    assert store.find("key") is None


def test_a_disabled_cache_lets_calls_pass_on_a_clock_that_is_not_at_zero():
    registry = Registry(clock=lambda: 1000.0)
    fn = command(timeout=None, cache=Cache(ttl=60.0), registry=registry)(lambda: 7)
    with disabled(registry):
        assert [fn(), fn()] == [7, 7]
