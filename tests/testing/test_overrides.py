"""Policies forced and disabled for a while, and registries put back as they were."""

import asyncio
import gc
import random
import threading

import pytest

import resilience
from resilience import (
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    Registry,
    StateChanged,
    bulkhead,
    circuit_breaker,
    command,
)
from resilience.events import CallFailed, CommandAdded, CommandConfigured
from resilience.testing import RecordedEvents, disabled, forced_closed, forced_open, restored, virtual_time

BREAKER = CircuitBreaker(min_calls=2, open_for=5.0)


@pytest.fixture
def stock(registry):
    """A command with a breaker."""
    return make(registry, "stock")


def make(registry, key, **settings):
    """A command that fails when told to."""

    @command(key=key, registry=registry, **{"timeout": None, "breaker": BREAKER, **settings})
    def work(fails=False):
        if fails:
            raise OSError
        return 7

    return work


def fail(function, times=2):
    """Call it so that it fails."""
    for _ in range(times):
        with pytest.raises(OSError):
            function(True)


@pytest.mark.parametrize("of", [lambda function: function, lambda function: function.resilience])
def test_a_command_is_forced_open_within_the_block_and_decides_for_itself_after_it(stock, of):
    with forced_open(of(stock)) as handle:
        assert stock.resilience is handle
        with pytest.raises(CircuitOpenError):
            stock()

    assert ("closed", 7) == (stock.resilience.state, stock())


def test_a_command_is_forced_closed_within_the_block_whatever_fails(stock):
    with forced_closed(stock):
        fail(stock, 10)
        assert "forced_closed" == stock.resilience.state

    assert "closed" == stock.resilience.state


@pytest.mark.parametrize("force", [forced_open, forced_closed])
def test_a_block_that_raises_ends_the_force_too(stock, force):
    with pytest.raises(KeyError), force(stock):
        raise KeyError

    assert "closed" == stock.resilience.state


def test_nested_blocks_come_back_to_the_outer_one(stock):
    with forced_open(stock):
        with forced_closed(stock):
            assert 7 == stock()
        assert "forced_open" == stock.resilience.state
        with disabled(stock):
            assert 7 == stock()
        assert "forced_open" == stock.resilience.state
    assert "closed" == stock.resilience.state


def test_what_somebody_forced_before_stays_forced(stock):
    stock.resilience.force_closed()
    with forced_open(stock):
        pass

    assert "forced_closed" == stock.resilience.state


@pytest.mark.parametrize("force", [forced_open, forced_closed])
def test_a_command_without_a_breaker_cannot_be_forced(registry, force):
    plain = bulkhead(2, key="plain", registry=registry)(lambda: 7)

    with pytest.raises(ConfigError, match="plain has no breaker"), force(plain):
        pass


@pytest.mark.parametrize("wrong", ["stock", None, len])
def test_what_is_no_command_is_refused_by_name(wrong):
    with pytest.raises(TypeError, match="expected a guarded function or its handle"), forced_open(wrong):
        pass


def test_disabled_calls_pass_breaker_timeout_and_bulkhead(registry):
    async def main():
        registry = Registry(clock=asyncio.get_running_loop().time)

        @command(key="slow", registry=registry, timeout=0.5, max_concurrent=1, breaker=BREAKER)
        async def slow(fails):
            await asyncio.sleep(60)
            if fails:
                raise OSError
            return 7

        before = slow.resilience.settings
        with disabled(registry):
            results = await asyncio.gather(*(slow(n > 2) for n in range(10)), return_exceptions=True)
            assert [7] * 3 == results[:3]
            assert {OSError} == {type(result) for result in results[3:]}
            assert 7 == await slow(False)
            assert "disabled" == slow.resilience.state
        assert before == slow.resilience.settings
        first = asyncio.create_task(slow(False))
        await asyncio.sleep(0)
        with pytest.raises(BulkheadFullError):
            await slow(False)
        with pytest.raises(TimeoutError):
            await first
        assert 0 == slow.resilience.snapshot().in_flight

    virtual_time(main())


def test_commands_added_meanwhile_are_disabled_too_and_get_their_declared_settings_at_the_end(registry):
    with disabled(registry):
        late = make(registry, "late", max_concurrent=3)
        fail(late, 10)
        assert (None, None) == (late.resilience.settings.breaker, late.resilience.settings.max_concurrent)

    assert (BREAKER, 3) == (late.resilience.settings.breaker, late.resilience.settings.max_concurrent)
    fail(late)
    assert "open" == late.resilience.state


def test_one_command_may_be_disabled_and_its_neighbours_go_on(registry):
    one, other = make(registry, "one"), make(registry, "other")
    with disabled(one):
        fail(one, 5)
        fail(other)
        assert ("disabled", "open") == (one.resilience.state, other.resilience.state)

    assert ("closed", "open") == (one.resilience.state, other.resilience.state)


def test_disabled_calls_are_counted_and_a_fallback_still_answers(registry):
    guarded = make(registry, "f", fallback=lambda fails: 0)
    with disabled(guarded):
        assert [0, 7] == [guarded(True), guarded(False)]

    counts = guarded.resilience.snapshot().counts
    assert (1, 1, 1) == (counts["success"], counts["failure"], counts["fallback_success"])


def test_a_command_that_has_nothing_to_disable_stays_as_it_is(registry):
    plain = command(key="plain", registry=registry, timeout=None, max_concurrent=None, breaker=None)(lambda: 7)
    with RecordedEvents(registry) as events, disabled(registry):
        assert 7 == plain()

    events.none(CommandConfigured)


def test_restored_closes_circuits_and_empties_statistics(registry, stock):
    with restored(registry):
        fail(stock)
        assert "open" == stock.resilience.state

    snapshot = stock.resilience.snapshot()
    assert ("closed", 0, 0) == (snapshot.state, snapshot.requests, snapshot.latency.mean)


def test_restored_undoes_live_settings_and_forced_states(registry, stock):
    before = stock.resilience.settings
    with restored(registry):
        stock.resilience.configure(max_concurrent=99, breaker=CircuitBreaker(open_for=77.0))
        stock.resilience.force_open()

    assert (before, "closed") == (stock.resilience.settings, stock.resilience.state)


def test_restored_brings_a_disabled_breaker_back(registry, stock):
    with restored(registry):
        stock.resilience.configure(breaker=None)

    assert (BREAKER, "closed") == (stock.resilience.settings.breaker, stock.resilience.state)


def test_what_a_wider_scope_set_stays(registry, stock):
    stock.resilience.configure(max_concurrent=3)
    stock.resilience.force_closed()
    with restored(registry):
        stock.resilience.configure(max_concurrent=4)
        stock.resilience.release()
    assert (3, "forced_closed") == (stock.resilience.settings.max_concurrent, stock.resilience.state)

    stock.resilience.release()
    with disabled(registry):
        with restored(registry):
            fail(stock, 5)
        assert ("disabled", 0) == (stock.resilience.state, stock.resilience.snapshot().requests)
    assert ("closed", 3) == (stock.resilience.state, stock.resilience.settings.max_concurrent)


def test_commands_made_in_the_block_are_gone_so_that_their_keys_are_free(registry):
    for rate in (0.1, 0.9):
        with restored(registry):
            make(registry, "mine", breaker=CircuitBreaker(failure_rate=rate))

    assert "mine" not in registry


def test_a_module_imported_in_the_block_keeps_its_commands_with_their_declared_settings(registry):
    namespace = {"registry": registry, "command": command, "BREAKER": BREAKER}
    source = "@command(key='m', registry=registry, timeout=None, breaker=BREAKER)\ndef work():\n    raise OSError\n"
    with restored(registry):
        exec(source, namespace)
        namespace["work"].resilience.configure(breaker=CircuitBreaker(min_calls=1))
        with pytest.raises(OSError):
            namespace["work"]()
        assert "open" == registry["m"].state

    assert (BREAKER, "closed", 0) == (
        registry["m"].settings.breaker, registry["m"].state, registry["m"].snapshot().requests)


def test_a_command_taken_out_is_still_reset_while_its_function_lives(registry):
    with restored(registry):
        cached = make(registry, "cached")
    with restored(registry):
        fail(cached)
        assert "open" == cached.resilience.state

    assert 7 == cached()


def test_a_command_removed_in_the_block_is_there_again(registry, stock):
    with restored(registry):
        registry.remove("stock")

    assert stock.resilience is registry["stock"]


def test_listeners_of_the_block_end_with_it_and_those_before_it_go_on(registry, stock):
    before, within = [], []
    registry.subscribe(StateChanged, before.append)
    with restored(registry):
        registry.subscribe(StateChanged, within.append)
        registry.subscribe(CallFailed, within.append)
        fail(stock)
    heard = len(within)
    fail(stock)

    assert 3 == heard == len(within)
    assert "open" == before[-1].new


def test_the_default_registry_is_the_one_that_is_put_back_by_default():
    with restored():
        @circuit_breaker(key="a test's own")
        def own():
            pass

        assert "a test's own" in resilience.default_registry
    assert "a test's own" not in resilience.default_registry


def test_nothing_leaks_from_one_random_test_into_the_next(registry):
    """Whatever tests do to a registry, the next sees it as it was declared."""
    rng = random.Random(4)
    shared = [make(registry, f"c{n}", max_concurrent=n + 1) for n in range(4)]
    pristine = [(each.resilience.settings, "closed", 0, 0) for each in shared]
    deeds = [
        lambda f: f.resilience.force_open(), lambda f: f.resilience.force_closed(),
        lambda f: f.resilience.configure(max_concurrent=rng.randrange(1, 50)),
        lambda f: f.resilience.configure(breaker=None),
        lambda f: f.resilience.configure(breaker=CircuitBreaker(min_calls=rng.randrange(1, 9))),
        lambda f: f.resilience.release(), lambda f: registry.remove(f.resilience.key),
        lambda f: make(registry, f"own{rng.randrange(3)}", max_concurrent=rng.randrange(1, 9)),
        lambda f: registry.subscribe(CommandAdded, print), lambda f: f.resilience.reset(),
    ]
    for _ in range(60):
        with restored(registry):
            for _ in range(rng.randrange(12)):
                try:
                    rng.choice([*deeds, lambda f: f(rng.random() < 0.7)])(rng.choice(shared))
                except (OSError, CircuitOpenError, ConfigError):
                    pass
        seen = []
        for each in shared:
            snapshot = each.resilience.snapshot()
            seen.append((each.resilience.settings, snapshot.state, snapshot.requests, snapshot.in_flight))
        assert pristine == seen
        assert {f"c{n}" for n in range(4)} == {handle.key for handle in registry}
        assert {} == registry._table.emitter.listeners


def test_calls_of_other_threads_meanwhile_lose_no_permit(registry):
    guarded = make(registry, "busy", max_concurrent=50)
    stop, errors = threading.Event(), []

    def work():
        rng = random.Random()
        while not stop.is_set():
            try:
                guarded(rng.random() < 0.5)
            except (OSError, CircuitOpenError):
                pass
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        with restored(registry), disabled(registry), forced_open(guarded):
            pass
    stop.set()
    for thread in threads:
        thread.join()
    with restored(registry):
        pass

    assert [] == errors
    assert (0, "closed", 7) == (guarded.resilience.snapshot().in_flight, guarded.resilience.state, guarded())


def test_what_was_taken_out_is_not_kept_alive(registry):
    with restored(registry):
        make(registry, "short")
    from resilience.testing import overrides

    gc.collect()

    assert [] == [handle for handle in overrides._orphans if handle.key == "short"]
