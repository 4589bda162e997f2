"""Schemas: JSON Schema 2020-12, compiled when the gateway's file is read. Pure once they are made.

jsonschema-rs decides whether a value fits. Of it only ``is_valid()`` is used: it stops at the first fault and remembers
what it has looked at, so that its time grows with the value alone. What lists the faults does neither, and a recursive
schema with alternatives can keep it busy for seconds. Where a value does not fit, explanation.py looks for the reason.

Patterns are matched by an engine whose time is linear in the text. It has no look-around and no back-references; a
schema that has them is a mistake in the configuration. Formats are checked.
"""

from __future__ import annotations

import functools
import time
from typing import Any, Final
from urllib.parse import quote, urldefrag, urljoin

import attrs

from ...errors import ConfigError
from .documents import Documents

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MAX_PARTS: Final = 64  # each may hold all that it refers to


@attrs.frozen
class Fault:
    """A place in a value that does not fit its schema.

    Attributes:
        pointer: JSON pointer of the place.
        detail: What is wanted there. It never holds what stands there.
    """

    pointer: str
    detail: str


class Schemas:
    """Compiles the schemas of some documents. The compiled ones may be used by any thread.

    Attributes:
        documents: Where they stand.
    """

    def __init__(self, documents: Documents) -> None:
        """Nothing is compiled yet.

        Raises:
            ConfigError: A document has a reference that leads nowhere.
        """
        import jsonschema_rs

        self.documents = documents
        self._options = jsonschema_rs.RegexOptions()
        try:
            self._registry = jsonschema_rs.Registry(list(documents.by_uri.items()), retriever=_never)
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise ConfigError(f"{documents.name(documents.root)}: {_first_line(error)}") from None
        self._schemas: dict[str, Schema] = {}
        self._parts = functools.lru_cache(_MAX_PARTS)(self.compiled)

    def at(self, uri: str) -> Schema:
        """The schema that stands at *uri*, whose fragment is a JSON pointer.

        Raises:
            ConfigError: It is no valid schema; the message names file and place.
        """
        documents, where = self.documents, self.documents.where(uri)
        try:
            value, seen = documents.at(uri), {uri}
            while isinstance(value, dict) and value.keys() == {"$ref"}:  # so that what many refer to is compiled once
                uri = urljoin(uri, value["$ref"])
                if uri in seen:
                    break
                seen.add(uri)
                value = documents.at(uri)
        except (LookupError, TypeError, ValueError):
            raise ConfigError(f"{where}: there is no schema") from None
        if isinstance(value, dict) and str(value.get("$schema", DIALECT)).rstrip("#") != DIALECT:
            raise ConfigError(f"{where}: its $schema is {value['$schema']!r}; only JSON Schema 2020-12 is known")
        if uri not in self._schemas:
            self._schemas[uri] = Schema(self, uri)
        return self._schemas[uri]

    def part(self, schema: dict[str, Any]) -> Any:
        """A validator of a part of a schema, whose references are absolute; the latest ones are kept.

        Raises:
            ConfigError: It is no valid schema.
        """
        return self._parts(_Frozen(schema))

    def compiled(self, frozen: _Frozen) -> Any:
        """A validator, compiled anew.

        Raises:
            ConfigError: It is no valid schema.
        """
        import jsonschema_rs

        try:
            return jsonschema_rs.Draft202012Validator(
                frozen.schema, registry=self._registry, pattern_options=self._options, validate_formats=True,
                offline=True)
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            uri = frozen.schema.get("$ref", self.documents.root)
            place = "".join(f"/{step}" for step in getattr(error, "instance_path", ()))
            hint = ("; patterns are matched in linear time, without look-around and back-references"
                    if place.endswith("/pattern") else "")
            where = f"{self.documents.name(urldefrag(uri).url)}#{place}" if place else self.documents.where(uri)
            raise ConfigError(f"{where}: {_first_line(error)}{hint}") from None


class _Frozen:
    """A schema as a key of a dictionary."""

    __slots__ = ("key", "schema")

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema, self.key = schema, repr(schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class Schema:
    """One compiled schema. May be used by any thread.

    Attributes:
        uri: Where it stands.
        fits: Whether a value fits it.
    """

    __slots__ = ("_schemas", "fits", "uri")

    def __init__(self, schemas: Schemas, uri: str) -> None:
        self._schemas, self.uri = schemas, uri
        self.fits = schemas.compiled(_Frozen({"$ref": uri})).is_valid

    def faults(self, value: Any, most: int) -> list[Fault]:
        """Where and why *value* does not fit: nothing if it does, else at least one and at most *most*."""
        if self.fits(value):
            return []
        from .explanation import Explanation

        return Explanation(self._schemas, most, time.thread_time).of(self.uri, value)


def schema_of(file: str) -> Schema:
    """The schema that a file holds.

    Args:
        file: Its path; a fragment may lead to a schema inside: ``shop.json#/$defs/order``.

    Raises:
        ConfigError: It cannot be read, or is no valid schema.
    """
    path, _, fragment = file.partition("#")
    documents = Documents(path)
    return Schemas(documents).at(f"{documents.root}#{quote(fragment, safe='/~$')}" if fragment else documents.root)


def _never(uri: str) -> Any:
    raise ValueError(f"{uri} is no local file")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
