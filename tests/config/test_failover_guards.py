"""Guards of a file with a failover: a command for each target, around functions that take the target's name."""

import asyncio
import itertools
import sys

import pytest

from resilience import CircuitOpenError, Failover, command, explain
from resilience.config import ConfigFileError, check, configure

_numbers = itertools.count()
VENDOR = '''
import asyncio

down = set()


def answer(region):
    if region in down:
        raise ConnectionError(region)
    return region


class Client:
    def method(self, path, region="nowhere"):
        return path, answer(region)

    @staticmethod
    def static(path, *, region="nowhere"):
        return path, answer(region)

    @classmethod
    def of_class(cls, path, *, region="nowhere"):
        return path, answer(region)


def plain(path, *, region="nowhere"):
    return path, answer(region)


async def later(path, *, region="nowhere"):
    await asyncio.sleep(0)
    return path, answer(region)


def pages(path, *, region="nowhere"):
    yield path, answer(region)


async def pages_later(path, *, region="nowhere"):
    yield path, answer(region)


def without(path):
    return path


def instead(*_, **__):
    return "instead"
'''


async def _listed(items):
    return [item async for item in items]


CALLS = {
    "Client.method": lambda vendor: vendor.Client().method("/"),
    "Client.static": lambda vendor: vendor.Client.static("/"),
    "Client.of_class": lambda vendor: vendor.Client().of_class("/"),
    "plain": lambda vendor: vendor.plain("/"),
    "later": lambda vendor: asyncio.run(vendor.later("/")),
    "pages": lambda vendor: list(vendor.pages("/"))[0],
    "pages_later": lambda vendor: asyncio.run(_listed(vendor.pages_later("/")))[0],
}
FAILOVER = {"targets": ["eu", "us"], "argument": "region"}


@pytest.fixture
def name(tmp_path, monkeypatch):
    """The name of a module that is not imported yet."""
    name = f"vendor_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(VENDOR)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def vendor(name):
    return __import__(name)


def put(registry, name, *, commands=None, **entries):
    tables = {"guards": {f"{name}:{target}": entry for target, entry in entries.items()}, "commands": commands or {}}
    return configure(tables, registry=registry, environ={})


def keys(registry):
    return sorted(handle.key for handle in registry)


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("target", CALLS)
def test_each_kind_of_function_fails_over_and_is_left_as_it_was(registry, name, target, is_early):
    before = __import__(name).__dict__["Client"].__dict__.get(target.removeprefix("Client.")) if is_early else None
    configuration = put(registry, name, **{target: {"group": "g", "failover": FAILOVER, "breaker": {"min_calls": 2}}})
    vendor = __import__(name)
    assert configuration.mistakes == configuration.unused == ()
    assert CALLS[target](vendor) == ("/", "eu")
    vendor.down.add("eu")
    assert [CALLS[target](vendor) for _ in range(3)] == [("/", "us")] * 3

    assert keys(registry) == [f"{name}:{target}[eu]", f"{name}:{target}[us]"]
    eu = registry[f"{name}:{target}[eu]"].snapshot()
    assert (eu.state.value, eu.counts["failover"], eu.counts["success"]) == ("open", 1, 1)
    configuration.close()
    assert keys(registry) == []
    assert table_is_empty(registry)
    if before is not None:
        assert vendor.Client.__dict__[target.removeprefix("Client.")] is before
    assert CALLS[target](vendor) == ("/", "nowhere")


def table_is_empty(registry):
    return not registry._table.keyspaces


def test_a_function_without_the_parameter_is_a_mistake_with_the_reason_and_nothing_is_guarded(registry, name, vendor):
    with pytest.raises(ConfigFileError, match="without has no keyword parameter 'region', which is to get the name of"):
        put(registry, name, without={"failover": FAILOVER})
    with pytest.raises(ConfigFileError, match="plain has no keyword parameter 'target'.*as the failover's argument"):
        put(registry, name, plain={"failover": {"targets": ["eu", "us"]}})

    assert keys(registry) == []
    assert vendor.plain("/") == ("/", "nowhere")


def test_a_function_that_turns_out_without_the_parameter_at_its_import_is_told_then(registry, name, caplog):
    configuration = put(registry, name, without={"failover": FAILOVER})
    vendor = __import__(name)

    assert vendor.without("/") == "/"
    assert "no keyword parameter 'region'" in str(configuration.mistakes[0])
    assert "no keyword parameter 'region'" in caplog.text


def test_a_failover_without_targets_is_a_mistake_of_a_check_even_if_nothing_is_imported(name):
    check({"guards": {f"{name}:plain": {"failover": FAILOVER, "retry": {"attempts": 2}}}}, {})
    with pytest.raises(ConfigFileError, match="failover needs targets"):
        check({"guards": {f"{name}:plain": {"failover": {"argument": "region"}}}}, {})
    assert name not in sys.modules


def test_a_reload_changes_all_targets_in_place_and_one_by_its_own_key(registry, name, vendor):
    put(registry, name, plain={"failover": FAILOVER})
    vendor.plain("/")
    there = list(registry)
    put(registry, name, plain={"failover": {**FAILOVER, "grace": 3.0}, "max_concurrent": 4},
        commands={f"{name}:plain[us]": {"max_concurrent": 7}, f"{name}:plain": {"breaker": {"min_calls": 3}}})

    assert list(registry) == there
    assert [(each.settings.max_concurrent, each.settings.failover.grace, each.settings.breaker.min_calls)
            for each in registry] == [(4, 3.0, 3), (7, 3.0, 3)]
    assert registry[f"{name}:plain[eu]"].snapshot().counts["success"] == 1


@pytest.mark.parametrize("changed", [{"targets": ["us", "eu", "asia"]}, {"argument": "path"}])
def test_a_reload_with_other_targets_or_another_argument_makes_the_guard_anew(registry, name, vendor, changed):
    put(registry, name, plain={"failover": FAILOVER})
    vendor.plain("/")
    configuration = put(registry, name, plain={"failover": {**FAILOVER, **changed}})
    assert configuration.mistakes == ()
    assert vendor.plain("/") == ("/", "us") if "targets" in changed else vendor.plain(region="eu") == ("eu", "eu")
    assert len(registry) == len(changed.get("targets", ["eu", "us"]))
    configuration.close()
    assert keys(registry) == []


def test_a_failover_may_come_to_a_guard_and_go_from_it(registry, name, vendor):
    for entry, there in [({}, [""]), ({"failover": FAILOVER}, ["[eu]", "[us]"]),
                         ({"failover": FAILOVER, "retry": {"attempts": 2, "base": 0.01}}, ["", "[eu]", "[us]"]),
                         ({"failover": FAILOVER}, ["[eu]", "[us]"]), ({}, [""])]:
        configuration = put(registry, name, plain=entry)
        assert configuration.mistakes == ()
        vendor.plain("/")
        assert keys(registry) == [f"{name}:plain{each}" for each in there]
    configuration.close()
    assert keys(registry) == []


def test_what_stands_above_the_targets_answers_and_callers_get_the_exceptions_that_they_know(registry, name, vendor):
    entry = {"failover": FAILOVER, "raise_as": "OSError"}
    for above in ({}, {"retry": {"attempts": 2, "base": 0.01}}):
        configuration = put(registry, name, plain={**entry, **above})
        vendor.plain.resilience.force_open()
        with pytest.raises(OSError, match="circuit is open") as caught:
            vendor.plain("/")
        assert isinstance(caught.value, CircuitOpenError)
        assert isinstance(caught.value.__context__, CircuitOpenError) or caught.value.__context__ is None
        configuration.close()

    put(registry, name, plain={**entry, "fallback": f"{name}:instead"})
    vendor.down.update({"eu", "us"})
    assert vendor.plain("/") == "instead"
    assert registry[f"{name}:plain"].snapshot().counts["fallback_success"] == 1


def test_two_entries_of_one_key_share_the_targets_until_both_are_gone(registry, name, vendor):
    entry = {"key": "vendor", "group": "g", "failover": FAILOVER}
    put(registry, name, plain=entry, pages=entry)
    vendor.plain("/")
    assert next(vendor.pages("/")) == ("/", "eu")
    assert keys(registry) == ["vendor[eu]", "vendor[us]"]
    assert registry["vendor[eu]"].snapshot().counts["success"] == 1
    put(registry, name, plain=entry)
    assert keys(registry) == ["vendor[eu]", "vendor[us]"]
    assert vendor.plain("/") == ("/", "eu")
    put(registry, name)
    assert keys(registry) == []
    with pytest.raises(ConfigFileError, match="another failover.targets"):
        put(registry, name, plain=entry, pages={**entry, "failover": {**FAILOVER, "targets": ["a", "b"]}})


def test_a_guard_that_shares_its_targets_with_a_decorator_leaves_them_to_it(registry, name, vendor):
    @command(key="vendor", group="g", timeout=None, failover=Failover(("eu", "us"), argument="region"),
             registry=registry)
    def own(*, region="eu"):
        return region

    configuration = put(registry, name, plain={"key": "vendor", "group": "g", "failover": FAILOVER, "timeout": False})
    assert configuration.mistakes == ()
    assert (vendor.plain("/"), own()) == (("/", "eu"), "eu")
    configuration.close()
    assert keys(registry) == ["vendor[eu]", "vendor[us]"]
    assert own() == "eu"


def test_explain_says_of_the_whole_and_of_each_target_which_entry_guards_it(registry, name, vendor):
    put(registry, name, plain={"failover": FAILOVER})
    for what in (vendor.plain, f"{name}:plain", f"{name}:plain[us]"):
        told = explain(what, registry=registry)
        assert [(target, placed) for target, _, placed in told.guards] == [(f"{name}:plain", True)]
        assert told.chains[0].policies[0] == "Failover (eu, us)"
        assert {each.name: each.value for each in told.settings}["failover.argument"] == "region"
