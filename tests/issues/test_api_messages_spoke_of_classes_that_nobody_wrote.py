"""restore() answered a wrong value with "CircuitCheckpoint.__init__() missing 1 required keyword-only argument", and a wrong word in
it without the command's key, at a decoration that reads what a registry was given. A cached_property "is not callable", where a
property is told where to put the decorator. guard_class() whose ``except_`` left nothing proposed to name some in ``only``.
"""

import functools

import pytest

from resilience import ConfigError, Registry, command, guard_class

SUCH_AS = "stock: saved must be what save() returns, such as {'state': 'open', 'remaining': 3.0}, not "


@pytest.mark.parametrize(("saved", "told"), [
    (3, "3"), (None, "None"), ({}, "{}"), ({"state": "open", "more": 1}, "{'state': 'open', 'more': 1}"), ({1: 2}, "{1: 2}"),
    ({"state": "opn"}, "{'state': 'opn'}: state must be one of closed, open, half_open, forced_open, forced_closed, disabled, "
                       "not 'opn'; did you mean open?"),
])
def test_what_cannot_be_restored_is_answered_with_what_can(saved, told):
    registry = Registry()
    stock = command(key="stock", registry=registry)(lambda: 7)
    with pytest.raises(ConfigError) as error:
        stock.resilience.restore(saved)
    assert SUCH_AS + told == str(error.value)
    with pytest.raises(ConfigError) as error:
        registry.restore({"stock": saved})
    assert SUCH_AS + told == str(error.value)


def test_what_save_returns_can_be_restored():
    stock = command(key="stock", registry=Registry())(lambda: 7)
    stock.resilience.restore(stock.resilience.save())


@pytest.mark.parametrize("kind", [property, functools.cached_property, functools.singledispatchmethod])
def test_what_makes_an_attribute_of_a_function_is_told_to_stand_above(kind):
    with pytest.raises(TypeError, match=f"^@command guards calls, and a {kind.__name__} is none; put it below "
                                        f"@{kind.__name__}, on the function$"):
        command(kind(lambda self: 7))


def test_a_class_of_which_nothing_is_left_to_guard():
    class Shop:
        def stock(self):
            return 7

    with pytest.raises(ConfigError, match="Shop defines no public method to guard but those in except_=$"):
        guard_class(Shop, except_=["stock"])
