"""Retries of HTTP requests, above their guarded exchanges; resilience.integrations.http_exchange says why there.

Each attempt is a call of its own to the breaker and in the counts, which its own wrapper has made. What is decided here
is whether there is another one, by the terms of Retry and its budget.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from ..commands.command import Command, internals_of
from ..core.exception_groups import is_a
from ..core.outcome import FAILURE, IGNORED, REJECTED, TIMEOUT, Event
from ..core.retry import Retry
from ..engine.call_accounting import EVENT_OF
from ..engine.failure_judge import FailureJudge
from ..engine.retrying import Retrying, RetryPolicy
from ..errors import BadRequestError, CallTimeoutError, RejectedError
from ..metrics.recorder import Recorder
from ..policies.failures import FAILURES
from ..registry import Registry, table_of

_RETRY: Final = (int(Event.RETRY),)


class RequestRetries:
    """The retry of one adapter. Safe from any thread.

    Attributes:
        are_on: Whether a request may be sent again.
    """

    def __init__(self, retry: Retry | None, may_repeat: Callable[[Any], bool], group: str,
                 ignore: tuple[type[Exception], ...], registry: Registry) -> None:
        """Set up the retry.

        Args:
            retry: Its terms; None: every request is sent once.
            may_repeat: Whether a request can be sent again, and may be; asked before each attempt.
            group: Of the adapter's commands, which share a retry budget.
            ignore: Exceptions that are the caller's fault.
            registry: Of the adapter's commands.
        """
        self._may_repeat, self._group = may_repeat, group
        self._caller_faults: tuple[type[Exception], ...] = (BadRequestError, *ignore)
        self._clock = registry.clock
        services = self._services = table_of(registry).services
        with services.lock:
            self.are_on = retry is not None
            self._policy = None if retry is None else RetryPolicy(retry, services.budget(group, retry.budget))

    def attempts(self, request: Any) -> Attempts | None:
        """The attempts of a request that is about to be sent; None: it is sent once."""
        policy = self._policy
        if policy is None or not self._may_repeat(request):
            return None
        return Attempts(self, policy, self._clock(), functools.partial(self._may_repeat, request))

    def of(self, command: Command, policy: RetryPolicy) -> Retrying:
        """What decides on further attempts under a *command*, with its counts and listeners."""
        services, recorder = self._services, internals_of(command).runtime.recorder
        accounting: Any = _Counted(recorder)
        return Retrying(policy, key=command.key, group=self._group, clock=self._clock, random=services.random,
                        recorder=recorder, emitter=services.emitter, accounting=accounting,
                        timeout=lambda: None, is_wrapper=False)

    def event(self, judging: FailureJudge, error: Exception) -> int:
        """What an attempt that ended with *error* was counted as."""
        if is_a(error, self._caller_faults):
            return EVENT_OF[IGNORED]
        if is_a(error, RejectedError) or judging.refuses(error):
            return EVENT_OF[REJECTED]
        if is_a(error, CallTimeoutError):
            return EVENT_OF[TIMEOUT]
        outcome = judging.error(error)
        return EVENT_OF[FAILURE if outcome is None else outcome]


class Attempts:
    """The attempts of one request."""

    __slots__ = ("_begun", "_may_go_on", "_pause", "_policy", "_retries", "_turn")

    def __init__(self, retries: RequestRetries, policy: RetryPolicy, now: float, may_go_on: Callable[[], bool]) -> None:
        self._retries, self._policy, self._may_go_on = retries, policy, may_go_on
        self._begun, self._turn, self._pause = now, 0, 0.0
        if policy.budget is not None:
            policy.budget.deposit(now)

    def pause(self, command: Command, outcome: Any) -> float | None:
        """How long to pause before the next attempt, after one that ended with *outcome*; None: that is the answer.

        Args:
            command: What guarded the attempt.
            outcome: The response, or what was raised.
        """
        judging: FailureJudge = internals_of(command).runtime.of(FAILURES)
        error = outcome if isinstance(outcome, Exception) else judging.result(outcome)
        if error is None or not self._may_go_on():
            return None
        self._turn += 1
        next_pause = self._retries.of(command, self._policy).again(
            error, self._retries.event(judging, error), self._turn, self._pause, self._begun, self._begun)
        if next_pause is not None:
            self._pause = next_pause
        return next_pause


class _Counted:
    """Accounts for retries of attempts that the exchange's own wrapper has counted already."""

    __slots__ = ("_recorder",)

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def true_event(self, error: BaseException, event: int) -> int:
        return event

    def blames_caller(self, error: BaseException) -> bool:
        return False

    def retried(self, error: BaseException, event: int, started: float, now: float) -> None:
        self._recorder.count(_RETRY, now)
