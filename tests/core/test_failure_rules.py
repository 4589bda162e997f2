"""Failure rules: what may be said, what it is made of, and what is refused with which words."""

import json
import re

import pytest

from resilience import ConfigError, FailureRules, http_status
from resilience.core.failure_rules import judges_items, rules_meant, status_rule


def is_full(error):
    return "full" in str(error)


def judge(ending):
    return None


class Tolerant:
    """Callable, and to be iterated over as well."""

    def __call__(self, error):
        return False

    def __iter__(self):
        return iter(())


@pytest.mark.parametrize("name", ["exceptions", "busy", "refused", "caller_faults"])
def test_one_rule_is_as_good_as_a_tuple_of_it_and_a_built_in_exception_may_be_named(name):
    tolerant = Tolerant()
    for given, kept in [
        (KeyError, (KeyError,)), ([KeyError, OSError], (KeyError, OSError)), ("KeyError", (KeyError,)), (is_full, (is_full,)),
        (("json:JSONDecodeError", "OSError"), ("json:JSONDecodeError", OSError)), ((), ()), (tolerant, (tolerant,)),
    ]:
        assert getattr(FailureRules(**{name: given}), name) == kept


@pytest.mark.parametrize(("rules", "message"), [
    ({"exceptions": 5}, 'exceptions must be Exception classes, functions of an exception, or "module:Name" of either, not 5'),
    ({"refused": (KeyError, 503)},
     'refused must be Exception classes, functions of an exception, or "module:Name" of either, not 503'),
    ({"busy": (None,)},
     'busy must be status codes, Exception classes, functions of an exception, or "module:Name" of either, not None'),
    ({"busy": int}, 'busy must be status codes, Exception classes, functions of an exception, or "module:Name" of either, '
                    "not <class 'int'>"),
    ({"exceptions": KeyboardInterrupt},
     'exceptions must be Exception classes, functions of an exception, or "module:Name" of either, '
     "not <class 'KeyboardInterrupt'>; KeyboardInterrupt always passes through every policy: leave it out"),
    ({"refused": "NoSuchError"}, "refused 'NoSuchError' cannot be found: module 'builtins' has no attribute 'NoSuchError'"),
    ({"status": 5.5}, 'status must be http_status(...), codes such as 503 or "5xx", or None, not 5.5'),
])
def test_what_is_no_rule_is_refused_with_the_setting_and_what_it_takes(rules, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$") as caught:
        FailureRules(**rules)
    assert caught.value.option == next(iter(rules))


@pytest.mark.parametrize("rules", [
    {"busy": 600}, {"busy": (KeyError, "6xx")}, {"caller_faults": ("4xx", 42)}, {"status": 42}, {"status": ("5xx", "6xx")},
    {"judge": 5}, {"results": "json:nothing"}, {"items": ()}, {"halts": 1}, {"raise_failures": None}])
def test_codes_that_there_are_not_and_what_is_no_function_or_flag_are_refused(rules):
    with pytest.raises(ConfigError, match=f"^{next(iter(rules))} ") as caught:
        FailureRules(**rules)
    assert caught.value.option == next(iter(rules))


def test_every_rule_but_the_judge_is_given_by_its_name():
    with pytest.raises(TypeError, match="^FailureRules takes one setting without a name"):
        FailureRules(judge, ())


def test_a_reference_into_a_module_is_not_looked_up_before_a_call_has_failed():
    assert FailureRules(busy="no_such_module:Error").busy == ("no_such_module:Error",)


def test_a_function_may_be_given_by_its_reference():
    rules = FailureRules("json:dumps", results="json:loads", items="json:load")
    assert (rules.judge, rules.results, rules.items) == (json.dumps, json.loads, json.load)


@pytest.mark.parametrize(("status", "failed"), [
    (503, (503,)), ("5xx", ("5xx",)), ((503, "5xx"), (503, "5xx")), ([500, 503], (500, 503))])
def test_codes_stand_for_a_rule_for_statuses(status, failed):
    assert FailureRules(status=status).status == http_status(failed)


def test_rules_with_equal_parts_are_equal_and_functions_are_told_apart_by_who_they_are():
    assert FailureRules(busy=(is_full, KeyError)) == FailureRules(busy=[is_full, "KeyError"])
    assert FailureRules(exceptions=is_full) != FailureRules(exceptions=judge)
    assert FailureRules(exceptions=None) != FailureRules(exceptions=())


def test_what_failures_is_given_is_sorted_into_rules():
    ready = FailureRules(busy=429)
    assert rules_meant(ready) is ready
    assert rules_meant(KeyError) == FailureRules(exceptions=(KeyError,))
    assert rules_meant(judge) == FailureRules(judge)
    assert rules_meant((KeyError, http_status(), judge, OSError)) == FailureRules(
        judge, exceptions=(KeyError, OSError), status=http_status())


@pytest.mark.parametrize("given", [5, None, KeyboardInterrupt, int, "KeyError", (KeyError, 503)])
def test_what_failures_does_not_take_is_refused(given):
    with pytest.raises(ConfigError, match=r"^failures must be http_status\(\.\.\.\), Exception classes,") as caught:
        rules_meant(given)
    assert caught.value.option == "failures"


@pytest.mark.parametrize("given", [(http_status(), http_status(503)), (judge, is_full), (http_status(), judge, is_full)])
def test_failures_takes_one_rule_for_statuses_and_one_function(given):
    with pytest.raises(ConfigError, match=r"^failures takes one http_status\(\.\.\.\) and one function;") as caught:
        rules_meant(given)
    assert caught.value.option == "failures"


def test_codes_among_the_rules_are_one_rule_with_the_statuses():
    assert status_rule(FailureRules(busy=KeyError, caller_faults=is_full)) is None
    assert status_rule(FailureRules(busy=KeyError, status=503)) == http_status(503)
    assert status_rule(FailureRules(status=503, busy=(408, KeyError), caller_faults=("404", OSError))) == http_status(
        503, busy=(429, 408), caller_fault=("404",))
    assert status_rule(FailureRules(busy=408)) == http_status((), busy=(429, 408))
    assert status_rule(FailureRules(caller_faults=404)) == http_status((), caller_fault=(404,))


@pytest.mark.parametrize(("rules", "of_items"), [
    ({}, False), ({"judge": judge}, True), ({"results": judge}, False), ({"items": judge}, True), ({"status": 503}, False),
    ({"busy": 429}, False), ({"busy": KeyError, "exceptions": OSError}, False)])
def test_only_rules_that_are_about_items_are_asked_about_them(rules, of_items):
    assert of_items == judges_items(FailureRules(**rules))
