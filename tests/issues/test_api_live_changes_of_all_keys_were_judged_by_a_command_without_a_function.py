"""What stands for all keys of a function had no function, and so did not know what can be in force for one.

configure() of all keys took a timeout for a generator if no key had been called yet, and from then on each call of a
new key raised a ConfigError. It refused other waits of a bulkhead that lets its callers wait, and an adaptive rate
limit and one by cost whatever was changed, as if the function had been declared without.
"""

import asyncio

import pytest

from resilience import AdaptiveLimit, Bulkhead, ConfigError, Failover, RateLimit, StreamTimeout, command


def plain(key, target=None):
    return key


def generator(key, target=None):
    yield key


async def coroutine(key, target=None):
    return key


def first(key):
    return key


def one(key):
    return 1


@pytest.mark.parametrize("failover", [None, Failover(("eu", "us"))])
@pytest.mark.parametrize(("fn", "declared", "change", "why"), [
    (plain, {"timeout": None}, {"timeout": 1.0}, "decorated without a timeout"),
    (plain, {"isolation": "semaphore"}, {"timeout": 1.0}, "in semaphore isolation"),
    (plain, {"timeout": 1.0, "max_concurrent": None, "adaptive_limit": AdaptiveLimit()},
     {"adaptive_limit": AdaptiveLimit(max_queue=9)}, "max_queue of an adaptive limit"),
    (generator, {}, {"timeout": 1.0}, "in its consumer's thread"),
    (generator, {"stream_timeout": StreamTimeout(total=3.0)}, {"stream_timeout": StreamTimeout(first_item=1.0)}, "first_item")])
def test_what_no_key_can_have_is_refused_before_the_first_call(registry, failover, fn, declared, change, why):
    guarded = command(key=first, registry=registry, failover=failover, **declared)(fn)

    with pytest.raises(ConfigError, match=why):
        guarded.resilience.configure(**change)

    assert "a" in guarded("a")


@pytest.mark.parametrize("failover", [None, Failover(("eu", "us"))])
@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize(("name", "declared", "change"), [
    ("max_concurrent", Bulkhead(3, max_wait=1.0), Bulkhead(7, max_wait=2.0)),
    ("max_concurrent", Bulkhead(3, max_wait=1.0, fair_by=first), Bulkhead(3, max_wait=2.0, fair_by=first)),
    ("rate_limit", RateLimit(5, adaptive=True), RateLimit(9, adaptive=True)),
    ("rate_limit", RateLimit(5, cost=one), RateLimit(9, cost=one))])
def test_what_all_keys_can_have_is_taken(registry, failover, called, name, declared, change):
    guarded = command(key=first, registry=registry, failover=failover, **{name: declared})(coroutine)
    if called:
        asyncio.run(guarded("a"))

    guarded.resilience.configure(**{name: change})
    asyncio.run(guarded("b"))

    assert {change} == {getattr(each.settings, name) for each in guarded.resilience if getattr(each.settings, name) is not None}
