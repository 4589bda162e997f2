"""Handles and registries: what they show is what the reference documents, and a print says what a person wants to know."""

import json
import pathlib
import re

import pytest

from resilience import (
    Cache,
    CircuitOpenError,
    KeyedCommands,
    Registry,
    ThreadPool,
    command,
)
from resilience.commands.command import Command

REFERENCE = pathlib.Path(__file__).parents[2] / "docs" / "reference"


def public(cls):
    return sorted(name for name in dir(cls) if not name.startswith("_"))


def documented(page, heading, prefix=""):
    """The names in the first column of the first table of attributes after *heading*."""
    text = (REFERENCE / page).read_text(encoding="utf-8").split(heading, 1)[1]
    table = re.search(r"\n(\| (?:attribute |use )?\| (?:what|effect) \|\n(?:\|.*\n)+)", text)
    firsts = [row.split(" | ")[0] for row in table[1].splitlines()[2:]]
    found = {name for first in firsts for name in re.findall(rf"`{prefix}([a-z_]+)[(`]", first)}
    return sorted(found - {"len"})  # of len(keyed)


@pytest.mark.parametrize(("cls", "page", "heading", "prefix"), [
    (Command, "command.md", "## The handle", ""),
    (KeyedCommands, "command.md", "## A key that is a callable", r"(?:keyed\.)?"),
    (Registry, "registry.md", "## Methods", r"registry\."),
])
def test_what_users_see_is_what_the_reference_documents(cls, page, heading, prefix):
    assert documented(page, heading, prefix) == public(cls)


def test_instances_show_no_more_than_their_classes(registry):
    keyed = command(key=lambda host: host, registry=registry, timeout=None)(lambda host: host)
    keyed("a")

    for each in (registry, keyed.resilience, registry["a"]):
        assert public(type(each)) == public(each)


def test_a_registry_prints_how_many_commands_it_has_and_how_many_are_open(registry):
    assert "<Registry 0 commands, 0 open>" == repr(registry)

    for key in "abc":
        command(key=key, registry=registry, timeout=None)(lambda: 1)
    registry["b"].force_open()

    assert "<Registry 3 commands, 1 open>" == repr(registry)


def test_a_command_prints_its_state_and_its_slots(registry):
    @command(key="stock", registry=registry, timeout=None)
    def stock():
        return repr(stock.resilience)

    assert "<command 'stock' closed, 1 of 10 in flight>" == stock()
    stock.resilience.force_open()
    with pytest.raises(CircuitOpenError):
        stock()
    assert "<command 'stock' forced_open, 0 of 10 in flight>" == repr(stock.resilience)
    assert "<command 'free' disabled>" == repr(
        command(key="free", registry=registry, timeout=None, breaker=None, max_concurrent=None)(len).resilience)


def test_keyed_commands_print_how_many_they_are_and_how_many_are_open(registry):
    @command(key=lambda host: host, registry=registry, timeout=None, max_keys=7)
    def get(host): ...

    for host in "abc":
        get(host)
    registry["b"].force_open()

    assert f"<commands of {get.resilience.key!r}: 3 of at most 7 keys, 1 open>" == repr(get.resilience)


def test_a_pool_prints_how_many_of_its_threads_are_at_work(registry):
    @command(key="k", group="g", registry=registry, timeout=5.0, max_concurrent=3)
    def own():
        return repr(own.resilience.pool)

    @command(key="l", group="h", registry=registry, timeout=5.0, max_concurrent=3, pool=ThreadPool(size=2, max_queue=4))
    def shared():
        return repr(shared.resilience.pool)

    assert "<thread pool 'g' 1 of 3 threads at work, each command has its own>" == own()
    assert "<thread pool 'h' 1 of 2 threads at work, 0 of 4 waiting, shared by its commands>" == shared()
    registry.close()
    assert repr(registry.pools()["h"]).endswith(", closed>")


def test_all_of_a_snapshot_goes_through_json_and_back(registry, clock):
    @command(key="k", group="g", registry=registry, timeout=None, cache=Cache())
    def run(fails):
        clock.advance(0.25)
        if fails:
            raise ConnectionError("down")
        return 7

    run(False)
    with pytest.raises(ConnectionError):
        run(True)
    run.resilience.force_open()
    snapshot = run.resilience.snapshot()
    plain = snapshot.as_dict()

    assert plain == json.loads(json.dumps(plain, allow_nan=False))
    derived = {"refused", "requests", "errors", "error_rate", "rate"}
    assert derived | {field.name for field in type(snapshot).__attrs_attrs__} == set(plain)
    assert (snapshot.counts, "forced_open", 0.5) == (plain["counts"], plain["state"], plain["error_rate"])
    assert ("ConnectionError", "down") == (plain["last_failure"]["type"], plain["last_failure"]["message"])
    assert ["closed", "forced_open"] == [plain["transitions"][-1][side] for side in ("old", "new")]
    assert snapshot.latency.p99 == plain["latency"]["p99"]
