"""A running process refused a file that a fresh one takes: reload() with a policy added to an entry of [guards] said
"json:loads has no retry to configure", for it asked the command that the new guard was about to replace. Another size
of a group's pool, or a key moved from one entry to another, took the guard off and did not put it on again. The other
way round, a reload took an entry's live settings although a start refuses them. And what a line of a policy's table had
said stayed in force when the line was taken out: rate_limit = { calls = 500, per = 2.0 } and then { calls = 50 } allowed
25 calls a second. So did the timeout, and the worker threads, of a plain function whose entry had one at first.
"""

import gc
import importlib
import itertools
import random
import sys

import attrs
import pytest

from resilience import Registry, ThreadPool, command, configure, explain
from resilience.config import ConfigFileError
from resilience.config.commands import settings
from resilience.drivers.pools import WorkerPool
from tests.drivers.until import until

_numbers = itertools.count()
VENDOR = """
async def later(x):
    return x

def plain(x):
    return x + 1

def pages(n):
    yield from range(n)

class Client:
    def charge(self, x):
        return x

    @classmethod
    def make(cls):
        return cls
"""


@pytest.fixture(name="module")
def _module(tmp_path, monkeypatch):
    """Makes modules of the same text, under names of their own."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def made():
        names.append(f"vendor_of_reload_{next(_numbers)}")
        (tmp_path / f"{names[-1]}.py").write_text(VENDOR)
        return importlib.import_module(names[-1])

    yield made
    for name in names:
        sys.modules.pop(name, None)


def reloaded(configuration, tables):
    """Reload a configuration with other *tables*; the mistakes."""
    configuration._applied._source = tables
    try:
        configuration.reload()
    except ConfigFileError as error:
        return [mistake.message for mistake in error.mistakes]
    assert () == configuration.mistakes
    return []


LINES = [{"retry": {"attempts": 2}}, {"rate_limit": {"calls": 5}}, {"cache": {"ttl": 1.0}}, {"throttle": {}},
         {"adaptive_limit": {}}, {"chaos": {"error_rate": 0.5}}, {"hedge": {"delay": 0.1, "idempotent": True}},
         {"breaker": False}, {"max_concurrent": False}, {"timeout": False}, {"isolation": "thread"},
         {"pool": {"size": 3}}, {"key": "other"}, {"group": "other"}, {"ignore": ["KeyError"]},
         {"fallback": "math:floor"}, {"shadow": ["breaker"]}, {"timeout": 3.0}]
#: Tables of the same policies that say other things, and leave out what another says.
TABLES = {
    "retry": [{"attempts": 2}, {"attempts": 4, "base": 0.0}, {"hold": 3}, {"hold_bytes": 5}],
    "rate_limit": [{"calls": 5}, {"calls": 500, "per": 2.0}, {"calls": 5, "adaptive": True, "burst": 3}],
    "cache": [{"ttl": 1.0}, {"stale_if_error": 5.0}, {"refresh_ahead": 1.0}],
    "throttle": [{}, {"k": 3.0}, {"window": 60.0}],
    "adaptive_limit": [{}, {"initial": 5}, {"max_queue": 3}],
    "chaos": [{"error_rate": 0.5}, {"latency": 1.0}],
    "hedge": [{"idempotent": True}, {"idempotent": True, "delay": 0.1}],
    "failures": [{"status": ["5xx"]}, {"exceptions": ["OSError"]}, {"status": [500], "raise_failures": True}],
    "breaker": [{"min_calls": 3}, {"consecutive": 3, "failure_rate": False}, False],
    "max_concurrent": [{"max_concurrent": 3, "max_wait": 0.5}, {"max_concurrent": 3}, 7, False],
    "timeout": [1.0, 2.0, False],
    "stream_timeout": [{"between_items": 1.0}, {"total": 3.0}],
}


@pytest.mark.parametrize("line", LINES, ids=lambda line: next(iter(line)))
def test_a_line_added_to_an_entry_and_taken_out_again_is_in_force_as_after_a_start(module, registry, line):
    vendor = module()
    target = f"{vendor.__name__}:plain"
    with_it, without = {"guards": {target: line}}, {"guards": {target: {}}}
    configuration = configure(without, registry=registry, environ={})
    for tables in (with_it, without, with_it):
        assert [] == reloaded(configuration, tables)
        assert () == configuration.unused
        fresh = Registry(clock=registry.clock)
        other = module()
        start = configure({"guards": {f"{other.__name__}:plain": tables["guards"][target]}}, registry=fresh, environ={})
        wanted, found = other.plain.resilience, vendor.plain.resilience
        assert attrs.asdict(wanted.settings, recurse=False) == attrs.asdict(found.settings, recurse=False)
        assert [(wanted.group == "other"), len(fresh)] == [(found.group == "other"), len(registry)]
        start.close()
    configuration.close()
    assert not hasattr(vendor.plain, "resilience")


@pytest.mark.parametrize("target", ["plain", "pages"])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_changed_is_in_force_as_after_a_start(module, name, target):
    entries = [{}, *({name: each} for each in TABLES[name])]
    for before, after in itertools.permutations(entries, 2):
        found = []
        for history in ([after], [before, after]):
            vendor, registry = module(), Registry()
            first, *then = [{"guards": {f"{vendor.__name__}:{target}": entry}} for entry in history]
            try:
                configuration = configure(first, registry=registry, environ={})
            except ConfigFileError:  # not for this flavour
                break
            for tables in then:
                assert [] == reloaded(configuration, tables), (before, after)
            found.append(explained(vendor, target))
            configuration.close()
        assert found[:1] == found[1:] or len(found) < 2, (before, after)


def test_one_field_that_functions_are_compiled_for_is_not_taken_for_another(module, registry):
    vendor = module()
    target = f"{vendor.__name__}:plain"
    configuration = configure({"guards": {target: {"max_concurrent": {"max_wait": 0.5}, "cache": {}}}},
                              registry=registry, environ={})
    assert [] == reloaded(configuration, {"guards": {target: {"cache": {"stale_if_error": 5.0}}}})
    assert 5.0 == vendor.plain.resilience.settings.cache.stale_if_error
    configuration.close()


@pytest.mark.parametrize(("before", "after"), [
    ({"pool": {"size": 3}}, {"pool": {"size": 5}}), ({}, {"pool": {"size": 5}}),
    ({"pool": {"size": 5}}, {"pool": {"size": 5, "max_queue": 3}})])
def test_another_pool_of_a_group_that_nobody_else_runs_on_is_taken(module, registry, before, after):
    vendor = module()
    target = f"{vendor.__name__}:plain"
    configuration = configure({"guards": {target: before}}, registry=registry, environ={})
    assert 2 == vendor.plain(1)
    assert [] == reloaded(configuration, {"guards": {target: after}})
    assert 3 == vendor.plain(2)
    assert 5 == vendor.plain.resilience.pool.size
    configuration.close()


def test_a_pool_that_was_replaced_serves_who_holds_the_old_guard_and_its_threads_end_with_that(
        module, registry, monkeypatch):
    monkeypatch.setitem(WorkerPool.__init__.__kwdefaults__, "idle", 0.1)  # seconds; in earnest, ten of them
    vendor = module()
    target = f"{vendor.__name__}:plain"
    configuration = configure({"guards": {target: {"group": vendor.__name__, "pool": {"size": 3}}}}, registry=registry,
                              environ={})
    taken = vendor.plain
    pool = taken.resilience.pool
    assert 2 == taken(1)
    assert [] == reloaded(configuration, {"guards": {target: {"group": vendor.__name__, "pool": {"size": 5}}}})
    assert (2, 1) == (taken(1), pool.threads)
    del taken
    gc.collect()
    until(lambda: gc.collect() is not None and pool.threads == 0)
    assert 2 == vendor.plain(1)
    configuration.close()


@pytest.mark.parametrize("entry", [{"pool": {"size": 5}, "group": "shop"}, {"key": "stock", "group": "else"}])
def test_what_contradicts_a_decorator_is_refused_and_the_guard_stays(module, registry, entry):
    vendor = module()
    command(key="stock", group="shop", pool=ThreadPool(size=3), registry=registry)(lambda: 1)
    target = f"{vendor.__name__}:plain"
    configuration = configure({"guards": {target: {}}}, registry=registry, environ={})
    guarded = vendor.plain
    [message] = reloaded(configuration, {"guards": {target: entry}})
    assert "already" in message
    assert guarded is vendor.plain
    assert [target, "stock"] == sorted((each.key for each in registry), reverse=True)
    configuration.close()


def test_a_key_may_move_from_one_entry_to_another(module, registry):
    vendor = module()
    name = vendor.__name__
    configuration = configure({"guards": {f"{name}:plain": {"key": "k", "group": "g", "timeout": 1.0}}},
                              registry=registry, environ={})
    assert [] == reloaded(configuration, {"guards": {f"{name}:later": {"key": "k", "group": "h", "timeout": 2.0}}})
    assert ("h", 2.0) == (vendor.later.resilience.group, vendor.later.resilience.settings.timeout)
    assert not hasattr(vendor.plain, "resilience")
    configuration.close()


def test_a_class_may_be_named_by_another_of_its_names(module, registry):
    vendor = module()
    vendor.Buyer = vendor.Client
    configuration = configure({"guards": {f"{vendor.__name__}:Client.charge": {}}}, registry=registry, environ={})
    assert [] == reloaded(configuration, {"guards": {f"{vendor.__name__}:Buyer.charge": {}}})
    assert f"{vendor.__name__}:Buyer.charge" == vendor.Client.charge.resilience.key
    configuration.close()


@pytest.mark.parametrize("anew", ["reloaded", "imported again", "not imported any more"])
@pytest.mark.parametrize("change", [{}, {"retry": {"attempts": 2}}], ids=["the same file", "another file"])
def test_a_class_that_was_made_anew_is_guarded_again(module, registry, anew, change):
    vendor, target = module(), "{}:Client.charge"
    name = vendor.__name__
    tables = {"guards": {target.format(name): {"timeout": False}}}
    configuration = configure(tables, registry=registry, environ={})
    if anew == "reloaded":
        importlib.reload(vendor)
    else:
        del sys.modules[name]
    if anew == "imported again":
        vendor = importlib.import_module(name)
    assert [] == reloaded(configuration, {"guards": {target.format(name): {"timeout": False, **change}}})
    if anew == "not imported any more":
        assert (f"guards.{name}:Client.charge",) == configuration.unused
        vendor = importlib.import_module(name)
    assert () == configuration.unused
    assert 7 == vendor.Client().charge(7)
    assert 1 == vendor.Client.charge.resilience.snapshot().requests
    configuration.close()
    assert not hasattr(vendor.Client.charge, "resilience")


def test_what_could_not_be_guarded_when_it_was_imported_is_guarded_when_it_can_be(tmp_path, monkeypatch, registry):
    monkeypatch.syspath_prepend(tmp_path)
    name = f"vendor_of_reload_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text("")
    tables = {"guards": {f"{name}:plain": {"timeout": False}}}
    configuration = configure(tables, registry=registry, environ={})
    vendor = importlib.import_module(name)
    assert 1 == len(configuration.mistakes)
    assert [f"module {name} has no plain"] == reloaded(configuration, tables)
    vendor.plain = lambda x: x + 1
    assert [] == reloaded(configuration, tables)
    assert (2, ()) == (vendor.plain(1), configuration.unused)
    configuration.close()
    del sys.modules[name]


def test_a_reload_after_one_that_failed_takes_the_file_as_a_start_does(module, registry):
    vendor = module()
    target = f"{vendor.__name__}:plain"
    configuration = configure({"guards": {target: {}}}, registry=registry, environ={})
    for wrong in ({"retry": {}, "isolation": "semaphore", "timeout": 1.0}, {"fallback": "math:nothing"},
                  {"rate_limit": {}}, {"adaptive_limit": {"max_queue": 3}, "isolation": "thread"}):
        assert [] != reloaded(configuration, {"guards": {target: wrong}})
        assert 2 == vendor.plain(1)
        assert [] == reloaded(configuration, {"guards": {target: {"retry": {}}}})
        assert vendor.plain.resilience.settings.retry is not None
        assert [] == reloaded(configuration, {"guards": {target: {}}})
    configuration.close()
    assert (0, False) == (len(registry), hasattr(vendor.plain, "resilience"))


def test_a_live_setting_that_a_start_refuses_is_refused(module, registry):
    vendor = module()
    target, thread = f"{vendor.__name__}:plain", {"isolation": "thread"}
    configuration = configure({"guards": {target: {"adaptive_limit": {}, **thread}}}, registry=registry, environ={})
    [message] = reloaded(configuration, {"guards": {target: {"adaptive_limit": {"max_queue": 3}, **thread}}})
    assert "max_queue of an adaptive limit is for calls that run where their caller is" in message
    configuration.close()


# -- random histories against a start

TARGETS = ("plain", "later", "Client.charge", "Client.make", "pages")


def random_entry(rng):
    """An entry of which a start takes about two in three."""
    entry = {}
    for line in rng.sample(LINES, rng.randrange(4)):
        entry |= line
    for name in rng.sample(sorted(TABLES), rng.randrange(2)):
        entry[name] = rng.choice(TABLES[name])
    if rng.random() < 0.2:
        entry["adaptive_limit"] = {"max_queue": 2}
    if rng.random() < 0.2:
        entry |= {"key": rng.choice("ab"), "group": "g"}
    if rng.random() < 0.2:
        entry["pool"] = {"size": rng.randint(1, 3)}
    return entry


def random_tables(rng, name):
    targets = rng.sample(TARGETS, rng.randrange(4))
    tables = {"guards": {f"{name}:{target}": random_entry(rng) for target in targets}}
    if rng.random() < 0.3:
        tables["defaults"] = rng.choice([{"timeout": 2.0}, {"max_concurrent": 5}, {"breaker": {"open_for": 1.0}}])
    if targets and rng.random() < 0.3:
        tables["commands"] = {f"{name}:{targets[0]}": rng.choice([{"max_concurrent": 7}, {"retry": {"attempts": 4}}])}
    return tables


def in_force(vendor, registry):
    """By target: what guards it, and with what; and the commands."""
    found = {}
    for target in TARGETS:
        function = getattr(vendor.Client, target[7:]) if target.startswith("Client.") else getattr(vendor, target)
        handle = getattr(function, "resilience", None)
        found[target] = handle and (handle.key.partition(":")[2] or handle.key, handle.group.partition("_of_")[0],
                                    [getattr(handle.settings, name) for name in settings()], handle.settings.isolation,
                                    handle.settings.pool)
    return found, sorted(each.key.partition(":")[2] or each.key for each in registry)


def explained(vendor, target):
    """How calls of the target run, and what is in force, apart from where each value comes from."""
    found = explain(getattr(vendor, target))
    return [(each.runs, each.policies) for each in found.chains], [each[:2] for each in found.settings]


def plain(messages, name):
    return sorted({message.replace(name, "vendor") for message in messages})


def test_any_history_of_reloads_ends_where_a_start_with_the_last_file_begins(module):
    taken = refused = 0
    for seed in range(40):
        rng, vendor, registry = random.Random(seed), module(), Registry()
        configuration = configure({}, registry=registry, environ={})
        before = in_force(vendor, registry)
        for _ in range(6):
            tables, fresh, other = random_tables(rng, vendor.__name__), Registry(), module()
            messages = reloaded(configuration, tables)
            try:
                start = configure(eval(repr(tables).replace(vendor.__name__, other.__name__)), registry=fresh, environ={})
            except ConfigFileError as error:
                refused += 1
                wanted = plain([mistake.message for mistake in error.mistakes], other.__name__)
                assert wanted == plain(messages, vendor.__name__), (seed, tables)
                assert before == in_force(vendor, registry), (seed, tables)
                continue
            taken += 1
            assert [] == messages, (seed, tables)
            assert in_force(other, fresh) == in_force(vendor, registry), (seed, tables)
            before = in_force(vendor, registry)
            start.close()
        configuration.close()
        assert ({target: None for target in TARGETS}, []) == in_force(vendor, registry), seed
    assert min(taken, refused) > 40, (taken, refused)
