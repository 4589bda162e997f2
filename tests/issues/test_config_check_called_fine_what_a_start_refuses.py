"""check() called fine what configure() refuses: an entry of [guards] that no function can be guarded by, a fallback or an
exception that is not there, an entry that contradicts what [commands] say of it. The same for a gateway's file: a bind
address that is none, and an admin listener that would silently share the gateway's port.
"""

import importlib
import random
import sys

import pytest

from resilience import Registry, configure
from resilience.config import ConfigFileError, check
from resilience.gateway import load
from tests.issues.test_config_reload_refused_what_a_start_takes import VENDOR, random_tables

IMPORTED, LATER = "textwrap:fill", "vendor_not_imported_yet:plain"


@pytest.fixture(autouse=True)
def _vendor(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "vendor_not_imported_yet.py").write_text(VENDOR)


def mistakes_of(read):
    try:
        read()
    except ConfigFileError as error:
        return [mistake.message for mistake in error.mistakes]
    return []


@pytest.mark.parametrize(("entry", "message"), [
    ({"fallback": "textwrap:nothing"}, "textwrap:nothing cannot be found: module 'textwrap' has no attribute 'nothing'"),
    ({"fallback": "textwrap:re.X"}, "function of a fallback must be callable"),
    ({"ignore": ["NoSuchError"]}, "NoSuchError cannot be found: module 'builtins' has no attribute 'NoSuchError'"),
    ({"ignore": ["KeyboardInterrupt"]}, "must be an Exception class or a tuple of Exception classes"),
    ({"rate_limit": {}}, "rate_limit needs calls"),
    ({"hedge": {}}, "idempotent"),
    ({"adaptive_limit": {}, "max_concurrent": 3}, "has no bulkhead to configure"),
])
@pytest.mark.parametrize("target", [IMPORTED, LATER])
def test_what_no_function_can_be_guarded_by_is_refused_by_both_whether_it_is_imported_or_not(
        registry, target, entry, message):
    tables = {"guards": {target: entry}}
    [found] = mistakes_of(lambda: check(tables, {}))
    assert message in found
    assert "vendor_not_imported_yet" not in sys.modules
    if target == IMPORTED:
        assert [found] == mistakes_of(lambda: configure(tables, registry=registry, environ={}))


@pytest.mark.parametrize("target", [IMPORTED, LATER])
def test_a_fallback_of_a_module_that_is_not_there_is_refused(target):
    [found] = mistakes_of(lambda: check({"guards": {target: {"fallback": "no_such_module:f"}}}, {}))
    assert "no_such_module" in found


@pytest.mark.parametrize("entry", [
    {"isolation": "semaphore", "timeout": 1.0}, {"isolation": "thread"}, {"retry": {}}, {"pool": {"size": 2}},
    {"fallback": "math:floor", "ignore": ["KeyError", "json:JSONDecodeError"]}])
def test_what_fits_some_function_is_fine_for_a_module_that_is_not_imported(entry):
    assert [] == mistakes_of(lambda: check({"guards": {LATER: entry}}, {}))


def test_two_names_of_one_target_and_two_settings_of_one_key_are_refused(registry):
    import textwrap

    textwrap.Wrapper = textwrap.TextWrapper
    try:
        for tables in ({"textwrap:Wrapper.fill": {}, "textwrap:TextWrapper.fill": {}},
                       {"textwrap:fill": {"key": "k", "group": "g"},
                        "textwrap:wrap": {"key": "k", "group": "g", "retry": {}}},
                       {"textwrap:fill": {"group": "g", "pool": {"size": 2}},
                        "textwrap:wrap": {"group": "g", "pool": {"size": 3}}}):
            found = mistakes_of(lambda tables=tables: check({"guards": tables}, {}))
            assert found == mistakes_of(
                lambda tables=tables: configure({"guards": tables}, registry=registry, environ={}))
            assert 1 == len(found)
    finally:
        del textwrap.Wrapper


def test_check_and_a_start_agree_on_random_files():
    vendor, fine, refused = importlib.import_module("vendor_not_imported_yet"), 0, 0
    try:
        for seed in range(150):
            tables, registry = random_tables(random.Random(seed), vendor.__name__), Registry()
            wanted = mistakes_of(lambda: configure(tables, registry=registry, environ={}).close())
            assert sorted(set(wanted)) == sorted(set(mistakes_of(lambda: check(tables, {})))), (seed, tables)
            fine, refused = fine + (not wanted), refused + bool(wanted)
    finally:
        del sys.modules["vendor_not_imported_yet"]
    assert min(fine, refused) > 30, (fine, refused)


def test_check_changes_nothing():
    import textwrap

    before = {name: id(value) for name, value in vars(textwrap).items()}
    check({"guards": {IMPORTED: {"retry": {}}}}, {})
    assert before == {name: id(value) for name, value in vars(textwrap).items()}


# -- a gateway's file

GATEWAY = """[gateway]
bind = "{bind}"
[admin]
bind = "{admin}"
[services.a]
endpoints = ["http://127.0.0.1:1"]
[[routes]]
path = "/a"
service = "a"
"""


def of_gateway(tmp_path, bind, admin="127.0.0.1:18090"):
    (tmp_path / "gateway.toml").write_text(GATEWAY.format(bind=bind, admin=admin))
    return mistakes_of(lambda: load(tmp_path / "gateway.toml"))


@pytest.mark.parametrize("host", [" ", "a b", "-x", "x-", "a..b", ".a", "ü", "1.2.3.4.5", "999.1.1.1", "*", "a" * 64,
                                  "a." * 130, "127.0.0.1\\u0000", "a/b"])
def test_an_address_that_nobody_can_listen_on_is_refused(tmp_path, host):
    [message] = of_gateway(tmp_path, f"{host}:18080")
    assert message.startswith("must be host:port with a port of 1 to 65535")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]", "gateway", "a-b.example.com",
                                  "my_host", "3com.example", "127.1"])
def test_an_address_that_somebody_may_listen_on_is_fine(tmp_path, host):
    assert [] == of_gateway(tmp_path, f"{host}:18080")


@pytest.mark.parametrize(("bind", "admin"), [
    ("127.0.0.1:18080", "localhost:18080"), ("127.0.0.1:18080", "0.0.0.0:18080"), ("0.0.0.0:18080", "127.0.0.1:18080"),
    ("127.0.0.1:18080", "[::]:18080"), ("[::1]:18080", "[0:0::1]:18080"), ("127.0.0.1:18080", "127.0.0.1:018080"),
    ("Gateway:18080", "gateway:18080"), ("[::1]:18080", "localhost:18080")])
def test_an_admin_listener_on_the_gateways_own_port_is_refused_however_it_is_written(tmp_path, bind, admin):
    assert [f"{admin} is what the gateway itself listens on"] == of_gateway(tmp_path, bind, admin)


@pytest.mark.parametrize(("bind", "admin"), [
    ("127.0.0.1:18080", "127.0.0.2:18080"), ("127.0.0.1:18080", "[::1]:18080"), ("0.0.0.0:18080", "127.0.0.1:18081")])
def test_an_admin_listener_of_its_own_is_fine(tmp_path, bind, admin):
    assert [] == of_gateway(tmp_path, bind, admin)
