"""Schemas decide as another implementation does, say where a value does not fit, and are read from local files alone."""

import json
import random
import time

import jsonschema
import pytest

from resilience.errors import ConfigError
from resilience.gateway.format.explanation import MAX_TIME_S
from resilience.gateway.format.schema import schema_of

NAMES = ["a", "b", "c"]


def some_schema(rng, depth=3):
    """A random schema; may refer to ``#/$defs/r``."""
    kind = rng.randrange(12 if depth else 6)
    if kind == 0:
        return rng.choice([True, {}, False])
    if kind == 1:
        return {"type": rng.choice(["integer", "string", "object", "array", "null", ["boolean", "number"]])}
    if kind == 2:
        return {"minimum": rng.randrange(5), "type": "integer"}
    if kind == 3:
        return {"enum": [rng.randrange(4), "x", None]}
    if kind == 4:
        return {"maxLength": rng.randrange(3), "pattern": "^[xy]*$"}
    if kind == 5:
        return {"$ref": "#/$defs/r"}
    inner = [some_schema(rng, depth - 1) for _ in range(rng.randrange(1, 4))]
    if kind == 6:
        return {rng.choice(["allOf", "anyOf", "oneOf"]): inner}
    if kind == 7:
        return {"not": inner[0]}
    if kind == 8:
        return {"items": inner[0], "minItems": rng.randrange(2), **({"prefixItems": inner[1:]} if inner[1:] else {})}
    if kind == 9:
        return {"if": inner[0], "then": inner[-1], "else": some_schema(rng, depth - 1)}
    if kind == 10:
        return {"contains": inner[0], "maxContains": rng.randrange(1, 3), "uniqueItems": True}
    return {"type": "object", "properties": dict(zip(NAMES, inner)), "required": NAMES[: rng.randrange(3)],
            **rng.choice([{}, {"additionalProperties": some_schema(rng, depth - 1)}, {"unevaluatedProperties": False},
                          {"patternProperties": {"^c": some_schema(rng, 0)}, "additionalProperties": False}])}


def some_value(rng, depth=4):
    kind = rng.randrange(9 if depth else 5)
    if kind < 5:
        return rng.choice([0, 3, 7, "", "x", "xyz", None, True, 1.5])
    if kind < 7:
        return [some_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice([*NAMES, "d"]): some_value(rng, depth - 1) for _ in range(rng.randrange(4))}


def fits(checked, value):
    return checked.is_valid(value)


def is_in(value, pointer):
    for step in pointer.split("/")[1:]:
        value = value[int(step) if isinstance(value, list) else step]
    return True


def schema_in(folder, schema, name="s.json"):
    (folder / name).write_text(json.dumps(schema))
    return schema_of(str(folder / name))


def test_random_values_fit_random_schemas_as_another_implementation_says_and_every_fault_is_in_the_value(tmp_path):
    both = {True: 0, False: 0}
    for seed in range(400):
        rng = random.Random(seed)
        plain = {"allOf": [some_schema(rng)], "$defs": {"r": some_schema(rng, 1)}}
        if "$ref" in json.dumps(plain["$defs"]):
            plain["$defs"] = {"r": {"type": "object", "properties": {"a": {"$ref": "#/$defs/r"}, "b": {"type": "integer"}}}}
        schema, other = schema_in(tmp_path, plain), jsonschema.Draft202012Validator(plain)
        for _ in range(15):
            value = some_value(rng)
            faults = schema.faults(value, 5)
            assert (not faults) == schema.fits(value) == other.is_valid(value), (plain, value)
            assert len(faults) <= 5
            assert all(is_in(value, fault.pointer) and fault.detail for fault in faults)
            both[not faults] += 1
    assert min(both.values()) > 500


ORDER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["id", "lines"],
    "properties": {"id": {"type": "integer", "minimum": 1}, "mail": {"type": "string", "format": "email"},
                   "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
                   "pay": {"oneOf": [{"const": "card"}, {"const": "cash"}]},
                   "extra": {"additionalProperties": {"type": "integer"}}},
    "additionalProperties": False,
    "$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string", "pattern": "^[A-Z]+$"}}}},
}


@pytest.mark.parametrize(("value", "faults"), [
    ({"id": 1, "lines": [{"sku": "A"}]}, []),
    ([], [("", "must be of type object")]),
    ({}, [("", "lacks the property id"), ("", "lacks the property lines")]),
    ({"id": 0, "lines": []}, [("/id", "must be at least 1"), ("/lines", "must have at least 1 items")]),
    ({"id": 1, "lines": [{"sku": "A"}] * 3000 + [{"sku": "secret"}]}, [("/lines/3000/sku", "must match the pattern ^[A-Z]+$")]),
    ({"id": 1, "lines": [{}], "secret": 1}, [("/lines/0", "lacks the property sku"), ("", "has a property that is not allowed")]),
    ({"id": 1, "lines": [{"sku": "A"}], "pay": "secret", "mail": "secret"},
     [("/mail", "must be a valid email"), ("/pay", "must fit exactly one of the alternatives")]),
    ({"id": 1, "lines": [{"sku": "A"}], "extra": {"x": 1, "y/z": "secret"}}, [("/extra/y~1z", "must be of type integer")]),
])
def test_a_fault_says_where_it_is_and_what_is_wanted_and_never_what_stands_there(tmp_path, value, faults):
    found = schema_in(tmp_path, ORDER).faults(value, 10)
    assert [(fault.pointer, fault.detail) for fault in found] == faults
    assert "secret" not in "".join(fault.detail for fault in found)


def test_the_number_of_faults_is_bounded(tmp_path):
    found = schema_in(tmp_path, {"items": {"type": "string"}}).faults(list(range(1000)), 3)
    assert [fault.pointer for fault in found] == ["/0", "/1", "/2"]


def test_a_schema_may_be_a_part_of_a_file_and_refer_to_others_in_its_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "common.yaml").write_text("$defs: {sku: {type: string, maxLength: 3, const: on}}\n")
    (tmp_path / "all.json").write_text(json.dumps({"$defs": {"a b": {"$ref": "deep/common.yaml#/$defs/sku"}}}))
    schema = schema_of(f"{tmp_path}/all.json#/$defs/a b")
    assert schema.fits("on")  # which YAML 1.1 takes for a bool
    assert [fault.detail for fault in schema.faults("long", 5)] == ["must have at most 3 characters", "must be on"]


@pytest.mark.parametrize(("schema", "why"), [
    ({"$ref": "http://127.0.0.1:1/x.json"}, "s.json# refers to 'http://127.0.0.1:1/x.json'; only files in the folder"),
    ({"items": {"$ref": "//host/x.json"}}, "s.json#/items refers to"),
    ({"$ref": "../outside.json"}, "only files in the folder"),
    ({"$ref": "/etc/passwd"}, "only files in the folder"),
    ({"$ref": "link.json"}, "only files in the folder"),
    ({"$ref": "missing.json"}, "missing.json cannot be read: No such file"),
    ({"$ref": "broken.json"}, "broken.json is malformed"),
    ({"$ref": "#/$defs/no"}, "there is no schema"),
    ({"allOf": [{"$ref": "#/$defs/no"}]}, "does not exist"),
    ({"$id": "http://127.0.0.1:1/y", "allOf": [{"$ref": "s.json"}]}, "no local file"),
    ({"$schema": "http://json-schema.org/draft-07/schema#"}, "only JSON Schema 2020-12 is known"),
    ({"properties": {"a": {"type": "strnig"}}}, "s.json#/properties/a/type: "),
    ({"items": {"pattern": "(?=x)"}}, "s.json#/items/pattern: .*without look-around"),
    ({"pattern": "(a)\\1"}, "s.json#/pattern: .*without look-around"),
    ({"pattern": "a{1000}{1000}{1000}"}, "s.json#/pattern: "),
    (5, "s.json#: 5 is not of types"),
])
def test_a_schema_that_cannot_be_used_is_a_mistake_with_file_and_place(tmp_path, schema, why):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.json").write_text("{}")
    (folder / "link.json").symlink_to(tmp_path / "outside.json")
    (folder / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match=why):
        schema_in(folder, schema)


@pytest.mark.parametrize(("name", "text", "why"), [
    ("s.json", "[" * 100_000, "nested too deep"), ("s.json", "[" * 300 + "]" * 300, "nested too deep"),
    ("s.yaml", "a: &a [1]\nb: *c\n", "malformed"), ("s.yaml", "!!python/object/apply:os.getcwd []", "malformed"),
    ("s.yaml", "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)), "more than"),
    ("s.yaml", "a: &a {b: *a}\n", "nested too deep"), ("s.json", " " * 9_000_000, "larger than"), ("s.json", "\ufeff", "malformed"),
])
def test_a_document_that_is_a_trap_is_a_mistake_not_a_stall(tmp_path, name, text, why):
    (tmp_path / name).write_text(text)
    before = time.thread_time()
    with pytest.raises(ConfigError, match=why):
        schema_of(str(tmp_path / name))
    assert time.thread_time() - before < 5


def test_no_value_of_the_allowed_size_keeps_a_recursive_schema_or_a_pattern_busy(tmp_path):
    """A recursive oneOf takes jsonschema-rs' own list of errors seconds at a depth of 14."""
    branch = [{"type": "object", "properties": {"op": {"const": op}, "a": {"$ref": "#/$defs/n"}}, "required": ["op"]}
              for op in ("add", "mul")]
    deep = {"op": "sub"}
    for _ in range(60):
        deep = {"op": "mul", "a": deep, "c": 1}
    wide = [{"op": "mul", "a": {"op": "add"}}] * 10_000 + [{"op": "mul", "a": 1.5}]
    many = {f"k{index}": index for index in range(20_000)}
    for schema, value in [
        ({"$ref": "#/$defs/n", "$defs": {"n": {"oneOf": [*branch, {"type": "integer"}]}}}, deep),
        ({"items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"oneOf": [*branch, {"type": "integer"}]}}}, wide),
        ({"items": {"type": "string"}}, list(range(49_000))),
        ({"type": "object", "propertyNames": {"maxLength": 2}, "additionalProperties": {"type": "string"}}, many),
        ({"uniqueItems": True}, [*({"a": index} for index in range(20_000)), {"a": 0}]),
        ({"pattern": "^(a+)+$"}, "a" * 250_000 + "!"), ({"pattern": "^(a|a?)+$"}, "a" * 250_000 + "!"),
        ({"pattern": "(.*a){20}c"}, "ab" * 125_000), ({"allOf": [{"$ref": "#"}], "type": "string"}, 1),
        ({"allOf": [{"required": [f"r{i}" for i in range(50)]}] * 100}, many),
    ]:
        made = schema_in(tmp_path, schema)
        before = time.thread_time()
        assert made.faults(value, 10)
        assert time.thread_time() - before < 0.3 + MAX_TIME_S, str(schema)[:80]
