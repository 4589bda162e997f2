"""Explanations: the places in a value that do not fit a schema, found by asking ``is_valid()`` of the schema's parts.

The search follows the keywords that lead to other places or schemas as long as the part of the value there does
not fit that part of the schema. What it cannot follow (alternatives, negations) is one fault where it stands. Faults
in long arrays are found by halving. Faults, questions, their depth and their time are bounded: an explanation may be
incomplete, and is never empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin

from ...errors import ConfigError
from ..messages.json_pointer import written
from .schema import Fault

if TYPE_CHECKING:
    from .schema import Schemas

#: Most questions for one explanation.
MAX_QUESTIONS: Final = 300
#: No question is asked later, seconds of the thread's own time.
MAX_TIME_S: Final = 0.02
_DEEPEST: Final = 100  # parts inside parts, of schema or value
_LONGEST: Final = 200  # characters of a part of a schema in a message

_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE: Final = frozenset({"not", "contains", "propertyNames", "additionalProperties", "items"})
_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
#: What a keyword means depends on these beside it.
_BESIDE: Final = {
    "contains": ("minContains", "maxContains"), "items": ("prefixItems",),
    "additionalProperties": ("properties", "patternProperties"),
}
_NOT_ALONE: Final = frozenset({"unevaluatedProperties", "unevaluatedItems", "then", "else", "minContains",
                               "maxContains", "$defs", "$id", "$anchor", "$dynamicAnchor", "$schema", "$comment",
                               "title", "description", "default", "examples", "example", "deprecated", "readOnly",
                               "writeOnly"})
_WANTED: Final = {
    "type": "must be of type {}", "enum": "must be one of {}", "const": "must be {}", "format": "must be a valid {}",
    "minimum": "must be at least {}", "maximum": "must be at most {}", "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}", "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters", "maxLength": "must have at most {} characters",
    "pattern": "must match the pattern {}", "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items", "uniqueItems": "must have no item twice",
    "minProperties": "must have at least {} properties", "maxProperties": "must have at most {} properties",
    "anyOf": "must fit at least one of the alternatives", "oneOf": "must fit exactly one of the alternatives",
    "not": "must not fit what is excluded", "contains": "must have the wanted items",
    "propertyNames": "has a property whose name is not allowed",
    "additionalProperties": "has a property that is not allowed", "items": "has more items than are allowed",
    "dependentRequired": "lacks a property that another one needs",
}


class Explanation:
    """A search for faults. For one value."""

    def __init__(self, schemas: Schemas, most: int, clock: Callable[[], float]) -> None:
        """Nothing is asked yet.

        Args:
            schemas: Compiles the parts of the schema.
            most: Faults to find, at least 1.
            clock: The time that this thread has taken, seconds.
        """
        self._schemas, self._most = schemas, most
        self._questions, self._depth = MAX_QUESTIONS, 0
        self._clock, self._end = clock, clock() + MAX_TIME_S
        self._found: dict[Fault, None] = {}

    def of(self, uri: str, value: Any) -> list[Fault]:
        """The faults of *value*, which does not fit the schema at *uri*."""
        self._descend(uri, value, ())
        return list(self._found) or [Fault("", "does not fit the schema")]

    def _descend(self, uri: str, value: Any, place: tuple[str | int, ...]) -> None:
        """Find what is wrong with *value*, which does not fit the schema at *uri*."""
        known = len(self._found)
        try:
            schema = self._schemas.documents.at(uri)
        except (LookupError, TypeError, ValueError):
            schema = True  # an anchor, or under another $id: not followed
        if schema is False:
            self._note(place, "is not allowed")
        elif isinstance(schema, dict):
            for keyword in schema:
                if len(self._found) >= self._most or self._questions <= 0:
                    return
                self._look(uri, schema, keyword, value, place)
        if len(self._found) == known and self._questions > 0:
            self._note(place, "does not fit the schema")

    def _look(self, uri: str, schema: dict[str, Any], keyword: str, value: Any, place: tuple[str | int, ...]) -> None:
        """Find what *keyword* has against *value*."""
        follow = _FOLLOWED.get(keyword)
        if follow is not None and schema[keyword] is not False:
            follow(self, uri, schema, value, place)
        elif keyword not in _NOT_ALONE and not self._fits(_alone(uri, schema, keyword), value):
            self._note_keyword(uri, schema, keyword, value, place)

    def _reference(self, uri: str, schema: dict[str, Any], value: Any, place: tuple[str | int, ...]) -> None:
        self._try(urljoin(uri, schema["$ref"]), value, place)

    def _all(self, uri: str, schema: dict[str, Any], value: Any, place: tuple[str | int, ...]) -> None:
        for index in range(len(schema["allOf"])):
            self._try(_under(uri, "allOf", index), value, place)

    def _properties(self, uri: str, schema: dict[str, Any], value: Any, place: tuple[str | int, ...]) -> None:
        for name in schema["properties"] if isinstance(value, dict) else ():
            if name in value:
                self._try(_under(uri, "properties", name), value[name], (*place, name))

    def _first_items(self, uri: str, schema: dict[str, Any], value: Any, place: tuple[str | int, ...]) -> None:
        for index in range(min(len(schema["prefixItems"]), len(value)) if isinstance(value, list) else 0):
            self._try(_under(uri, "prefixItems", index), value[index], (*place, index))

    def _items(self, uri: str, schema: dict[str, Any], value: Any, place: tuple[str | int, ...]) -> None:
        if isinstance(value, list):
            first = len(schema.get("prefixItems", ()))
            self._try_each(_under(uri, "items"), value[first:], [(*place, at) for at in range(first, len(value))])

    def _branch(self, uri: str, schema: dict[str, Any], value: Any, place: tuple[str | int, ...]) -> None:
        branch = "then" if self._fits({"$ref": _under(uri, "if")}, value) else "else"
        if branch in schema:
            self._try(_under(uri, branch), value, place)

    def _required(self, uri: str, schema: dict[str, Any], value: Any, place: tuple[str | int, ...]) -> None:
        for name in schema["required"] if isinstance(value, dict) else ():
            if name not in value:
                self._note(place, f"lacks the property {_shown(name)}")

    def _note_keyword(self, uri: str, schema: dict[str, Any], keyword: str, value: Any,
                      place: tuple[str | int, ...]) -> None:
        inner = schema[keyword]
        if keyword == "additionalProperties" and isinstance(inner, dict) and "patternProperties" not in schema:
            others = [name for name in value if name not in schema.get("properties", ())]
            self._try_each(_under(uri, keyword), [value[name] for name in others], [(*place, name) for name in others])
        else:
            self._note(place, _WANTED.get(keyword, f"does not fit {keyword}").format(_shown(inner)))

    def _try(self, uri: str, value: Any, place: tuple[str | int, ...]) -> None:
        if self._depth < _DEEPEST and not self._fits({"$ref": uri}, value):
            self._depth += 1
            self._descend(uri, value, place)
            self._depth -= 1

    def _try_each(self, uri: str, values: Sequence[Any], places: Sequence[tuple[str | int, ...]]) -> None:
        """Find the faults of those *values* that do not fit the schema at *uri*."""
        waiting = [(0, len(values))]
        while waiting and len(self._found) < self._most and self._questions > 0:
            first, end = waiting.pop()
            if self._fits({"items": {"$ref": uri}}, values[first:end]):
                continue
            if end - first == 1:
                self._try(uri, values[first], places[first])
            else:
                middle = (first + end) // 2
                waiting += [(middle, end), (first, middle)]

    def _fits(self, schema: Any, value: Any) -> bool:
        self._questions -= 1
        if self._clock() > self._end:
            self._questions = 0
        if self._questions <= 0:
            return True  # not asked, so nothing more is found
        try:
            return bool(self._schemas.part(schema).is_valid(value))
        except ConfigError:  # it cannot stand alone
            return True

    def _note(self, place: tuple[str | int, ...], detail: str) -> None:
        if len(self._found) < self._most:
            self._found[Fault(written(place), detail)] = None


_FOLLOWED: Final = {
    "$ref": Explanation._reference, "allOf": Explanation._all, "properties": Explanation._properties,
    "prefixItems": Explanation._first_items, "items": Explanation._items, "if": Explanation._branch,
    "required": Explanation._required,
}


def _alone(uri: str, schema: dict[str, Any], keyword: str) -> dict[str, Any]:
    """A schema of this *keyword* alone, with what its meaning depends on."""
    made = {keyword: _rebased(uri, keyword, schema[keyword])}
    for beside in _BESIDE.get(keyword, ()):
        if beside in schema:
            inner = schema[beside]
            made[beside] = (dict.fromkeys(inner, True) if isinstance(inner, dict)
                            else [True] * len(inner) if isinstance(inner, list) else inner)
    return made


def _rebased(uri: str, keyword: str, inner: Any) -> Any:
    """The value of *keyword* with its schemas as references, so that it means the same elsewhere."""
    if keyword in _LISTS:
        return [{"$ref": _under(uri, keyword, index)} for index in range(len(inner))]
    if keyword in _MAPS:
        return {name: {"$ref": _under(uri, keyword, name)} for name in inner}
    if keyword in _SINGLE:
        return {"$ref": _under(uri, keyword)}
    return urljoin(uri, inner) if keyword == "$dynamicRef" else inner


def _under(uri: str, *steps: str | int) -> str:
    """The URI of a place below *uri*."""
    return f"{uri}{'' if '#' in uri else '#'}{quote(written(steps), safe='/~$')}"


def _shown(value: Any) -> str:
    """A part of a schema in a message."""
    if isinstance(value, list):
        return _cut(", ".join(map(_shown, value)))
    return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


