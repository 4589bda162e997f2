"""Checking: what the filters json_schema and openapi have in common.

mode      a request that does not fit                a response that does not fit
========  =========================================  ==========================================
enforce   400 malformed, 413, 415, 422               502; a failure of the filter
report    passed on; a failure of the filter         passed on; a failure of the filter
off       not looked at                              not looked at

A failure of the filter is counted by its command and logged, now and then, by the chain. What a client does wrong and
is told of is no failure.

A response with more than max_body bytes is passed on unchecked, in every mode, and is a failure of the filter.
Only bodies that may be wrong are taken in: what is not JSON, and what nobody has a schema for, streams past.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from ...core.checks import number
from ..config.checks import checked, one_of
from ..filters.context import FilterContext, FilterError
from ..filters.declare import FilterDeclaration, FilterKind, FilterPart
from ..filters.fields import Fields
from ..messages.content import ACCEPTED, check_charset, decoded, is_json, media_type, prefers_gzip
from ..messages.exchange import Header
from ..messages.framing import EMPTY
from ..messages.json_text import MAX_VALUES, parse
from ..messages.unreadable_body import UnreadableBodyError
from .schema import Fault, Schema

MODES: Final = ("enforce", "report", "off")
_MAX_BODY: Final = 256 * 1024


class FormatError(FilterError):
    """A message does not fit what is said of its format. The message says where, and never what stands there."""


@attrs.frozen
class Fit:
    """What is wrong with a message.

    Attributes:
        status: That a client is told if it is a request.
        detail: One sentence.
        faults: Where, if that is known.
    """

    status: int
    detail: str
    faults: Sequence[Fault] = ()


@attrs.frozen(kw_only=True)
class Checks:
    """What every filter that checks formats can be told.

    Attributes:
        mode: What is done about what does not fit: one of MODES.
        response_mode: The same for responses; None: as for requests.
        max_body: Bytes of a body that is checked, as it comes and decoded.
        max_values: Strings, numbers, arrays and objects in a body, together.
        max_errors: Most faults that a client is told of.
    """

    mode: str = attrs.field(default="enforce", validator=checked(one_of(MODES, "mode")))
    response_mode: str | None = attrs.field(
        default=None, validator=checked(one_of(MODES, "response_mode"), optional=True))
    max_body: int = attrs.field(default=_MAX_BODY, validator=number(least=1, most=1 << 24, whole=True))
    max_values: int = attrs.field(default=MAX_VALUES, validator=number(least=1, most=10_000_000, whole=True))
    max_errors: int = attrs.field(default=10, validator=number(least=1, most=100, whole=True))

    def modes(self) -> Mapping[FilterKind, str]:
        """The mode for requests, and that for responses."""
        return {FilterKind.INBOUND: self.mode, FilterKind.OUTBOUND: self.response_mode or self.mode}

    def part(self, kind: FilterKind, name: str, call: Callable[[FilterContext], Any], *,
             when: Callable[[FilterContext], bool], takes_body: bool = False) -> FilterPart:
        """A part of the filter, which is left out if it is off.

        Args:
            kind: When it runs.
            name: Of the part.
            call: Checks.
            when: Whether it runs.
            takes_body: Whether it needs the body.
        """
        return FilterPart(call=call, said=FilterDeclaration(
            kind=kind, name=name, when=when, body=self.max_body if takes_body else None,
            fail_closed=kind is FilterKind.INBOUND and self.modes()[kind] == "enforce"))

    def deal_with(self, context: FilterContext, kind: FilterKind, wrong: Fit | None) -> None:
        """Do what the mode says.

        Raises:
            FormatError: It is to be counted.
        """
        if wrong is None:
            return
        is_enforced, is_request = self.modes()[kind] == "enforce", kind is FilterKind.INBOUND
        if is_enforced and is_request:
            members = {"errors": [attrs.asdict(fault) for fault in wrong.faults]} if wrong.faults else {}
            accepted = ACCEPTED if wrong.status == 415 else {}
            context.refuse(wrong.status, wrong.detail, accepted, **members)
            return
        if is_enforced:
            context.refuse(502, f"the answer of {context.service} does not have the form that was agreed on")
        where = "".join(f"; {fault.pointer or 'the whole'} {fault.detail}" for fault in wrong.faults[:1])
        message = "a request" if is_request else "a response"
        raise FormatError(f"{message} of route {context.route}: {wrong.detail}{where}")

    def is_too_large(self, context: FilterContext) -> bool:
        """Whether the response says that it is larger than what is checked."""
        length = None if context.response is None else context.response.headers.get("content-length")
        return length is not None and length.isdecimal() and int(length) > self.max_body

    def note_unchecked(self, context: FilterContext) -> None:
        """Count a response that is passed without a look at its body.

        Raises:
            FormatError: That is how.
        """
        raise FormatError(f"a response of route {context.route}: it is larger than {self.max_body} bytes, "
                          "and was passed on unchecked")

    def body_fault(self, body: bytes, headers: Sequence[Header], schema: Schema) -> Fit | None:
        """What is wrong with a whole *body*; None if nothing is."""
        try:
            check_charset(headers)
            value = parse(decoded(body, headers, self.max_body), max_values=self.max_values)
        except UnreadableBodyError as error:
            return Fit(error.status, error.detail)
        faults = schema.faults(value, self.max_errors)
        return Fit(422, "the body does not have the form that is wanted", faults) if faults else None


def may_be_taken_in(context: FilterContext, mode: str, most: int) -> bool:
    """Whether a request's body can be taken in without refusing it for its size, where that is not to happen."""
    length = context.request.length
    return mode == "enforce" or (length is not None and length <= most)


def ask_for_plain(headers: Fields) -> None:
    """Change a request's headers so that the answer can be read: whole, and coded by gzip at most."""
    headers["accept-encoding"] = "gzip" if prefers_gzip(headers.lines) else "identity"
    for name in ("range", "if-range"):
        del headers[name]


def has_body(context: FilterContext) -> bool:
    """Whether the response may have a body."""
    response = context.response
    return response is not None and context.request.method != "HEAD" and response.status not in EMPTY


def is_of_upstream(context: FilterContext) -> bool:
    """Whether the response is a service's."""
    return context.response is not None and not context.response.is_ours


def medium_of(headers: Sequence[Header]) -> str | None:
    """The media type of a body that is JSON; None: it is something else."""
    found = media_type(headers)
    return found if is_json(found) else None


def is_empty(context: FilterContext) -> bool:
    """Whether the request has no body."""
    return context.request.length == 0


