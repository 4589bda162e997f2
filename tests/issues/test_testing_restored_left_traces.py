"""restored() left behind what limits had learnt and booked, retry budgets, chaos, and a replaced configuration."""

import pytest

from resilience import (
    AdaptiveLimit,
    Chaos,
    ChaosError,
    CircuitBreaker,
    Hedge,
    RateLimit,
    RateLimitedError,
    Registry,
    Retry,
    RetryBudget,
    Throttle,
    ThrottledError,
    collapse,
    command,
    configure,
)
from resilience.testing import ManualClock, restored


@pytest.fixture(name="registry")
def _registry():
    return Registry(clock=ManualClock(1000.0), random=lambda: 0.0)


def passes(registry, fn, **settings):
    return command(registry=registry, timeout=None, **{"breaker": None, **settings})(fn)


def down():
    raise OSError


def test_a_line_that_was_booked(registry):
    work = passes(registry, lambda name: 1, rate_limit=RateLimit(1, per=1000.0))
    shared = passes(registry, lambda name: 2, key="by", rate_limit=RateLimit(1, per=1000.0, by=lambda name: name))
    for _ in range(3):
        with restored(registry):
            assert (1, 2, 2) == (work("a"), shared("a"), shared("b"))
            with pytest.raises(RateLimitedError):
                work("a")
            with pytest.raises(RateLimitedError):
                shared("b")


def test_a_throttle_that_refuses(registry):
    work = passes(registry, down, throttle=Throttle(count_failures=True))
    for _ in range(3):
        assert 0 == work.resilience._runtime.named("throttle").rate
        with restored(registry):
            for _ in range(200):
                with pytest.raises((OSError, ThrottledError)):
                    work()
            assert work.resilience._runtime.named("throttle").rate > 0.5
    with pytest.raises(OSError):
        work()


def test_a_limit_that_was_learnt(registry):
    work = passes(registry, lambda: registry.clock.advance(0.01), adaptive_limit=AdaptiveLimit(initial=4))
    limits = set()
    for _ in range(2):
        assert 4 == work.resilience.snapshot().max_concurrent
        with restored(registry):
            permits = [work.resilience._runtime.named("adaptive_limit").acquire(registry.clock()) for _ in range(3)]
            for _ in range(500):
                work()
            limits.add(work.resilience.snapshot().max_concurrent)
            for each in permits:
                each.append(None)
    assert all(limit > 4 for limit in limits)
    assert 0 == work.resilience.in_flight


def test_a_budget_that_was_spent(registry):
    calls = []
    work = passes(registry, lambda: calls.append(1) or down(),
                  retry=Retry(attempts=2, base=0.0, budget=RetryBudget(ratio=0.0, per_second=0.1, window=10.0)))
    for _ in range(3):
        with restored(registry):
            calls.clear()
            for _ in range(2):
                with pytest.raises(OSError):
                    work()
            assert 3 == len(calls)


def test_chaos_goes_on_only_if_it_did(registry):
    work = passes(registry, lambda: 1, chaos=Chaos(error_rate=1.0))
    with restored(registry):
        registry.start_chaos(60)
        with pytest.raises(ChaosError):
            work()
    assert 1 == work()
    registry.start_chaos(60)
    with restored(registry):
        registry.stop_chaos()
        assert 1 == work()
    with pytest.raises(ChaosError):
        work()


def test_the_last_transitions(registry):
    work = passes(registry, down, breaker=CircuitBreaker(min_calls=1))
    with restored(registry):
        with pytest.raises(OSError):
            work()
        assert work.resilience.snapshot().transitions
    assert () == work.resilience.snapshot().transitions


def test_what_was_collapsed(registry):
    single = collapse(window=0.001)(passes(registry, lambda ids: ids))
    [collapses] = registry.collapsers().values()
    with restored(registry):
        collapses.note(3, 4, registry.clock())
        assert 3 == collapses.read(registry.clock()).items
    left = collapses.read(registry.clock())
    assert (0, 0, 0) == (left.items, left.batches, left.shared)
    assert [3, 1, 1] == collapses.totals
    assert single


def test_hedges_look_at_latencies_anew(registry):
    work = passes(registry, len, isolation="thread", hedge=Hedge(idempotent=True, percentile=95))
    racer = work.resilience._runtime.named("hedge").racer
    with restored(registry):
        for _ in range(500):
            work("")
        registry.clock.advance(2.0)
        assert racer.launch_after(1, registry.clock()) is not None
    assert racer.launch_after(1, registry.clock()) is None


TABLES = {"defaults": {"timeout": 3.0}}


@pytest.mark.parametrize("how", ["replaced", "closed", "replaced and closed"])
def test_a_configuration(registry, how, tmp_path):
    file = tmp_path / "resilience.toml"
    file.write_text('[defaults]\ntimeout = 2.0\n[guards]\n"json:dumps" = { timeout = false }\n')
    work = command(registry=registry, timeout=1.0)(len)
    configuration = configure(file, registry=registry, environ={}, watch=True)
    with restored(registry):
        if "replaced" in how:
            other = configure(TABLES, registry=registry, environ={})
            assert 3.0 == work.resilience.settings.timeout
        if "closed" in how:
            (other if "replaced" in how else configuration).close()
            assert 1.0 == work.resilience.settings.timeout
        import json
        assert not hasattr(json.dumps, "resilience")

    assert 2.0 == work.resilience.settings.timeout
    assert hasattr(json.dumps, "resilience")
    assert ("{}", 1) == (json.dumps({}), json.dumps.resilience.snapshot().requests)
    file.write_text("[defaults]\ntimeout = 4.0\n")
    configuration.reload()
    assert 4.0 == work.resilience.settings.timeout
    assert configuration._applied._watcher._thread.is_alive()
    configuration.close()
    assert not hasattr(json.dumps, "resilience")
    assert 1.0 == work.resilience.settings.timeout


def test_commands_that_nobody_named_are_put_back_and_their_numbers_with_them(registry):
    def made():
        return command(registry=registry, timeout=None)(lambda: 1)

    first, second = made(), made()
    with restored(registry):
        registry.remove(second.resilience.key)
        made()

    assert {first.resilience, second.resilience} == set(registry)
    assert 3 == len({call.resilience.key for call in (first, second, made())})
    assert registry.remove(second.resilience.key)


def test_a_command_whose_function_went_in_the_block_is_not_put_back(registry):
    call = command(registry=registry, timeout=None)(lambda: 1)
    with restored(registry):
        del call
        assert [] == list(registry)

    assert [] == list(registry)


def test_all_lambdas_of_a_module_that_was_imported_in_the_block_stay(registry):
    source = "a = command(registry=registry)(lambda: 1)\nb = command(registry=registry)(lambda: 2)"
    module = {"__name__": "module", "command": command, "registry": registry}
    with restored(registry):
        exec(source, module)

    assert ["module.<lambda>", "module.<lambda>#2"] == [handle.key for handle in registry]
