"""Answer rules: what an answer's body, or the first event of a stream, counts as, and what follows. Pure.

A status alone does not say enough: a vendor's 429 may mean "slow down" or "your quota is used up", and an event stream
with status 200 may begin with an event that says that there will be none. The rules are asked in their order; the first
that fits decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from ...core.http_status import as_codes, codes_of
from ...errors import ConfigError
from ..messages.event_stream import ServerSentEvent
from ..messages.json_pointer import MISSING, found, member_mistake, parsed
from ..messages.json_text import value_mistake


def _as_codes(value: Any) -> Any:
    return None if value is None else as_codes(value)


def _statuses(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        codes_of(attribute.name, value)


def _pointers(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    for pointer, wanted in (value or {}).items():
        mistake = member_mistake(pointer) or value_mistake(wanted)
        if mistake is not None:
            raise ConfigError(f"{attribute.name}: {pointer!r} {mistake}", attribute.name)


@attrs.frozen(kw_only=True)
class AnswerRule:
    """One of the ``rules`` of a service.

    Attributes:
        status: Statuses of the answers that it is about; None: any, if it has an event.
        json: Values by JSON pointer that the body, or the data of the first event, must have; None: whatever it has.
        event: Type of the first event of an event stream; None: it is about bodies.
        then: What follows: "next" endpoint, "same" one again, or "answer": it is passed on.
        counts: What it counts as: "failure", "success", "ignored"; None: what its status counts as.
    """

    status: tuple[int | str, ...] | None = attrs.field(
        default=None, converter=_as_codes, validator=_statuses,
        metadata={"one_is_enough": True})
    json: Mapping[str, Any] | None = attrs.field(default=None, validator=_pointers)
    event: str | None = None
    then: Literal["next", "same", "answer"] = "next"
    counts: Literal["failure", "success", "ignored"] | None = None

    def __attrs_post_init__(self) -> None:
        if self.status is None and self.event is None:
            raise ConfigError("a rule needs a status or an event", "status")


class AnswerRules:
    """The rules of one service.

    Attributes:
        statuses: Of answers whose bodies they are about.
        has_events: Whether any is about an event.
        read_answers: Whether any is about what stands in a body or an event.
    """

    def __init__(self, rules: Sequence[AnswerRule]) -> None:
        self._rules = [(rule, None if rule.status is None else codes_of("status", rule.status),
                        [(parsed(pointer), value) for pointer, value in (rule.json or {}).items()]) for rule in rules]
        self.statuses = frozenset[int]().union(
            *(codes for rule, codes, _ in self._rules if codes is not None and rule.event is None))
        self.read_answers = any(rule.json or rule.event is not None for rule in rules)
        self.has_events = any(rule.event is not None for rule, _, _ in self._rules)

    def of_body(self, status: int, body: bytes) -> AnswerRule | None:
        """The rule that an answer falls under, by its status and the beginning of its body."""
        return self._first(status, body, None)

    def of_event(self, status: int, event: ServerSentEvent) -> AnswerRule | None:
        """The rule that a stream falls under, by its first event."""
        return self._first(status, event.data, event.name)

    def _first(self, status: int, text: bytes, event: str | None) -> AnswerRule | None:
        content: Any = MISSING
        for rule, codes, values in self._rules:
            if rule.event != event or (codes is not None and status not in codes):
                continue
            if values and content is MISSING:
                content = _parsed(text)
            if all(_equal(found(content, steps), value) for steps, value in values):
                return rule
        return None


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _equal(value: Any, wanted: Any) -> bool:
    return type(value) is type(wanted) and bool(value == wanted)
