"""A subclass has guards of its own for what it inherits, and these were not always of what it inherits.

What one class was handed down hid the override of a sibling from a subclass of both; what decorators above had noted on a method was
gone, and so were the parameters of what decorators below had wrapped; and an ``__init_subclass__`` that others wrap or change, as
``deprecated`` and attrs do, failed.
"""

import functools
import importlib
import inspect
import sys
import warnings

import attrs
import pytest
import typing_extensions

from resilience import cache, command, guard_class


def mark(fn):
    fn.route = "/price"
    return fn


def traced(fn):
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        return fn(*args, **kwargs)

    return wrapper


@pytest.fixture
def family(registry):
    class Base:
        @command(registry=registry, timeout=None)
        def get(self):
            return "base"

        @command(registry=registry, timeout=None)
        @classmethod
        def make(cls):
            return f"base for {cls.__name__}"

    class Left(Base):
        pass

    class Right(Base):
        def get(self):
            return "right of " + super().get()

        @classmethod
        def make(cls):
            return "right of " + super().make()

    return Base, Left, Right


def test_a_method_of_a_sibling_that_overrides_it_is_inherited(family):
    _, left, right = family

    class Both(left, right):
        pass

    class Further(Both):
        def get(self):
            return "further " + super().get()

    for each in (Both, type("Child", (Both,), {})):
        assert ("right of base", f"right of base for {each.__name__}") == (each().get(), each.make())
    assert "further right of base" == Further().get()
    assert "right of base" == Both.get(Both())
    assert ("base", "base for Left", "base") == (left().get(), left.make(), left.get(Further()))
    assert left.get.resilience.key.endswith("Left.get")
    assert type("Again", (left,), {}).get.resilience.key.endswith("Again.get")


def test_what_a_sibling_has_guarded_is_handed_down(family, registry):
    base, left, _ = family

    class Guarded(base):
        @command(registry=registry, timeout=None)
        def get(self):
            return "guarded " + super().get()

    class Both(left, Guarded):
        pass

    assert "guarded base" == Both().get()
    assert Both.get.resilience.key.endswith("Both.get")
    assert Both.get.resilience is not Guarded.get.resilience


def test_siblings_that_override_nothing_are_no_hindrance(family):
    base, left, _ = family

    class Other(base):
        pass

    class Both(left, Other):
        pass

    assert "base" == Both().get()
    assert {"Base.get", "Left.get", "Other.get", "Both.get"} == {
        each.get.resilience.key.rpartition("<locals>.")[2] for each in (base, left, Other, Both)}
    assert inspect.isfunction(inspect.getattr_static(left, "get"))


def test_an_attribute_that_is_no_method_is_inherited_as_well(family):
    base, left, _ = family

    class Without(base):
        get = None

    assert type("Both", (left, Without), {}).get is None


def test_a_reloaded_module_whose_class_stands_aside_takes_the_place_of_its_older_self(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "inherited_diamond.py").write_text(
        "from resilience import Registry, command\nregistry = globals().get('registry') or Registry()\n"
        "class Base:\n    @command(registry=registry)\n    def get(self): return 1\n"
        "class Left(Base): pass\n"
        "class Right(Base):\n    def get(self): return super().get() + 1\n"
        "class Both(Left, Right): pass\n")
    try:
        module = importlib.import_module("inherited_diamond")
        handle = module.Left.get.resilience
        importlib.reload(module)
        assert (2, 1) == (module.Both().get(), module.Left().get())
        assert module.Left.get.resilience is handle
        assert ["inherited_diamond.Base.get", "inherited_diamond.Left.get"] == sorted(each.key for each in module.registry)
    finally:
        sys.modules.pop("inherited_diamond", None)


def test_what_decorators_above_have_noted_is_there_for_subclasses(registry):
    class Base:
        @mark
        @command(registry=registry, timeout=None)
        def get(self):
            return 1

        @mark
        @staticmethod
        @command(registry=registry, timeout=None)
        def tax(price):
            return price

    class Child(Base):
        pass

    assert ("/price", "/price") == (Child.get.route, inspect.getattr_static(Child, "tax").route)
    assert Child.get.resilience is not Base.get.resilience
    assert 7 == Child.tax(7)


def test_a_classmethod_of_a_class_of_its_own_is_shared(registry):
    class Tagged(classmethod):
        def __init__(self, fn, tag):
            super().__init__(fn)
            self.tag = tag

    class Base:
        @command(registry=registry, timeout=None)
        def make(cls):
            return cls.__name__

        make = Tagged(make, "tag")

    class Child(Base):
        pass

    assert "Child" == Child.make()
    assert Child.make.resilience is Base.make.resilience


def test_parameters_of_what_decorators_below_have_wrapped_are_known_to_a_subclass(registry):
    asked = []

    class Base:
        @cache(ttl=5.0, registry=registry)
        @traced
        def get(self, sku, size=1):
            asked.append(sku)
            return sku

    class Child(Base):
        pass

    it = Child()
    assert ("a", "a") == (it.get("a"), it.get(sku="a"))
    assert ["a"] == asked
    assert inspect.signature(Base.get) == inspect.signature(Child.get)


@pytest.mark.parametrize("by_guard_class", [False, True])
def test_a_method_with_two_names_is_one_command(registry, by_guard_class):
    class Base:
        def get(self):
            return 1

        if not by_guard_class:
            get = command(registry=registry, timeout=None)(get)
        fetch = get

    if by_guard_class:
        guard_class(Base, registry=registry, timeout=None)

    class Child(Base):
        pass

    assert (1, 1) == (Child().fetch(), Base().fetch())
    assert Base.get.resilience is Base.fetch.resilience
    assert Child.get.resilience is Child.fetch.resilience
    assert ["Base.get", "Child.get"] == sorted(each.key.rpartition("<locals>.")[2] for each in registry)


def test_a_deprecated_class_can_have_subclasses(registry):
    @typing_extensions.deprecated("use another one")
    class Base:
        @command(registry=registry, timeout=None)
        def get(self):
            return "base"

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")

        class Child(Base):
            pass

    assert ["use another one"] == [str(each.message) for each in told]
    assert "base" == Child().get()
    assert Child.get.resilience is not Base.get.resilience


@pytest.mark.parametrize("by_guard_class", [False, True])
def test_attrs_classes_with_slots_have_an_init_subclass_of_their_own(registry, by_guard_class):
    seen = []

    def each_method(cls):
        return guard_class(cls, registry=registry, timeout=None) if by_guard_class else cls

    @attrs.define
    @each_method
    class Base:
        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)
            seen.append(cls.__name__)

        @command(registry=registry, timeout=None)
        def get(self):
            return 1

    class Child(Base):
        pass

    assert ["Child"] == seen
    assert 1 == Child().get()
    assert Child.get.resilience is not Base.get.resilience
