"""A cache whose ttl is shorter than its clock's steps raised StopIteration instead of the answer.

The one new answer was dropped for expired, and then the next oldest was looked for. disabled() gives caches such a ttl.
"""

from resilience import Cache, Pipeline, Registry
from resilience.core.cache import Store
from resilience.testing import disabled


def test_an_answer_that_expires_at_once_leaves_the_store_empty():
    store = Store(Cache(ttl=5e-324))
    store.put("key", "answer", 1000.0, store.epoch)
    assert 0 == len(store)


def test_a_cached_function_answers_while_its_cache_is_disabled():
    registry = Registry(clock=lambda: 1000.0)
    guarded = Pipeline(Cache(), key="k", registry=registry)(lambda key: key)
    with disabled(registry):
        assert ["a", "a"] == [guarded("a"), guarded("a")]
