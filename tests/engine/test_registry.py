"""Registries: keys, sharing, conflicts, events, size."""

import logging

import pytest

from resilience import (
    CircuitBreaker,
    ConfigError,
    Registry,
    StateChanged,
    ThreadPool,
    bulkhead,
    circuit_breaker,
    command,
    default_registry,
)
from resilience.events import CallFailed, CallRejected, CommandAdded, CommandConfigured, CommandRemoved


def test_a_key_is_module_and_qualified_name_and_the_group_the_module(registry):
    @command(registry=registry, timeout=None)
    def stock(): ...

    assert f"{__name__}.test_a_key_is_module_and_qualified_name_and_the_group_the_module.<locals>.stock" == stock.resilience.key
    assert __name__ == stock.resilience.group


def test_functions_with_one_key_share_breaker_bulkhead_and_statistics(registry):
    settings = {"key": "k", "registry": registry, "timeout": None, "breaker": CircuitBreaker(min_calls=2)}

    @command(**settings)
    def one():
        raise OSError

    @command(**settings, fallback=lambda: "fallback")
    def two():
        raise OSError

    with pytest.raises(OSError):
        one()
    assert "fallback" == two()
    assert one.resilience is two.resilience
    assert "open" == one.resilience.state
    assert 2 == one.resilience.snapshot().counts["failure"]
    assert "fallback" == two(), "the fallback belongs to the function"
    with pytest.raises(Exception, match="circuit is open"):
        one()


@pytest.mark.parametrize(("option", "value"), [("timeout", 0.6), ("max_concurrent", 11), ("breaker", CircuitBreaker(min_calls=3)),
                                               ("breaker", None)])
def test_settings_that_disagree_for_one_key_are_an_error_that_names_them(registry, option, value):
    command(key="k", registry=registry, timeout=0.5)(len)

    with pytest.raises(ConfigError, match=option) as caught:
        command(**{"key": "k", "registry": registry, "timeout": 0.5, option: value})(max)

    assert option == caught.value.option
    assert 0.5 == registry["k"].settings.timeout


def test_a_stack_may_add_what_another_left_out(registry):
    circuit_breaker(key="k", registry=registry)(len)
    bulkhead(3, key="k", registry=registry)(max)

    assert 3 == registry["k"].settings.max_concurrent
    assert CircuitBreaker() == registry["k"].settings.breaker


def test_one_group_has_one_pool_setting(registry):
    command(key="a", group="g", registry=registry, timeout=1.0, pool=ThreadPool(size=3))(len)

    with pytest.raises(ConfigError, match="pool") as caught:
        command(key="b", group="g", registry=registry, timeout=1.0, pool=ThreadPool(size=4))(len)

    assert "pool" == caught.value.option
    assert "b" not in registry, "a decoration that fails leaves no trace"


def test_registries_do_not_see_each_other(registry):
    other = Registry()
    f = command(key="isolated", registry=registry, timeout=None)(len)
    g = command(key="isolated", registry=other, timeout=None, max_concurrent=3)(len)

    assert f.resilience is not g.resilience
    assert "isolated" not in default_registry
    assert [f.resilience] == list(registry)


def test_a_hundred_thousand_commands_are_added_and_removed_in_linear_time(registry):
    """Each addition once copied the table: 100,000 took minutes."""
    for i in range(100_000):
        registry._table.add(registry._table.command(f"k{i}", "g"))

    assert 100_000 == len(registry) == sum(1 for _ in registry)
    for i in range(100_000):
        registry.remove(f"k{i}")
    assert 0 == len(registry)


def test_iterating_while_commands_come_and_go_is_safe(registry):
    for i in range(10):
        command(key=f"k{i}", registry=registry, timeout=None)(len)

    for handle in registry:
        registry.remove(handle.key)
        command(key=f"new {handle.key}", registry=registry, timeout=None)(len)

    assert 10 == len(registry)


def test_every_kind_of_event_reaches_its_listeners(registry, clock):
    heard = []
    for kind in (StateChanged, CallFailed, CallRejected, CommandAdded, CommandRemoved, CommandConfigured):
        registry.subscribe(kind, heard.append)

    @command(key="k", group="g", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1))
    def call():
        clock.advance(0.25)
        raise OSError("broken")

    for _ in range(2):
        with pytest.raises(Exception, match=r"broken|circuit is open"):
            call()
    call.resilience.configure(max_concurrent=3)
    registry.remove("k")

    assert ["CommandAdded", "StateChanged", "CallFailed", "CallRejected", "CommandConfigured", "CommandRemoved"] == [
        type(event).__name__ for event in heard]
    assert {("k", "g")} == {(event.key, event.group) for event in heard}
    assert ("failure", 0.25, "broken") == (heard[2].event, heard[2].duration, str(heard[2].error))
    assert "short_circuited" == heard[3].event
    assert ("max_concurrent",) == heard[4].changes


def test_a_failing_listener_is_logged_once_and_harms_no_call(registry, caplog):
    heard = []

    def faulty(event):
        raise RuntimeError("listener bug")

    registry.subscribe(CallFailed, faulty)
    registry.subscribe(CallFailed, heard.append)

    @command(key="k", registry=registry, timeout=None)
    def call():
        raise OSError

    with caplog.at_level(logging.ERROR, "resilience"):
        for _ in range(3):
            with pytest.raises(OSError):
                call()

    assert 3 == len(heard)
    assert 1 == len(caplog.records)


def test_a_listener_may_call_and_steer_the_command_that_it_hears_of(registry):
    """sony/gobreaker#37: the callback ran under the lock and deadlocked."""
    seen = []

    def listener(event):
        seen.append((str(event.new), call.resilience.state, call.resilience.snapshot().requests))
        if event.new == "open":
            call.resilience.reset()

    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1))
    def call():
        raise OSError

    registry.subscribe(StateChanged, listener)
    with pytest.raises(OSError):
        call()

    assert ["open", "closed"] == [state for state, *_ in seen]
    assert "closed" == call.resilience.state


def test_unsubscribing_during_delivery_and_twice_is_harmless(registry):
    heard = []

    def once(event):
        heard.append(event)
        unsubscribe()
        unsubscribe()

    unsubscribe = registry.subscribe(CommandAdded, once)
    command(key="a", registry=registry, timeout=None)(len)
    command(key="b", registry=registry, timeout=None)(len)

    assert ["a"] == [event.key for event in heard]


@pytest.mark.parametrize("name", ['"quotes"', "<b>", "two\nlines", "x" * 500, "\ud800", "\x00", "ключ"])
def test_any_text_is_a_key(registry, name):
    f = command(key=name, group=name, registry=registry, timeout=None)(len)

    assert 3 == f("abc")
    assert (name, name) == (registry[name].key, registry[name].group)
    assert repr(name) in repr(f.resilience)


@pytest.mark.parametrize(("changes", "option"), [({"timeout": -1}, "timeout"), ({"max_concurrent": 0}, "max_concurrent"),
                                                 ({"breaker": 5}, "breaker"), ({"key": "x"}, "key"),
                                                 ({"max_concurrent": 3, "timeout": "soon"}, "timeout")])
def test_configure_changes_all_or_nothing(registry, changes, option):
    @command(key="k", registry=registry)
    async def call(): ...

    before = call.resilience.settings
    with pytest.raises(ConfigError) as caught:
        call.resilience.configure(**changes)

    assert option == caught.value.option
    assert before == call.resilience.settings


def test_configure_keeps_statistics_and_state(registry):
    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=2))
    def call():
        raise OSError

    for _ in range(2):
        with pytest.raises(OSError):
            call()
    call.resilience.configure(max_concurrent=3, breaker=CircuitBreaker(min_calls=9, open_for=60.0))

    assert "open" == call.resilience.state
    assert 2 == call.resilience.snapshot().counts["failure"]
    assert 60.0 == call.resilience.snapshot().retry_after


def test_a_timeout_cannot_be_configured_where_none_can_reach(registry):
    plain = command(key="plain", registry=registry, timeout=None)(len)

    with pytest.raises(ConfigError, match="caller's thread"):
        plain.resilience.configure(timeout=1.0)
