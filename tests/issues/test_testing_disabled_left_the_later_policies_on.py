"""disabled() let retries, hedges, caches and limits go on, and restored() did not put their settings back."""

import asyncio

import pytest

from resilience import AdaptiveLimit, Cache, Hedge, RateLimit, Registry, Retry, Throttle, command
from resilience.testing import disabled, restored, virtual_time


@pytest.mark.parametrize("policy", [
    {"retry": Retry(base=0.0)}, {"retry": Retry(base=0.0, on_result=lambda result: True)}, {"cache": Cache()},
    {"rate_limit": RateLimit(1, per=3600.0)}, {"throttle": Throttle()},
    {"adaptive_limit": AdaptiveLimit(initial=1, min_limit=1, max_limit=1)}, {"hedge": Hedge(idempotent=True, delay=0.1)}])
@pytest.mark.parametrize("fails", [True, False])
def test_disabled_each_call_is_one_call_of_the_function(policy, fails):
    async def main():
        registry, runs = Registry(clock=asyncio.get_running_loop().time), []

        @command(key="k", registry=registry, timeout=None, **policy)
        async def fn():
            runs.append(None)
            await asyncio.sleep(1.0)
            if fails:
                raise OSError

        before = fn.resilience.settings
        with disabled(registry):
            found = await asyncio.gather(*(fn() for _ in range(5)), return_exceptions=True)
            assert 5 == len(runs)
            await asyncio.gather(fn(), return_exceptions=True)
        assert [OSError if fails else type(None)] * 5 == list(map(type, found))
        assert 6 == len(runs)
        assert before == fn.resilience.settings

    virtual_time(main())


def test_restored_puts_back_every_live_setting(registry):
    @command(key="k", registry=registry, timeout=None, retry=Retry(), cache=Cache(), rate_limit=RateLimit(5))
    def fn(): ...

    before = fn.resilience.settings
    with restored(registry):
        fn.resilience.configure(retry=Retry(attempts=9), cache=Cache(ttl=1.0), rate_limit=RateLimit(7), shadow=True)
    assert before == fn.resilience.settings
