"""A reload that failed left the commands of filters as it would have had them; those of removed filters stayed for ever."""

from __future__ import annotations

from typing import Any

import pytest

from resilience import Registry
from resilience.errors import ConfigError
from resilience.gateway import Gateway
from resilience.gateway import generation as generation_module
from resilience.gateway.config import GatewayConfig

from .gateway_parts import configured


def _config(*, composed: float | None, **filters: dict[str, Any]) -> GatewayConfig:
    tables: dict[str, Any] = {} if composed is None else {
        "compositions": {"page": {"timeout": composed, "parts": {"a": {"service": "up", "path": "/a"}}}}}
    return configured({"endpoints": ["http://127.0.0.1:9"]}, filters=filters, **tables, routes=[
        {"path": "/*", "service": "up", "filters": list(filters)},
        *({"path": "/page", "compose": "page"} for _ in tables)])


def _said(registry: Registry) -> dict[str, object]:
    return {command.key: command.settings for command in registry}


def _fails(*_: Any, **__: Any) -> None:
    raise ConfigError("not to be")


def test_commands_of_filters_are_those_of_the_configuration_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    access = {"use": "access", "anonymous": True}
    registry = Registry()
    gateway = Gateway(_config(composed=1.0, one=access), registry=registry)
    before = _said(registry)
    assert {"up", "filter.one", "filter.composition.page"} == set(before)
    with monkeypatch.context() as patched:
        patched.setattr(generation_module, "Admission", _fails)
        for _ in range(2):
            with pytest.raises(ConfigError, match="not to be"):
                gateway.reload(_config(composed=2.0, one={**access, "time_limit": 9.0}, two=access))
    assert before == _said(registry)
    gateway.reload(_config(composed=2.0, two=access))
    assert {"up", "filter.two", "filter.composition.page"} == set(_said(registry))
    gateway.reload(_config(composed=None))
    assert {"up"} == set(_said(registry))
    gateway.reload(_config(composed=1.0, one=access))
    assert before == _said(registry)
