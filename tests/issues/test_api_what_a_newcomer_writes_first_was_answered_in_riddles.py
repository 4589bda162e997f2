"""Messages about what a newcomer writes in the first hour did not say what to write instead.

A key without its name, a name by the word of other libraries, a constant as fallback, a rule that was not called and
failed in the first call, ``@fallback`` without its function, and the bounds of a limit the wrong way round.
"""

from __future__ import annotations

import pytest

from resilience import (
    AdaptiveLimit,
    CircuitBreaker,
    ConfigError,
    FailureRules,
    Pipeline,
    Registry,
    circuit_breaker,
    command,
    fallback,
    http_status,
)


def stock(sku): ...


@pytest.mark.parametrize(("decorator", "name"), [(command, "command"), (circuit_breaker, "circuit_breaker")])
def test_a_key_without_its_name_is_told_how_to_write_it(decorator, name):
    with pytest.raises(TypeError, match=rf"write @{name}\(key='stock'\) to name the command"):
        decorator("stock")


@pytest.mark.parametrize("make", [command, circuit_breaker, lambda **said: Pipeline(CircuitBreaker(), **said)])
@pytest.mark.parametrize("word", ["name", "command_key", "commandKey"])
def test_the_word_of_other_libraries_for_a_key_is_known(make, word):
    with pytest.raises(ConfigError, match="did you mean key"):
        make(**{word: "stock"})


def test_a_constant_in_the_place_of_a_fallback_is_told_to_be_a_function():
    with pytest.raises(TypeError, match=r"not 0; to answer with that, write lambda \*args, \*\*kwargs: 0"):
        command(fallback=0)


@pytest.mark.parametrize("rule", [http_status, FailureRules, [OSError, http_status]])
def test_a_rule_that_was_not_called_is_refused_at_decoration(rule):
    with pytest.raises(ConfigError, match=r"; write (http_status|FailureRules)\(\.\.\.\)") as caught:
        command(failures=rule, registry=Registry())
    assert caught.value.option == "failures"


def test_a_fallback_that_was_given_the_function_itself_is_shown():
    with pytest.raises(TypeError, match=r"^@fallback\(stock\) guards callables; 'apple' of type str is not callable$"):
        fallback(stock)("apple")
    with pytest.raises(TypeError, match=r"^@fallback\(stock\)\(\) missing 1 required positional argument"):
        fallback(stock)()


def test_bounds_the_wrong_way_round_are_named():
    with pytest.raises(ConfigError, match=r"min_limit must be at most max_limit \(5\), not 10"):
        AdaptiveLimit(min_limit=10, max_limit=5)
