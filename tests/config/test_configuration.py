"""Live configuration: what is in force for which command, all or nothing, and what is told of it."""

from __future__ import annotations

import gc
import logging
import threading
import weakref

import pytest

from resilience import (
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    Pipeline,
    Registry,
    Timeout,
    command,
)
from resilience.config import (
    ConfigFileError,
    ConfigurationApplied,
    ConfigurationRejected,
    check,
    configure,
)
from resilience.events import CommandConfigured


@pytest.fixture
def file(tmp_path):
    return tmp_path / "resilience.toml"


def stock(registry, **options):
    @command(**{"key": "shop.stock", "group": "shop", "registry": registry, **options})
    async def function():
        return 7

    return function


def mistakes_of(text, registry, file):
    file.write_text(text)
    with pytest.raises(ConfigFileError) as caught:
        configure(file, registry=registry, environ={})
    assert {str(file)} == {each.file for each in caught.value.mistakes}
    return [(each.line, each.key, each.message) for each in caught.value.mistakes]


def test_a_file_changes_the_commands_that_exist(registry, file):
    handle = stock(registry).resilience
    file.write_text("""
[commands."shop.stock"]
timeout = 0.3
max_concurrent = false
breaker = { failure_rate = 0.25 }
""")
    configure(file, registry=registry, environ={})
    assert (0.3, None, CircuitBreaker(failure_rate=0.25)) == (
        handle.settings.timeout, handle.settings.max_concurrent, handle.settings.breaker)


def test_it_changes_those_that_are_declared_later(registry):
    configuration = configure({"commands": {"shop.stock": {"timeout": 0.3}}}, registry=registry, environ={})
    assert ("commands.shop.stock",) == configuration.unused
    assert 0.3 == stock(registry).resilience.settings.timeout
    assert () == configuration.unused


@pytest.mark.parametrize(("defaults", "group", "code", "own", "wanted"), [
    (None, None, None, None, 1.0),
    (2.0, None, None, None, 2.0),
    (2.0, 3.0, None, None, 3.0),
    (2.0, 3.0, 4.0, None, 4.0),
    (2.0, 3.0, 4.0, 5.0, 5.0),
    (None, 3.0, 4.0, None, 4.0),
    (2.0, None, None, 5.0, 5.0),
])
def test_what_is_said_of_one_command_beats_what_is_said_of_many_and_the_file_beats_the_code(
        registry, defaults, group, code, own, wanted):
    tables = {
        "defaults": {} if defaults is None else {"timeout": defaults},
        "groups": {"shop": {} if group is None else {"timeout": group}, "other": {"timeout": 99.0}},
        "commands": {"shop.stock": {} if own is None else {"timeout": own}},
    }
    configure(tables, registry=registry, environ={})
    assert wanted == stock(registry, **({} if code is None else {"timeout": code})).resilience.settings.timeout


def test_each_setting_of_a_breaker_has_its_own_layer(registry):
    handle = stock(registry, breaker=CircuitBreaker(failure_rate=0.3)).resilience
    configure({"defaults": {"breaker": {"failure_rate": 0.9, "open_for": 7.0, "min_calls": 5}},
               "commands": {"shop.stock": {"breaker": {"min_calls": 8}}}}, registry=registry, environ={})
    assert CircuitBreaker(failure_rate=0.3, open_for=7.0, min_calls=8) == handle.settings.breaker


def test_a_breaker_that_a_default_turns_off_a_table_of_the_command_turns_on_again(registry):
    handle, other = stock(registry).resilience, stock(registry, key="other").resilience
    configure({"defaults": {"breaker": False}, "commands": {"shop.stock": {"breaker": {}}}}, registry=registry, environ={})
    assert ("closed", "disabled") == (handle.state, other.state)


def test_a_default_does_not_reach_a_command_that_has_no_such_policy(registry):
    default_settings = Pipeline(Bulkhead(3), key="default_settings", registry=registry)(lambda: 1).resilience
    configuration = configure({"defaults": {"timeout": 3.0, "max_concurrent": 9, "breaker": {"open_for": 1.0}}},
                              registry=registry, environ={})
    assert (None, 3, None) == (default_settings.settings.timeout, default_settings.settings.max_concurrent, default_settings.settings.breaker)
    assert () == configuration.mistakes


def test_what_a_command_cannot_be_is_a_mistake_and_nothing_changes(registry, file):
    plain = command(key="plain", registry=registry, timeout=None)(lambda: 1).resilience
    other = stock(registry).resilience
    assert [(4, "commands.plain.timeout", "plain: it was decorated without a timeout, so it runs in its caller's "
             "thread, where none can reach it; decorate it with timeout=... or isolation = \"thread\"")] == mistakes_of("""[commands."shop.stock"]
timeout = 0.2
[commands.plain]
timeout = 0.1
max_concurrent = 3
""", registry, file)
    assert (None, 10, 1.0) == (plain.settings.timeout, plain.settings.max_concurrent, other.settings.timeout)


def test_a_command_declared_later_that_cannot_be_so_is_reported_and_takes_the_rest(registry, file, caplog):
    told = []
    registry.subscribe(ConfigurationRejected, told.append)
    file.write_text("[commands.plain]\ntimeout = 0.1\nmax_concurrent = 3\n")
    configuration = configure(file, registry=registry, environ={})
    plain = command(key="plain", registry=registry, timeout=None)(lambda: 1).resilience
    assert (None, 3) == (plain.settings.timeout, plain.settings.max_concurrent)
    [mistake] = configuration.mistakes
    assert (str(file), 2, "commands.plain.timeout") == mistake[:3]
    assert [(mistake,)] == [event.mistakes for event in told]
    assert f"{file}:2: commands.plain.timeout: " in caplog.text


def test_every_mistake_is_listed_with_its_line_and_key(registry, file):
    assert [
        (2, "defaults.timeout", "must be a number above 0 and at most 86400, or false, not -1"),
        (3, "defaults.max_concurrent", "must be a whole number, or false, not 2.5"),
        (4, "defaults.brekaer", "unknown setting; did you mean breaker?"),
        (6, "groups.shop.breaker", "must be a table, or false, not 3"),
        (8, 'commands."a b".breaker.min_calls',
         "must be at most window_calls (3), or the circuit could never open; not 9"),
        (9, "comands", "unknown table; did you mean commands?"),
        (12, 'guards."x:y"', "there is no module x"),
        (13, "guards.nocolon", 'a target must be "module:name", such as "billing.client:Client.charge"'),
        (14, 'guards."textwrap:fill".isolation', "must be one of auto, semaphore, thread, not 'fork'"),
        (15, 'guards."textwrap:wrap".ignore', "must be a built-in exception or \"module:name\", not 'a-b'"),
    ] == mistakes_of("""[defaults]
timeout = -1
max_concurrent = 2.5
brekaer = {}
[groups.shop]
breaker = 3
[commands."a b"]
breaker = { min_calls = 9, window_calls = 3 }
[comands]

[guards]
"x:y" = {}
nocolon = {}
"textwrap:fill" = { isolation = "fork" }
"textwrap:wrap" = { ignore = ["KeyError", "a-b"] }
""", registry, file)


def test_a_contradiction_between_code_and_file_is_told_where_the_file_says_it(registry, file):
    handle = stock(registry, breaker=CircuitBreaker(window_calls=30)).resilience
    [(line, key, message)] = mistakes_of('[commands."shop.stock".breaker]\nopen_for = 2.0\nmin_calls = 31\n', registry, file)
    assert (3, 'commands."shop.stock".breaker.min_calls') == (line, key)
    assert message.startswith("of 'shop.stock', with all that is said about it: min_calls must be at most window_calls (30)")
    assert CircuitBreaker(window_calls=30) == handle.settings.breaker


def test_half_of_what_belongs_together_may_be_left_to_the_code(registry, file):
    file.write_text("[commands.x]\nbreaker = { slow_rate = 0.5 }\n[commands.y]\nbreaker = { window_calls = 5, half_open_failures = 2 }\n")
    configure(file, registry=registry, environ={})
    handle = stock(registry, key="x", breaker=CircuitBreaker(slow_call=0.2)).resilience
    assert CircuitBreaker(slow_call=0.2, slow_rate=0.5) == handle.settings.breaker


def test_a_bad_file_changes_nothing_and_is_told_in_the_log_by_an_event_and_by_the_handle(registry, file, caplog):
    told = []
    registry.subscribe(ConfigurationRejected, told.append)
    handle = stock(registry).resilience
    file.write_text("[defaults]\ntimeout = 0.5\n")
    configuration = configure(file, registry=registry, environ={})
    file.write_text("[defaults]\ntimeout = 0.6\nmax_concurrent = 0\n")
    with pytest.raises(ConfigFileError), caplog.at_level(logging.ERROR, "resilience"):
        configuration.reload()
    assert (0.5, 10) == (handle.settings.timeout, handle.settings.max_concurrent)
    [mistake] = configuration.mistakes
    assert [(mistake,)] == [event.mistakes for event in told]
    assert [f"configuration changes nothing: {mistake}"] == [record.getMessage() for record in caplog.records]
    file.write_text("[defaults]\ntimeout = 0.7\n")
    configuration.reload()
    assert (0.7, ()) == (handle.settings.timeout, configuration.mistakes)


def test_state_and_statistics_survive_a_reload(registry):
    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=2))
    def failing():
        raise OSError

    tables = {"defaults": {"max_concurrent": 3}}
    configuration = configure(tables, registry=registry, environ={})
    for _ in range(2):
        with pytest.raises(OSError):
            failing()
    tables["defaults"] = {"max_concurrent": 4, "breaker": {"open_for": 60.0}}
    configuration.reload()
    with pytest.raises(CircuitOpenError):
        failing()
    assert (4, 60.0) == (failing.resilience.settings.max_concurrent, failing.resilience.settings.breaker.open_for)
    assert 2 == failing.resilience.snapshot().counts["failure"]


def test_what_a_handle_changed_stays_until_the_file_says_something_new_about_it(registry):
    handle, tables = stock(registry).resilience, {"defaults": {"timeout": 2.0, "max_concurrent": 5}}
    configuration = configure(tables, registry=registry, environ={})
    handle.configure(timeout=0.1)
    tables["defaults"] = {"timeout": 2.0, "max_concurrent": 6}
    configuration.reload()
    assert (0.1, 6) == (handle.settings.timeout, handle.settings.max_concurrent)
    assert "configure() of its handle" == str(next(each.place for each in configuration.explain("shop.stock").settings))
    tables["defaults"] = {"timeout": 3.0, "max_concurrent": 6}
    configuration.reload()
    assert 3.0 == handle.settings.timeout


def test_the_environment_goes_on_top_of_the_file_table_by_table(registry, file):
    handle = stock(registry).resilience
    file.write_text('[defaults]\ntimeout = 2.0\n[commands."shop.stock"]\nmax_concurrent = 3\nbreaker = false\n')
    environ = {"RESILIENCE_CONFIG": 'commands."shop.stock".max_concurrent = 4', "PATH": "x",
               "RESILIENCE_CONFIG_MORE": 'defaults.timeout = 2.5\ncommands."shop.stock".breaker.open_for = 9'}
    configuration = configure(file, registry=registry, environ=environ)
    assert (2.5, 4, CircuitBreaker(open_for=9.0)) == (
        handle.settings.timeout, handle.settings.max_concurrent, handle.settings.breaker)
    assert '$RESILIENCE_CONFIG:1 commands."shop.stock".max_concurrent' in str(configuration.explain("shop.stock"))


def test_a_mistake_in_the_environment_is_told_with_the_variable(registry, file):
    file.write_text("")
    with pytest.raises(ConfigFileError) as caught:
        configure(file, registry=registry, environ={"RESILIENCE_CONFIG_A": "x = ", "RESILIENCE_CONFIG_B": "\ndefaults.timeout = 0"})
    assert [("$RESILIENCE_CONFIG_A", 1), ("$RESILIENCE_CONFIG_B", 2)] == [each[:2] for each in caught.value.mistakes]


def test_the_processs_environment_is_read_when_a_configuration_is(registry, monkeypatch):
    handle = stock(registry).resilience
    monkeypatch.setenv("RESILIENCE_CONFIG_T", "defaults.timeout = 4.5")
    configuration = configure({}, registry=registry)
    assert 4.5 == handle.settings.timeout
    monkeypatch.setenv("RESILIENCE_CONFIG_T", "defaults.timeout = 5.5")
    configuration.reload()
    assert 5.5 == handle.settings.timeout


def test_explain_tells_where_each_setting_comes_from(registry, file):
    file.write_text('[defaults]\ntimeout = 2.0\n[commands."shop.stock"]\nbreaker.open_for = 9.0\n')
    stock(registry, max_concurrent=7)
    configuration = configure(file, registry=registry, environ={})
    found = {each.name: (each.value, str(each.place)) for each in configuration.explain("shop.stock").settings}
    assert (2.0, f"{file}:2 defaults.timeout") == found["timeout"]
    assert (7, "the code") == found["max_concurrent"]
    assert (9.0, f'{file}:4 commands."shop.stock".breaker.open_for') == found["breaker.open_for"]
    assert (20, "the library's default") == found["breaker.min_calls"]
    with pytest.raises(KeyError):
        configuration.explain("nobody")


def test_close_takes_everything_back(registry):
    handle = stock(registry, timeout=0.5).resilience
    configuration = configure({"commands": {"shop.stock": {"timeout": 2.0, "breaker": False}}}, registry=registry, environ={})
    assert (2.0, "disabled") == (handle.settings.timeout, handle.state)
    configuration.close()
    configuration.close()
    assert (0.5, "closed") == (handle.settings.timeout, handle.state)
    assert 1.0 == stock(registry, key="later").resilience.settings.timeout
    with pytest.raises(ConfigError, match="not in force any more"):
        configuration.reload()


def test_another_configuration_takes_the_place_of_the_first(registry):
    changes = []
    handle = stock(registry).resilience
    first = configure({"defaults": {"timeout": 2.0, "max_concurrent": 3}}, registry=registry, environ={})
    registry.subscribe(CommandConfigured, lambda event: changes.append(event.changes))
    with pytest.raises(ConfigFileError):
        configure({"defaults": {"timeout": -2.0}}, registry=registry, environ={})
    first.reload()
    second = configure({"defaults": {"timeout": 2.0}}, registry=registry, environ={})
    assert [("max_concurrent",)] == changes
    assert (2.0, 10) == (handle.settings.timeout, handle.settings.max_concurrent)
    first.close()
    assert 2.0 == handle.settings.timeout
    second.close()
    assert 1.0 == handle.settings.timeout


def test_registries_are_configured_apart(registry):
    other = Registry()
    configure({"defaults": {"timeout": 2.0}}, registry=registry, environ={})
    assert (2.0, 1.0) == (stock(registry).resilience.settings.timeout, stock(other).resilience.settings.timeout)


def test_listeners_hear_what_was_applied_and_hold_no_lock_meanwhile(registry):
    heard = []

    def listen(event):
        thread = threading.Thread(target=lambda: heard.append(stock(registry, key=f"in a thread {len(heard)}") and event))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()

    registry.subscribe(CommandConfigured, listen)
    registry.subscribe(ConfigurationApplied, listen)
    stock(registry)
    configure({"commands": {"shop.stock": {"timeout": 2.0}}}, registry=registry, environ={})
    assert [("shop.stock", ("timeout",)), ("the mapping", ("shop.stock",))] == [
        (getattr(event, "key", "the mapping"), getattr(event, "changes", getattr(event, "changed", ())))
        for event in heard]


def test_a_listener_may_reload_without_waiting_for_itself(registry):
    tables, rounds = {"defaults": {"timeout": 2.0}}, []
    handle = stock(registry).resilience
    configuration = configure(tables, registry=registry, environ={})

    def again(event):
        rounds.append(event)
        if len(rounds) == 1:
            tables["defaults"] = {"timeout": 4.0}
            configuration.reload()
            assert 3.0 == handle.settings.timeout  # left with the one at work, which is us

    registry.subscribe(ConfigurationApplied, again)
    tables["defaults"] = {"timeout": 3.0}
    configuration.reload()
    assert (4.0, 2) == (handle.settings.timeout, len(rounds))


def test_threads_that_reload_and_declare_at_once_leave_the_last_tables_in_force(registry):
    tables = {"defaults": {"timeout": 2.0}}
    configuration = configure(tables, registry=registry, environ={})
    threads = []

    def reload(number):
        for round_ in range(30):
            tables["defaults"] = {"timeout": 2.0 + number + round_ / 100}
            configuration.reload()

    def declare(number):
        for round_ in range(8):
            stock(registry, key=f"{number}.{round_}")

    for number in range(3):
        threads += [threading.Thread(target=reload, args=(number,)), threading.Thread(target=declare, args=(number,))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    tables["defaults"] = {"timeout": 50.0}
    configuration.reload()
    assert {50.0} == {handle.settings.timeout for handle in registry}
    assert 24 == len(registry)


def test_a_configuration_lives_as_long_as_its_registry_and_no_longer():
    registry = Registry()
    alive = weakref.ref(configure({"defaults": {"timeout": 2.0}}, registry=registry, environ={})._applied)
    gc.collect()
    assert alive() is not None
    assert 2.0 == stock(registry).resilience.settings.timeout
    del registry
    gc.collect()
    assert alive() is None


def test_a_mapping_cannot_be_watched(registry):
    with pytest.raises(ConfigError, match="watch: a mapping cannot be watched"):
        configure({}, registry=registry, watch=True)


def test_a_missing_file_is_a_mistake(registry, tmp_path):
    with pytest.raises(ConfigFileError, match="cannot be read"):
        configure(tmp_path / "absent.toml", registry=registry)


@pytest.mark.parametrize("tables", [{"defaults": 3}, {"commands": {"x": 3}}, {"guards": []}, {"commands": {"": {}}}])
def test_what_should_be_a_table_and_is_not_is_a_mistake(registry, tables):
    with pytest.raises(ConfigFileError):
        configure(tables, registry=registry, environ={})


def test_check_reads_and_changes_nothing(registry):
    handle = stock(registry).resilience
    assert 2.0 == check({"defaults": {"timeout": 2.0}}, environ={}).defaults["timeout"].value
    assert 1.0 == handle.settings.timeout


def test_a_policy_that_says_more_than_toml_can_keeps_what_the_code_says(registry):
    assert Timeout(2.0) != Timeout()  # the values are compared by value, or the layers would see no difference
    handle = stock(registry, breaker=CircuitBreaker(ramp=2.0, ramp_shares=(0.2, 0.4))).resilience
    configure({"commands": {"shop.stock": {"breaker": {"open_for": 3.0, "ramp_shares": [0.5]}}}}, registry=registry, environ={})
    assert CircuitBreaker(ramp=2.0, ramp_shares=(0.5,), open_for=3.0) == handle.settings.breaker
