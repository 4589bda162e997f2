"""Where the function has a parameter ``error`` too, every fallback failed with "multiple values for argument"."""

import pytest

from resilience import ConfigError, Fallback, fallback


def test_a_function_and_a_fallback_that_both_have_a_parameter_error_are_refused(registry):
    with pytest.raises(ConfigError, match="rename one of them") as caught:
        @fallback(lambda error, level: None, registry=registry)
        def report(error, level): ...

    assert "fallback" == caught.value.option
    assert 0 == len(registry)


def test_a_positional_only_parameter_is_not_asked_for_by_name(registry):
    def instead(error, /):
        return error

    @fallback(Fallback(instead), registry=registry)
    def report(error):
        raise OSError

    assert "the caller's" == report("the caller's")
