"""Parameters of OpenAPI: the values that texts in paths, queries, headers and cookies stand for. Pure.

A text stands for what its schema allows: ``7`` is a number where the schema takes numbers, and a string elsewhere.

=======  ==========================================================
in       styles
=======  ==========================================================
path     simple; label and matrix are refused when the file is read
query    form, spaceDelimited, pipeDelimited, deepObject
header   simple
cookie   form
=======  ==========================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import attrs

from ..messages.json_pointer import MISSING
from ..messages.json_text import MalformedJsonError, TooManyValuesError, parse

#: In the order of OpenAPI: the first is the default.
STYLES: Final[Mapping[str, tuple[str, ...]]] = {
    "path": ("simple",), "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",), "cookie": ("form",),
}
#: Most pairs in one query.
MAX_PAIRS: Final = 1000

_SEPARATORS: Final = {"spaceDelimited": " ", "pipeDelimited": "|"}
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,99})").fullmatch
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99})?(?:[eE][+-]?[0-9]{1,3})?").fullmatch

Pairs = Sequence[tuple[str, str]]


class UnreadableError(ValueError):
    """The text cannot stand for any value of the parameter."""


@attrs.frozen(kw_only=True)
class Shape:
    """What a schema says of the kinds of its values, as far as it is needed to read texts.

    Attributes:
        kinds: Types of JSON that the schema allows.
        items: That of an array's items; None: it says nothing.
        properties: Those of an object's properties.
    """

    kinds: frozenset[str] = frozenset()
    items: Shape | None = None
    properties: Mapping[str, Shape] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Parameter:
    """A parameter of an operation.

    Attributes:
        name: As it is written; of headers, in lower case.
        place: "path", "query", "header" or "cookie".
        required: Whether it must be there.
        style: One of STYLES.
        explode: Whether each item or property has a text of its own.
        shape: Of its values.
        as_json: Its text is JSON, since it has ``content`` instead of a schema.
        faults: Where and why a value does not fit.
    """

    name: str
    place: str
    required: bool
    style: str
    explode: bool
    shape: Shape
    as_json: bool
    faults: Callable[[Any], Sequence[Any]]

    def read(self, pairs: Pairs) -> Any:
        """The value that the parameter has among the *pairs* of its place; MISSING: it is not there.

        Raises:
            UnreadableError: The text is malformed.
        """
        if self.style == "deepObject":
            return self._deep(pairs)
        texts = [value for name, value in pairs if name == self.name]
        kinds = self.shape.kinds
        if self.style == "form" and self.explode and "object" in kinds and not self.as_json:
            return self._exploded(pairs)
        if not texts:
            return MISSING
        if self.as_json:
            return _json(texts)
        if self.place in ("query", "cookie") and self.explode and "array" in kinds and self.style == "form":
            return [_typed(text, self.shape.items) for text in texts]
        if len(texts) > 1 and self.place != "header":
            raise UnreadableError("is there more than once")
        return self._one(",".join(texts) if self.place == "header" else texts[0])

    def _one(self, text: str) -> Any:
        kinds, separator = self.shape.kinds, _SEPARATORS.get(self.style, ",")
        if "array" in kinds:
            return [_typed(part.strip() if self.place == "header" else part, self.shape.items)
                    for part in text.split(separator)] if text else []
        if "object" in kinds:
            return self._object(text.split(separator) if text else [])
        return _typed(text, self.shape)

    def _object(self, parts: list[str]) -> dict[str, Any]:
        if self.explode:
            pairs = [(name, value) for name, _, value in (part.partition("=") for part in parts)]
        elif len(parts) % 2:
            raise UnreadableError("has a name without a value")
        else:
            pairs = list(zip(parts[::2], parts[1::2], strict=True))
        return self._members(pairs)

    def _exploded(self, pairs: Pairs) -> Any:
        return self._members((name, value) for name, value in pairs if name in self.shape.properties) or MISSING

    def _deep(self, pairs: Pairs) -> Any:
        head = f"{self.name}["
        return self._members((name[len(head) : -1], value) for name, value in pairs
                             if name.startswith(head) and name.endswith("]")) or MISSING

    def _members(self, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """The object of these names and texts.

        Raises:
            UnreadableError: A name is there twice: a service may take the one, and what checks it the other.
        """
        found = dict[str, Any]()
        for name, value in pairs:
            if name in found:
                raise UnreadableError("has a property more than once")
            found[name] = _typed(value, self.shape.properties.get(name))
        return found


def query_pairs(query: bytes) -> list[tuple[str, str]]:
    """Names and values of a raw query, decoded.

    Raises:
        UnreadableError: It is not UTF-8, or has too many.
    """
    parts = query.split(b"&", MAX_PAIRS)
    if len(parts) > MAX_PAIRS:
        raise UnreadableError(f"has more than {MAX_PAIRS} parameters")
    return [(_decoded(name), _decoded(value)) for name, _, value in (part.partition(b"=") for part in parts if part)]


def _decoded(text: bytes) -> str:
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8") from None


def _json(texts: Sequence[str]) -> Any:
    if len(texts) > 1:
        raise UnreadableError("is there more than once")
    try:
        return parse(texts[0].encode())
    except (MalformedJsonError, TooManyValuesError, UnicodeEncodeError):
        raise UnreadableError("is not JSON") from None


def _typed(text: str, shape: Shape | None) -> Any:
    """What *text* stands for: itself, where it stands for nothing else that is allowed."""
    kinds = frozenset[str]() if shape is None else shape.kinds
    if "integer" in kinds and _INTEGER(text):
        return int(text)
    if "number" in kinds and _NUMBER(text):
        return int(text) if _INTEGER(text) else float(text)
    if "boolean" in kinds and text in ("true", "false"):
        return text == "true"
    if "null" in kinds and text in ("", "null"):
        return None
    return text
