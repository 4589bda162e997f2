"""Outcomes: what the endpoints of a service are told of attempts at them, and what the log is.

What is no failure by the service's failure rules, what the gateway's own limits refused, and what the client caused
leave nobody out. A reason is logged once, and again when the endpoint was well in between, or a minute later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from ...core.failover import RestTerm
from ...core.http_status import HttpStatus, judge_of, verdicts_of
from ...core.retry_after import asked_for
from ...core.verdict import Verdict
from ...errors import CallTimeoutError, DeadlineExceededError, RejectedError
from ..balancing import EndpointSet
from ..balancing.retry_state import Ending
from ..messages.exchange import (
    IgnoredAnswerError,
    LocalLimitError,
    RuledAnswerError,
    UnprocessedError,
    UpstreamStalledError,
    UpstreamStatusError,
    UpstreamUnreachableError,
)
from .served_endpoint import ServedEndpoint
from .trouble import trouble_of

_log = logging.getLogger("resilience")
#: Share of the time that an attempt has as a rule, from which on it says something of its endpoint if a request's
#: deadline cuts it.
_LONG_ENOUGH: Final = 0.9


class Outcomes:
    """How attempts at the endpoints of one service ended. Of one event loop.

    Attributes:
        endpoints: Those that there are.
        statuses: Of answers that the failure rules judge.
    """

    endpoints: EndpointSet[ServedEndpoint]

    def __init__(self, name: str, rule: HttpStatus, usual_s: float, clock: Callable[[], float]) -> None:
        """Nothing has ended yet.

        Args:
            name: The service's.
            rule: Judges the statuses of answers.
            usual_s: How long an attempt may take as a rule. A client may give a request less, and what that cuts is no
                failure of an endpoint.
            clock: Seconds.
        """
        self._name, self._usual_s, self._clock = name, usual_s, clock
        self._verdicts, self._judge = verdicts_of(rule), judge_of(rule)
        self.statuses = frozenset(self._verdicts)

    def verdict_of(self, error: UpstreamStatusError) -> Verdict:
        """What the service's failure rules say of an answer's status."""
        return self._judge(error, error.status, self._verdicts) if error.status in self._verdicts else Verdict.GOOD

    def ending_of(self, error: Exception, *, was_sent: bool) -> tuple[Ending, float | None]:
        """How an attempt ended that raised *error*, and the seconds for which its endpoint asks to be left alone.

        Args:
            error: What was raised.
            was_sent: Whether any byte of the request may have reached the endpoint.
        """
        if isinstance(error, RejectedError):
            return Ending.REFUSED, None
        if isinstance(error, CallTimeoutError):
            return (Ending.LATE if was_sent else Ending.UNSENT), None
        answer = error.answer if isinstance(error, RuledAnswerError) else error
        if isinstance(answer, UpstreamStatusError):
            is_busy = self.verdict_of(answer) is Verdict.BUSY
            ending = Ending.BUSY if is_busy and answer is error else Ending.STATUS
            return ending, asked_for(answer) if is_busy else None
        if isinstance(error, UnprocessedError) or (isinstance(error, UpstreamUnreachableError) and not was_sent):
            return Ending.UNSENT, None
        if isinstance(error, UpstreamStalledError):
            return Ending.LATE, None
        return Ending.BROKEN, None

    def failed(self, endpoint: ServedEndpoint, permit: RestTerm | None, ending: Ending, asked: float | None,
               error: Exception) -> bool:
        """An attempt at *endpoint* has failed; whether that is a failure of the endpoint.

        Args:
            endpoint: Where it went.
            permit: Of a probe; None: it was none.
            ending: How it ended.
            asked: Seconds for which the endpoint asks to be left alone; None: it does not.
            error: What went wrong.
        """
        now, ejector = self._clock(), self.endpoints.ejector
        if ending is Ending.REFUSED or isinstance(error, LocalLimitError):
            ejector.left(endpoint, permit, now)
            if not endpoint.is_calm:
                self.endpoints.changed()
            return False
        is_failure = self._is_failure(ending, error)
        if not is_failure:
            ejector.left(endpoint, permit, now)
        else:
            was_left_out = endpoint.rest.is_left_out
            if ejector.failed(endpoint, permit, now):  # perhaps another one, whose success rate is an outlier
                self.endpoints.changed()
            if endpoint.rest.is_left_out and not was_left_out:
                _log.warning("%s: %s is left out for %.3g s after %d failures in a row", self._name, endpoint.name,
                             endpoint.rest.until - now, endpoint.failures, extra={"upstream": endpoint.name})
        if asked:
            ejector.pause(endpoint, asked, now)
        reason = trouble_of(error)
        if (is_failure or ending is Ending.BUSY) and endpoint.troubles.are_told_of(reason, now):
            _log.warning("%s: %s failed: %s", self._name, endpoint.name, reason, extra={"upstream": endpoint.name})
        if not endpoint.is_calm:
            self.endpoints.changed()
        return is_failure

    def recovered(self, endpoint: ServedEndpoint, permit: RestTerm | None) -> None:
        """An attempt at *endpoint* has succeeded, after a failure or as a probe."""
        now = self._clock()
        was_left_out = not endpoint.rest.calm
        self.endpoints.ejector.succeeded(endpoint, permit, now)
        endpoint.troubles.are_over(now)
        if was_left_out and endpoint.rest.calm:
            _log.info("%s: %s is back", self._name, endpoint.name, extra={"upstream": endpoint.name})
            self.endpoints.came(endpoint, now)
            self.endpoints.changed()

    def _is_failure(self, ending: Ending, error: Exception) -> bool:
        """Whether an attempt that ended so is a failure of its endpoint."""
        if isinstance(error, UpstreamStatusError):
            return self.verdict_of(error) is Verdict.FAILED
        if isinstance(error, DeadlineExceededError):
            return error.timeout >= _LONG_ENOUGH * self._usual_s
        return ending is not Ending.BUSY and not isinstance(error, IgnoredAnswerError)
