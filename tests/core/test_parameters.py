"""Parameters: what a call of something is checked against, and which two can be called alike."""

import functools
import inspect

import pytest

from resilience.core.parameters import can_share_a_call, parameters_called, signature_of


def shop(sku, *, count=1):
    """A plain function."""


class Shop:
    """A class with a plain ``__init__``, and objects that can be called."""

    def __init__(self, name):
        self.name = name

    def __call__(self, sku, amount):
        """An object's call."""

    def order(self, sku):
        """A method."""


class Made:
    """A class that is made by more than ``__init__``."""

    def __new__(cls, *args):
        return super().__new__(cls)


class Meta(type):
    """A class of classes."""


class Odd(metaclass=Meta):
    """Of another class than type."""

    def __init__(self, name):
        self.name = name


class Plain:
    """Without an ``__init__`` of its own."""


class Broken:
    """Its signature raises."""

    @property
    def __signature__(self):
        raise ValueError

    def __call__(self, sku):
        """What can be called all the same."""


def lying(sku):
    """Says of itself that it takes something else."""


lying.__signature__ = inspect.signature(lambda other: 0)


@functools.wraps(shop)
def wrapper(*args, **kwargs):
    """Says of itself what it stands for."""


def names(signature):
    return None if signature is None else list(signature.parameters)


@pytest.mark.parametrize(("fn", "called"), [
    (shop, ["sku", "count"]), (Shop("s"), ["sku", "amount"]), (Shop("s").order, ["sku"]), (Shop, ["name"]), (Made, None),
    (Odd, None), (Plain, None), (lying, ["sku"]), (wrapper, ["args", "kwargs"]), (len, ["obj"]), (dict, None),
    (functools.partial(shop, 1), ["count"]), (functools.partial(dict), None), (functools.partial(Shop("s"), 1), ["amount"]),
    (functools.partial(shop, count=2), ["sku", "count"]), (dict().get, ["key", "default"]), (3, None)],
    ids=lambda value: str(value) if isinstance(value, list) else getattr(value, "__name__", type(value).__name__))
def test_the_parameters_that_a_call_meets(fn, called):
    assert called == names(parameters_called(fn))


@pytest.mark.parametrize(("fn", "said"), [
    (shop, ["sku", "count"]), (lying, ["other"]), (wrapper, ["sku", "count"]), (Broken(), ["sku"]), (3, None)])
def test_the_signature_is_what_the_object_says_of_itself(fn, said):
    assert said == names(signature_of(fn))


@pytest.mark.parametrize("make", [
    lambda fn: fn, functools.partial, lambda fn: fn.__get__(object()), lambda fn: functools.wraps(fn)(lambda *args: 0),
    lambda fn: type("C", (), {"__call__": fn})()])
def test_a_signature_that_cannot_be_had_with_annotations_is_had_without(make, monkeypatch):
    def fn(self, sku, *, count=1):
        """A function whose annotations fail."""

    real, asked = inspect.signature, []

    def failing(target, **settings):
        asked.append(target)
        if len(asked) == 1:
            raise NameError("Sku")
        return real(target, **settings)

    expected = str(real(make(fn)))
    monkeypatch.setattr(inspect, "signature", failing)

    assert (expected, 2) == (str(signature_of(make(fn))), len(asked))


@pytest.mark.parametrize(("one", "other", "beside", "can"), [
    (lambda a: 0, lambda a: 0, None, True), (lambda a: 0, lambda b: 0, None, True), (lambda a: 0, lambda: 0, None, False),
    (lambda *, a: 0, lambda *, b: 0, None, False), (lambda *, a: 0, lambda *, a: 0, None, True),
    (lambda *, a: 0, lambda b: 0, None, False), (lambda a: 0, lambda *, a: 0, None, True),
    (lambda a, /: 0, lambda *, a: 0, None, False), (lambda a=1, /: 0, lambda *, a: 0, None, False),
    (lambda *a: 0, lambda b: 0, None, True), (lambda *a: 0, lambda *, b: 0, None, False),
    (lambda **a: 0, lambda *, b: 0, None, True), (lambda **a: 0, lambda b: 0, None, True),
    (lambda **a: 0, lambda b, /: 0, None, False), (lambda a, b: 0, lambda *a: 0, None, True),
    (lambda a, b: 0, lambda a: 0, None, False), (lambda a, b=1: 0, lambda a: 0, None, True),
    (lambda a: 0, lambda a, error: 0, "error", True), (lambda a: 0, lambda a, error: 0, None, False),
    (lambda a: 0, lambda a: 0, "error", False), (lambda a: 0, lambda a, **k: 0, "error", True),
    (lambda error: 0, lambda error: 0, "error", True), (lambda error, /: 0, lambda error: 0, "error", False),
    (lambda a: 0, lambda a, *, error: 0, "error", True),
    (lambda a, *, b: 0, lambda a, **k: 0, None, True), (lambda a, /, **k: 0, lambda *, a: 0, None, False),
    (lambda a, /, **k: 0, lambda b, *, a: 0, None, True), (lambda a=1, /, **k: 0, lambda *, a: 0, None, True),
    (lambda a, **k: 0, lambda b, *, a: 0, None, True), (lambda: 0, lambda: 0, None, True), (lambda a: 0, lambda a=1: 0, None, True),
    (lambda a, b, c: 0, lambda a, b, c: 0, None, True), (lambda a, b, *, c: 0, lambda b, a, *, c: 0, None, True)])
def test_two_can_be_called_alike_if_some_arguments_suit_both(one, other, beside, can):
    assert can is can_share_a_call(inspect.signature(one), inspect.signature(other), beside)
