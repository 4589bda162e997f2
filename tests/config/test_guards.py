"""Guarding from the file alone: what is replaced, how it runs, and that taking it out leaves no trace."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import sys
import textwrap
import threading
import zlib

import pytest

from resilience import CallTimeoutError, CircuitBreaker, CircuitOpenError, Registry, command
from resilience.config import ConfigFileError, ConfigurationRejected, configure

_numbers = itertools.count()
BILLING = '''
import asyncio
import zlib
from functools import partial

class Base:
    def charge(self, amount):
        """Take money."""
        return "base", amount

    def refund(self, amount):
        return "refund", amount

class Client(Base):
    limit = 5

    def charge(self, amount):
        return "client", amount

    @classmethod
    def make(cls, name="x"):
        return cls, name

    @staticmethod
    def tax(amount):
        return amount * 2

    async def later(self, amount):
        await asyncio.sleep(0)
        return "later", amount

    def pages(self):
        yield 1
        yield 2

    @property
    def balance(self):
        return 1

    class Inner:
        def deep(self):
            return "deep"

class Gold(Client):
    def charge(self, amount):
        return "gold", amount

class Failing:
    def call(self, error=OSError):
        raise error("no")

def plain(x):
    return x + 1

async def slow():
    await asyncio.sleep(3600)

crc = zlib.crc32
ready = partial(plain, 3)
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that nobody has imported."""
    name = f"billing{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(BILLING)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def billing(module):
    """That module, imported."""
    __import__(module)
    return sys.modules[module]


@pytest.fixture
def guards(registry, module):
    """Configures guards by their names in the module; closes at the end."""
    made = []

    def configured(registry=registry, **entries):
        tables = {"defaults": {"timeout": False}, "guards": {
            f"{module}:{name.replace('__', '.')}": entry for name, entry in entries.items()}}
        made.append(configure(tables, registry=registry, environ={}))
        return made[-1]

    yield configured
    for configuration in made:
        configuration.close()


def whole(namespace):
    """All that stands in a namespace, by identity."""
    return {name: id(value) for name, value in vars(namespace).items()}


def mistakes_of(make):
    with pytest.raises(ConfigFileError) as caught:
        make()
    return [mistake.message for mistake in caught.value.mistakes]


@pytest.mark.parametrize(("target", "call", "answer"), [
    ("plain", lambda m: m.plain(1), 2),
    ("Client__charge", lambda m: m.Client().charge(3), ("client", 3)),
    ("Client__refund", lambda m: m.Client().refund(3), ("refund", 3)),
    ("Client__make", lambda m: m.Client.make()[1], "x"),
    ("Client__make", lambda m: m.Gold.make()[0].__name__, "Gold"),
    ("Client__tax", lambda m: m.Client.tax(4), 8),
    ("Client__tax", lambda m: m.Client().tax(4), 8),
    ("Client__later", lambda m: asyncio.run(m.Client().later(5)), ("later", 5)),
    ("Client__pages", lambda m: list(m.Client().pages()), [1, 2]),
    ("Client__Inner__deep", lambda m: m.Client.Inner().deep(), "deep"),
    ("crc", lambda m: m.crc(b"x"), zlib.crc32(b"x")),
    ("ready", lambda m: m.ready(), 4),
])
@pytest.mark.parametrize("imported_first", [True, False])
def test_a_target_is_guarded_and_after_close_everything_stands_as_before(
        module, guards, registry, target, call, answer, imported_first):
    configuration = None if imported_first else guards(**{target: {}})
    __import__(module)
    billing = sys.modules[module]
    before = None
    if imported_first:
        before = [whole(billing), *(whole(each) for each in (billing.Base, billing.Client, billing.Gold))]
        configuration = guards(**{target: {}})
    assert answer == call(billing)
    [handle] = registry
    assert (f"{module}:{target.replace('__', '.')}", module, 1) == (
        handle.key, handle.group, handle.snapshot().counts["success"])
    configuration.close()
    assert answer == call(billing)
    assert 1 == handle.snapshot().requests
    assert [] == list(registry)
    if before is not None:
        assert before == [whole(billing), *(whole(each) for each in (billing.Base, billing.Client, billing.Gold))]


def test_a_module_imported_later_is_left_as_it_would_be_without(module, guards):
    guards(Client__make={}, Client__refund={}, Client__tax={}).close()
    __import__(module)
    found = vars(sys.modules[module].Client)
    assert "refund" not in found
    assert (classmethod, staticmethod) == (type(found["make"]), type(found["tax"]))
    assert not hasattr(found["make"].__func__, "resilience")


def test_the_module_is_not_imported_for_the_guards_sake(module, guards):
    configuration = guards(plain={})
    assert module not in sys.modules
    assert (f"guards.{module}:plain",) == configuration.unused
    assert f"guards {module}:plain, once it is imported" in str(configuration.explain(f"{module}:plain"))
    __import__(module)
    assert () == configuration.unused
    assert f"guards {module}:plain (the mapping)" in str(configuration.explain(f"{module}:plain"))


def test_a_guarded_function_looks_as_before(billing, guards):
    before = inspect.signature(billing.Base.charge)
    guards(Base__charge={}, slow={})
    assert (before, "Take money.", "charge") == (
        inspect.signature(billing.Base.charge), billing.Base.charge.__doc__, billing.Base.charge.__name__)
    assert inspect.iscoroutinefunction(billing.slow)


def test_overrides_in_subclasses_are_not_touched(billing, guards, registry):
    guards(Base__charge={})
    assert ("client", 1) == billing.Client().charge(1)
    assert ("gold", 1) == billing.Gold().charge(1)
    assert ("base", 1) == billing.Base().charge(1)
    assert 1 == next(iter(registry)).snapshot().requests


def test_what_is_inherited_is_guarded_in_the_class_that_was_named_alone(billing, guards, registry):
    guards(Client__refund={})
    billing.Base().refund(1)
    assert 0 == next(iter(registry)).snapshot().requests
    billing.Gold().refund(1)
    assert 1 == next(iter(registry)).snapshot().requests


def test_a_method_guarded_in_a_class_and_in_its_base_passes_one_guard(billing, guards, registry):
    for order in (("Base__refund", "Client__refund"), ("Client__refund", "Base__refund")):
        configuration = guards(**{name: {} for name in order})
        billing.Client().refund(1)
        assert {f"{billing.__name__}:Client.refund": 1, f"{billing.__name__}:Base.refund": 0} == {
            handle.key: handle.snapshot().requests for handle in registry}
        configuration.close()
        assert "refund" not in vars(billing.Client)


def test_the_entrys_policies_work(billing, guards, registry, clock):
    guards(Failing__call={"breaker": {"min_calls": 2, "open_for": 5.0}, "ignore": ["KeyError"]},
           slow={"timeout": 0.01}, plain={"fallback": f"{billing.__name__}:crc", "timeout": False})
    failing = billing.Failing()
    for _ in range(5):
        with pytest.raises(KeyError):
            failing.call(KeyError)
    for _ in range(2):
        with pytest.raises(OSError):
            failing.call()
    with pytest.raises(CircuitOpenError):
        failing.call()
    with pytest.raises(CallTimeoutError):
        asyncio.run(billing.slow())
    assert zlib.crc32(b"x") == billing.plain(b"x")  # bytes + 1 fails


def test_a_plain_function_with_a_timeout_runs_on_a_thread_of_the_group(billing, guards):
    registry = Registry()
    billing.plain = threading.current_thread
    guards(registry, plain={"timeout": 5.0, "group": "money"})
    assert threading.current_thread() is not billing.plain()
    assert ["money"] == list(registry.pools())
    registry.close()


def test_tables_of_the_command_refine_the_entry(billing, registry):
    target = f"{billing.__name__}:plain"
    tables = {"guards": {target: {"key": "money", "timeout": False, "max_concurrent": 4, "group": "bank"}},
              "groups": {"bank": {"breaker": {"open_for": 9.0}, "max_concurrent": 99}},
              "commands": {"money": {"breaker": {"min_calls": 3}}}}
    configuration = configure(tables, registry=registry, environ={})
    settings = registry["money"].settings
    assert (None, 4, CircuitBreaker(min_calls=3, open_for=9.0)) == (
        settings.timeout, settings.max_concurrent, settings.breaker)
    configuration.close()


def test_a_changed_entry_changes_the_command_and_keeps_its_statistics_and_its_wrapper(billing, registry):
    target = f"{billing.__name__}:plain"
    tables = {"guards": {target: {"timeout": False, "max_concurrent": 4}}}
    configuration = configure(tables, registry=registry, environ={})
    billing.plain(1)
    wrapper = billing.plain
    tables["guards"] = {target: {"timeout": False, "max_concurrent": 7, "breaker": {"min_calls": 3}}}
    configuration.reload()
    assert wrapper is billing.plain
    assert (7, 3, 1) == (registry[target].settings.max_concurrent, registry[target].settings.breaker.min_calls,
                         registry[target].snapshot().requests)
    tables["guards"] = {target: {"timeout": False}}
    configuration.reload()
    assert (10, 20) == (registry[target].settings.max_concurrent, registry[target].settings.breaker.min_calls)
    configuration.close()


def test_an_entry_of_another_structure_is_made_anew(billing, registry):
    target, before = f"{billing.__name__}:plain", billing.plain
    tables = {"guards": {target: {"timeout": False}}}
    configuration = configure(tables, registry=registry, environ={})
    for entry in ({"timeout": False, "key": "other"}, {"timeout": False, "breaker": False},
                  {"timeout": False, "fallback": "math:floor"}):
        tables["guards"] = {target: entry}
        configuration.reload()
        assert ([entry.get("key", target)], 2) == ([handle.key for handle in registry], billing.plain(1))
        assert ("breaker" not in entry) is (registry[entry.get("key", target)].settings.breaker is not None)
    assert 2 == billing.plain(2.5 - 1.5)
    assert billing.plain.__wrapped__ is before
    tables["guards"] = {}
    configuration.reload()
    assert billing.plain is before
    configuration.close()


def test_a_bad_reload_leaves_the_guards_as_they_are(billing, registry):
    target, other = f"{billing.__name__}:plain", f"{billing.__name__}:Client.charge"
    tables = {"guards": {target: {"timeout": False}}}
    configuration = configure(tables, registry=registry, environ={})
    wrapper, charge = billing.plain, vars(billing.Client)["charge"]
    tables["guards"] = {target: {"timeout": False, "key": "new"}, other: {"timeout": False},
                        f"{billing.__name__}:Client.balance": {}}
    assert ["[guards] guards calls, and a property is none; put it below @property, on the function"] == mistakes_of(configuration.reload)
    assert (wrapper, charge, [target]) == (
        billing.plain, vars(billing.Client)["charge"], [handle.key for handle in registry])
    configuration.close()


@pytest.mark.parametrize(("name", "entry", "message"), [
    ("Client.chrage", {}, "has no Client.chrage; did you mean Client.charge?"),
    ("Nobody.charge", {}, "has no Nobody.charge"),
    ("Client.limit", {}, "5 of type int is not callable"),
    ("Client", {}, "guards calls, not classes such as Client"),
    ("Client.balance", {}, "a property is none"),
    ("Client.pages", {"timeout": 1.0}, "a generator runs in its consumer's thread, where no timeout can reach it"),
    ("slow", {"isolation": "thread"}, 'isolation = "thread" is for plain functions'),
    ("plain", {"isolation": "semaphore", "timeout": 1.0}, "no timeout can reach it"),
    ("plain", {"fallback": "nowhere:at_all"}, "nowhere:at_all cannot be found: No module named 'nowhere'"),
    ("plain", {"ignore": ["math:floor"]}, "must be an Exception class or a tuple of Exception classes"),
    ("plain", {"ignore": ["KeyboardInterrupt"]}, "must be an Exception class or a tuple of Exception classes"),
    ("plain", {"ignore": ["NoSuchError"]}, "NoSuchError cannot be found"),
])
def test_what_cannot_be_guarded_is_a_mistake_at_load_or_if_imported_later_is_reported_then(
        module, registry, name, entry, message):
    told = []
    registry.subscribe(ConfigurationRejected, told.append)
    tables = {"guards": {f"{module}:{name}": entry}}
    configuration = configure(tables, registry=registry, environ={})
    __import__(module)  # does not fail
    [[mistake]] = [event.mistakes for event in told]
    assert message in mistake.message
    assert (mistake,) == configuration.mistakes
    assert f'guards."{module}:{name}"' == mistake.key
    configuration.close()
    assert [] == list(registry)
    [found] = mistakes_of(lambda: configure(tables, registry=registry, environ={}))
    assert message in found
    assert [] == list(registry)


@pytest.mark.parametrize(("target", "message"), [
    ("str:upper", "there is no module str"),
    ("builtins:len", "guards are made of builtins themselves, and would guard themselves"),
    ("resilience.registry:Registry.get", "guards are made of resilience themselves, and would guard themselves"),
    ("builtins:str.upper", "str is a type of C, whose methods cannot be replaced"),
    ("zlib.nothing:x", "there is no module zlib.nothing: zlib is no package"),
    ("xml.nothing:x", "there is no module xml.nothing"),
    ("email.mime.nothing:x", "there is no module email.mime.nothing"),
    ("resilience_of_nobody:x", "there is no module resilience_of_nobody"),
])
def test_a_target_that_cannot_be_guarded_is_a_mistake_at_load(registry, target, message):
    assert [message] == mistakes_of(lambda: configure({"guards": {target: {}}}, registry=registry, environ={}))


def test_a_spec_is_found_without_running_the_packages_around(registry, tmp_path, monkeypatch):
    package = tmp_path / "package_that_must_not_run" / "inner"
    package.mkdir(parents=True)
    for file in (package.parent / "__init__.py", package / "__init__.py", package / "module.py"):
        file.write_text("raise AssertionError('it ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    configuration = configure({"guards": {"package_that_must_not_run.inner.module:f": {}}}, registry=registry, environ={})
    assert not any("package_that_must_not_run" in name for name in sys.modules)
    configuration.close()


def test_two_guards_of_one_target_are_refused(billing, registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "alias_of_billing", billing)
    tables = {"guards": {f"{billing.__name__}:Client.charge": {}, "alias_of_billing:Client.charge": {}}}
    before = vars(billing.Client)["charge"]
    assert [f"is guarded already, by the entry '{billing.__name__}:Client.charge'"] == mistakes_of(
        lambda: configure(tables, registry=registry, environ={}))
    assert before is vars(billing.Client)["charge"]
    assert [] == list(registry)


def test_what_a_decorator_guards_is_refused(billing, registry):
    billing.plain = command(key="mine", registry=registry, timeout=None)(billing.plain)
    assert ["is guarded already, by a decorator, as 'mine'"] == mistakes_of(
        lambda: configure({"guards": {f"{billing.__name__}:plain": {}}}, registry=registry, environ={}))


def test_entries_with_one_key_share_a_command_and_must_agree(billing, registry):
    names = [f"{billing.__name__}:{name}" for name in ("Client.charge", "Client.tax")]
    tables = {"guards": {name: {"key": "bank", "timeout": False, "max_concurrent": 3} for name in names}}
    configuration = configure(tables, registry=registry, environ={})
    billing.Client().charge(billing.Client.tax(1))
    assert [("bank", 2)] == [(handle.key, handle.snapshot().requests) for handle in registry]
    tables["guards"][names[1]] = {"key": "bank", "timeout": False, "max_concurrent": 4}
    assert [f"{names[0]!r} has the same key 'bank', and another max_concurrent; they share one command"] == mistakes_of(
        configuration.reload)
    configuration.close()
    assert [] == list(registry)


def test_a_guard_that_somebody_has_wrapped_since_is_switched_off_and_reported(billing, guards, registry):
    configuration = guards(plain={})
    ours = billing.plain
    billing.plain = lambda x: ours(x) + 100
    handle = next(iter(registry))
    told = []
    registry.subscribe(ConfigurationRejected, told.append)
    configuration.close()
    assert "was replaced since, by a reload of its module or by somebody" in told[0].mistakes[0].message
    assert 102 == billing.plain(1)
    assert (None, None, None) == (handle.settings.timeout, handle.settings.max_concurrent, handle.settings.breaker)


def test_a_name_taken_elsewhere_before_is_out_of_reach(billing, guards, registry):
    taken = billing.plain
    guards(plain={})
    assert taken(1) == billing.plain(1) == 2
    assert 1 == next(iter(registry)).snapshot().requests


def test_a_guard_taken_out_while_its_module_is_being_imported_is_not_left_behind(module, registry):
    for _ in range(30):
        target = f"{module}:plain"
        configuration = configure({"guards": {target: {"timeout": False}}}, registry=registry, environ={})
        barrier = threading.Barrier(2)

        def importing(barrier=barrier):
            barrier.wait()
            __import__(module)

        thread = threading.Thread(target=importing)
        thread.start()
        barrier.wait()
        configuration.close()
        thread.join(10)
        assert not hasattr(sys.modules[module].plain, "resilience")
        assert target not in registry
        del sys.modules[module]


def test_a_module_of_the_standard_library_can_be_guarded(registry):
    before = textwrap.fill
    configuration = configure({"guards": {"textwrap:fill": {"timeout": False}}}, registry=registry, environ={})
    assert "a b" == textwrap.fill("a b")
    assert 1 == registry["textwrap:fill"].snapshot().requests
    configuration.close()
    assert before is textwrap.fill


def test_a_target_whose_module_another_thread_is_importing_is_waited_for(registry, tmp_path, monkeypatch):
    name = f"slow_to_import{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text("import sys\nstarted, go = sys.gates\nstarted.set()\ngo.wait(10)\ndef f(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    started, go = threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "gates", (started, go), raising=False)
    importing = threading.Thread(target=__import__, args=(name,))
    importing.start()
    assert started.wait(10)
    made = []
    configuring = threading.Thread(target=lambda: made.append(
        configure({"guards": {f"{name}:f": {"timeout": False}}}, registry=registry, environ={})))
    configuring.start()
    go.set()
    for thread in (importing, configuring):
        thread.join(10)
    assert (1, 1) == (sys.modules[name].f(), registry[f"{name}:f"].snapshot().requests)
    made[0].close()
    del sys.modules[name]
