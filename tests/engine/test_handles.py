"""handle_of() and handles_of(): the typed way from whatever is guarded to what steers it."""

import pytest

from resilience import command, handle_of, handles_of


@pytest.fixture
def shop(registry):
    class Shop:
        @command(registry=registry, timeout=None)
        def get(self, sku):
            return sku

        @classmethod
        @command(registry=registry, timeout=None)
        def below(cls):
            return cls

        @command(registry=registry, timeout=None)
        @staticmethod
        def above():
            return 1

        @command(registry=registry, timeout=None, key=lambda self, sku: sku)
        def by_key(self, sku):
            return sku

    return Shop


@pytest.mark.parametrize("name", ["get", "below", "above"])
def test_a_method_has_one_handle_from_class_and_instance(shop, name):
    for target in (getattr(shop, name), getattr(shop(), name)):
        handle = handle_of(target)
        assert handle is target.resilience
        assert handle is handle_of(handle)


def test_a_keyed_method_has_the_handles_of_its_keys(shop):
    shop().by_key("a")
    handles = handles_of(shop().by_key)
    assert ["a"] == [handle.key for handle in handles]
    assert handles is handles_of(shop.by_key) is handles_of(handles)


def test_each_says_what_to_use_instead(shop):
    with pytest.raises(TypeError, match=r"by_key' has a command for each key; give one of them"):
        handle_of(shop.by_key)
    with pytest.raises(TypeError, match=r"get' is one command, whatever the arguments; handle_of\(\) returns its handle"):
        handles_of(shop.get)
    for of in (handle_of, handles_of):
        with pytest.raises(TypeError, match=r"not <built-in function len>"):
            of(len)
