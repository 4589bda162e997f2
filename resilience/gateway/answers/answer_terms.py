"""Answer terms: what a service's configuration wants to see of an answer before it is passed on, and the look at it."""

from __future__ import annotations

from typing import Final

from ...drivers.async_timeouts import AsyncTimeout
from ..config import ServiceConfig
from ..messages.content import beginning
from ..messages.event_stream import first_event, is_event_stream
from ..messages.exchange import Exchange
from .answer_rules import AnswerRule, AnswerRules
from .held_answers import HELD_BYTES, HeldAnswer, Resumed, begun_or_whole, with_first_item

_SWITCHED: Final = 101


class AnswerTerms:
    """What is looked at in the answers of one service. Of one event loop.

    Attributes:
        statuses: Of answers of whose bodies something is read before they are passed on.
        waits_for_item: Whether an answer is passed on only when its first item is there.
        read: Whether anybody here looks into answers, and not only at their statuses.
        patience_s: Longest wait for the first item of an answer, seconds.
    """

    def __init__(self, name: str, config: ServiceConfig, idle: AsyncTimeout, retried: frozenset[int]) -> None:
        """By the configuration.

        Args:
            name: The service's.
            config: Its configuration.
            idle: Bounds the wait for each piece of an answer.
            retried: Statuses of answers after which a request is sent again.
        """
        self._rules, self._idle, self._hold = AnswerRules(config.rules), idle, config.hold
        self._first_item = idle if config.first_item is None else AsyncTimeout(name, config.first_item)
        self.patience_s = config.first_item or config.idle_timeout
        self.statuses = retried | self._rules.statuses
        self.waits_for_item = config.first_item is not None or self._rules.has_events or config.hold > 0
        self.read = self.waits_for_item or self._rules.read_answers

    async def look(self, answer: Exchange) -> tuple[Resumed | HeldAnswer | Exchange | None, AnswerRule | None]:
        """Read what is wanted of an answer whose head has come.

        Returns:
            The answer, with what was read of it if anything was; None: it broke off meanwhile, as its ``failure`` says.
            The rule that it falls under; None: it falls under none.
        """
        status, is_stream = answer.status, is_event_stream(answer.headers)
        found: Resumed | HeldAnswer | None
        by_body = status in self.statuses and not (is_stream and status < 400)  # nobody knows when such a one ends
        if by_body:
            found = await begun_or_whole(answer, self._idle)
        elif self.waits_for_item and status != _SWITCHED:
            found = await with_first_item(answer, self._first_item, self._idle, self._hold)
        else:
            return answer, None
        if found is None:
            return None, None
        text = beginning(found.begun, answer.headers, HELD_BYTES) if self._rules.read_answers else None
        rule = self._rules.of_body(status, text or b"") if by_body else None
        event = first_event(text) if is_stream and rule is None and text is not None else None
        if event is not None:
            rule = self._rules.of_event(status, event)
        return found, rule
