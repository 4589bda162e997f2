"""A hedge above a failover of a plain function needs threads, as many as its targets take: none said how many that was."""

import pytest

from resilience import Bulkhead, Failover, Hedge, Registry, command


@pytest.mark.parametrize("limit", [None, Bulkhead(None), 3, Bulkhead(3)])
def test_targets_may_have_any_limit_or_none_below_a_hedge(limit):
    registry = Registry()

    @command(key="k", registry=registry, max_concurrent=limit, timeout=60.0, failover=Failover(("eu", "us")),
             hedge=Hedge(idempotent=True, delay=60.0))
    def ask(*, target):
        return target

    assert "eu" == ask()
    above = next(each for each in ask.resilience if each.key == "k")
    assert (None if limit in (None, Bulkhead(None)) else 6) == above.snapshot().max_concurrent
    registry.close()
