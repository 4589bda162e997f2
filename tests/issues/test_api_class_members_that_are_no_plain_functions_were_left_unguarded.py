"""``guard_class`` left what is no plain function as it was, without a word: a ``functools.cache`` or ``partialmethod`` among the
methods of a class was called past the circuit that its neighbours had, and ``only`` said that the class does not define it.
"""

import functools

import pytest

from resilience import ConfigError, Registry, command, guard_class
from resilience.testing import assert_counts


def loud(fn):
    class Loud:
        """A decorator's own object, as Celery's and others' are."""

        def __init__(self):
            functools.update_wrapper(self, fn)

        def __call__(self, *args):
            return fn(*args).upper()

        def __get__(self, instance, owner=None):
            return self if instance is None else functools.partial(self, instance)

    return Loud()


class Shop:
    @functools.cache
    def price(self, book):
        return f"price of {book}"

    @classmethod
    @functools.lru_cache(maxsize=2)
    def tax(cls, country):
        return f"tax of {country}"

    @loud
    def title(self):
        return "emma"

    factory = dict
    sort_key = len


def subclass(**members):
    return type("Stall", (Shop,), {**vars(Shop), **members})


def test_cached_and_decorated_methods_are_guarded():
    stall = guard_class(subclass(), registry=Registry())
    for _ in range(2):
        assert ["price of Emma", "tax of SE", "EMMA"] == [stall().price("Emma"), stall.tax("SE"), stall().title()]
    for name in ("price", "tax", "title"):
        assert_counts(vars(stall)[name].__func__ if name == "tax" else vars(stall)[name], success=2)
    assert 1 == stall.tax.cache_info().hits
    assert [dict, len] == [stall.factory, stall.sort_key]
    before = dict(vars(stall))
    with pytest.raises(ConfigError, match="no public method"):
        guard_class(type("Bare", (), {"factory": dict, "sort_key": len, "order": functools.partial(sorted)}))
    assert before == dict(vars(guard_class(stall, registry=Registry())))


@pytest.mark.parametrize("make", [functools.partialmethod, functools.singledispatchmethod])
def test_what_only_makes_methods_is_a_mistake_unless_its_function_is_guarded(make):
    def sell(self, book="Emma"):
        return f"sold {book}"

    registry = Registry()
    with pytest.raises(ConfigError, match=rf"Stall\.sell is a {make.__name__}, which cannot be guarded; put command below it, on the "
                                          r"function, or name it in except_=$"):
        guard_class(subclass(sell=make(sell)), registry=registry)
    assert not len(registry)
    assert guard_class(subclass(sell=make(sell)), except_=["sell"], registry=registry)().sell("Persuasion") == "sold Persuasion"
    guarded = command(registry=registry)(sell)
    assert guard_class(subclass(sell=make(guarded)), registry=Registry())().sell("Persuasion") == "sold Persuasion"
    assert_counts(guarded, success=1)
