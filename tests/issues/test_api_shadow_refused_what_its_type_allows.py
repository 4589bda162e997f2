"""``shadow`` took a tuple, a list or a set, and its type any iterable of names. What cannot be hashed was a TypeError."""

import pytest

from resilience import CircuitBreaker, ConfigError, command


def shadow_of(registry, shadow):
    return command(breaker=CircuitBreaker(), max_concurrent=3, shadow=shadow, registry=registry)(lambda: None).resilience.settings.shadow


@pytest.mark.parametrize("names", [iter(["breaker"]), {"breaker": 1}.keys(), ("breaker", "breaker")])
def test_names_come_in_any_iterable(registry, names):
    assert shadow_of(registry, names) == ("breaker",)


@pytest.mark.parametrize("names", [[["breaker"]], {"breaker": False}, ["breaker", 1]])
def test_what_is_no_name_is_a_mistake(registry, names):
    with pytest.raises(ConfigError, match="shadow must be True, False or some of"):
        shadow_of(registry, names)
