"""explain() looked for a handle's command in the default registry, and said KeyError with the key and no more."""

import pytest

from resilience import Registry, command, explain


def test_a_handle_of_another_registry_is_explained():
    @command(key="stock", timeout=None, registry=Registry())
    def stock():
        return 1

    assert str(explain(stock)) == str(explain(stock.resilience))


def test_a_command_of_a_keyed_function_in_another_registry_is_explained():
    @command(key=lambda host: host, timeout=None, registry=Registry())
    def fetch(host):
        return host

    fetch("a.example")

    assert str(explain(fetch.resilience["a.example"])).startswith("a.example (group ")


def test_an_unknown_key_is_an_error_in_words_with_the_near_one():
    registry = Registry()

    @command(key="inventory.stock", registry=registry)
    def stock():
        return 1

    with pytest.raises(KeyError, match=r"there is no command 'inventory.stok'; did you mean 'inventory.stock'\?"):
        explain("inventory.stok", registry=registry)
    with pytest.raises(KeyError, match="there is no command 'x'"):
        explain("x", registry=Registry())
