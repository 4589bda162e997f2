"""help() said "fn=its default" and "max_keys=its default", and a deadline showed what is its own business.

A misspelt argument was said to be one of ``clock, end, entered, seconds``. Names that other retry libraries use had a
wrong hint ("tries": "did you mean price?") or none.
"""

import inspect

import pytest

import resilience
from resilience import ConfigError, Registry, command, deadline, retry
from resilience.commands.keyspace import DEFAULT_IDLE_S, DEFAULT_MAX_KEYS

DECORATORS = ("adaptive_limit", "bulkhead", "cache", "chaos", "circuit_breaker", "collapse", "command", "failover",
              "failures", "fallback", "hedge", "rate_limit", "retry", "stream_timeout", "throttle", "timeout")


@pytest.mark.parametrize("name", DECORATORS)
def test_signatures_show_values_and_no_words(name):
    signature = inspect.signature(getattr(resilience, name))

    assert "default" not in str(signature)
    assert signature.parameters["idle"].default == DEFAULT_IDLE_S if "idle" in signature.parameters else True


def test_the_defaults_that_are_shown_are_those_in_force():
    @command(key=lambda host: host, registry=Registry())
    def fetch(host):
        return host

    assert inspect.signature(command).parameters["max_keys"].default == DEFAULT_MAX_KEYS
    assert fetch.resilience.max_keys == DEFAULT_MAX_KEYS


def test_a_deadline_shows_its_seconds():
    assert "deadline(seconds=2.0)" == repr(deadline(2.0))


def test_a_deadline_names_what_may_be_said():
    for wrong in ("entered", "end", "sec"):
        with pytest.raises(ConfigError, match=r"it has clock, seconds$|did you mean seconds\?$"):
            deadline(**{wrong: 1})


@pytest.mark.parametrize(("theirs", "ours"), [
    ("tries", "attempts=4"), ("max_tries", "attempts=4"), ("stop", "attempts=4"), ("backoff", "factor=4"),
    ("exceptions", "on"), ("retry_on", "on")])
def test_the_names_of_other_retry_libraries_lead_to_the_right_setting(theirs, ours):
    with pytest.raises(ConfigError, match=rf"did you mean {ours}\?"):
        retry(**{theirs: 4 if "=" in ours else OSError})


def test_a_status_code_as_failures_is_answered_with_the_rule_to_write():
    for code in (503, "5xx"):
        with pytest.raises(ConfigError, match=rf"did you mean http_status\({code!r}\)\?"):
            command(failures=code)
