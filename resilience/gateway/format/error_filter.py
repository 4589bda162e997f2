"""The filter ``errors``: one format for the errors of all services, that of RFC 9457 and of the gateway's own.

A service's response with a status of 400 or more keeps its status, and the headers that are about it (Retry-After,
WWW-Authenticate). Its body is replaced; of the old one, those values are kept that the settings name. What a service
says of its inside (a traceback, a query, a host) thus stays inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from ...core.checks import flag
from ...core.http_problem import problem_body
from ...errors import ConfigError
from ..config.checks import checked
from ..filters.context import FilterContext, FilterResponse
from ..filters.declare import FilterDeclaration, FilterHost, FilterKind, FilterPart, inbound_filter
from ..messages.content import decoded, media_type
from ..messages.json_pointer import found, parsed, pointer_mistake
from ..messages.json_text import parse
from ..messages.unreadable_body import UnreadableBodyError
from .body_filter import OF_THE_BODY
from .checking import has_body, is_of_upstream, medium_of

#: Bytes of an error body that are looked at.
MAX_BODY: Final = 64 * 1024
#: Errors are put into form before other filters of responses see them.
ORDER: Final = 40
_OURS: Final = ("type", "title", "status", "detail")
_LONGEST: Final = 1000  # characters of a text that is kept


def _fields_mistake(fields: Any) -> str | None:
    if not isinstance(fields, Mapping):
        return 'must be names and JSON pointers, such as { code = "/error/code" }'
    for name, pointer in fields.items():
        if name in _OURS:
            return f"{name} is a member of RFC 9457; choose another name" if name != "detail" else \
                "detail has a setting of its own"
        mistake = pointer_mistake(pointer)
        if mistake is not None:
            return f"{name} {mistake}"
    return None


@inbound_filter(name="errors", order=ORDER)
@attrs.frozen(kw_only=True)
class ErrorFilter:
    """The settings of one filter ``errors``.

    Attributes:
        detail: JSON pointer of the sentence in a service's error body that the client is told; None: one of ours.
        fields: Further members of the new body: names, and JSON pointers of their values in the old one.
        keep_problems: Whether bodies that are problems of RFC 9457 already are passed as they are.
    """

    detail: str | None = attrs.field(default=None, validator=checked(pointer_mistake, optional=True))
    fields: Mapping[str, str] = attrs.field(factory=dict, validator=checked(_fields_mistake))
    keep_problems: bool = attrs.field(default=False, validator=flag)

    def __attrs_post_init__(self) -> None:
        if self.detail == "":
            raise ConfigError("must not be the whole body", "detail")

    def parts(self, host: FilterHost) -> Sequence[FilterPart]:
        """A filter that reads the old body, if anything of it is kept, and one that replaces it."""
        key = f"errors {host.name}"
        wanted = {name: parsed(pointer) for name, pointer in self.fields.items()}
        if self.detail is not None:
            wanted["detail"] = parsed(self.detail)

        def is_error(context: FilterContext) -> bool:
            response = context.response
            return response is not None and is_of_upstream(context) and response.status >= 400 \
                and not (self.keep_problems and media_type(response.headers.lines) == "application/problem+json")

        def is_readable(context: FilterContext) -> bool:
            return is_error(context) and has_body(context) and context.response is not None \
                and medium_of(context.response.headers.lines) is not None \
                and int(context.response.headers.get("content-length") or "0") <= MAX_BODY

        def read(context: FilterContext) -> None:
            assert context.response is not None
            context.attributes[key] = _kept(context.response, wanted)

        def replace(context: FilterContext) -> None:
            assert context.response is not None
            _replace(context.response, context.service, context.attributes.get(key) or {}, has_body(context))

        made = [FilterPart(call=replace, said=FilterDeclaration(kind=FilterKind.OUTBOUND, name="replace", when=is_error,
                                                                fail_closed=True))]
        if wanted:
            made.insert(0, FilterPart(call=read, said=FilterDeclaration(
                kind=FilterKind.OUTBOUND, name="read", when=is_readable, body=MAX_BODY)))
        return made


def _kept(response: FilterResponse, wanted: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The values of a service's error body that are kept: texts, numbers and bools."""
    try:
        value = parse(decoded(response.body or b"", response.headers.lines, MAX_BODY))
    except UnreadableBodyError:
        return {}
    places = {name: found(value, steps) for name, steps in wanted.items()}
    return {name: each[:_LONGEST] if isinstance(each, str) else each for name, each in places.items()
            if isinstance(each, (str, int, float)) and (name != "detail" or isinstance(each, str))}


def _replace(response: FilterResponse, service: str, kept: dict[str, Any], may_have_body: bool) -> None:
    detail = kept.pop("detail", None) or f"{service} answered with an error"
    body = problem_body(response.status, detail, **kept)
    for name in (*OF_THE_BODY, "content-language", "content-disposition", "content-location"):
        del response.headers[name]
    response.headers["content-type"] = "application/problem+json"
    response.body = body if may_have_body else b""
