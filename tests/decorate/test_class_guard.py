"""guard_class: each public method of a class becomes a command of its own."""

import asyncio

import pytest

from resilience import ConfigError, RateLimit, RateLimitedError, command, guard_class


def shop():
    class Base:
        def inherited(self):
            return "inherited"

    class Shop(Base):
        limit = 5

        def __init__(self):
            self.name = "shop"

        def price(self, book):
            return self.name, book

        async def stock(self, book):
            return self.name, book

        def books(self):
            yield self.name

        @classmethod
        def opened(cls):
            return cls.limit

        @staticmethod
        def currency():
            return "EUR"

        @property
        def title(self):
            return self.name

        def _private(self):
            return "private"

    return Shop


def guarded(cls):
    return {name for name in dir(cls) if hasattr(getattr(cls, name, None), "resilience")}


def test_every_public_method_of_the_class_is_a_command_of_its_own_and_nothing_else_is(registry):
    cls = shop()
    assert guard_class(cls, registry=registry, timeout=None) is cls
    assert {"price", "stock", "books", "opened", "currency"} == guarded(cls)
    it = cls()
    assert (("shop", 1), ["shop"], 5, "EUR") == (it.price(1), list(it.books()), cls.opened(), it.currency())
    assert ("shop", 2) == asyncio.run(it.stock(2))
    assert ("shop", "inherited", "private") == (it.title, it.inherited(), it._private())
    assert {1} == {getattr(cls, name).resilience.snapshot().counts["success"] for name in guarded(cls)}
    assert 5 == len({getattr(cls, name).resilience.key for name in guarded(cls)})


def test_each_method_has_limits_of_its_own(registry):
    cls = guard_class(registry=registry, timeout=None, rate_limit=RateLimit(1, per=100.0))(shop())
    cls().price(1)
    with pytest.raises(RateLimitedError):
        cls().price(1)
    assert "EUR" == cls.currency()


def test_only_and_except_choose_methods_and_a_private_one_may_be_named(registry):
    assert {"price", "_private"} == guarded(guard_class(shop(), only=("price", "_private"), registry=registry))
    assert {"stock", "books", "opened"} == guarded(guard_class(shop(), except_=["price", "currency"], registry=registry, timeout=None))


def test_a_method_that_is_guarded_already_stays_as_it_is(registry):
    cls = shop()
    cls.price = command(key="price", registry=registry, timeout=None)(cls.price)
    guard_class(cls, registry=registry, timeout=None)
    assert "price" == cls.price.resilience.key
    cls().price(1)
    assert 1 == cls.price.resilience.snapshot().counts["success"]


@pytest.mark.parametrize(("options", "message"), [
    ({"only": ("prize",)}, "defines no method prize; did you mean price?"),
    ({"except_": ("inherited",)}, "defines no method inherited"),
    ({"only": ("title",)}, "defines no method title"),
    ({"only": "price"}, r"only must be names of methods, such as \('price',\), not 'price'"),
    ({"key": "k"}, "guard_class takes no key"),
    ({"timeuot": 1.0}, "did you mean timeout"),
    ({"except_": ("price", "stock", "books", "opened", "currency")}, "no public method to guard"),
], ids=str)
def test_a_mistake_is_refused_and_leaves_the_class_as_it_was(registry, options, message):
    cls = shop()
    before = dict(vars(cls))
    with pytest.raises(ConfigError, match=message):
        guard_class(cls, registry=registry, **options)
    assert before == dict(vars(cls))


def test_what_is_no_class_is_refused():
    with pytest.raises(TypeError, match="guard_class guards classes"):
        guard_class(len)
