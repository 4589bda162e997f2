"""The tables of the page on discovery have the arguments that there are, with their defaults."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from pages import DOCS
from test_tables import rows, section

from resilience import discovery
from resilience.discovery import redis_instances

PAGE = "reference/discovery.md"
#: attrs makes these.
_FACTORIES: dict[str, Any] = {"metadata": {}}


@pytest.mark.parametrize(("heading", "callable_", "besides"), [
    ("## Instance", discovery.Instance, ()), ("## Directory", discovery.Directory, ()), ("### failover", discovery.Directory.failover, ("settings",)),
    ("### each", discovery.Directory.each, ("settings",)), ("## Registrant", discovery.Registrant, ()),
    ("## Registration", discovery.Registration, ())])
def test_a_table_of_arguments_has_all_of_them_with_their_defaults(heading: str, callable_: Any, besides: tuple[str, ...]) -> None:
    found: dict[str, str] = {}
    for row in rows(section(PAGE, heading).partition("| use | effect |")[0].partition("\n### ")[0]):
        defaults = row[1].replace("`", "").split(", ")
        for name, default in zip(row[0].replace("`", "").split(", "), defaults * 2, strict=False):
            found[name] = default
    parameters = {name: each for name, each in inspect.signature(callable_).parameters.items() if name not in ("self", *besides)}
    assert list(parameters) == list(found)
    for name, each in parameters.items():
        if name not in ("clock", "random"):
            assert found[name] == shown(_FACTORIES.get(name, each.default)), name


def shown(default: Any) -> str:
    """As a table has it."""
    if default is inspect.Parameter.empty:
        return "needed"
    return f"{default}" if isinstance(default, discovery.InstanceStatus) else json.dumps(default) if isinstance(default, str) else f"{default!r}"


def test_the_keys_in_redis_are_those_of_the_page() -> None:
    text = section(PAGE, "## Redis")
    assert f"`{redis_instances.set_key(redis_instances.PREFIX, 'APP')}`" in text
    assert f"`{redis_instances.instance_key(redis_instances.PREFIX, 'APP', 'ID')}`" in text
    assert f"at most {redis_instances.MAX_BYTES} bytes" in text
    shell = (DOCS / "howto" / "register-a-service.md").read_text(encoding="utf-8")
    key = redis_instances.instance_key(redis_instances.PREFIX, "orders", "orders-1")
    assert f"""SET '{key}' '{{"url": "http://10.0.0.1:8080"}}' EX 90""" in shell
    assert f"SADD '{redis_instances.set_key(redis_instances.PREFIX, 'orders')}' orders-1" in shell
