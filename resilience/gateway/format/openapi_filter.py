"""The filter ``openapi``: requests and responses against a document of OpenAPI 3.1.

What an upstream makes of a path is not known, as it is not to routes (see paths.py): every reading of it must lead to
the same operation, and the parameters of each must fit. Else a request could be checked as one operation, or, as one
that nobody has described, not at all, and be carried out as another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs

from ...core.checks import text
from ...errors import ConfigError
from ..config.checks import checked, one_of
from ..config.contents import contents_by
from ..filters.context import FilterContext
from ..filters.declare import FilterHost, FilterKind, FilterPart, inbound_filter
from ..messages.content import has_several_types, media_type
from ..messages.exchange import Header
from ..routing.paths import PathError, canonical, named
from .checking import Checks, Fit, ask_for_plain, has_body, is_empty, is_of_upstream, may_be_taken_in, medium_of
from .documents import of_documents
from .openapi import Body, OpenApi, Operation
from .path_templates import UndecodableError
from .schema import Schema
from .schema_filter import ORDER

UNKNOWN: Final = ("refuse", "pass")
#: What a path may have at all by the time that a filter sees it.
_ENCODED: Final = (b"%2f", b"%5c", b"%25")
_IN, _OUT = FilterKind.INBOUND, FilterKind.OUTBOUND


def _is_document(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that a file has an OpenAPI document."""
    try:
        OpenApi(value)
    except ConfigError as error:
        raise ConfigError(f"must be an OpenAPI document: {error}", attribute.name) from None


def _base_mistake(path: Any) -> str | None:
    if isinstance(path, str) and (not path or (path.startswith("/") and not path.endswith("/"))):
        return None
    return "must begin with a slash and not end with one"


@inbound_filter(name="openapi", order=ORDER, fail_closed=True)
@attrs.frozen(kw_only=True)
class OpenApiFilter(Checks):
    """The settings of one filter ``openapi``.

    Attributes:
        document: File with the document, in JSON or YAML.
        base_path: What stands before the document's paths in the gateway's.
        unknown: What is done about requests that the document does not describe: one of UNKNOWN.
        contents: A hash of the document; see config.contents.
    """

    document: str = attrs.field(validator=attrs.validators.and_(text(), _is_document))
    base_path: str = attrs.field(default="", validator=checked(_base_mistake))
    unknown: str = attrs.field(default="refuse", validator=checked(one_of(UNKNOWN, "unknown")))
    contents: bytes = contents_by(lambda settings: of_documents(settings.document))

    def parts(self, host: FilterHost) -> Sequence[FilterPart]:
        """The filters of requests, and those of responses."""
        modes, found = self.modes(), _Found(self, OpenApi(self.document), f"openapi {host.name}")
        made: list[FilterPart] = []
        if modes[_IN] != "off":
            made += [self.part(_IN, "request", found.check_request, when=_always),
                     self.part(_IN, "request_body", found.check_request_body, when=found.has_checked_body,
                               takes_body=True)]
        if modes[_OUT] != "off":
            made += [self.part(_IN, "prepare", found.prepare, when=_always),
                     self.part(_OUT, "response", found.check_response, when=found.is_checked),
                     self.part(_OUT, "response_body", found.check_response_body, when=found.has_checked_answer,
                               takes_body=True)]
        return made


_Operations = tuple[Operation, list[dict[str, str]]]


class _AmbiguousError(ValueError):
    """Readings of a path lead to several operations."""


class _Found:
    """What the document says of the exchanges of one gateway. What was found for an exchange is kept in its context."""

    def __init__(self, settings: OpenApiFilter, document: OpenApi, key: str) -> None:
        self._settings, self._document, self._key = settings, document, key
        self._base = named(settings.base_path.encode())

    def _operation(self, context: FilterContext) -> _Operations | None:
        """The operation of an exchange, and the parameters in its path, by each reading of that; None: it has none."""
        found = self._looked_up(context)
        return None if isinstance(found, Fit) else found

    def _looked_up(self, context: FilterContext) -> _Operations | Fit | None:
        """The same, or why the path cannot be one of the document's."""
        if self._key not in context.attributes:
            try:
                context.attributes[self._key] = self._found(context)
            except UndecodableError:
                context.attributes[self._key] = Fit(400, "a parameter in the path is not UTF-8")
            except (_AmbiguousError, PathError):
                context.attributes[self._key] = Fit(400, "the path can be read as that of another operation")
        found = context.attributes[self._key]
        assert found is None or isinstance(found, (tuple, Fit))
        return found

    def _found(self, context: FilterContext) -> _Operations | None:
        path, method = canonical(context.request.path.encode("latin-1"), _ENCODED), context.request.method
        first = self._described(method, path.name)
        others = [each for reading in path.readings() if (each := self._described(method, reading)) is not None]
        if any(first is None or operation is not first[0] for operation, _ in others):
            raise _AmbiguousError
        if first is None:
            return None
        return first[0], [first[1], *(parameters for _, parameters in others if parameters != first[1])]

    def _described(self, method: str, name: bytes) -> tuple[Operation, dict[str, str]] | None:
        """The operation of a path, by one of its names."""
        base = self._base
        if base and name != base and not name.startswith(base + b"/"):
            return None
        return self._document.find(method, name.removeprefix(base).decode("latin-1") or "/")

    # -- requests

    def check_request(self, context: FilterContext) -> None:
        """Check what does not need the body."""
        self._settings.deal_with(context, _IN, self._request_fault(context))

    def _request_fault(self, context: FilterContext) -> Fit | None:
        found = self._looked_up(context)
        if isinstance(found, Fit):
            return found
        if found is None:
            return None if self._settings.unknown == "pass" else Fit(404, "this path has no such operation")
        operation, readings = found
        for parameters in readings:
            faults = operation.parameter_faults(parameters, context.request.query.encode("latin-1"),
                                                context.request.headers.lines, self._settings.max_errors)
            if faults:
                return Fit(422, "the parameters do not have the form that is wanted", faults)
        return self._body_head_fault(operation, context)

    def _body_head_fault(self, operation: Operation, context: FilterContext) -> Fit | None:
        body = operation.request
        if body is None:
            return None
        if is_empty(context):
            return Fit(400, "a body is needed") if body.required else None
        try:
            _schema_of(body, context.request.headers.lines)
        except LookupError:
            return Fit(415, f"the body must be {' or '.join(body.schemas) or 'empty'}")
        return None

    def has_checked_body(self, context: FilterContext) -> bool:
        """Whether the request has a body that a schema is for."""
        return self._request_schema(context) is not None and not is_empty(context) \
            and may_be_taken_in(context, self._settings.modes()[_IN], self._settings.max_body)

    def _request_schema(self, context: FilterContext) -> Schema | None:
        found, medium = self._operation(context), medium_of(context.request.headers.lines)
        if found is None or found[0].request is None or medium is None:
            return None
        try:
            return found[0].request.schema(medium)
        except LookupError:
            return None

    def check_request_body(self, context: FilterContext) -> None:
        """Check the body."""
        schema = self._request_schema(context)
        assert schema is not None
        self._settings.deal_with(context, _IN, self._settings.body_fault(
            context.request.body or b"", context.request.headers.lines, schema))

    # -- responses

    def prepare(self, context: FilterContext) -> None:
        """Make sure that the response can be read."""
        ask_for_plain(context.request.headers)

    def is_checked(self, context: FilterContext) -> bool:
        """Whether the response is one of an operation."""
        return is_of_upstream(context) and self._operation(context) is not None

    def check_response(self, context: FilterContext) -> None:
        """Check what does not need the body."""
        self._settings.deal_with(context, _OUT, self._response_fault(context))
        if self._settings.is_too_large(context) and has_body(context) and self._response_schema(context) is not None:
            self._settings.note_unchecked(context)

    def _response_fault(self, context: FilterContext) -> Fit | None:
        found, response = self._operation(context), context.response
        assert found is not None
        assert response is not None
        said, lines = found[0].response(response.status), response.headers.lines
        if said is None:  # an error that nobody has described is an error first
            return None if response.status >= 500 else Fit(502, f"the status {response.status} is not described")
        faults = said.header_faults(lines, self._settings.max_errors)
        if faults:
            return Fit(502, "the headers do not have the form that is agreed on", faults)
        if said.body is not None and has_body(context):
            try:
                _schema_of(said.body, lines)
            except LookupError:
                return Fit(502, "the media type is not described")
        return None

    def has_checked_answer(self, context: FilterContext) -> bool:
        """Whether the response has a body that a schema is for."""
        return self.is_checked(context) and has_body(context) and not self._settings.is_too_large(context) \
            and self._response_schema(context) is not None

    def _response_schema(self, context: FilterContext) -> Schema | None:
        found, response = self._operation(context), context.response
        assert response is not None
        said, medium = None if found is None else found[0].response(response.status), medium_of(response.headers.lines)
        if said is None or said.body is None or medium is None:
            return None
        try:
            return said.body.schema(medium)
        except LookupError:
            return None

    def check_response_body(self, context: FilterContext) -> None:
        """Check the body."""
        schema, response = self._response_schema(context), context.response
        assert schema is not None
        assert response is not None
        self._settings.deal_with(context, _OUT, self._settings.body_fault(
            response.body or b"", response.headers.lines, schema))


def _schema_of(body: Body, headers: Sequence[Header]) -> Schema | None:
    """The schema for a message with these *headers*.

    Raises:
        LookupError: Its media type is not described, or it has several.
    """
    if has_several_types(headers):
        raise LookupError("content-type")
    return body.schema(media_type(headers))


def _always(context: FilterContext) -> bool:
    return True
