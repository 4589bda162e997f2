"""The filter ``json_body``: values in JSON bodies are removed and set, at places that JSON pointers name.

What cannot be changed is not passed on unchanged: a request is refused, a response becomes a 502. Bodies that are not
JSON stream past as they are; one with several media types is JSON for some, and cannot be changed.

A body that was changed is sent without a content coding, and without the headers that held only for the other bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from ...core.checks import number
from ..config.checks import checked
from ..filters.context import FilterContext
from ..filters.declare import ORDER, FilterDeclaration, FilterHost, FilterKind, FilterPart, inbound_filter
from ..filters.fields import Fields
from ..messages.content import ACCEPTED, OF_THE_BYTES, check_type, decoded, may_be_json
from ..messages.json_pointer import parsed, pointer_mistake, put, without
from ..messages.json_text import parse, serialize, value_mistake
from ..messages.unreadable_body import UnreadableBodyError
from .both_ways import BothWays
from .checking import ask_for_plain, has_body, is_empty, is_of_upstream
from .values import Template

#: Headers that do not hold for a body that was changed.
OF_THE_BODY: Final = ("etag", "last-modified", *(name.decode() for name in OF_THE_BYTES))


class _UnchangeableError(ValueError):
    """The body cannot be changed as it is to be.

    Attributes:
        status: What a client is told of whom it is the fault.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def _sets_mistake(values: Any) -> str | None:
    if not isinstance(values, Mapping):
        return 'must be JSON pointers and values, such as { "/site" = "shop" }'
    for pointer, value in values.items():
        mistake = pointer_mistake(pointer)
        if mistake is not None or not pointer:
            return f"{pointer!r} {mistake or 'is the whole body, which cannot be set'}"
        try:
            _template(value)
        except ValueError as error:
            return f"the value of {pointer} cannot stand in JSON: {error}"
        mistake = value_mistake(value)
        if mistake is not None:
            return f"the value of {pointer} {mistake}"
    return None


def _remove_mistake(pointer: Any) -> str | None:
    return pointer_mistake(pointer) or (None if pointer else "must not be the whole body")


def _template(value: Any) -> Template | None:
    """The template of a text with places; None: the value stays as it is."""
    return Template.parse(value) if isinstance(value, str) else None


@attrs.frozen(kw_only=True)
class BodyChanges:
    """What is done to the body of one message.

    Attributes:
        remove: JSON pointers of what is taken away; there may be nothing.
        set: Values by JSON pointer; objects on the way are made. Texts may have places; if one of their values is not
            known, what stands there is removed.
    """

    remove: tuple[str, ...] = attrs.field(default=(), validator=checked(_remove_mistake, each=True))
    set: Mapping[str, Any] = attrs.field(factory=dict, validator=checked(_sets_mistake, is_shown=False))

    def apply(self) -> Callable[[Any, FilterContext], None]:
        """A function that changes a value in place.

        It raises _UnchangeableError if a place cannot be.
        """
        removed = [parsed(pointer) for pointer in self.remove]
        added = [(pointer, parsed(pointer), value, _template(value)) for pointer, value in self.set.items()]

        def change(value: Any, context: FilterContext) -> None:
            for steps in removed:
                without(value, steps)
            for pointer, steps, plain, template in added:
                new = copy.deepcopy(plain) if template is None else template.filled(context)
                if new is None:
                    without(value, steps)
                    continue
                try:
                    put(value, steps, new)
                except LookupError:
                    raise _UnchangeableError(422, f"the body has no place {pointer}") from None

        return change


@inbound_filter(name="json_body", order=ORDER, fail_closed=True)
@attrs.frozen(kw_only=True)
class JsonBodyFilter(BothWays):
    """The settings of one filter ``json_body``.

    Attributes:
        request: Changes of requests; None: none.
        response: Changes of services' responses with a status below 400; None: none.
        max_body: Bytes of a body that is changed, as it comes and decoded.
    """

    request: BodyChanges | None = None
    response: BodyChanges | None = None
    max_body: int = attrs.field(default=256 * 1024, validator=number(least=1, most=1 << 24, whole=True))

    def parts(self, host: FilterHost) -> Sequence[FilterPart]:
        """The filter of requests, and those of responses."""
        made = []
        if self.request is not None:
            made.append(self._part(FilterKind.INBOUND, "request", _is_json_request, self.max_body,
                                   self._of_request(self.request.apply())))
        if self.response is not None:
            made += [self._part(FilterKind.INBOUND, "prepare", None, None,
                                lambda context: ask_for_plain(context.request.headers)),
                     self._part(FilterKind.OUTBOUND, "response", _is_json_response, self.max_body,
                                self._of_response(self.response.apply()))]
        return made

    def _part(self, kind: FilterKind, name: str, when: Callable[[FilterContext], bool] | None, body: int | None,
              call: Callable[[FilterContext], None]) -> FilterPart:
        return FilterPart(call=call, said=FilterDeclaration(kind=kind, name=name, when=when, body=body,
                                                            fail_closed=True))

    def _of_request(self, change: Callable[[Any, FilterContext], None]) -> Callable[[FilterContext], None]:
        def run(context: FilterContext) -> None:
            request = context.request
            try:
                request.body = self._changed(request.body or b"", request.headers, change, context)
            except _UnchangeableError as error:
                context.refuse(error.status, f"{error}", ACCEPTED if error.status == 415 else {})

        return run

    def _of_response(self, change: Callable[[Any, FilterContext], None]) -> Callable[[FilterContext], None]:
        def run(context: FilterContext) -> None:
            response = context.response
            assert response is not None
            try:
                response.body = self._changed(response.body or b"", response.headers, change, context)
            except _UnchangeableError:
                context.refuse(502, f"the answer of {context.service} does not have the form that was agreed on")

        return run

    def _changed(self, body: bytes, headers: Fields, change: Callable[[Any, FilterContext], None],
                 context: FilterContext) -> bytes:
        """The body as it is sent on; its headers are changed, too.

        Raises:
            _UnchangeableError: It cannot be changed.
        """
        try:
            check_type(headers.lines)
            value = parse(decoded(body, headers.lines, self.max_body))
        except UnreadableBodyError as error:
            raise _UnchangeableError(error.status, error.detail) from None
        change(value, context)
        for name in OF_THE_BODY:
            del headers[name]
        return serialize(value)


def _is_json_request(context: FilterContext) -> bool:
    return not is_empty(context) and may_be_json(context.request.headers.lines)


def _is_json_response(context: FilterContext) -> bool:
    response = context.response
    return response is not None and is_of_upstream(context) and response.status < 400 and has_body(context) \
        and may_be_json(response.headers.lines)


