"""``retry = false`` and its like were documented, and refused on a live command, without saying of which.

Only some policies could be switched off while calls go on. Now all can but a failover, without which a function would lack
an argument; and they can be put on again.
"""

import asyncio
import threading

import pytest

from resilience import (
    AdaptiveLimit,
    Cache,
    Chaos,
    ConfigError,
    Failover,
    Hedge,
    RateLimit,
    Registry,
    Retry,
    Throttle,
    cache,
    command,
    retried_by,
)
from resilience.config import ConfigFileError, configure
from resilience.errors import ResilienceError
from resilience.testing import ManualClock, virtual_time
from tests.drivers.until import until
from tests.issues.every_flavour import FLAVOURS, guarded, isolation

SETTINGS = {"retry": Retry(attempts=2, base=0), "rate_limit": RateLimit(5), "cache": Cache(), "throttle": Throttle(),
            "hedge": Hedge(idempotent=True, delay=1.0), "chaos": Chaos(error_rate=0.1), "adaptive_limit": AdaptiveLimit()}


def file_of(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_policy_goes_off_by_the_file_and_on_again_when_the_line_is_removed(name, is_early, tmp_path):
    registry = Registry()
    path = file_of(tmp_path, f"[commands.k]\n{name} = false\n")
    file = configure(path, registry=registry, environ={}) if is_early else None

    @command(key="k", registry=registry, **{name: SETTINGS[name]})
    async def k():
        return 1

    file = file or configure(path, registry=registry, environ={})
    assert getattr(k.resilience.settings, name) is None
    assert 1 == virtual_time(k())

    path.write_text("[commands.k]\ntimeout = 2.0\n")
    file.reload()
    assert SETTINGS[name] == getattr(k.resilience.settings, name)
    assert 1 == virtual_time(k())


def test_what_a_decorator_says_is_stronger_than_off_for_all(registry):
    configure({"defaults": {"retry": False}, "groups": {"shop": {"retry": False}}}, registry=registry, environ={})
    fn = command(key="k", group="shop", registry=registry, retry=SETTINGS["retry"])(lambda: 1)
    assert SETTINGS["retry"] == fn.resilience.settings.retry


def test_a_failover_stays_and_the_mistake_says_of_which_command(registry):
    command(key="fetch", registry=registry, failover=Failover(("eu", "us")))(lambda target: target)
    with pytest.raises(ConfigFileError, match="fetch: failover cannot be switched off on a live command"):
        configure({"commands": {"fetch": {"failover": False}}}, registry=registry, environ={})


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_retry_that_is_off_repeats_nothing_and_leaves_inner_retries_alone(registry, flavour):
    calls = []

    def body():
        calls.append(retried_by())
        if len(calls) < 3:
            raise OSError("once")
        return "answer"

    inner = command(key="inner", registry=registry, timeout=None, retry=Retry(attempts=3, base=0, budget=None))(body)
    fn, call = guarded(flavour, command(key="outer", registry=registry, timeout=None, retry=SETTINGS["retry"],
                                        **isolation(flavour)), lambda: inner())
    fn.resilience.configure(retry=None)
    assert "answer" == call()
    assert ["inner"] * 3 == calls

    calls.clear()
    inner.resilience.configure(retry=None)
    with pytest.raises(OSError, match="once"):
        call()
    assert [None] == calls
    fn.resilience.configure(retry=SETTINGS["retry"])
    assert "answer" == call()
    assert [None, "outer", "outer"] == calls


def test_a_retry_that_holds_items_back_passes_them_on_at_once_while_it_is_off(registry):
    @command(key="k", registry=registry, timeout=None, retry=Retry(attempts=2, base=0, hold=2))
    def items():
        yield 1
        raise OSError("broken")

    items.resilience.configure(retry=None)
    stream = items()
    assert 1 == next(stream)
    with pytest.raises(OSError, match="broken"):
        next(stream)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_cache_that_is_off_executes_each_call_and_keeps_nothing(registry, is_async):
    runs = []
    decorate = cache(ttl=None, registry=registry, key="k")
    if is_async:
        @decorate
        async def fn(key):
            runs.append(key)
            return key

        def call(key):
            return virtual_time(fn(key))
    else:
        @decorate
        def call(key):
            runs.append(key)
            return key

        fn = call
    assert ["a", "a"] == [call("a"), call("a")]
    fn.resilience.configure(cache=None)
    assert ["a", "a", ["no hash"]] == [call("a"), call("a"), call(["no hash"])]
    assert 4 == len(runs)
    fn.resilience.configure(cache=Cache(ttl=None))
    assert ["a", "a"] == [call("a"), call("a")]
    assert 5 == len(runs)
    with pytest.raises(TypeError, match="no hash|hash"):
        call(["no hash"])


def test_what_must_stay_of_a_cache_is_kept_over_a_time_that_it_is_off(registry):
    fn = cache(registry=registry, key="k", by=len)(lambda text: text)
    fn.resilience.configure(cache=None)
    with pytest.raises(ConfigError, match="by= of the cache cannot be changed"):
        fn.resilience.configure(cache=Cache(by=str))
    fn.resilience.configure(cache=Cache(by=len, ttl=3.0))
    assert 3.0 == fn.resilience.settings.cache.ttl


@pytest.mark.parametrize("limit", [RateLimit(1, per=60.0), RateLimit(1, per=60.0, max_wait=50.0),
                                   RateLimit(1, per=60.0, adaptive=True), RateLimit(1, per=60.0, cost=lambda: 1.0)])
def test_a_rate_limit_that_is_off_refuses_nobody_lets_nobody_wait_and_counts_nothing(limit):
    clock = ManualClock()
    registry = Registry(clock=clock)
    fn = command(key="k", registry=registry, timeout=None, rate_limit=limit)(lambda: 1)
    fn.resilience.configure(rate_limit=None)
    assert [1] * 20 == [fn() for _ in range(20)]
    counts = fn.resilience.snapshot().counts
    assert (20, 0, 0) == (counts["success"], counts["rate_limited"], counts["shadow_rejected"])
    assert 0.0 == clock()

    fn.resilience.configure(rate_limit=RateLimit(1, per=60.0, cost=limit.cost, adaptive=limit.adaptive))
    with pytest.raises(ResilienceError):
        [fn() for _ in range(3)]


def test_a_throttle_that_is_off_refuses_nobody():
    registry = Registry(clock=ManualClock())

    def down():
        raise OSError

    fn = command(key="k", registry=registry, timeout=None, breaker=None, throttle=Throttle())(down)
    for _ in range(300):
        with pytest.raises((OSError, ResilienceError)):
            fn()
    assert fn.resilience.snapshot().counts["throttled"] > 0
    fn.resilience.configure(throttle=None)
    before = fn.resilience.snapshot().counts
    for _ in range(100):
        with pytest.raises(OSError):  # noqa: PT011
            fn()
    after = fn.resilience.snapshot().counts
    assert (before["throttled"], before["shadow_rejected"]) == (after["throttled"], after["shadow_rejected"])


@pytest.mark.parametrize("settings", [{"adaptive_limit": None}, {"shadow": ["adaptive_limit"]}])
@pytest.mark.parametrize("where", ["semaphore", "thread"])
def test_an_adaptive_limit_that_is_off_or_in_shadow_refuses_nobody_wherever_calls_run(registry, where, settings):
    go = threading.Event()
    fn = command(key="k", registry=registry, timeout=None, breaker=None, isolation=where,
                 adaptive_limit=AdaptiveLimit(initial=1, max_limit=1))(lambda: go.wait(30))
    fn.resilience.configure(**settings)
    ends = []
    threads = [threading.Thread(target=lambda: ends.append(fn())) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: fn.resilience.in_flight == 3)
    fn.resilience.configure(shadow=[], adaptive_limit=AdaptiveLimit(initial=1, max_limit=1))
    with pytest.raises(ResilienceError):
        fn()
    go.set()
    for thread in threads:
        thread.join(30)
    assert [True] * 3 == ends
    until(lambda: not fn.resilience.in_flight)
    assert fn()


def test_a_hedge_that_is_off_begins_no_second_attempt(registry):
    runs = []

    @command(key="k", registry=registry, timeout=None, hedge=Hedge(idempotent=True, delay=1.0))
    async def fn():
        runs.append(None)
        await asyncio.sleep(10)
        return 1

    fn.resilience.configure(hedge=None)
    assert 1 == virtual_time(fn())
    assert 1 == len(runs)
    fn.resilience.configure(hedge=Hedge(idempotent=True, delay=1.0))
    assert 1 == virtual_time(fn())
    assert 3 == len(runs)


def test_chaos_that_is_off_harms_nobody_while_it_is_started(registry):
    fn = command(key="k", registry=registry, timeout=None, chaos=Chaos(error_rate=1.0))(lambda: 1)
    registry.start_chaos(60.0)
    fn.resilience.configure(chaos=None)
    assert 1 == fn()
    fn.resilience.configure(chaos=Chaos(error_rate=1.0))
    with pytest.raises(Exception):  # noqa: B017, PT011 - chaos' own
        fn()
