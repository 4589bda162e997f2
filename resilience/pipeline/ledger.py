"""Ledger: what a call that did not simply succeed means for counts, events and fallback.

One per guarded function, since ``ignore`` and the fallback belong to the
function. The compiled wrapper asks it two things: how an exception is to be
weighed (classify), and, last of all, whether a fallback shall answer (rescuable).
Accounting follows Hystrix: exceptions_thrown = bad_request + fallback_failure +
fallback_rejection + fallback_missing.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

from ..core.bulkhead import Bulkhead, Slots
from ..core.circuit import Circuit
from ..core.events import CallFailed, CallRejected
from ..core.failures import Failures
from ..core.outcome import (
    CANCELLED,
    CUT_SHORT,
    EVENT_NAMES,
    FAILURE,
    IGNORED,
    SUCCESS,
    TIMEOUT,
    Event,
)
from ..drivers.races import JobRace
from ..drivers.time_left import ran_out
from ..drivers.workers import Isolation, Job
from ..errors import (
    BadRequestError,
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    DeadlineExceededError,
    FallbackRejectedError,
    NoTimeLeftError,
)
from ..metrics.recorder import Recorder
from .binding import is_stand_in
from .emitter import Emitter
from .policies import Fallback

#: The event under which each Outcome of a call that ran is counted.
EVENT_OF: dict[int, int] = {
    SUCCESS: int(Event.SUCCESS),
    FAILURE: int(Event.FAILURE),
    TIMEOUT: int(Event.TIMEOUT),
    IGNORED: int(Event.BAD_REQUEST),
    CANCELLED: int(Event.CANCELLED),
    CUT_SHORT: int(Event.TIMEOUT),
}

_SHORT_CIRCUITED = int(Event.SHORT_CIRCUITED)
_BAD_REQUEST, _CANCELLED = int(Event.BAD_REQUEST), int(Event.CANCELLED)
_THROWN, _MISSING = int(Event.EXCEPTIONS_THROWN), int(Event.FALLBACK_MISSING)
_FALLBACK_SUCCESS, _FALLBACK_FAILURE = int(Event.FALLBACK_SUCCESS), int(Event.FALLBACK_FAILURE)
_FALLBACK_REJECTION, _EMIT, _FALLBACK_EMIT = int(Event.FALLBACK_REJECTION), int(Event.EMIT), int(Event.FALLBACK_EMIT)
_RETRY = int(Event.RETRY)
#: What stands between a wrapper and its function on a worker.
_DRIVERS = frozenset(each.__code__ for each in (Isolation.wait, Job.outcome, Job.run, JobRace.result))
_NO_TIME_LEFT = int(Event.NO_TIME_LEFT)
_RAN = frozenset(EVENT_OF.values())


class Ledger:
    """The accounts of one guarded function."""

    __slots__ = ("_clock", "_emitter", "_failures", "_fallback", "_group", "_ignore", "_key", "_recorder", "_slots",
                 "_wants_error")

    def __init__(self, *, key: str, group: str, clock: Callable[[], float], recorder: Recorder, emitter: Emitter,
                 failures: Failures, fallback: Fallback | None, ignore: tuple[type[Exception], ...]) -> None:
        self._key, self._group, self._clock = key, group, clock
        self._recorder, self._emitter, self._failures = recorder, emitter, failures
        self._fallback = fallback
        self._wants_error = fallback is not None and fallback.wants_error()
        self._slots = Slots(Bulkhead(fallback.max_concurrent), key=key) if fallback is not None else None
        self._ignore: tuple[type[Exception], ...] = (BadRequestError, *ignore)

    def classify(self, error: BaseException) -> int:
        """The Outcome of a call that ran and raised *error*; a failure is noted, before the circuit hears of it."""
        if not isinstance(error, Exception) or isinstance(error, concurrent.futures.CancelledError):
            return CANCELLED
        outcome = FAILURE
        if isinstance(error, CallTimeoutError) and error.key == self._key:
            if isinstance(error, DeadlineExceededError):
                if error.timeout >= self._failures.with_deadlines_s:
                    self._failures.note(error, self._clock())
                return CUT_SHORT
            outcome = TIMEOUT
        elif ran_out(error):
            return CUT_SHORT  # of a call inside, by the deadline of our own caller
        elif isinstance(error, self._ignore) or _never_began(error):
            return IGNORED
        self._failures.note(error, self._clock())
        return outcome

    def refusal(self, permit: Any, now: float) -> CircuitOpenError:
        """Count a call refused by an open circuit, for a function without a fallback; what to raise."""
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
        """What to raise for a call whose caller's deadline has passed; rescuable() counts it."""
        return NoTimeLeftError(self._key)

    def refused_belated(self, now: float) -> NoTimeLeftError:
        """As belated(), for a function with neither fallback nor retry: counts it."""
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

    def rescuable(self, error: BaseException, event: int, started: float, items: int = 0) -> bool:
        """Count a call that ended with *error* as *event*; whether the fallback shall answer for it.

        A generator that has yielded *items* already is past being answered for.
        """
        now = self._clock()
        if not isinstance(error, Exception):
            event = _CANCELLED
        if event == _CANCELLED:
            self._count((event,), event, started, now)
            return False
        if event == _BAD_REQUEST:
            self._count((event, _THROWN), event, started, now)
            return False
        self._tell(error, event, started, now)
        fallback = self._fallback
        if fallback is None or items or not isinstance(error, fallback.on):
            self._count((event, _MISSING, _THROWN), event, started, now)
            return False
        self._count((event,), event, started, now)
        return True

    def retried(self, error: BaseException, event: int, started: float, now: float) -> None:
        """Count an attempt that ended with *error* as *event* and is followed by another."""
        if event not in _RAN:
            self._note_refusal(error, event, now)
        self._count((event, _RETRY), event, started, now)

    def rescue(self, error: BaseException, grip: list[list[None]]) -> None:
        """Take a fallback's slot, noted in *grip* as by Slots.take(); rescued() must follow, raised or not.

        Raises:
            FallbackRejectedError: Too many run already.
        """
        assert self._slots is not None
        try:
            self._slots.take(grip)
        except BulkheadFullError:
            self._recorder.count((_FALLBACK_REJECTION, _THROWN), self._clock())
            raise FallbackRejectedError(self._key) from error

    def arguments(self, error: BaseException, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments for the fallback."""
        return {**kwargs, "error": error} if self._wants_error else kwargs

    def rescued(self, error: BaseException | None, grip: list[list[None]], emitted: int = 0) -> None:
        """Count how the fallback ended: with its answer (None) or an *error*, after *emitted* items of a generator.

        Its slot has been given back already. With an empty *grip* it never began.
        """
        now = self._clock()
        if not grip and isinstance(error, Exception):
            return  # refused, and counted so
        if emitted:
            self._recorder.count((_FALLBACK_EMIT,), now, emitted)
        if error is None:
            self._recorder.count((_FALLBACK_SUCCESS,), now)
        elif not isinstance(error, Exception) or isinstance(error, concurrent.futures.CancelledError):
            self._recorder.count((_CANCELLED,), now)
        else:
            self._recorder.count((_FALLBACK_FAILURE, _THROWN), now)

    def emitted(self, items: int) -> None:
        """A generator yielded so many *items*."""
        if items:
            self._recorder.count((_EMIT,), self._clock(), items)

    def renew(self) -> None:
        """Start over in a forked child."""
        if self._slots is not None:
            self._slots.renew()

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
        emitter, name = self._emitter, EVENT_NAMES[event]
        if event in _RAN:
            if emitter.wanted(CallFailed):
                emitter.emit(CallFailed(self._key, self._group, name, error, now - started, now))
            return
        self._note_refusal(error, event, now)
        if emitter.wanted(CallRejected):
            emitter.emit(CallRejected(self._key, self._group, name, error, now))


def _never_began(error: BaseException) -> bool:
    """Whether *error* says that the call's arguments do not fit: the caller's mistake, and nothing of the target's."""
    if type(error) is not TypeError:
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:  # below the wrapper's own frame are none but ours
        trace = trace.tb_next
        code = trace.tb_frame.f_code
        if code not in _DRIVERS and not is_stand_in(code):
            return False  # a line of the function ran
    return True
