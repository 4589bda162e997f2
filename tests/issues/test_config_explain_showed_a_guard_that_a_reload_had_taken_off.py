"""explain() said that a target was guarded after its module had been reloaded, which makes it anew."""

import importlib
import sys

import pytest

from resilience import configure


@pytest.fixture(name="vendor")
def _vendor(tmp_path, monkeypatch):
    (tmp_path / "reloaded_vendor.py").write_text(
        "def plain(x):\n    return x + 1\n\n\nclass Client:\n    @classmethod\n    def charge(cls, x):\n        return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("reloaded_vendor")
    sys.modules.pop("reloaded_vendor", None)


TARGETS = ["reloaded_vendor:plain", "reloaded_vendor:Client.charge"]


def in_force(configuration):
    return [configuration.explain(target).guards[0][2] for target in TARGETS]


def test_it_is_told_apart(vendor, registry):
    tables = {"guards": {target: {"timeout": False} for target in TARGETS}}
    configuration = configure(tables, registry=registry, environ={})
    assert [True, True] == in_force(configuration)
    importlib.reload(vendor)

    assert [False, False] == in_force(configuration)
    assert f"guards {TARGETS[0]}, but was replaced since (the mapping)" in str(configuration.explain(TARGETS[0]))
    assert tuple(f"guards.{target}" for target in TARGETS) == configuration.unused

    configuration.close()
    again = configure(tables, registry=registry, environ={})
    assert [True, True] == in_force(again)
    assert (2, 5) == (vendor.plain(1), vendor.Client.charge(5))
    assert [1, 1] == [handle.snapshot().requests for handle in registry]
    again.close()
    assert not hasattr(vendor.plain, "resilience")


def test_what_stands_on_top_and_says_what_it_wraps_is_no_replacement(vendor, registry):
    import functools

    configuration = configure({"guards": {TARGETS[0]: {"timeout": False}}}, registry=registry, environ={})
    ours = vendor.plain
    vendor.plain = functools.wraps(ours)(lambda x: ours(x) * 10)
    assert configuration.explain(TARGETS[0]).guards[0][2]
    vendor.plain = ours
    configuration.close()
