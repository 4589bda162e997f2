"""The filter ``headers``: headers of requests and responses are removed, set and added, in this order.

A value with a place that is not known, or that no header may have, leaves its header out; what is set is removed
before, so that a client cannot send what the gateway failed to say. What is removed is removed in every spelling that
an upstream may take for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from ...errors import ConfigError
from ..config.checks import checked
from ..filters.context import FilterContext
from ..filters.declare import ORDER, FilterDeclaration, FilterHost, FilterKind, FilterPart, inbound_filter
from ..filters.fields import Fields, header
from .both_ways import BothWays
from .values import Template


def _values_mistake(values: Any) -> str | None:
    if not isinstance(values, Mapping):
        return "must be headers and their values, such as { X-Site = \"shop\" }"
    for name, value in values.items():
        try:
            header(name, "x")
            if not isinstance(value, str):
                return f"the value of {name} must be a string"
            header(name, Template.parse(value).plain)
        except (ValueError, ConfigError) as error:
            return str(error)
    return None


def _name_mistake(name: Any) -> str | None:
    try:
        header(name, "x")
    except (ValueError, TypeError) as error:
        return str(error)
    return None


@attrs.frozen(kw_only=True)
class HeaderChanges:
    """What is done to the headers of one message.

    Attributes:
        remove: Names.
        set: Names and values, which take the place of others of that name.
        add: Names and values, beside others of that name.
    """

    remove: tuple[str, ...] = attrs.field(default=(), validator=checked(_name_mistake, each=True))
    set: Mapping[str, str] = attrs.field(factory=dict, validator=checked(_values_mistake, is_shown=False))
    add: Mapping[str, str] = attrs.field(factory=dict, validator=checked(_values_mistake, is_shown=False))

    def apply(self) -> Callable[[Fields, FilterContext], None]:
        """A function that changes headers."""
        removed = (*self.remove, *self.set)
        added = [(name, Template.parse(value)) for name, value in (*self.set.items(), *self.add.items())]

        def change(fields: Fields, context: FilterContext) -> None:
            for name in removed:
                del fields[name]
            for name, template in added:
                value = template.filled(context)
                if value is not None:
                    try:
                        fields.add(name, value)
                    except ValueError:  # a value of the client's that no header may have
                        continue

        return change


@inbound_filter(name="headers", order=ORDER)
@attrs.frozen(kw_only=True)
class HeaderFilter(BothWays):
    """The settings of one filter ``headers``.

    Attributes:
        request: Changes of requests; None: none.
        response: Changes of responses, those of the gateway's own included; None: none.
    """

    request: HeaderChanges | None = None
    response: HeaderChanges | None = None

    @property
    def stated_headers(self) -> tuple[str, ...]:
        """Names of headers of requests that no client can send."""
        return () if self.request is None else (*self.request.remove, *self.request.set)

    def parts(self, host: FilterHost) -> Sequence[FilterPart]:
        """The filter of requests, and that of responses."""
        made = []
        if self.request is not None:
            of_request = self.request.apply()
            made.append(FilterPart(
                said=FilterDeclaration(kind=FilterKind.INBOUND, name="request", fail_closed=True),
                call=lambda context: of_request(context.request.headers, context)))
        if self.response is not None:
            of_response = self.response.apply()

            def change(context: FilterContext) -> None:
                assert context.response is not None
                of_response(context.response.headers, context)

            made.append(FilterPart(
                said=FilterDeclaration(kind=FilterKind.OUTBOUND, name="response", fail_closed=True), call=change))
        return made
