"""Which fallbacks are given the exception."""

import functools

import pytest

from resilience.core.fallback import Fallback, takes_error


def with_error(name, error):
    """Takes it by position or by name."""


def by_name_only(name, *, error):
    """Takes it by name."""


def without(name):
    """Does not take it."""


def by_position_only(error, /):
    """Has a parameter of this name that no keyword argument reaches."""


def packed(*error, **errors):
    """Takes anything, and has no parameter that is called so."""


@pytest.mark.parametrize(("function", "takes"), [
    (with_error, True), (by_name_only, True), (without, False), (by_position_only, False), (packed, False),
    (lambda **error: None, False), (functools.partial(with_error, "ann"), True), (dict, False)])
def test_a_fallback_is_given_the_exception_if_a_keyword_argument_error_reaches_a_parameter_of_that_name(function, takes):
    assert takes is takes_error(function)
    assert takes is takes_error(Fallback(function).function)


def test_what_cannot_be_called_is_a_type_error():
    with pytest.raises(TypeError, match="function of a fallback must be callable, not 3"):
        Fallback(3)


def test_settings_but_the_function_go_by_name():
    with pytest.raises(TypeError, match="Fallback takes one setting without a name"):
        Fallback(without, OSError)
