"""A file could not say whose a call is or what it costs, so no entry of ``[guards]`` could have a limit for each tenant.

Functions of a rate limit, an adaptive limit, a bulkhead and a cache are written "module:name", as those of others are.
"""

import json
import sys
import types
from contextlib import closing

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    ConfigError,
    RateLimit,
    RateLimitedError,
    Registry,
    command,
    configure,
)
from resilience.config import ConfigFileError
from resilience.testing import ManualClock


@pytest.fixture
def vendor(monkeypatch):
    module = types.ModuleType("vendor_of_costs")
    source = ("def ask(tenant, words): return {'used': len(words)}\n"
              "def tenant(tenant, words): return tenant\n"
              "def words(tenant, words): return len(words)\n"
              "def double(tenant, words): return 2 * len(words)\n"
              "def used(answer): return answer['used']\n"
              "def importance(tenant, words): return 0\n")
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def refused(function, *args):
    try:
        function(*args)
    except RateLimitedError:
        return True
    return False


def test_an_entry_of_guards_has_a_limit_by_cost_for_each_tenant(vendor):
    registry = Registry(clock=ManualClock())
    limit = {"calls": 10, "per": 60.0, "by": "vendor_of_costs:tenant", "cost": "vendor_of_costs:words"}
    with closing(configure({"guards": {"vendor_of_costs:ask": {"timeout": False, "rate_limit": limit}}}, registry=registry)):
        assert not refused(vendor.ask, "a", "12345678")
        assert refused(vendor.ask, "a", "1234")
        assert not refused(vendor.ask, "b", "1234")


def test_the_true_cost_is_settled(vendor):
    registry = Registry(clock=ManualClock())
    limit = {"calls": 10, "per": 60.0, "cost": 9, "true_cost": "vendor_of_costs:used"}
    with closing(configure({"guards": {"vendor_of_costs:ask": {"timeout": False, "rate_limit": limit}}}, registry=registry)):
        assert not refused(vendor.ask, "a", "1")
        assert not refused(vendor.ask, "a", "1")


@pytest.mark.parametrize(("name", "table"), [
    ("rate_limit", {"calls": 10, "by": "vendor_of_costs:tenant"}),
    ("adaptive_limit", {"max_queue": 5, "priorities": "vendor_of_costs:importance", "fair_by": "vendor_of_costs:tenant"}),
    ("max_concurrent", {"max_concurrent": 3, "max_wait": 1.0, "fair_by": "vendor_of_costs:tenant"}),
    ("cache", {"by": "vendor_of_costs:tenant"})])
def test_each_function_is_looked_up_and_a_reload_may_name_another_one(vendor, name, table, tmp_path):
    file, registry, field = tmp_path / "resilience.toml", Registry(), "by" if "by" in table else "fair_by"

    def write(function):
        named = {**table, field: f"vendor_of_costs:{function}"}
        inline = ", ".join(f"{key} = {json.dumps(value)}" for key, value in named.items())
        file.write_text(f'[guards]\n"vendor_of_costs:ask" = {{ timeout = false, {name} = {{ {inline} }} }}\n')

    def in_force():
        return getattr(getattr(registry["vendor_of_costs:ask"].settings, name), field)

    write("tenant")
    with closing(configure(file, registry=registry)) as configuration:
        assert in_force() is vendor.tenant
        write("words")
        configuration.reload()
        assert in_force() is vendor.words
        assert vendor.ask("a", "12") == {"used": 2}
        write("nobody")
        with pytest.raises(ConfigFileError, match=f"{field}.*cannot be found"):
            configuration.reload()
        assert in_force() is vendor.words


@pytest.mark.parametrize("cost", ["words", True, -1, []])
def test_what_is_no_cost_is_a_mistake(cost):
    with pytest.raises(ConfigFileError, match=r"rate_limit\.cost: must be"):
        configure({"defaults": {"rate_limit": {"calls": 10, "cost": cost}}}, registry=Registry())


def test_a_live_command_can_have_other_costs_but_no_other_tenants(vendor):
    registry = Registry(clock=ManualClock())
    guarded = command(key="k", registry=registry, timeout=None, rate_limit=RateLimit(10, per=60.0, cost=vendor.words))(vendor.ask)
    with closing(configure({"commands": {"k": {"rate_limit": {"cost": "vendor_of_costs:double"}}}}, registry=registry)):
        assert not refused(guarded, "a", "1234")
        assert refused(guarded, "a", "12")

    fair = AdaptiveLimit(max_queue=5, fair_by=vendor.tenant)
    command(key="fair", registry=registry, timeout=None, adaptive_limit=fair)(vendor.ask)
    with pytest.raises(ConfigFileError, match="fair_by= of the adaptive limit cannot be changed on a live command"):
        configure({"commands": {"fair": {"adaptive_limit": {"fair_by": "vendor_of_costs:words"}}}}, registry=registry)


def test_a_files_number_of_slots_leaves_the_tenants_of_the_code(vendor):
    registry = Registry()
    slots = Bulkhead(5, max_wait=1.0, fair_by=vendor.tenant)
    guarded = command(key="k", registry=registry, timeout=None, max_concurrent=slots)(vendor.ask)
    with closing(configure({"commands": {"k": {"max_concurrent": 7}}}, registry=registry)):
        assert guarded.resilience.settings.max_concurrent == Bulkhead(7, max_wait=1.0, fair_by=vendor.tenant)


def test_the_code_may_name_them_too(vendor):
    assert RateLimit(1, by="vendor_of_costs:tenant", cost="vendor_of_costs:words") == RateLimit(
        1, by=vendor.tenant, cost=vendor.words)
    assert Cache(by="vendor_of_costs:tenant") == Cache(by=vendor.tenant)
    with pytest.raises(ConfigError, match="cannot be found"):
        RateLimit(1, cost="vendor_of_costs:nobody")
