"""Retrying: one function's retries, as its compiled wrapper asks for them.

The wrapper's loop knows attempt, pause and times; here they meet the policy in
force, the group's budget, the counts and the listeners.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from ..core.budget import Budget
from ..core.events import CallRetried
from ..core.exception_copy import cause_of, with_cause
from ..core.exception_groups import is_a, is_interrupt
from ..core.outcome import EVENT_NAMES, REFUSALS, Event, event_name
from ..core.retry import Retry, next_delay, repeats
from ..core.retry_after import asked_for, forbids_retry
from ..core.verdict import FailedResultError
from ..drivers.deadline_context import in_use, remaining
from ..drivers.retry_layers import layer, on_the_stack
from ..drivers.sleeping import async_sleeper, sleeper
from ..drivers.system_clock import wall_clock
from ..drivers.wait_for_graph import scopes
from ..errors import RejectedError, seconds_text
from ..metrics.recorder import Recorder
from .call_accounting import CallAccounting
from .emitter import Emitter
from .notes import add_notes

_RETRY = int(Event.RETRY)
_BUSY = int(Event.BUSY)
_LEFT_TO_CALLER = (int(Event.RETRY_LEFT_TO_CALLER),)
_CANCELLED = (int(Event.CANCELLED),)
_NEVER = (int(Event.CANCELLED), int(Event.BAD_REQUEST))
#: Events of an attempt that one of our own gates refused.
REFUSED: Final = frozenset(int(Event[name.upper()]) for name in REFUSALS)


class _Pause(float):
    """How long to pause, and what the target raised before: the cause of a refusal that may follow.

    It is the one thing of a call that goes from attempt to attempt. The wrapper's frame holds it, and the exception's
    traceback holds that frame: whoever takes the exception out breaks the circle, and so does the end of the call.
    """

    __slots__ = ("error",)
    error: BaseException | None

    @classmethod
    def after(cls, delay: float, error: BaseException | None) -> float:
        """A pause of *delay* seconds after *error*."""
        if error is None:
            return delay
        pause = cls(delay)
        pause.error = error
        return pause

    def release(self) -> BaseException | None:
        """Hand out the exception."""
        error, self.error = self.error, None
        return error


@attrs.define
class RetryPolicy:
    """The retry policy and budget in force for a command. configure() replaces them.

    Attributes:
        policy: The policy.
        budget: Its group's.
        can_hold: Whether one of its functions was, or will be, compiled to hold items back.
        can_judge: The same of asking ``on_result``.
        is_on: Whether calls are repeated; if not, the policy is one that repeats none.
    """

    policy: Retry
    budget: Budget | None
    can_hold: bool = False
    can_judge: bool = False
    is_on: bool = True


class Retrying:
    """The retries of one function. Every method may be called from any thread."""

    __slots__ = (
        "_accounting",
        "_clock",
        "_emitter",
        "_group",
        "_held",
        "_is_wrapper",
        "_random",
        "_recorder",
        "_timeout",
        "_waits",
        "key",
    )

    def __init__(self, held: RetryPolicy, *, key: str, group: str, clock: Callable[[], float],
                 random: Callable[[], float], recorder: Recorder, emitter: Emitter, accounting: CallAccounting,
                 timeout: Callable[[], float | None], waits: float = 0.0, is_wrapper: bool = True) -> None:
        """Make one.

        Args:
            held: The policy and the budget in force.
            key: The command's.
            group: The command's.
            clock: The registry's.
            random: The registry's.
            recorder: The command's.
            emitter: The registry's.
            accounting: The function's.
            timeout: Seconds that an attempt may take now; None: nothing ends it.
            waits: Seconds that an attempt may wait for its turn before that.
            is_wrapper: A compiled wrapper asks, which stands on the stack then.
        """
        self._held, self.key, self._group = held, key, group
        self._clock, self._random, self._timeout = clock, random, timeout
        self._is_wrapper, self._waits = is_wrapper, waits
        self._recorder, self._emitter, self._accounting = recorder, emitter, accounting

    @property
    def repeating_key(self) -> str | None:
        """The command's key, if calls are repeated now."""
        return self.key if self._held.is_on else None

    def again(self, error: BaseException, event: int, attempt: int, pause: float, begun: float,
              started: float, above: Sequence[str] | None = None) -> float | None:
        """How long to pause before the next attempt, after one that ended with *error* as *event*.

        Counts the attempt if another follows. None: none does; the error, which then says how many there were,
        has yet to be counted. *above* is the mark of a retry further out (drivers.retry_layers); None: the wrapper puts
        none itself, so whatever is there is one.
        """
        policy = self._held.policy
        now = self._clock()
        delay, bound = None, ""
        event = self._accounting.true_event(error, event)
        refused = event in REFUSED or event >= len(EVENT_NAMES)
        earlier = pause.release() if isinstance(pause, _Pause) else None
        if refused and earlier is not None and is_a(error, RejectedError) and cause_of(error) is None:
            with_cause(error, earlier)  # it was made for this call
        may = event not in _NEVER and (not refused or policy.retry_rejections)
        if may and repeats(policy, error) and not self._accounting.blames_caller(error):
            delay, bound = self._delay(policy, attempt, pause, now - begun, now, error, event == _BUSY, above)
        if delay is None:
            if (attempt > 1 or bound) and not is_interrupt(error):
                add_notes(error, self.key, [bound] if bound else [],
                          f"attempt {attempt} of at most {policy.attempts}, {seconds_text(now - begun)} after "
                          "the first began")
            return None
        self._accounting.retried(error, event, started, now)
        self._tell(error, event, attempt, delay, now)
        return _Pause.after(delay, earlier if refused else error)

    def unwanted(self, result: Any, attempt: int, pause: float, begun: float, now: float,
                 above: Sequence[str] | None = None) -> float | None:
        """How long to pause before the next attempt after a *result*; None: it is the answer."""
        policy = self._held.policy
        earlier = pause.release() if isinstance(pause, _Pause) else None
        if policy.on_result is None or not policy.on_result(result):
            return None
        delay, _ = self._delay(policy, attempt, pause, now - begun, now, None, False, above)
        if delay is not None:
            self._recorder.count((_RETRY,), now)
            self._tell(None, int(Event.SUCCESS), attempt, delay, now)
            return _Pause.after(delay, earlier)
        return None

    def backoff_sleep(self, seconds: float) -> None:
        """Pause a plain function; a call that is interrupted in a pause has ended as cancelled."""
        try:
            sleeper(self._clock)(seconds)
        except BaseException:
            self._cut_short(seconds)
            raise

    async def backoff_sleep_async(self, seconds: float) -> None:
        """Pause a coroutine function, as backoff_sleep() does a plain one."""
        try:
            await async_sleeper(self._clock)(seconds)
        except BaseException:
            self._cut_short(seconds)
            raise

    def _cut_short(self, pause: float) -> None:
        """A call was cancelled or interrupted while it paused."""
        if isinstance(pause, _Pause):
            pause.release()
        self._recorder.count(_CANCELLED, self._clock())

    def _delay(self, policy: Retry, attempt: int, pause: float, elapsed: float, now: float, error: BaseException | None,
               busy: bool, above: Sequence[str] | None) -> tuple[float | None, str]:
        """How long to pause; None: there is to be no further attempt, and the bound that is in its way."""
        if policy.nested == "once":
            if above is None:
                above = layer.get()
            outer = above[0] if above else on_the_stack(1 if self._is_wrapper else 0)
            if outer is not None:
                self._recorder.count(_LEFT_TO_CALLER, now)
                for scope in scopes.get():
                    scope.left_to_retry = True
                return None, f"left to the retry of {outer}, which decides whether to repeat this call"
        answer: Any = error.result if error is not None and is_a(error, FailedResultError) else error
        if policy.respect_retry_after and forbids_retry(answer):
            return None, "the target asks for no further attempt"
        asked = None if error is None else asked_for(error, wall_clock)
        delay, bound = next_delay(policy, attempt, pause, elapsed, self._random(), asked, busy=busy,
                                  timeout=self._timeout(), waits=self._waits)
        if delay is None:
            return None, bound
        if in_use and (left := remaining()) is not None and left <= delay:
            return None, "the caller's deadline leaves no time for another attempt"
        budget = self._held.budget
        if budget is not None and not budget.withdraw(now, policy.busy_price if busy else policy.price):
            return None, f"the retry budget of the group {self._group} allows no other attempt"
        return delay, ""

    def _tell(self, error: BaseException | None, event: int, attempt: int, delay: float, now: float) -> None:
        if self._emitter.wanted(CallRetried):
            self._emitter.emit(CallRetried(self.key, self._group, event_name(event), error, attempt, delay, now))
