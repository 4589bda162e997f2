"""Schema: the JSON Schema of the configuration file, made from the classes that the file is read into.

Run as a module it prints the schema. Editors complete and check TOML by it. What
depends on several values at once (``min_calls`` not above ``window_calls``) JSON
Schema cannot say; the loader does. TOML's ``inf`` and ``nan`` and JSON's ``1.0`` for a
whole number are nothing to the loader.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import typing
from collections.abc import Mapping
from typing import Any

import attrs

from ..policies.settings import Settings
from .commands import GuardTable, Setting, guard_settings, settings
from .constraints import constraints
from .structure import is_mapping, without_none
from .targets import TARGET_PATTERN

_TYPES: dict[Any, str] = {float: "number", int: "integer", bool: "boolean", str: "string"}
_ATTRIBUTE = re.compile(r"^(\w+): (.*(?:\n +.*)*)", re.M)


def schema() -> dict[str, Any]:
    """The schema of a file for configure(), as JSON Schema draft 7."""
    command, guard = table_schema(settings()), table_schema(guard_settings())
    named = {"type": "object", "propertyNames": {"minLength": 1}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of resilience",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "imports": {"type": "array", "items": {"type": "string"},
                        "description": "Modules that define policies of your own, to be imported first."},
            "defaults": {"$ref": "#/definitions/command", "description": "For every command."},
            "groups": {**named, "description": "For the commands of a group, by its name.",
                       "additionalProperties": {"$ref": "#/definitions/command"}},
            "commands": {**named, "description": "For one command, by its key.",
                         "additionalProperties": {"$ref": "#/definitions/command"}},
            "guards": {"type": "object", "description": "Callables to guard, as module:name.",
                       "additionalProperties": False,
                       "patternProperties": {TARGET_PATTERN: {"$ref": "#/definitions/guard"}}},
        },
        "definitions": {"command": command, "guard": guard},
    }


def table_schema(known: Mapping[str, Setting]) -> dict[str, Any]:
    """The schema of a table of a command's settings.

    Args:
        known: Those that it may have.
    """
    properties, described = {}, {**_described(Settings), **_described(GuardTable)}
    for setting in known.values():
        if setting.policy is not None:
            what: dict[str, Any] = _class(setting.policy, setting.fields)
            if setting.field is not None:
                plain = _field(setting.field, None)
                about = {key: plain.pop(key) for key in ("default",) if key in plain}
                what = {"anyOf": [*plain.get("anyOf", [plain]), what],
                        "description": described.get(setting.name), **about}
                properties[setting.name] = what
            else:
                properties[setting.name] = _or_false(what) if setting.optional else what
        elif setting.field is not None:
            properties[setting.name] = _field(setting.field, described.get(setting.name))
    return {"type": "object", "additionalProperties": False, "properties": properties}


def class_schema(wanted: type[Any]) -> dict[str, Any]:
    """The schema of a table that is read into an attrs class, with the keys that it must have.

    Args:
        wanted: The class.
    """
    attrs.resolve_types(wanted)
    fields = attrs.fields(wanted)
    needed = [field.name for field in fields if field.init and field.default is attrs.NOTHING]
    found = _class(wanted, {field.name: field for field in fields if field.init}, whole=True)
    return {**found, "required": needed} if needed else found


def _class(wanted: type[Any], fields: Mapping[str, attrs.Attribute[Any]], *, whole: bool = False) -> dict[str, Any]:
    """A table; *whole*: nobody else says the rest of it, and of the tables in it."""
    described = _described(wanted)
    return {"type": "object", "additionalProperties": False,
            "properties": {name: _field(field, described.get(name), whole=whole) for name, field in fields.items()}}


def _field(field: attrs.Attribute[Any], description: str | None, *, whole: bool = False) -> dict[str, Any]:
    wanted, optional = without_none(field.type)
    found = _type(wanted, field, whole)
    found = _or_false(found) if optional else found
    if description:
        found["description"] = description
    if field.default is None and optional:
        found["default"] = False
    elif isinstance(field.default, (bool, int, float, str)):
        found["default"] = field.default
    return found


def _type(wanted: Any, field: attrs.Attribute[Any], whole: bool) -> dict[str, Any]:
    if typing.get_origin(wanted) is typing.Literal:
        return {"enum": list(typing.get_args(wanted))}
    if typing.get_origin(wanted) is tuple:
        found = constraints(field.validator)
        item = typing.get_args(wanted)[0]
        if attrs.has(item):
            return {"type": "array", **found, "items": class_schema(item)}
        kinds = [_TYPES[each] for each in typing.get_args(item) or (item,) if each in _TYPES]
        if not kinds:
            return {"type": "array", **found}
        items = {"type": kinds if kinds[1:] else kinds[0], **found.get("items", {})}
        many = {"type": "array", **found, "items": items}
        return {"anyOf": [items, many]} if field.metadata.get("one_is_enough") else many
    if attrs.has(wanted):
        if whole:
            return class_schema(wanted)
        attrs.resolve_types(wanted)
        return _class(wanted, {each.name: each for each in attrs.fields(wanted)})
    if is_mapping(wanted):
        values = [class_schema(each) if attrs.has(each) else {"type": _TYPES[each]}
                  for each in typing.get_args(wanted)[1:] if attrs.has(each) or each in _TYPES]
        return {"type": "object", **({"additionalProperties": values[0]} if values else {}),
                **constraints(field.validator)}
    if wanted == float | str:
        return {"type": [_TYPES[each] for each in typing.get_args(wanted)], **constraints(field.validator)}
    return {"type": _TYPES[wanted], **constraints(field.validator)} if wanted in _TYPES else {}  # its own hook reads it


def _or_false(found: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [found, {"const": False}]}


def _described(wanted: type[Any]) -> dict[str, str]:
    """What the docstrings of a class, and of those that it inherits from, say of each attribute."""
    found = dict[str, str]()
    for each in reversed(wanted.__mro__):
        _, _, attributes = (each.__doc__ or "").partition("Attributes:")
        lines = inspect.cleandoc(f"Attributes:{attributes}")
        found |= {name: " ".join(about.split()) for name, about in _ATTRIBUTE.findall(lines)}
    return found


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
