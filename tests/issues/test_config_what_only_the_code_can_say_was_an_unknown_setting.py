"""A file that named a setting of the code (a fallback, a retry's ``on``) was told of other settings, and not why."""

from __future__ import annotations

import pytest

from resilience import Registry, configure
from resilience.config import ConfigFileError

IN_CODE = "is a function, a class or an object, and can only be given in code: "
IN_CODE_OR_GUARDS = "can only be given in code, or in an entry of [guards]"


def mistakes(tables):
    with pytest.raises(ConfigFileError) as caught:
        configure(tables, registry=Registry(), environ={})
    return [str(each) for each in caught.value.mistakes]


@pytest.mark.parametrize(("policy", "field", "code"), [
    ("retry", "on", "Retry(on=...)"), ("cache", "cache_exceptions", "Cache(cache_exceptions=...)"),
    ("retry", "on_result", "Retry(on_result=...)"), ("hedge", "budget", "Hedge(budget=...)")])
@pytest.mark.parametrize("place", [("defaults",), ("groups", "shop"), ("commands", "stock"), ("guards", "json:dumps")])
def test_a_field_that_toml_cannot_say_is_said_to_belong_into_the_code(place, policy, field, code):
    tables = {policy: {field: ["OSError"]}}
    for step in reversed(place):
        tables = {step: tables}
    [mistake] = mistakes(tables)
    assert mistake.endswith(f"{policy}.{field}: {IN_CODE}{code}")


@pytest.mark.parametrize("place", [("defaults",), ("groups", "shop"), ("commands", "stock")])
@pytest.mark.parametrize("name", ["key", "group", "isolation", "pool", "ignore", "fallback", "raise_as"])
def test_what_guards_alone_have_is_said_to_be_theirs(place, name):
    tables = {name: "billing:answer"}
    for step in reversed(place):
        tables = {step: tables}
    assert mistakes(tables) == [f"the mapping: {'.'.join(place)}.{name}: {IN_CODE_OR_GUARDS}"]
