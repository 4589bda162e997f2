"""The filter ``json_schema``: bodies against JSON Schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import attrs

from ...core.checks import text
from ...errors import ConfigError
from ..config.contents import contents_by
from ..filters.context import FilterContext
from ..filters.declare import FilterHost, FilterKind, FilterPart, inbound_filter
from .both_ways import BothWays
from .checking import (
    Checks,
    Fit,
    ask_for_plain,
    has_body,
    is_empty,
    is_of_upstream,
    may_be_taken_in,
    medium_of,
)
from .documents import of_documents
from .schema import Schema, schema_of

#: Filters of formats run between those that ask who the client is and those of users.
ORDER: Final = 50
_WITH_BODY: Final = ("POST", "PUT", "PATCH")
_IN, _OUT = FilterKind.INBOUND, FilterKind.OUTBOUND


def _is_schema(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that a file has a schema; None: there is no file."""
    if value is not None:
        try:
            schema_of(value)
        except ConfigError as error:
            raise ConfigError(f"must be a file with a JSON Schema: {error}", attribute.name) from None


@inbound_filter(name="json_schema", order=ORDER, fail_closed=True)
@attrs.frozen(kw_only=True)
class JsonSchemaFilter(BothWays, Checks):
    """The settings of one filter ``json_schema``.

    Attributes:
        request: File with the schema of requests' bodies, perhaps with a pointer: ``shop.json#/$defs/order``;
            None: they are not checked.
        response: The same for responses with a status of 200 to 299.
        contents: A hash of the schemas; see config.contents.
    """

    needs: ClassVar[str] = "a file with a schema"

    request: str | None = attrs.field(default=None, validator=[text(optional=True), _is_schema])
    response: str | None = attrs.field(default=None, validator=[text(optional=True), _is_schema])
    contents: bytes = contents_by(lambda settings: of_documents(settings.request, settings.response))

    def parts(self, host: FilterHost) -> Sequence[FilterPart]:
        """The filters of requests, and those of responses."""
        made: list[FilterPart] = []
        modes = self.modes()
        if self.request is not None and modes[_IN] != "off":
            made += self._of_requests(schema_of(self.request), modes[_IN])
        if self.response is not None and modes[_OUT] != "off":
            made += self._of_responses(schema_of(self.response), host.name)
        return made

    def _of_requests(self, schema: Schema, mode: str) -> list[FilterPart]:
        def check_head(context: FilterContext) -> None:
            self.deal_with(context, _IN, self._request_fault(context))

        def check_body(context: FilterContext) -> None:
            self.deal_with(context, _IN, self.body_fault(
                context.request.body or b"", context.request.headers.lines, schema))

        def is_readable(context: FilterContext) -> bool:
            return self._request_fault(context) is None and not is_empty(context) \
                and may_be_taken_in(context, mode, self.max_body)

        return [self.part(_IN, "request", check_head, when=_has_request_body),
                self.part(_IN, "request_body", check_body, when=is_readable, takes_body=True)]

    def _request_fault(self, context: FilterContext) -> Fit | None:
        if is_empty(context):
            return Fit(400, "a body is needed") if context.request.method in _WITH_BODY else None
        return None if medium_of(context.request.headers.lines) else Fit(415, "the body must be JSON")

    def _of_responses(self, schema: Schema, name: str) -> list[FilterPart]:
        def prepare(context: FilterContext) -> None:
            ask_for_plain(context.request.headers)

        def check_head(context: FilterContext) -> None:
            assert context.response is not None
            if not medium_of(context.response.headers.lines):
                self.deal_with(context, _OUT, Fit(415, "the body is not JSON"))
            elif self.is_too_large(context):
                self.note_unchecked(context)

        def check_body(context: FilterContext) -> None:
            assert context.response is not None
            self.deal_with(context, _OUT, self.body_fault(
                context.response.body or b"", context.response.headers.lines, schema))

        def is_checked(context: FilterContext) -> bool:
            return is_of_upstream(context) and context.response is not None and 200 <= context.response.status < 300 \
                and has_body(context)

        def is_readable(context: FilterContext) -> bool:
            return is_checked(context) and context.response is not None and not self.is_too_large(context) \
                and medium_of(context.response.headers.lines) is not None

        return [self.part(_IN, "prepare", prepare, when=_always),
                self.part(_OUT, "response", check_head, when=is_checked),
                self.part(_OUT, "response_body", check_body, when=is_readable, takes_body=True)]


def _has_request_body(context: FilterContext) -> bool:
    return not is_empty(context) or context.request.method in _WITH_BODY


def _always(context: FilterContext) -> bool:
    return True
