"""What a file says of functions whose key is a callable: of all keys by the function's name, of one by the key."""

import logging

import pytest

import resilience
from resilience import CircuitBreaker, ConfigError, command
from resilience.events import CommandRemoved


def get(host):
    return host


NAME = f"{__name__}.get"


@pytest.fixture
def guarded(registry):
    return command(key=lambda host: host, group="hosts", registry=registry, timeout=None)(get)


def configure(registry, tables):
    return resilience.configure(tables, registry=registry, environ={})


def limits(fn):
    return {each.key: each.settings.max_concurrent for each in fn.resilience}


def test_each_layer_applies_to_keys_there_are_and_to_keys_to_come(registry, guarded):
    guarded("a")
    configure(registry, {
        "defaults": {"max_concurrent": 1},
        "groups": {"hosts": {"max_concurrent": 2}},
    })
    guarded("b")
    assert {"a": 2, "b": 2} == limits(guarded)
    configure(registry, {
        "groups": {"hosts": {"max_concurrent": 2}},
        "commands": {NAME: {"max_concurrent": 3}, "c": {"max_concurrent": 4}},
    })
    guarded("c")
    assert {"a": 3, "b": 3, "c": 4} == limits(guarded)


def test_a_key_that_was_gone_comes_back_as_the_file_says(registry, guarded, clock):
    configuration = configure(registry, {"commands": {NAME: {"max_concurrent": 3}, "a": {"max_concurrent": 4}}})
    guarded("a")
    clock.advance(300.0)
    assert [] == list(registry)
    guarded("a")
    assert {"a": 4} == limits(guarded)
    configuration.close()
    guarded("b")
    assert {"a": 10, "b": 10} == limits(guarded)


def test_the_name_of_a_file_is_unused_until_a_key_has_it(registry, guarded):
    configuration = configure(registry, {"commands": {NAME: {"max_concurrent": 3}, "a": {"max_concurrent": 4},
                                                      "never": {}}})
    assert (f"commands.{NAME}", "commands.a", "commands.never") == tuple(
        each for each in configuration.unused if each.startswith("commands."))
    guarded("a")
    assert ("commands.never",) == configuration.unused


def test_the_explanation_of_a_key_says_where_each_setting_is_from(registry, guarded):
    configuration = configure(registry, {"commands": {NAME: {"max_concurrent": 3, "breaker": {"open_for": 2.0}},
                                                      "a": {"max_concurrent": 4}}})
    guarded("a")
    said = {each.name: (each.value, str(each.place)) for each in configuration.explain("a").settings}

    assert (4, "the mapping commands.a.max_concurrent") == said["max_concurrent"]
    assert (2.0, f'the mapping commands."{NAME}".breaker.open_for') == said["breaker.open_for"]


def test_what_the_handle_says_of_all_keys_stands_above_the_file(registry, guarded):
    configure(registry, {"commands": {NAME: {"max_concurrent": 3}}})
    guarded("a")
    guarded.resilience.configure(max_concurrent=5)
    guarded("b")

    assert {"a": 5, "b": 5} == limits(guarded)


def test_a_mistake_about_all_keys_is_told_once_and_the_keys_go_on(registry, caplog):
    configuration = configure(registry, {"commands": {NAME: {"breaker": {"open_growth": 2.0, "open_for": 9.0}}}})
    guarded = command(key=lambda host: host, registry=registry, timeout=None, max_concurrent=None,  # after the file
                      breaker=CircuitBreaker(min_calls=10, open_for=5.0, open_max=6.0))(get)
    with caplog.at_level(logging.ERROR, "resilience"):
        for host in "abc":
            guarded(host)

    assert [f"of {NAME!r}" in record.getMessage() for record in caplog.records] == [True]
    assert 1 == len(configuration.mistakes)
    assert {5.0} == {each.settings.breaker.open_for for each in guarded.resilience}


def test_a_file_that_a_key_cannot_follow_changes_nothing(registry, guarded):
    configure(registry, {"commands": {NAME: {"max_concurrent": 3}}})
    guarded("a")
    with pytest.raises(ConfigError, match="no timeout can reach|none can reach"):
        configure(registry, {"commands": {NAME: {"max_concurrent": 4, "timeout": 1.0}}})

    assert {"a": 3} == limits(guarded)


def test_no_key_is_let_go_while_a_file_is_applied(registry, guarded, clock):
    """A configuration is applied under the lock, where no listener may be called."""
    locked = []
    registry.subscribe(CommandRemoved, lambda event: locked.append(registry._table.lock._is_owned()))
    guarded("a")
    clock.advance(1e6)
    configure(registry, {"commands": {NAME: {"max_concurrent": 3}}})

    assert [] == list(registry)
    assert [False] == locked


def test_a_guarded_function_is_not_guarded_by_a_file_too(registry):
    configure(registry, {"commands": {NAME: {"max_concurrent": 3}}})
    target = f"{__name__}:keyed"
    with pytest.raises(ConfigError, match="is guarded already, by a decorator"):
        configure(registry, {"guards": {target: {"max_concurrent": 3}}})


keyed = command(key=lambda host: host, timeout=None)(get)
