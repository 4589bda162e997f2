"""OpenAPI 3.1: what a document says of one operation's parameters, bodies and responses. Pure once it is made.

Schemas of 3.1 are JSON Schema 2020-12, and so checked by schema.py. Everything that the document refers to is resolved
and compiled when it is read; a part that is not understood (a style that is not known, say) is a mistake there, never
a check that is silently left out. Not checked are bodies other than JSON, of which only the media type is, and security
requirements, callbacks, links and webhooks, which are not about the format of one exchange.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import attrs

from ...errors import ConfigError
from ..messages.content import is_json
from ..messages.exchange import Header
from ..messages.headers import values_of
from ..messages.json_pointer import MISSING, escaped
from ..messages.named_values import cookies
from .documents import Documents
from .parameters import STYLES, Pairs, Parameter, Shape, UnreadableError, query_pairs
from .path_templates import PathTemplates
from .schema import DIALECT, Fault, Schema, Schemas

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_DIALECTS: Final = (DIALECT, "https://spec.openapis.org/oas/3.1/dialect/base")
#: Headers that OpenAPI describes elsewhere.
_NOT_PARAMETERS: Final = frozenset({"accept", "content-type", "authorization"})
_DEEPEST: Final = 8  # schemas inside schemas that are looked through for the kinds of a parameter


@attrs.frozen
class Body:
    """What a body may be.

    Attributes:
        schemas: By media type, which may end in ``/*``; None: any value.
        required: Whether there must be one.
    """

    schemas: Mapping[str, Schema | None]
    required: bool

    def schema(self, media: str | None) -> Schema | None:
        """The schema for a *media* type.

        Raises:
            LookupError: The media type is not described.
        """
        for name in (media or "", f"{(media or '').partition('/')[0]}/*", "*/*"):
            if name in self.schemas:
                return self.schemas[name]
        raise LookupError(media)


@attrs.frozen(kw_only=True)
class Operation:
    """One operation of a document. May be used by any thread.

    Attributes:
        name: Method and path template.
        parameters: In the order of the document.
        request: None: nothing is said of the request's body.
        responses: By status, "2XX" or "default".
    """

    name: str
    parameters: Sequence[Parameter]
    request: Body | None
    responses: Mapping[str, Response]

    def parameter_faults(self, path: Mapping[str, str], query: bytes, headers: Sequence[Header],
                         most: int) -> list[Fault]:
        """What is wrong with the parameters of a request, at most *most* faults.

        Args:
            path: Parameters by name, decoded.
            query: As sent.
            headers: Names in lower case.
            most: Faults to find.
        """
        found: list[Fault] = []
        places: dict[str, Pairs] = {}
        for parameter in self.parameters:
            place = parameter.place
            if place not in places:
                try:
                    places[place] = _pairs(place, path, query, headers)
                except UnreadableError as error:
                    return [Fault(f"/{place}", f"{error}")]
            pairs = places[place] if place != "header" else _spelt(parameter.name, headers)
            found += _parameter_faults(parameter, pairs, most - len(found))
            if len(found) >= most:
                break
        return found

    def response(self, status: int) -> Response | None:
        """What is said of responses with this *status*; None: nothing."""
        for name in (str(status), f"{status // 100}XX", "default"):
            if name in self.responses:
                return self.responses[name]
        return None


@attrs.frozen
class Response:
    """What a response may be.

    Attributes:
        body: None: nothing is said of it.
        headers: As parameters.
    """

    body: Body | None
    headers: Sequence[Parameter]

    def header_faults(self, headers: Sequence[Header], most: int) -> list[Fault]:
        """What is wrong with the *headers* of a response, names in lower case; at most *most* faults."""
        pairs = _pairs("header", {}, b"", headers) if self.headers else ()
        found: list[Fault] = []
        for header in self.headers:
            found += _parameter_faults(header, pairs, most - len(found))
        return found[:most]


class OpenApi:
    """The operations of one document. Filled once, then only read: by any thread.

    Attributes:
        name: The document's file.
    """

    def __init__(self, file: str) -> None:
        """Read a document of JSON or YAML.

        Raises:
            ConfigError: It cannot be read, or has a mistake; the message names file and place.
        """
        documents = Documents(file)
        self.name = documents.name(documents.root)
        document = documents.by_uri[documents.root]
        version = document.get("openapi") if isinstance(document, dict) else None
        if not isinstance(version, str) or not version.startswith("3.1."):
            raise ConfigError(f"{self.name}: must be an OpenAPI document of version 3.1, such as openapi: 3.1.0, "
                              f"not {version!r}; tools convert older ones")
        if document.get("jsonSchemaDialect", DIALECT) not in _DIALECTS:
            raise ConfigError(f"{self.name}#/jsonSchemaDialect: only JSON Schema 2020-12 is known")
        self._paths: PathTemplates[Mapping[str, Operation]] = PathTemplates()
        reader = _Reader(documents)
        for template in reader.names(f"{documents.root}#/paths"):
            where = f"{documents.root}#/paths/{_step(template)}"
            try:
                self._paths.add(template, reader.operations(where, template))
            except ConfigError as error:
                message = str(error)
                raise ConfigError(message if "#" in message else f"{documents.where(where)}: {message}") from None

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """The operation for a request, and the parameters in its path; None: the document does not describe it.

        Raises:
            UndecodableError: A parameter is not UTF-8.
        """
        found = self._paths.find(path)
        if found is None:
            return None
        operations, parameters = found
        operation = operations.get(method) or (operations.get("GET") if method == "HEAD" else None)
        return None if operation is None else (operation, parameters)


class _Reader:
    """Reads the parts of a document. Every part is given by its URI."""

    def __init__(self, documents: Documents) -> None:
        self._documents, self._schemas = documents, Schemas(documents)

    def names(self, uri: str) -> list[str]:
        """The keys of the object at *uri*; none if there is no object."""
        value = self._value(uri)
        return [name for name in value if not name.startswith("x-")] if isinstance(value, dict) else []

    def operations(self, uri: str, template: str) -> dict[str, Operation]:
        """The operations of a path, by method."""
        uri, item = self._documents.resolved(uri)
        shared = self._parameters(f"{uri}/parameters")
        made = {}
        for method in _METHODS:
            if method in item:
                where = f"{uri}/{method}"
                own = self._parameters(f"{where}/parameters")
                request = self._body(f"{where}/requestBody") if "requestBody" in item[method] else None
                responses = {status: self._response(f"{where}/responses/{status}")
                             for status in self.names(f"{where}/responses")}
                made[method.upper()] = Operation(name=f"{method.upper()} {template}", request=request,
                                                 parameters=tuple({**shared, **own}.values()), responses=responses)
        return made

    def _value(self, uri: str) -> Any:
        try:
            return self._documents.at(uri)
        except (LookupError, TypeError, ValueError):
            return None

    def _parameters(self, uri: str) -> dict[tuple[str, str], Parameter]:
        value = self._value(uri)
        if value is None:
            return {}
        if not isinstance(value, list):
            raise self._mistake(uri, "must be a list")
        made = [self._parameter(f"{uri}/{index}") for index in range(len(value))]
        return {(each.place, each.name): each for each in made
                if each.place != "header" or each.name not in _NOT_PARAMETERS}

    def _parameter(self, uri: str, header: str | None = None) -> Parameter:
        """A parameter, or a *header* of a response, which is one without name and place."""
        uri, value = self._documents.resolved(uri)
        if not isinstance(value, dict):
            raise self._mistake(uri, "must be an object")
        name, place = (header, "header") if header is not None else (value.get("name"), value.get("in"))
        if not isinstance(name, str) or not isinstance(place, str) or place not in STYLES:
            raise self._mistake(uri, f"needs a name, and an in of {', '.join(STYLES)}")
        style = value.get("style", STYLES[place][0])
        if style not in STYLES[place]:
            raise self._mistake(uri, f"the style must be one of {', '.join(STYLES[place])} here, not {style!r}")
        media = self.names(f"{uri}/content")
        where = f"{uri}/content/{_step(media[0])}/schema" if media else f"{uri}/schema"
        schema = self._schemas.at(where) if self._value(where) is not None else None
        shape = Shape() if schema is None else self._shape(schema.uri, _DEEPEST)
        return Parameter(
            name=name.lower() if place == "header" else name, place=place, style=style, shape=shape,
            required=bool(value.get("required", False)), explode=bool(value.get("explode", style == "form")),
            as_json=bool(media) and is_json(media[0]), faults=_none if schema is None else _faults_by(schema))

    def _body(self, uri: str) -> Body:
        uri, value = self._documents.resolved(uri)
        media = self.names(f"{uri}/content")
        schemas = {name.partition(";")[0].strip().lower(): self._media(f"{uri}/content/{_step(name)}")
                   for name in media}
        return Body(schemas, isinstance(value, dict) and bool(value.get("required", False)))

    def _media(self, uri: str) -> Schema | None:
        uri, value = self._documents.resolved(uri)
        return self._schemas.at(f"{uri}/schema") if isinstance(value, dict) and "schema" in value else None

    def _response(self, uri: str) -> Response:
        uri, value = self._documents.resolved(uri)
        body = self._body(uri) if isinstance(value, dict) and value.get("content") else None
        names = [name for name in self.names(f"{uri}/headers") if name.lower() != "content-type"]
        return Response(body, tuple(self._parameter(f"{uri}/headers/{_step(name)}", name) for name in names))

    def _shape(self, uri: str, depth: int) -> Shape:
        """What the schema at *uri* says of the kinds of its values, references and alternatives included."""
        if depth == 0:
            return Shape()
        uri, schema = self._documents.resolved(uri)
        if not isinstance(schema, dict):
            return Shape()
        inner = [self._shape(f"{uri}/{keyword}/{index}", depth - 1) for keyword in ("allOf", "anyOf", "oneOf")
                 for index in range(len(schema.get(keyword, ())))]
        said = schema.get("type", ())
        kinds = frozenset([said] if isinstance(said, str) else said).union(*(each.kinds for each in inner))
        items = [self._shape(f"{uri}/items", depth - 1)] if "items" in schema else []
        properties = {name: self._shape(f"{uri}/properties/{_step(name)}", depth - 1)
                      for name in schema.get("properties", ())}
        for each in inner:
            properties = {**each.properties, **properties}
            items += [each.items] if each.items is not None else []
        return Shape(kinds=kinds, items=items[0] if items else None, properties=properties)

    def _mistake(self, uri: str, message: str) -> ConfigError:
        return ConfigError(f"{self._documents.where(uri)}: {message}")


def _step(name: str) -> str:
    """A name as one step of a pointer in a URI."""
    return quote(escaped(name), safe="~$")


def _none(value: Any) -> list[Fault]:
    return []


def _faults_by(schema: Schema) -> Any:
    return lambda value: schema.faults(value, 1)


def _pairs(place: str, path: Mapping[str, str], query: bytes, headers: Sequence[Header]) -> Pairs:
    if place == "path":
        return list(path.items())
    if place == "query":
        return query_pairs(query)
    if place == "cookie":
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in cookies(headers)]
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _spelt(name: str, headers: Sequence[Header]) -> Pairs:
    """The values of a request's header, in every spelling that a service may take for its *name*."""
    return [(name, value.decode("latin-1")) for value in values_of(headers, name.encode("latin-1", "replace"))]


def _parameter_faults(parameter: Parameter, pairs: Pairs, most: int) -> list[Fault]:
    pointer = f"/{parameter.place}/{escaped(parameter.name)}"
    try:
        value = parameter.read(pairs)
    except UnreadableError as error:
        return [Fault(pointer, f"{error}")]
    if value is MISSING:
        return [Fault(pointer, "is missing")] if parameter.required else []
    return [Fault(f"{pointer}{fault.pointer}", fault.detail) for fault in parameter.faults(value)][:most]


