"""Settings of ``[private]`` that are about both listeners were accepted and ignored, a filter module among them; and no
priority could be given to a route of the public listener once there was a private one.

A table of ``[registry]`` that was misspelt was told of without a word on the one that was meant.
"""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from resilience.config import ConfigFileError, Document
from resilience.gateway.config import GatewayConfig, read
from resilience.gateway.config.effective import lines

SERVICE = {"endpoints": ["http://127.0.0.1:1"]}


def tables(private: dict[str, Any], **more: Any) -> Document:
    return Document.of({
        "gateway": {"bind": "127.0.0.1:18080"},
        "private": {"bind": "127.0.0.1:18081", "routes": [{"name": "inner", "path": "/*", "service": "up"}], **private},
        "services": {"up": SERVICE}, "routes": [{"name": "outer", "path": "/*", "service": "up"}], **more}, "test")


@pytest.mark.parametrize("said", [{"drain_timeout": 60.0}, {"filter_modules": ["there.is.none"]}])
def test_what_is_about_both_listeners_is_a_mistake_in_private(said: dict[str, Any]) -> None:
    with pytest.raises(ConfigFileError, match=rf"private\.{next(iter(said))}: is about both .*\[gateway\]"):
        read(tables(said))


def test_what_is_unknown_in_private_names_the_table_of_routes_too() -> None:
    with pytest.raises(ConfigFileError, match=r"private\.rotues: .*did you mean routes"):
        read(tables({"rotues": []}))


def test_what_is_printed_can_be_read_again() -> None:
    document = tables({})
    printed = tomllib.loads("\n".join(lines(read(document), document)))
    assert "drain_timeout" not in printed["private"]
    assert read(Document.of(printed, "printed")).private == read(document).private


@pytest.mark.parametrize("name", ["outer", "inner"])
def test_routes_of_either_listener_can_have_a_priority(name: str) -> None:
    shed = {"route_priority": {name: 1}}
    config = read(tables({}, shedding=shed, filters={"shed": {"use": "shed", **shed}}))
    inner = config.of_private_listener()
    assert isinstance(inner, GatewayConfig)
    assert inner.shedding == config.shedding


def test_a_priority_of_a_route_that_is_at_neither_listener_is_a_mistake() -> None:
    with pytest.raises(ConfigFileError, match="unknown route 'ohter'"):
        read(tables({}, shedding={"route_priority": {"ohter": 1}}))


def test_a_misspelt_table_of_the_registry_is_told_by_its_name() -> None:
    with pytest.raises(ConfigFileError, match=r"registry\.lsitener: unknown setting; did you mean listener"):
        read(tables({}, registry={"lsitener": {"bind": "127.0.0.1:18761"}}))
