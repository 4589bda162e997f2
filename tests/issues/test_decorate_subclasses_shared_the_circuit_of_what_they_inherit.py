"""Two clients that inherit one guarded method shared its circuit: the failures of one closed the way to the other.

The name that a command has from its function is nobody's wish to share. So each subclass has commands of its own for the methods that
it inherits, unless they were given a key.
"""

import asyncio
import dataclasses
import gc
import importlib
import pickle
import sys
import typing
from abc import ABC, abstractmethod

import pytest

from resilience import (
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    Pipeline,
    Registry,
    Retry,
    bulkhead,
    circuit_breaker,
    command,
    configure,
    guard_class,
)

MODULE = __name__
EAGER = CircuitBreaker(consecutive=1, sustained_failures=None)
REGISTRY = Registry()


class Pickled:
    @command(registry=REGISTRY, timeout=None)
    def get(self):
        return type(self).__name__


class PickledToo(Pickled):
    pass


def clients(registry):
    class Client:
        host = "good"

        @command(registry=registry, timeout=None, breaker=EAGER)
        def plain(self):
            return self._ask()

        @command(registry=registry, breaker=EAGER)
        async def coroutine(self):
            return self._ask()

        @command(registry=registry, breaker=EAGER)
        def generator(self):
            yield self._ask()

        @command(registry=registry, breaker=EAGER)
        async def async_generator(self):
            yield self._ask()

        @command(registry=registry, timeout=60.0, breaker=EAGER)
        def on_a_thread(self):
            return self._ask()

        @classmethod
        @command(registry=registry, timeout=None, breaker=EAGER)
        def of_the_class(cls):
            return cls()._ask()

        @Pipeline(EAGER, Bulkhead(5), registry=registry)
        def by_a_pipeline(self):
            return self._ask()

        @circuit_breaker(consecutive=1, sustained_failures=None, registry=registry)
        @bulkhead(5)
        def stacked(self):
            return self._ask()

        @command(registry=registry, timeout=None, breaker=EAGER, retry=Retry(attempts=2, on=TimeoutError))
        def retried(self):
            return self._ask()

        def _ask(self):
            if self.host == "bad":
                raise ConnectionError(self.host)
            return self.host

    return Client


FLAVOURS = ["plain", "coroutine", "generator", "async_generator", "on_a_thread", "of_the_class", "by_a_pipeline", "stacked", "retried"]


def asked(client, name):
    """What a call of this method comes to, of whatever flavour it is."""
    made = getattr(client, name)()
    if hasattr(made, "__next__"):
        return next(made)
    if hasattr(made, "__anext__"):
        return asyncio.run(_first(made))
    return asyncio.run(made) if hasattr(made, "__await__") else made


async def _first(items):
    async for item in items:
        return item
    return None


@pytest.mark.parametrize("name", FLAVOURS)
def test_the_failures_of_one_client_leave_the_way_to_the_other_open(name):
    registry = Registry()
    base = clients(registry)
    bad, good = type("Bad", (base,), {"host": "bad"}), type("Good", (base,), {"host": "good"})
    with pytest.raises(ConnectionError):
        asked(bad(), name)
    with pytest.raises(CircuitOpenError):
        asked(bad(), name)
    assert ("good", "good") == (asked(good(), name), asked(base(), name))
    keys = {getattr(each, name).resilience.key for each in (base, bad, good)}
    assert 3 == len(keys)
    assert {f"{MODULE}.Bad.{name}", f"{MODULE}.Good.{name}"} < keys
    assert ("open", "closed") == (getattr(bad, name).resilience.state, getattr(good, name).resilience.state)


def test_a_further_generation_a_mixin_and_an_override_get_what_they_inherit(registry):
    class Base:
        @command(registry=registry, timeout=None)
        def get(self):
            return "base"

        @command(registry=registry, timeout=None)
        def put(self):
            return "put"

    class Mixin:
        def put(self):
            return "mixin"

    class Child(Base):
        def get(self):
            return "child of " + super().get()

    class Grandchild(Mixin, Child):
        pass

    it = Grandchild()
    assert ("child of base", "mixin") == (it.get(), it.put())
    assert not hasattr(Grandchild.get, "resilience")
    assert not hasattr(Grandchild.put, "resilience")
    assert Child.put.resilience is not Base.put.resilience

    class Further(Child):
        @command(registry=registry, timeout=None)
        def more(self):
            return "more"

    class Last(Further):
        pass

    assert ("put", "more") == (Last().put(), Last().more())
    assert 4 == len({each.put.resilience.key for each in (Base, Child, Further, Last)})
    assert Last.more.resilience is not Further.more.resilience


def test_a_method_with_a_key_or_a_key_function_is_shared(registry):
    class Base:
        @command(key="shared", registry=registry)
        def named(self):
            return 1

        @command(key=lambda self: "one", registry=registry)
        def keyed(self):
            return 1

        @Pipeline(Bulkhead(5), key="pipeline", registry=registry)
        def piped(self):
            return 1

    class Child(Base):
        pass

    assert all(getattr(Base, name) is getattr(Child, name) for name in ("named", "keyed", "piped"))


def test_the_class_keeps_its_own_init_subclass_and_nothing_else_is_left_in_it(registry):
    seen = []

    class Base:
        def __init_subclass__(cls, *, tag="none", **kwargs):
            seen.append((cls.__name__, tag, "get" in vars(cls)))
            super().__init_subclass__(**kwargs)

        @command(registry=registry)
        def get(self):
            return 1

    class Child(Base, tag="child"):
        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(tag="by child", **kwargs)

    class Grandchild(Child):
        pass

    assert [("Child", "child", True), ("Grandchild", "by child", True)] == seen
    assert [] == [name for name in vars(Base) if "resilience" in name]
    assert Grandchild.get.resilience.key.endswith("Grandchild.get")

    class Alone:
        @command(registry=registry)
        def get(self):
            return 1

    with pytest.raises(TypeError):
        type("Wrong", (Alone,), {}, tag="nobody takes it")


def test_classes_of_all_kinds_hand_down(registry):
    class Abstract(ABC):
        @command(registry=registry)
        @abstractmethod
        def must(self): ...

        @command(registry=registry)
        def may(self):
            return "may"

    class Concrete(Abstract):
        def must(self):
            return "must"

    with pytest.raises(TypeError):
        type("Still", (Abstract,), {})()
    assert ("must", "may") == (Concrete().must(), Concrete().may())
    assert Concrete.may.resilience is not Abstract.may.resilience

    @dataclasses.dataclass(slots=True)
    class Data:
        value: int = 1

        @command(registry=registry)
        def get(self):
            return self.value

    @dataclasses.dataclass(slots=True)
    class Child(Data):
        more: int = 2

    assert (1, 5) == (Child().get(), Child(5).get())
    assert Child.get.resilience is not Data.get.resilience

    class Generic(typing.Generic[typing.TypeVar("T")]):
        @command(registry=registry)
        def get(self):
            return "generic"

    class Bound(Generic[int]):
        pass

    assert "generic" == Bound().get()

    @typing.runtime_checkable
    class Shape(typing.Protocol):
        @command(registry=registry)
        def get(self):
            return "protocol"

    class Real(Shape):
        pass

    assert "protocol" == Real().get()
    assert isinstance(Child(), Shape)
    assert not isinstance(object(), Shape)


def test_what_guard_class_guards_is_handed_down_too(registry):
    class Shop:
        def price(self):
            return 1

    guard_class(Shop, registry=registry, timeout=None)

    class Other(Shop):
        pass

    assert {"Shop", "Other"} == {each.key.split(".")[-2] for each in registry}
    assert Shop.price.resilience is not Other.price.resilience


def test_a_decorator_of_ones_own_that_calls_ours_is_no_hindrance(registry):
    def house(fn):
        return command(registry=registry, timeout=None)(fn)

    class Base:
        @house
        def get(self):
            return 1

    class Child(Base):
        pass

    assert Base.get.resilience is not Child.get.resilience


def test_commands_go_with_their_classes(registry):
    class Base:
        @command(registry=registry, timeout=None)
        def get(self):
            return 1

    for number in range(300):
        assert 1 == type(f"Child{number}", (Base,), {})().get()
    gc.collect()
    assert [f"{MODULE}.test_commands_go_with_their_classes.<locals>.Base.get"] == [each.key for each in registry]


def test_a_file_s_settings_for_the_base_hold_for_its_subclasses_unless_they_have_their_own(registry, tmp_path):
    class Base:
        @command(registry=registry, timeout=1.0)
        async def get(self):
            return 1

    class Child(Base):
        pass

    class Other(Base):
        pass

    key = Base.get.resilience.key
    file = tmp_path / "resilience.toml"
    file.write_text(f'[commands."{key}"]\ntimeout = 3.0\n[commands."{Other.get.resilience.key}"]\ntimeout = 4.0\n')
    configure(file, registry=registry)
    assert (3.0, 3.0, 4.0) == tuple(each.get.resilience.settings.timeout for each in (Base, Child, Other))


def test_they_are_pickled_by_their_own_names():
    for each in (Pickled, PickledToo):
        assert pickle.loads(pickle.dumps(each.get)) is each.get
        assert each.__name__ == pickle.loads(pickle.dumps(each())).get()
    assert f"{MODULE}.PickledToo.get" == PickledToo.get.resilience.key


def test_a_reloaded_module_takes_the_place_of_its_older_self(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "inherited_base.py").write_text(
        "from resilience import Registry, command\nregistry = Registry()\n"
        "class Base:\n    @command(registry=registry)\n    def get(self): return 1\n")
    (tmp_path / "inherited_child.py").write_text("from inherited_base import Base\nclass Child(Base): pass\n")
    try:
        child = importlib.import_module("inherited_child")
        registry = sys.modules["inherited_base"].registry
        first = child.Child.get.resilience
        importlib.reload(child)
        assert child.Child.get.resilience is first
        assert ["inherited_base.Base.get", "inherited_child.Child.get"] == sorted(each.key for each in registry)
    finally:
        for name in ("inherited_child", "inherited_base"):
            sys.modules.pop(name, None)
