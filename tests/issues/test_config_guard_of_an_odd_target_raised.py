"""A module's function that is a bound method, as random.randint is, made configure() raise AttributeError; a module
that fails to make an attribute made it raise whatever that was. Commands were left behind by both.
"""

import sys
import types

import pytest

from resilience.config import ConfigFileError, configure
from resilience.config.targets import find


@pytest.fixture
def module(monkeypatch):
    made = types.ModuleType("vendor_with_odd_targets")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


class Client:
    def __init__(self):
        self.sent = []

    def send(self, what):
        self.sent.append(what)
        return len(self.sent)

    @classmethod
    def count(cls):
        return 2


class Meta(type):
    def name_of(cls):
        return cls.__name__


class Made(metaclass=Meta):
    pass


def test_a_bound_method_of_a_module_is_guarded_and_put_back(registry, module):
    client = Client()
    module.send, module.count, module.Made = client.send, Client.count, Made
    raw = module.send
    names = {"send": (("a",), 1), "count": ((), 2), "Made.name_of": ((), "Made")}
    configuration = configure({"guards": {f"{module.__name__}:{name}": {"timeout": False} for name in names}},
                              registry=registry, environ={})
    for name, (arguments, result) in names.items():
        assert result == find(f"{module.__name__}:{name}").raw(*arguments)
        assert 1 == registry[f"{module.__name__}:{name}"].snapshot().counts["success"]
    configuration.close()
    assert (raw, []) == (module.send, list(registry))
    assert "name_of" not in vars(Made)


def test_a_module_that_cannot_make_an_attribute_is_a_mistake(registry, module):
    def made_when_asked_for(name):
        raise ImportError(f"{name} needs another package")

    module.__getattr__, module.there = made_when_asked_for, len
    with pytest.raises(ConfigFileError, match="send of module .* cannot be looked up: ImportError.'send needs another"):
        configure({"guards": {f"{module.__name__}:there": {}, f"{module.__name__}:send": {}}},
                  registry=registry, environ={})
    assert [] == list(registry)
