"""The published schema of the gateway's file: the classes make it, and it and the loader agree on random files."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from resilience.config import ConfigFileError, Document
from resilience.gateway.config import read
from resilience.gateway.config.schema import schema, text
from resilience.policies import order

PUBLISHED = Path(__file__).parents[2] / "docs" / "reference" / "gateway.schema.json"
VALIDATOR = jsonschema.Draft7Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))
GOOD: dict[str, Any] = {
    "gateway": {"bind": "127.0.0.1:8080"},
    "admin": {"bind": "127.0.0.1:8090"},
    "process": {"workers": 2},
    "services": {"a": {"endpoints": ["http://127.0.0.1:1"], "command": {"timeout": 0.5}}},
    "routes": [{"path": "/a/*", "service": "a"}],
}
#: What the loader says where a schema could say it too; all else is about several values at once, about what a string
#: means, or about the world outside.
PLAIN = re.compile(r": (unknown setting|is missing|must be (a number|a whole number|a string|a list|a table|true or false|above|"
                   r"at least \d|at most \d))")


@pytest.fixture(autouse=True)
def _only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "_kits", order.KITS)


def mistakes(data: dict[str, Any]) -> list[str]:
    """What the loader says against a file."""
    try:
        read(Document.of(data, "random"))
    except ConfigFileError as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


def test_the_published_schema_is_what_the_classes_make() -> None:
    jsonschema.Draft7Validator.check_schema(schema())
    assert text() == PUBLISHED.read_text(encoding="utf-8"), (
        "write it anew: resilience check --schema gateway > docs/reference/gateway.schema.json")


@pytest.mark.parametrize(("path", "value"), [
    (("gatway",), {}), (("gateway", "bind"), "nowhere"), (("gateway", "bind"), 80), (("gateway", "client_timeout"), 0),
    (("gateway", "allow_encoded"), ["%00"]), (("process", "workers"), 0), (("process", "workers"), 257),
    (("process", "watch"), 1), (("services", "a", "endpoints"), []), (("services", "a", "endpoints"), "http://x:1"),
    (("services", "a", "retri"), {}), (("services", "a", "command", "timeout"), "1"), (("routes",), {}),
    (("routes", 0, "methods"), []), (("routes", 0, "path"), 1), (("services",), []),
    (("services", "a", "command", "breaker"), {"open_fo": 1}), (("services", "a", "command", "fallback"), "x"),
    (("services", "a", "command", "per"), "endpoints"), (("tracing",), {"trust": "everybody"}), (("access_log",), {"format": "text"}),
    (("shedding",), {"scope": "route"}), (("shedding",), {"route_priority": ["a"]}), (("compositions",), {"c": {"parts": ["a"]}}),
    (("compositions",), {"c": {"parts": {"a": {"service": "a", "path": "/", "unheard_of": 1}}}}),
    (("registry",), {"listener": {"filters": []}}), (("registry",), {"listener": {"upload_timeout": 3.0}}),
])
def test_what_is_wrong_in_one_place_is_wrong_for_both(path: tuple[Any, ...], value: Any) -> None:
    data = copy.deepcopy(GOOD)
    inner: Any = data
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert mistakes(data), path
    assert list(VALIDATOR.iter_errors(data)), path


@pytest.mark.parametrize(("path", "value"), [
    *((("services", "a", "command", "per"), each) for each in ("service", "endpoint", "both")), (("tracing",), {"trust": "all"}),
    (("registry",), {"listener": {"bind": "127.0.0.1:8761", "client_rate": 5.0}}), (("shedding",), {"route_priority": {"/a/*": 3}}),
    (("compositions",), {"c": {"parts": {"a": {"service": "a", "path": "/", "required": False, "default": 1}}}}),
])
def test_what_is_right_is_right_for_both(path: tuple[Any, ...], value: Any) -> None:
    data = copy.deepcopy(GOOD)
    inner: Any = data
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert not mistakes(data)
    assert not list(VALIDATOR.iter_errors(data))


def test_what_must_be_there_must_be_for_both() -> None:
    for path in (("services",), ("routes",), ("services", "a", "endpoints"), ("routes", 0, "path")):
        data = copy.deepcopy(GOOD)
        inner: Any = data
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]
        assert mistakes(data), path
        assert list(VALIDATOR.iter_errors(data)), path


ODD = (True, False, 0, 1, -1, 2, 0.25, 7.5, 10_001, 1e300, "", "x", "a", "127.0.0.1:80", "http://127.0.0.1:9", "/x", "/x/*", [], ["GET"],
       ["http://127.0.0.1:9"], ["10.0.0.0/8"], [1], {}, {"x": 1}, {"calls": 3}, "round_robin", "env:NOT_SET")


def test_schema_and_loader_agree_on_random_files() -> None:
    rng, tally = random.Random(5), {True: 0, False: 0}
    tables = schema()["definitions"]
    places = [(("gateway",), "gateway"), (("admin",), "admin"), (("process",), "process"), (("services", "a"), "service"),
              (("services", "a", "command"), "command"), (("routes", 0), "route")]
    for _ in range(600):
        data = copy.deepcopy(GOOD)
        for path, table in rng.sample(places, 1):
            inner: Any = data
            for step in path:
                inner = inner[step] if isinstance(inner, (dict, list)) else {}
            if not isinstance(inner, dict):
                continue
            name = rng.choice([*tables[table]["properties"], "unheard_of"]) if rng.random() < 0.97 else "endpoint"
            inner[name] = rng.choice(ODD)
        said = mistakes(data)
        is_valid = not any(VALIDATOR.iter_errors(data))
        tally[is_valid] += 1
        if is_valid:
            assert not [each for each in said if PLAIN.search(each) and "instead" not in each], (data, said)
        else:
            assert said, data
    assert min(tally.values()) > 60
