"""ResiliencePoolManager was the one adapter whose settings had to be in a table of their own. Given as to all others, they
went to urllib3, which failed at the first request: "PoolKey.__new__() got an unexpected keyword argument".
"""

import pytest

from resilience import Retry
from resilience.errors import ConfigError
from resilience.integrations.urllib3 import ResiliencePoolManager
from tests.integrations.conftest import answering  # noqa: F401 - a fixture


def test_settings_are_taken_as_other_adapters_take_them(answering, registry):  # noqa: F811
    answering.answers += [(503, {}, b""), (200, {}, b"there")]
    pools = ResiliencePoolManager(registry=registry, retry=Retry(attempts=2, base=0), maxsize=2, retries=False, guard={"key": "stock"})
    assert pools.request("GET", answering.url).data == b"there"
    assert registry["stock"].snapshot().counts["retry"] == 1
    pools.clear()


def test_what_nobody_knows_is_a_mistake_at_once():
    with pytest.raises(ConfigError, match="no setting 'maxsise'"):
        ResiliencePoolManager(maxsise=2)
