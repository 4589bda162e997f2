"""``Bulkhead(4, max_queue=100)`` refused every further call at once, without a word, since only ``max_wait`` lets calls wait. Other
settings that mean nothing without another one were accepted in the same way.
"""

import attrs
import pytest

from resilience import AdaptiveLimit, Bulkhead, ConfigError, RateLimit, Registry, Retry, bulkhead, command
from resilience.config import configure
from resilience.testing import ManualClock


def numbers(tenant=0):
    yield tenant


@pytest.mark.parametrize(("policy", "field", "needed", "value"), [
    (Bulkhead(4, max_queue=100), "max_queue", "max_wait", 1.0),
    (AdaptiveLimit(reserved=0.5), "reserved", "priorities", lambda tenant=0: 1),
    (RateLimit(5, max_keys=50), "max_keys", "by", lambda tenant=0: tenant),
    (Retry(hold_size=len), "hold_size", "hold_bytes", 50),
    (Retry(budget=None, price=2.0), "price", "budget", Retry().budget),
    (Retry(budget=None, busy_price=0.0), "busy_price", "budget", Retry().budget),
], ids=lambda each: each if isinstance(each, str) else "")
def test_what_means_nothing_without_another_setting_is_a_mistake(policy, field, needed, value):
    setting = "max_concurrent" if isinstance(policy, Bulkhead) else type(policy).__name__.lower()
    setting = {"adaptivelimit": "adaptive_limit", "ratelimit": "rate_limit"}.get(setting, setting)
    with pytest.raises(ConfigError, match=f"numbers: {field} means nothing without {needed}; give {needed} too$") as caught:
        command(registry=Registry(), timeout=None, **{setting: policy})(numbers)
    assert field == caught.value.option
    whole = attrs.evolve(policy, **{needed: value})
    assert whole == getattr(command(registry=Registry(), timeout=None, **{setting: whole})(numbers).resilience.settings, setting)


def test_it_stays_where_a_file_or_a_live_change_takes_the_other_away():
    registry = Registry(clock=ManualClock())
    handle = command(key="stock", registry=registry, max_concurrent=Bulkhead(4, max_wait=1.0, max_queue=100))(numbers).resilience
    handle.configure(max_concurrent=attrs.evolve(handle.settings.max_concurrent, max_wait=0.0))
    assert Bulkhead(4, max_queue=100) == handle.settings.max_concurrent
    configure({"commands": {"stock": {"max_concurrent": {"max_wait": 0}}}}, registry=registry)
    assert Bulkhead(4, max_queue=100) == handle.settings.max_concurrent


def test_a_decorator_of_one_policy_says_so_too():
    with pytest.raises(ConfigError, match="max_queue means nothing without max_wait"):
        bulkhead(4, max_queue=100, registry=Registry())(numbers)
