"""TOML has dates, NaN and infinity, which JSON has not, and the check took them where JSON is made of them.

Each request whose body was changed so, or whose composition had the default, was an error of the gateway then, and a
rule with one never fitted. The filter json_body has always refused them.
"""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from resilience.config import Document
from resilience.errors import ConfigError
from resilience.gateway.answers.answer_rules import AnswerRule
from resilience.gateway.config.compositions import PartConfig
from resilience.gateway.config.endpoints import EndpointConfig
from resilience.gateway.config.file import read
from resilience.gateway.format.body_filter import BodyChanges
from resilience.gateway.messages.json_pointer import MISSING

_TOML = """
[[services.a.endpoints]]
url = "http://127.0.0.1:1"
json = {{ "/x" = {value} }}
[services.b]
endpoints = ["http://127.0.0.1:1"]
rules = [{{ status = 400, json = {{ "/x" = {value} }} }}]
[compositions.c.parts.p]
service = "b"
path = "/"
required = false
default = {value}
[[routes]]
path = "/*"
service = "a"
[[routes]]
path = "/c"
compose = "c"
"""


def _places(value: Any) -> list[Any]:
    return [lambda: EndpointConfig(url="http://127.0.0.1:1", json={"/x": value}),
            lambda: AnswerRule(status=400, json={"/x": value}),
            lambda: PartConfig(service="s", path="/", required=False, default=value),
            lambda: BodyChanges(set={"/x": value})]


@pytest.mark.parametrize("value", ["2026-12-01", "10:00:00", "nan", "-inf", "[1, [nan]]", "{ a = 2026-12-01T10:00:00Z }"])
def test_a_file_with_a_value_that_no_json_has_is_refused(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(Document(_TOML.format(value=value), "gateway.toml"))
    mistakes = [str(each) for each in caught.value.mistakes]  # type: ignore[attr-defined]
    assert len(mistakes) == 3
    assert all("cannot stand in JSON" in each for each in mistakes)
    for place in _places(tomllib.loads(f"x = {value}")["x"]):
        with pytest.raises(ConfigError, match="cannot stand in JSON"):
            place()


@pytest.mark.parametrize("value", [0, 1.5, "text", True, [], {"a": [1, "é"]}, 10**30])
def test_what_json_has_is_welcome(value: Any) -> None:
    for place in _places(value):
        place()
    assert PartConfig(service="s", path="/").default is MISSING
