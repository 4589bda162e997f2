"""The published schema: it is the one that the classes make, and it and the loader agree on random documents."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import attrs
import jsonschema
import pytest

from resilience import CircuitBreaker
from resilience.config import Document
from resilience.config.commands import guard_settings, settings
from resilience.config.layers import tables_of
from resilience.config.schema import schema, text
from resilience.policies import order

PUBLISHED = Path(__file__).parents[2] / "docs" / "reference" / "configuration.schema.json"
VALIDATOR = jsonschema.Draft7Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))


@pytest.fixture(autouse=True)
def _only_ours(monkeypatch):
    """The published schema knows none of the policies that other tests have made; a process that has some does."""
    monkeypatch.setattr(order, "_kits", order.KITS)


def is_loaded(data):
    """Whether the loader takes the document; what depends on several values at once is left to it alone."""
    document = Document.of(data, "random")
    tables_of([document])
    return not [mistake for mistake in document.mistakes if not any(
        word in mistake.message for word in ("could never open", "means nothing without", "must be at least open_for",
                                             "must be less than half_open_calls", "has the same key", "cannot be found",
                                             "must be less than ttl"))]


def test_the_schema_is_a_schema():
    jsonschema.Draft7Validator.check_schema(schema())


def test_the_published_schema_is_what_the_classes_make():
    assert text() == PUBLISHED.read_text(encoding="utf-8"), (
        "write it anew: python -m resilience.config.schema > docs/reference/configuration.schema.json")


def test_run_as_a_module_it_prints_the_schema():
    run = subprocess.run([sys.executable, "-m", "resilience.config.schema"], capture_output=True, text=True, check=True)
    assert schema() == json.loads(run.stdout)


def test_every_setting_of_a_breaker_is_there_with_its_range_default_and_meaning():
    found = schema()["definitions"]["command"]["properties"]["breaker"]["anyOf"][0]["properties"]
    assert {field.name for field in attrs.fields(CircuitBreaker)} == set(found)
    assert all(each["description"] for each in found.values())
    assert {"type": "number", "minimum": 0, "maximum": 1, "default": 0.0,
            "description": found["open_jitter"]["description"]} == found["open_jitter"]


@pytest.mark.parametrize("data", [
    {},
    {"defaults": {"timeout": 0.5, "max_concurrent": False, "breaker": {"failure_rate": 1, "open_for": 0.1}}},
    {"groups": {"a b": {"breaker": False}}, "commands": {"x.y": {}}},
    {"guards": {"textwrap:fill": {"key": "k", "pool": {"size": 3}, "ignore": ["KeyError", "os:error"],
                                  "fallback": "math:floor", "isolation": "auto"}}},
])
def test_valid_documents_are_valid_for_both(data):
    assert [] == list(VALIDATOR.iter_errors(data))
    assert is_loaded(data)


@pytest.mark.parametrize("data", [
    {"default": {}},
    {"defaults": {"timeout": 0}},
    {"defaults": {"timeout": "1"}},
    {"defaults": {"timeout": True}},
    {"defaults": {"max_concurrent": 1.5}},
    {"defaults": {"breaker": True}},
    {"defaults": {"breaker": {"failure_rat": 0.5}}},
    {"defaults": {"breaker": {"failure_rate": 1.01}}},
    {"defaults": {"breaker": {"min_calls": False}}},
    {"defaults": {"breaker": {"ramp_shares": [0.5, 1.5]}}},
    {"groups": {"": {}}},
    {"commands": {"x": 3}},
    {"guards": {"textwrap.fill": {}}},
    {"guards": {"textwrap:fill": {"isolation": "fork"}}},
    {"guards": {"textwrap:fill": {"pool": {"size": 0}}}},
    {"guards": {"textwrap:fill": {"ignore": 3}}},
    {"guards": {"textwrap:fill": {"fallback": "floor"}}},
])
def test_invalid_documents_are_invalid_for_both(data):
    assert [] != list(VALIDATOR.iter_errors(data))
    assert not is_loaded(data)


ODD = (True, False, 0, 1, -1, 2, 0.25, -0.5, 0.9995, 1.5, 7.25, 86_401, 10_001, 2_000_000, 1e300, "", "x", "a:b", "auto", "thread", [], [0.25],
       [0.25, 0.5], [1.25], ["KeyError"], ["a:b", 3], [""], {}, {"size": 3}, {"size": 0}, {"failure_rate": 0.25}, {"x": 1})
NAMES = ("", "a", "a.b", "ü", "a b", "\n")
TARGETS = ("textwrap:fill", "textwrap:TextWrapper.fill", "fill", ":", "a b:c", "1:2", "textwrap:")


def random_table(rng, known):
    """A table, mostly of known keys, mostly with values of the right kind."""
    table = {}
    for _ in range(rng.randrange(4)):
        setting = rng.choice(list(known.values()))
        if rng.random() < 0.04:
            table["unheard_of"] = 1
        elif setting.policy is None or rng.random() < 0.2:
            table[setting.name] = rng.choice(ODD)
        else:
            table[setting.name] = {name: rng.choice(ODD) for name in rng.sample(sorted(setting.fields), rng.randrange(3))}
    return table


def random_document(rng):
    document = {}
    if rng.random() < 0.5:
        document["defaults"] = random_table(rng, settings())
    for name in ("groups", "commands"):
        if rng.random() < 0.4:
            document[name] = {rng.choice(NAMES[rng.random() < 0.9:]): random_table(rng, settings())}
    if rng.random() < 0.4:
        target = rng.choice(TARGETS[:2] if rng.random() < 0.8 else TARGETS)
        document["guards"] = {target: random_table(rng, guard_settings())}
    if rng.random() < 0.03:
        document[rng.choice(["defaults", "commands", "guards", "x"])] = rng.choice(ODD)
    return document


def contradicts(document):
    """Whether settings that are right one by one do not go together, which no schema can say."""
    tables = [document.get("defaults", {}), *(table for name in ("groups", "commands", "guards")
                                              for table in document.get(name, {}).values())]
    return any(not is_loaded({"defaults": {name: inner}})
               and all(is_loaded({"defaults": {name: {key: value}}}) for key, value in inner.items())
               for table in tables for name, inner in table.items() if isinstance(inner, dict) and len(inner) > 1)


def test_schema_and_loader_agree_on_random_documents():
    rng, tally = random.Random(11), {True: 0, False: 0}
    for _ in range(4000):
        document = random_document(rng)
        wanted = not any(VALIDATOR.iter_errors(document))
        tally[wanted] += 1
        assert wanted == is_loaded(document) or (wanted and contradicts(document)), document
    assert min(tally.values()) > 400, tally
