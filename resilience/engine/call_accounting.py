"""CallAccounting: what a call that did not simply succeed means for counts, events and fallback.

One per guarded function, since ``ignore`` and the fallback belong to the
function. The compiled wrapper asks it two things: how an exception is to be
weighed (classify), and, last of all, whether a fallback shall answer (should_fall_back).
Accounting follows Hystrix: exceptions_thrown = bad_request + fallback_failure +
fallback_rejection + fallback_missing.
"""

from __future__ import annotations

import concurrent.futures
import sys
from collections.abc import Callable
from typing import Any

from ..core.callbacks import came_of_callback
from ..core.circuit import Circuit
from ..core.events import CallFailed, CallRejected
from ..core.exception_copy import traceback_of
from ..core.exception_groups import holds, is_a, is_group, is_interrupt, parts
from ..core.failures import Failures
from ..core.fallback import Fallback
from ..core.outcome import (
    BUSY,
    CANCELLED,
    CUT_SHORT,
    FAILED_IN_STALL,
    FAILURE,
    IGNORED,
    REJECTED,
    SUCCESS,
    TIMED_OUT_IN_STALL,
    TIMEOUT,
    Event,
    event_name,
)
from ..core.rate_cost import units_of
from ..core.rate_limiter import RateLimiter
from ..core.stalls import NO_STALLS, Stalls
from ..core.stream_timeout import StreamMeter
from ..drivers.admission_waiter import AdmissionWaiter
from ..drivers.deadline_context import deadline_expired, in_use
from ..drivers.hedged_attempts import JobRace
from ..drivers.hedged_generators import HedgedGenerator
from ..drivers.hedged_streams import HedgedStream, StreamAttempt
from ..drivers.stream_timeouts import StreamGauge, StreamWatch
from ..drivers.workers import Job, ThreadIsolation
from ..errors import (
    BadRequestError,
    CallTimeoutError,
    CircuitOpenError,
    DeadlineExceededError,
    NoTimeLeftError,
    ResilienceError,
    ThreadUnavailableError,
)
from ..metrics.recorder import Recorder
from .callables import TRANSPARENT_FRAMES, is_transparent, transparent_frame
from .cost_account import CostAccount
from .emitter import Emitter
from .failure_judge import FailureJudge
from .fallback_account import FallbackAccount

#: The event under which each Outcome of a call that ran is counted.
EVENT_OF: dict[int, int] = {
    SUCCESS: int(Event.SUCCESS),
    FAILURE: int(Event.FAILURE),
    TIMEOUT: int(Event.TIMEOUT),
    IGNORED: int(Event.BAD_REQUEST),
    CANCELLED: int(Event.CANCELLED),
    CUT_SHORT: int(Event.TIMEOUT),
    BUSY: int(Event.BUSY),
    FAILED_IN_STALL: int(Event.FAILURE),
    TIMED_OUT_IN_STALL: int(Event.TIMEOUT),
    REJECTED: int(Event.SEMAPHORE_REJECTED),  # by a client's own pool, as failure rules say
}
_IN_STALL: dict[int, int] = {FAILURE: FAILED_IN_STALL, TIMEOUT: TIMED_OUT_IN_STALL}

_SHORT_CIRCUITED = int(Event.SHORT_CIRCUITED)
_BAD_REQUEST, _CANCELLED = int(Event.BAD_REQUEST), int(Event.CANCELLED)
_THROWN, _MISSING = int(Event.EXCEPTIONS_THROWN), int(Event.FALLBACK_MISSING)
_RETRY, _FAILOVER = int(Event.RETRY), int(Event.FAILOVER)
# What stands between a wrapper and its function on a worker, or a policy's callback.
for _each in (ThreadIsolation.wait, Job.outcome, Job.run, JobRace.result, RateLimiter.reserve, RateLimiter.book,
              CostAccount.book, units_of, AdmissionWaiter.take, AdmissionWaiter.wait, AdmissionWaiter.wait_async,
              AdmissionWaiter.level, AdmissionWaiter.tenant, AdmissionWaiter.admit, ThreadIsolation.submit,
              HedgedGenerator.__next__, HedgedGenerator._first, HedgedGenerator.send, HedgedGenerator.throw,
              HedgedGenerator._step, HedgedGenerator._given, HedgedGenerator._raced,
              HedgedStream._first, HedgedStream._raced, StreamAttempt._ask,
              StreamGauge.arrived, StreamWatch.arrived, StreamMeter.arrived):
    transparent_frame(_each)
_NO_TIME_LEFT, _RATE_LIMITED = int(Event.NO_TIME_LEFT), int(Event.RATE_LIMITED)
_RAN = frozenset(EVENT_OF.values()) - {EVENT_OF[REJECTED]}
_ILL = frozenset((FAILURE, TIMEOUT))
#: What ends an iteration: the answer of __next__, __anext__ or next().
ENDS_OF_ITERATION: tuple[type[Exception], ...] = (StopIteration, StopAsyncIteration)
#: What every block, and every function, ignores, and what may be no failure; one tuple for all that ignore no more.
_IGNORED_IN_BLOCKS: tuple[type[Exception], ...] = (BadRequestError,)
_IGNORED: tuple[type[Exception], ...] = (*_IGNORED_IN_BLOCKS, *ENDS_OF_ITERATION)
_SPECIAL = (BaseExceptionGroup, CallTimeoutError, NoTimeLeftError, ThreadUnavailableError,
            concurrent.futures.CancelledError, *_IGNORED)
#: Of several that a group's parts amount to, what the group does: the first of these.
_GRAVEST = (FAILURE, TIMEOUT, BUSY, CUT_SHORT, CANCELLED, REJECTED, IGNORED)


class CallAccounting:
    """The accounts of one guarded function.

    Attributes:
        judging: Its command's failure rules; None: there are none.
        moves_on: What fails goes to the loop of a failover, which may have another target for it.
        broke_off: Of a target of a failover: told of a stream that failed after its first item, since when, and now.
        hands_up: What fails goes to the cache above, which may have an expired answer for it.
        fallback: What answers for its failed calls; None: nothing does.
    """

    __slots__ = ("_clock", "_emitter", "_failures", "_group", "_ignore", "_key", "_recorder", "_special", "_stalls",
                 "broke_off", "fallback", "hands_up", "judging", "moves_on")
    judging: FailureJudge | None

    def __init__(self, *, key: str, group: str, clock: Callable[[], float], recorder: Recorder, emitter: Emitter,
                 failures: Failures, fallback: Fallback | None, ignore: tuple[type[Exception], ...],
                 stalls: Stalls = NO_STALLS, is_block: bool = False) -> None:
        self._key, self._group, self._clock = key, group, clock
        self._recorder, self._emitter, self._failures = recorder, emitter, failures
        self.judging, self._stalls = None, stalls
        self.moves_on = self.hands_up = False
        self.broke_off: Callable[[BaseException, int, float, float], None] | None = None
        self.fallback = None if fallback is None else FallbackAccount(
            fallback, key=key, group=group, clock=clock, recorder=recorder, emitter=emitter)
        always = _IGNORED_IN_BLOCKS if is_block else _IGNORED
        self._ignore: tuple[type[Exception], ...] = (*always, *ignore) if ignore else always
        self._special: tuple[type[BaseException], ...] = (*_SPECIAL, *ignore) if ignore else _SPECIAL

    def classify(self, error: BaseException, started: float, now: float) -> int:
        """The Outcome of a call that ran from *started* to *now* and raised *error*; of a group, its gravest part.

        A failure is noted, before the circuit hears of it.
        """
        kind = type(error)
        if issubclass(kind, self._special) or not issubclass(kind, Exception):
            outcome = self._judge(error)
            if outcome not in _ILL and not (outcome == CUT_SHORT and self._was_slow(error)):
                return outcome
        elif (kind is TypeError and _never_began(error)) or came_of_callback(error, TRANSPARENT_FRAMES):
            return IGNORED
        elif in_use and deadline_expired(error):
            return CUT_SHORT
        elif self.judging is None:
            outcome = FAILURE
        else:
            outcome = self._by_rules(error)
            if outcome not in _ILL:
                return outcome
        if outcome in _IN_STALL and self._stalls.excuses(started, now):
            return _IN_STALL[outcome]
        self._failures.note(error, self._clock())
        return outcome

    def _by_rules(self, error: Any) -> int:
        """The Outcome of what is a failure unless the command's rules say otherwise."""
        judged = None if self.judging is None else self.judging.error(error)
        if judged == BUSY and self.judging is not None:
            self.judging.found_busy(error)
        return FAILURE if judged is None else judged

    def _judge(self, error: BaseException) -> int:
        """The Outcome of a call whose error may be no failure."""
        if is_interrupt(error):
            return CANCELLED
        if came_of_callback(error, TRANSPARENT_FRAMES):
            return IGNORED
        found = {self._outcome(part) for part in parts(error, self._ignore)}
        return next(each for each in _GRAVEST if each in found)

    def _was_slow(self, error: BaseException) -> bool:
        """Whether a call that its caller's deadline cut short had as long as a slow call takes."""
        return (is_a(error, DeadlineExceededError) and _key_of(error) == self._key
                and error.timeout >= self._failures.with_deadlines_s and not self._refuses(error))

    def _refuses(self, timeout: BaseException) -> bool:
        return self.judging is not None and self.judging.refuses(timeout)

    def _outcome(self, error: BaseException) -> int:
        """The Outcome of a call, or of a part of it, that raised *error*."""
        if is_a(error, concurrent.futures.CancelledError):
            return CANCELLED
        if is_a(error, CallTimeoutError) and _key_of(error) == self._key:
            if is_a(error, DeadlineExceededError):
                return CUT_SHORT
            return REJECTED if self._refuses(error) else TIMEOUT
        if is_a(error, ThreadUnavailableError) and _key_of(error) == self._key:
            return REJECTED  # of a hedged generator, which takes a thread with its first step
        if deadline_expired(error):
            return CUT_SHORT  # of a call inside, by the deadline of our own caller
        return IGNORED if is_a(error, self._ignore) else self._by_rules(error)

    def true_event(self, error: BaseException, event: int) -> int:
        """What a call is to be counted as that ended with *error*, when the wrapper takes it for *event*.

        The wrapper names the gate that it was at. What was raised there may have been an interrupt, or a mistake in a
        function of the user that the gate called, which is as a bad request: nobody refused the call, nobody failed.
        """
        if event in _RAN:  # classify() has said so
            return event
        if is_interrupt(error):
            return _CANCELLED
        if event == _NO_TIME_LEFT:
            return event
        if came_of_callback(error, TRANSPARENT_FRAMES):
            return _BAD_REQUEST
        refused = is_a(error, ResilienceError) or (event == EVENT_OF[REJECTED] and self._judge(error) == REJECTED)
        return event if refused else _BAD_REQUEST

    def weighing(self, settle: Callable[..., None]) -> Callable[..., None]:
        """*settle* of a circuit, for wrappers that take whatever a gate raises for a refusal.

        A circuit may be told to count those; a mistake in the gate's callback is none.
        """

        def weigh(permit: Any, outcome: int, started: float, now: float) -> None:
            if outcome == REJECTED:
                error = sys.exception()
                if error is not None and self.true_event(error, _RATE_LIMITED) == _BAD_REQUEST:
                    outcome = IGNORED
            settle(permit, outcome, started, now)

        return weigh

    def blames_caller(self, error: BaseException) -> bool:
        """Whether a group of errors holds a mistake of the caller, which no further attempt would mend."""
        return is_group(error) and holds(error, self._ignore)

    def refusal(self, permit: Any, now: float) -> CircuitOpenError:
        """Count a call refused by an open circuit, for a function without a fallback. Return what to raise."""
        recorder = self._recorder
        if now < recorder.edge:
            recorder.bump_refused()
        else:
            recorder.refused(now)
        refusal = CircuitOpenError(self._key, permit.until - now, permit.standing, self._failures.last, now)
        if CallRejected in self._emitter.listeners:
            self._tell(refusal, _SHORT_CIRCUITED, now, now)
        return refusal

    def belated(self, now: float) -> NoTimeLeftError:
        """The error for a call whose caller's deadline has passed; should_fall_back() counts it."""
        return NoTimeLeftError(self._key)

    def refused_belated(self, now: float) -> NoTimeLeftError:
        """Do the same as belated(), and count the call: for a function with neither fallback nor retry."""
        error = self.belated(now)
        self._tell(error, _NO_TIME_LEFT, now, now)
        self._recorder.count((_NO_TIME_LEFT, _MISSING, _THROWN), now)
        return error

    def admission(self, circuit: Circuit) -> Callable[[float], Any]:
        """circuit.acquire for a function without a fallback: counts a refusal before it raises it."""

        def admit(now: float) -> Any:
            try:
                return circuit.acquire(now)
            except CircuitOpenError as refusal:
                self._recorder.refused(now)
                if CallRejected in self._emitter.listeners:
                    self._tell(refusal, _SHORT_CIRCUITED, now, now)
                raise

        return admit

    def should_fall_back(self, error: BaseException, event: int, started: float, items: int = 0) -> bool:
        """Count a call that ended with *error* as *event*; whether the fallback shall answer for it.

        A generator that has yielded *items* already is past being answered for.
        """
        now = self._clock()
        event = self.true_event(error, event)
        if event == _CANCELLED:
            self._count((event,), event, started, now)
            return False
        if event == _BAD_REQUEST:
            passed_on = self.judging is not None and self.judging.passes_on(error)
            self._count((event,) if passed_on else (event, _THROWN), event, started, now)
            return False
        self._tell(error, event, started, now)
        if self.moves_on and not items and event != _NO_TIME_LEFT:
            self._count((event,), event, started, now)
            return True
        if items and self.broke_off is not None and event in _RAN:
            self.broke_off(error, event, started, now)
        if self.hands_up:
            self._count((event,), event, started, now)
            return True
        fallback = self.fallback
        if fallback is None or items or not fallback.answers_for(error):
            passed_on = self.judging is not None and self.judging.passes_on(error)
            left = is_interrupt(error)  # of a stream that was judged by an item before its consumer left it
            self._count((event,) if passed_on or left else (event, _MISSING, _THROWN), event, started, now)
            return False
        self._count((event,), event, started, now)
        return True

    def may_answer(self, error: BaseException) -> bool:
        """Whether the fallback, or another target, answers for a call that fails with *error*."""
        return self.moves_on or self.falls_back(error)

    def falls_back(self, error: BaseException) -> bool:
        """Whether the fallback answers for a call that fails with *error*."""
        return self.fallback is not None and self.fallback.answers_for(error)

    def excuses(self, started: float, now: float) -> bool:
        """Whether a call that ran from *started* to *now* lost so much of it to a stall that its end says nothing."""
        return self._stalls.excuses(started, now)

    def was_cut_short(self, error: BaseException, event: int) -> bool:
        """Whether a call that ended with *error*, counted as *event*, ran out of its caller's time, not of its own."""
        return event == EVENT_OF[CUT_SHORT] and self._judge(error) == CUT_SHORT

    def moved_on(self, now: float) -> None:
        """Count that a call which failed here goes on to another target."""
        self._recorder.count((_FAILOVER,), now)

    def stayed(self, error: BaseException, now: float) -> bool:
        """Count that nothing answers for a call that ended with *error* and was handed on; whether that is a result."""
        passed_on = self.judging is not None and self.judging.passes_on(error)
        if not passed_on:
            self._recorder.count((_MISSING, _THROWN), now)
        return passed_on

    def retried(self, error: BaseException, event: int, started: float, now: float) -> None:
        """Count an attempt that ended with *error* as *event* and is followed by another."""
        if event not in _RAN:
            self._note_refusal(error, event, now)
        self._count((event, _RETRY), event, started, now)

    def emitted(self, items: int) -> None:
        """A generator yielded so many *items*."""
        if items:
            self._recorder.emitted(items, self._clock())

    def dropped(self, started: float) -> None:
        """Count a stream that is gone, since nobody wanted more of it and its loop did not close it; not its items."""
        self._count((_CANCELLED,), _CANCELLED, started, self._clock())

    def renew(self) -> None:
        """Start over in a forked child."""
        if self.fallback is not None:
            self.fallback.renew()

    def _note_refusal(self, error: BaseException, event: int, now: float) -> None:
        """Note an inner policy's refusal if the breaker counts those as failures."""
        if self._failures.with_refusals and event not in (_SHORT_CIRCUITED, _NO_TIME_LEFT):
            self._failures.note(error, now)

    def _count(self, events: tuple[int, ...], event: int, started: float, now: float) -> None:
        if event in _RAN:
            self._recorder.ran(events, started, now)
        else:
            self._recorder.count(events, now)

    def _tell(self, error: BaseException, event: int, started: float, now: float) -> None:
        emitter, name = self._emitter, event_name(event)
        if event in _RAN:
            if emitter.wanted(CallFailed):
                emitter.emit(CallFailed(self._key, self._group, name, error, now - started, now))
            return
        self._note_refusal(error, event, now)
        if emitter.wanted(CallRejected):
            emitter.emit(CallRejected(self._key, self._group, name, error, now))


def _key_of(error: BaseException) -> Any:
    """The key in an error of ours; a user's class may be derived from it, and answer in any way."""
    try:
        return error.key  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - then it is not this command's own
        return None


def _never_began(error: BaseException) -> bool:
    """Whether *error*, a TypeError, says that the call's arguments do not fit: the caller's mistake."""
    trace = traceback_of(error)
    while trace is not None and trace.tb_next is not None:  # below the wrapper's own frame are none but ours
        trace = trace.tb_next
        code = trace.tb_frame.f_code
        if not is_transparent(code):
            return False  # a line of the function ran
    return True
