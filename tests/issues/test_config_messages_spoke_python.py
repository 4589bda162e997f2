"""Messages about a file named a key twice, spoke of None, which TOML has not, and left what people write in their first
hour unexplained: percentages, null, keys with dots, milliseconds; a missing file was wrong in its line 1.
"""

import logging

import pytest

from resilience import CircuitBreaker, ConfigError, command
from resilience.config import ConfigFileError, check, configure
from resilience.gateway import load

GATEWAY = '[services.a]\nendpoints = ["http://h"]\n{}\n[[routes]]\npath = "/a"\nservice = "a"\n'


@pytest.fixture(name="said")
def _said(tmp_path):
    """What check() says of a file with this text: each mistake without the file's name."""

    def said(text, read=lambda file: check(file, {})):
        file = tmp_path / "resilience.toml"
        file.write_text(text)
        with pytest.raises(ConfigFileError) as caught:
            read(file)
        return [str(mistake).removeprefix(str(file)) for mistake in caught.value.mistakes]

    return said


@pytest.mark.parametrize(("line", "message"), [
    ("breaker.failure_rate = 50", ":2: defaults.breaker.failure_rate: must be a number above 0 and at most 1, or false, "
                                  "not 50; this is a share from 0 to 1: did you mean 0.5?"),
    ("breaker.failure_rate = '50 %'", ":2: defaults.breaker.failure_rate: must be a number, or false, not '50 %'; "
                                      "this is a share from 0 to 1: did you mean 0.5?"),
    ("breaker.slow_rate = 2.5", ":2: defaults.breaker.slow_rate: must be a number above 0 and at most 1, not 2.5; "
                                "this is a share from 0 to 1: did you mean 0.025?"),
    ("breaker.slow_rate = 200", ":2: defaults.breaker.slow_rate: must be a number above 0 and at most 1, not 200"),
    ("breaker.ramp_shares = [10, 50]", ":2: defaults.breaker.ramp_shares: must be rising numbers above 0 and below 1, "
                                       "such as [0.1, 0.25, 0.5], not [10, 50]; did you mean [0.1, 0.5]?"),
    ("breaker.slow_in_flight = 1", ":2: defaults.breaker.slow_in_flight: must be true or false, not 1"),
    ("breaker = { min_calls = 30, window_calls = 3 }", ":2: defaults.breaker.min_calls: must be at most window_calls "
                                                       "(3), or the circuit could never open; not 30"),
    ("timeout = 'none'", ":2: defaults.timeout: must be a number, or false, not 'none'; write false, without quotes, "
                         "to turn it off"),
    ("timeout = '500ms'", ":2: defaults.timeout: must be a number, or false, not '500ms'; this is in seconds: did you "
                          "mean 0.5?"),
    ("timeout = 100000", ":2: defaults.timeout: must be a number above 0 and at most 86400, or false, not 100000; this "
                         "is in seconds: did you mean 100?"),
    ("retry = 3", ":2: defaults.retry: must be a table, or false, not 3; did you mean retry = { attempts = 3 }?"),
    ("retry = true", ":2: defaults.retry: must be a table, or false, not true; write retry = {} to have it with its "
                     "defaults"),
    ("shadow = 'breaker'", ":2: defaults.shadow: must be a list, not 'breaker'; write [\"breaker\"]"),
])
def test_a_value_that_cannot_be_is_told_once_by_name_in_the_words_of_a_file_with_what_was_meant(said, line, message):
    assert [message] == said(f"[defaults]\n{line}\n")


@pytest.mark.parametrize(("text", "message"), [
    ("[defaults]\nbraker = {}", ":2: defaults.braker: unknown setting; did you mean breaker?"),
    ("[defaults]\nbulkhead = 3", ":2: defaults.bulkhead: unknown setting; did you mean max_concurrent?"),
    ("[defaults]\nrate-limit = {}", ":2: defaults.rate-limit: unknown setting; did you mean rate_limit?"),
    ("[groups.g]\nretires = {}", ":2: groups.g.retires: unknown setting; did you mean retry?"),
    ("[commands.k]\ntrottle = {}", ":2: commands.k.trottle: unknown setting; did you mean throttle?"),
    ("[commands.k.hegde]\ndelay = 0.1", ":1: commands.k.hegde: unknown setting; did you mean hedge?"),
    ("[commands.k]\nbreaker.fail_max = 3", ":2: commands.k.breaker.fail_max: unknown setting; did you mean consecutive?"),
    ("[guards]\n'json:loads' = { adaptiv_limit = {} }",
     ':2: guards."json:loads".adaptiv_limit: unknown setting; did you mean adaptive_limit?'),
    ("[guards]\n'json:loads' = { isolation = 'semaphor' }",
     ':2: guards."json:loads".isolation: must be one of auto, semaphore, thread, not \'semaphor\'; did you mean '
     "semaphore?"),
    ("[defaults]\nshadow = ['braker']", ":2: defaults.shadow: must be some of breaker, throttle, rate_limit, "
     "max_concurrent, adaptive_limit, not 'braker'; did you mean breaker?"),
    ("[default]", ":1: default: unknown table; did you mean defaults?"),
    ("[guard]", ":1: guard: unknown table; did you mean guards?"),
])
def test_a_misspelt_name_is_answered_with_the_near_one_wherever_it_stands(said, text, message):
    assert [message] == said(text)


@pytest.mark.parametrize(("text", "line", "key"), [
    ("[commands.shop.stock]\ntimeout = 1.0", 1, '[commands."shop.stock"]'),
    ("[commands.shop.stock.breaker]\nopen_for = 1.0", 1, '[commands."shop.stock"]'),
    ("[commands.shop.stock.count]\ntimeout = 1.0", 1, '[commands."shop.stock.count"]'),
    ("[commands]\nshop.stock.timeout = 1.0", 2, '[commands."shop.stock"]'),
    ("[groups.shop.eu]\ntimeout = 1.0", 1, '[groups."shop.eu"]'),
])
def test_a_key_with_dots_that_is_not_quoted_is_told_to_be(said, text, line, key):
    [message] = said(text)
    assert message.startswith(f":{line}: ")
    assert message.endswith(f"unknown setting; quote a key with dots: {key}")


def test_a_service_with_dots_in_its_name_is_told_to_be_quoted(said):
    messages = said(GATEWAY.format("[services.my.svc]\nendpoints = ['http://h']"), load)
    assert ':3: services.my.svc: unknown setting; quote a key with dots: [services."my.svc"]' in messages


NULL = "TOML has no null; write false to turn a setting off, or leave its key out"


@pytest.mark.parametrize(("text", "hint"), [
    ("[defaults]\ntimeout = null", NULL), ("[defaults]\ntimeout = None", NULL), ("[defaults]\ntimeout = nil # off", NULL),
    ("[defaults]\nbreaker = { open_for = null }", NULL), ("[defaults]\nshadow = [null]", NULL),
    ("[defaults]\nbreaker = False", "write false, in small letters"),
    ("[defaults]\nbreaker.slow_in_flight = yes", "write true, in small letters"),
    ("[guards.'json:loads']\nisolation = thread", 'a string stands in quotes: write "thread"'),
    ("[defaults]\ntimeout = 500ms", "durations are seconds: write 0.5"),
    ("[defaults]\ntimeout = 2s", "durations are seconds: write 2"),
    ("[defaults]\nbreaker.failure_rate = 50%", "shares are numbers from 0 to 1: write 0.5"),
    ("[defaults]\ntimeout = .5", "write 0.5"),
    ("\n[guards.json:loads]", "quote a key that has other characters than letters, digits, _ and -, such as "
                              '[guards."module:name"]'),
    ("[defaults]\ntimeout = 1.0\0", "the line holds a NUL character"),
])
def test_what_is_no_toml_but_known_from_elsewhere_is_told_with_what_to_write(said, text, hint):
    [message] = said(text)
    assert message.startswith(":2: is not TOML: ")
    assert message.endswith(f"; {hint}")


def test_what_is_no_toml_in_a_variable_is_told_with_what_to_write(registry):
    with pytest.raises(ConfigFileError, match=r"^\$RESILIENCE_CONFIG:1: is not TOML: Invalid value; TOML has no null"):
        configure({}, registry=registry, environ={"RESILIENCE_CONFIG": "defaults.timeout = null"})


def test_none_in_a_mapping_is_told_to_be_false():
    with pytest.raises(ConfigFileError) as caught:
        check({"defaults": {"timeout": None, "breaker": {"open_for": None}}}, {})
    assert ["must be a number, or false, not None; write false to turn it off",
            "must be a number, not None; leave the key out to have the default"] == [
        mistake.message for mistake in caught.value.mistakes]


@pytest.mark.parametrize("read", [lambda file: check(file, {}), load, lambda file: configure(file, environ={})])
def test_a_missing_file_is_told_without_a_line(tmp_path, read):
    with pytest.raises(ConfigFileError) as caught:
        read(tmp_path / "nofile.toml")
    assert f"{tmp_path / 'nofile.toml'}: cannot be read: No such file or directory" == str(caught.value)


MILLISECONDS = [
    ("[defaults]\ntimeout = 500", "defaults.timeout", "8 min 20 s", "0.5", "500.0"),
    ("[commands.k]\nbreaker = { open_for = 5000 }", "commands.k.breaker.open_for", "1 h 23 min 20 s", "5", "5000.0"),
    ("[guards]\n'json:loads' = { timeout = 250 }", 'guards."json:loads".timeout', "4 min 10 s", "0.25", "250.0")]


@pytest.mark.parametrize(("text", "key", "spoken", "meant", "sure"), MILLISECONDS)
def test_a_duration_that_looks_like_milliseconds_gives_a_hint_and_is_taken(
        tmp_path, caplog, registry, text, key, spoken, meant, sure):
    file = tmp_path / "resilience.toml"
    file.write_text(text)
    hint = (f"{file}:2: {key}: durations are in seconds, so that this is {spoken}; if you mean milliseconds, write "
            f"{meant}, and if not, {sure}")
    check(file, {})
    configuration = configure(file, registry=registry, environ={})
    configuration.reload()  # says nothing new
    configuration.close()
    assert [(logging.WARNING, hint)] * 2 == [(record.levelno, record.getMessage()) for record in caplog.records]
    caplog.clear()
    file.write_text(text.replace(sure.removesuffix(".0"), sure))
    check(file, {})
    assert [] == caplog.records


def test_a_gateways_duration_that_looks_like_milliseconds_gives_a_hint_too(tmp_path, caplog):
    file = tmp_path / "gateway.toml"
    file.write_text(GATEWAY.format("connect_timeout = 2000\ncommand.timeout = 500"))
    load(file)
    assert ["services.a.connect_timeout", "services.a.command.timeout"] == [
        record.getMessage().split(": ")[1] for record in caplog.records]


@pytest.mark.parametrize("text", [
    "[defaults]\ntimeout = 30", "[commands.timeout]\nmax_concurrent = 500", "[defaults]\nbreaker.window = 600",
    "[defaults]\ncache = { ttl = 86400 }", "[defaults]\nmax_concurrent = 5000"])
def test_what_does_not_look_like_milliseconds_gives_no_hint(tmp_path, caplog, text):
    (tmp_path / "resilience.toml").write_text(text)
    check(tmp_path / "resilience.toml", {})
    assert [] == caplog.records


def test_what_the_code_says_of_a_guard_is_told_in_the_words_of_a_file(said):
    assert [':2: guards."json:loads": json:loads: in semaphore isolation a plain function runs in its caller\'s thread, '
            'where no timeout can reach it; use isolation = "thread" or timeout = false'] == said(
        "[guards]\n'json:loads' = { isolation = 'semaphore', timeout = 1.0 }")


@pytest.mark.parametrize(("name", "near"), [("braker", "breaker"), ("bulkhead", "max_concurrent"), ("quux", None)])
def test_a_misspelt_policy_is_answered_with_the_near_one_in_the_code_too(registry, name, near):
    handle = command(key="k", timeout=None, registry=registry)(lambda: 1).resilience
    for make in (lambda: handle.configure(**{name: None}), lambda: command(shadow=[name]),
                 lambda: command(**{name: None})):
        with pytest.raises(ConfigError) as caught:
            make()
        assert (near is not None) == str(caught.value).endswith(f"did you mean {near}?"), caught.value


def test_the_code_is_told_in_the_words_of_python():
    with pytest.raises(ConfigError) as caught:
        CircuitBreaker(failure_rate=50)
    assert ("failure_rate must be a number above 0 and at most 1 or None, not 50; this is a share from 0 to 1: did you "
            "mean 0.5?") == str(caught.value)


def test_a_command_that_cannot_be_so_is_told_in_the_words_of_a_file(registry):
    command(key="k", timeout=None, registry=registry)(lambda: 1)
    with pytest.raises(ConfigFileError) as caught:
        configure({"commands": {"k": {"breaker": {"failure_rate": False}, "timeout": 1.0}}}, registry=registry,
                  environ={})
    assert not [mistake.message for mistake in caught.value.mistakes if "None" in mistake.message]
