"""Hedged generators: several attempts at once to get the first item of a generator, each on a thread of its own.

A generator that waits holds up the thread it runs in, so that no attempt can run in its consumer's thread: that waits
for whichever has an item first. One thread runs all steps of an attempt, from the first to its closing, since what a
generator uses (a connection to a database) may belong to its thread. It makes a step when it is asked to, and hands
over what came of it.

Nothing can end a step. The consumer leaves an attempt that is in one, and its thread closes the generator when the step
returns; until then it holds a slot. The first attempt of a call has none of its own, for the call has it. When it is
left, it takes over that of the attempt which has won, and goes on with that of the call; where there is no other it
takes one more, whatever the limit is, for the call is about to give its own back.

Who gives back the slot of an attempt that is left: its thread, unless that has never begun, or has ended already. As
between a caller and a worker (drivers.workers), this is settled by taking the one token of a list.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from contextvars import copy_context
from sys import is_finalizing
from typing import Any, Final

from ..core.exception_copy import traceback_of, with_traceback
from ..core.exception_groups import is_a
from ..errors import ThreadUnavailableError
from .hedged_attempts import Grip, Schedule, Starter, release
from .pools import cleaned
from .system_clock import waited_clock
from .threads import start

_ITEM: Final = "item"
_RAISED: Final = "raised"
_CLOSED: Final = "closed"
_CLOSE: Final[tuple[str, tuple[Any, ...]]] = ("close", ())


class GeneratorAttempt:
    """One attempt: a generator, and the thread that runs it.

    Attributes:
        taken: The slot that it takes; the first attempt has that of its call.
        is_asked: It makes a step.
        is_left: Its thread closes it by itself, and gives its slot back then.
    """

    __slots__ = ("_answers", "_cleanups", "_context", "_end", "_freed", "_make", "_requests", "_start", "is_asked",
                 "is_left", "taken")

    def __init__(self, make: Callable[[], Generator[Any, Any, Any]],
                 answers: queue.SimpleQueue[tuple[GeneratorAttempt, str, Any]], freed: Callable[[], object],
                 cleanups: list[Callable[[], object]]) -> None:
        self.taken: Grip = []
        self.is_asked, self.is_left = True, False
        self._make, self._answers, self._freed, self._cleanups = make, answers, freed, cleanups
        self._context = copy_context()
        self._requests: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
        self._start, self._end = [None], [None]

    def begin(self, key: str) -> None:
        """Start the thread, and the first step.

        Raises:
            ThreadUnavailableError: The system gives no thread, or the interpreter is shutting down.
        """
        if is_finalizing():
            raise ThreadUnavailableError(key, None, "the interpreter is shutting down")
        thread = threading.Thread(target=self._context.run, args=(self._run,), name=f"resilience hedges {key}",
                                  daemon=True)
        try:
            start(thread)
        except RuntimeError as error:
            raise ThreadUnavailableError(key, None, str(error)) from error

    def ask(self, step: str, *args: Any) -> None:
        """Ask for a step, or to be closed."""
        self.is_asked = True
        self._requests.put((step, args))

    def leave(self, take_anyway: Callable[[Grip], object]) -> None:
        """Leave it to its thread, which closes it when it can, and holds a slot until then.

        Where an interrupt has kept this from its end it is to be called again.
        """
        if self.is_left:
            return
        try:
            del self._start[-1]
        except IndexError:
            pass
        else:  # its thread will never begin
            del self._end[-1]
            self.release()
            self.is_left = True
            return
        try:
            if not self.taken:
                take_anyway(self.taken)
        finally:
            self._requests.put(_CLOSE)
            try:
                del self._end[-1]
            except IndexError:
                self.release()
            else:
                self.is_left = True

    def release(self) -> None:
        """Give back the slot that it has taken, once."""
        if self.taken:
            release(self.taken)
            self._freed()

    def _run(self) -> None:
        """On the thread: make the steps that are asked for, and close the generator."""
        try:
            del self._start[-1]
        except IndexError:
            return
        source, raised, end = None, None, _RAISED
        step = "send"
        args: tuple[Any, ...] = (None,)
        try:
            source = self._make()
            while step != "close":
                self._answers.put((self, _ITEM, getattr(source, step)(*args)))
                args = ()
                step, args = self._requests.get()
            end = _CLOSED
            source.close()
        except BaseException as error:  # noqa: BLE001 - the consumer gets it, whatever it is
            trace = traceback_of(error)  # without our frame, which would hold what holds the error
            raised = with_traceback(error, trace and trace.tb_next)
        finally:
            if self._cleanups:
                cleaned(self._cleanups, copy_context())
            try:
                del self._end[-1]
            except IndexError:
                pass
            self.release()
            self._answers.put((self, end, raised))
            del raised, args


class HedgedGenerator:
    """What a wrapper uses of a generator, with a race for its first item; of one thread at a time.

    Args:
        starter: Says when a further attempt begins.
        take: Takes a slot for one.
        take_anyway: The same, though there be none left.
        clock: Of the command.
        key: Names the threads.
        make: Makes a generator.
        after: Seconds until the second attempt.
        racing: What is around the race.
        cleanups: What each thread does when its generator is closed, before its slot is free.
    """

    __slots__ = ("_after", "_alive", "_answers", "_cleanups", "_clock", "_key", "_make", "_primary", "_process",
                 "_racing", "_schedule", "_starter", "_take", "_take_anyway", "_winner")
    _schedule: Schedule  # of the race

    def __init__(self, starter: Starter, take: Callable[[Grip], object], take_anyway: Callable[[Grip], object],
                 clock: Callable[[], float], key: str, make: Callable[[], Generator[Any, Any, Any]],
                 after: float, racing: Callable[[], AbstractContextManager[object]],
                 cleanups: list[Callable[[], object]]) -> None:
        self._racing, self._cleanups = racing, cleanups
        self._starter, self._take, self._take_anyway, self._clock = starter, take, take_anyway, clock
        self._key, self._make = key, make
        self._answers: queue.SimpleQueue[tuple[GeneratorAttempt, str, Any]] = queue.SimpleQueue()
        self._primary: GeneratorAttempt | None = None
        self._winner: GeneratorAttempt | None = None
        self._alive: list[GeneratorAttempt] = []  # attempts that race
        self._after = after
        self._process = 0  # that of the threads; 0: there are none

    def __iter__(self) -> HedgedGenerator:
        return self

    def __next__(self) -> Any:
        return self._first() if self._primary is None else self.send(None)

    def send(self, value: Any) -> Any:
        """As that of the generator."""
        return self._step("send", value)

    def throw(self, *error: Any) -> Any:
        """As that of the generator."""
        return self._step("throw", *error)

    def close(self) -> None:
        """Close the generator; one that is in a step is left to its thread."""
        winner, self._winner = self._winner, None
        if self._is_inherited():
            return
        error = None
        try:
            self._leave_all(winner)
            if winner is not None and winner.is_asked:
                winner.leave(self._take_anyway)
            elif winner is not None:
                winner.ask("close")
                _, error = self._came_of(winner)
        except BaseException:  # an interrupt
            self._leave_all(None)
            if winner is not None:
                winner.leave(self._take_anyway)
            raise
        if error is not None:
            try:
                raise error
            finally:
                del error  # no cycle through this frame

    def _step(self, step: str, *args: Any) -> Any:
        winner = self._winner
        if winner is None:
            raise StopIteration
        if self._is_inherited():
            raise RuntimeError(f"{self._key}: this hedged generator runs on a thread of the parent process, which a "
                               "fork leaves behind; begin another one in the child")
        winner.ask(step, *args)
        del args
        return self._given(winner, *self._came_of(winner))

    def _is_inherited(self) -> bool:
        """Whether this is a forked child, and the threads are its parent's: nobody would answer."""
        return self._process not in (0, os.getpid())

    def _came_of(self, attempt: GeneratorAttempt) -> tuple[str, Any]:
        """Wait for what comes of the step of an *attempt*; those that were left are heard no more."""
        while True:
            who, kind, value = self._answers.get()
            if who is attempt:
                return kind, value

    def _given(self, attempt: GeneratorAttempt | None, kind: str, value: Any) -> Any:
        """Hand the consumer what came of an attempt's step."""
        if attempt is not None:
            attempt.is_asked = False
        if kind is _ITEM:
            return value
        self._winner = None
        try:
            raise value
        finally:
            del value  # no cycle through this frame

    def _first(self) -> Any:
        with self._racing():
            return self._raced()

    def _raced(self) -> Any:
        self._process = os.getpid()
        self._primary = self._begin(None)
        self._schedule = Schedule(self._starter, self._clock, self._after, waited_clock() + self._after)
        failure = None
        while self._alive:
            answer = self._next()
            if answer is None:
                continue
            attempt, kind, value = answer
            if kind is _ITEM or is_a(value, StopIteration):
                attempt.is_asked = False
                self._won(attempt)
                return self._given(attempt, kind, value)
            self._alive.remove(attempt)
            self._schedule.stop()
            if attempt is self._primary:
                failure = value
            del answer, value
        try:
            return self._given(None, _RAISED, failure)
        finally:
            del failure

    def _next(self) -> tuple[GeneratorAttempt, str, Any] | None:
        """What came of the next attempt to have anything; None: it was time for another one."""
        due = self._schedule.due
        if due is None:
            return self._answers.get()
        left = due - waited_clock()
        if left > 0.0:
            try:
                return self._answers.get(timeout=left)
            except queue.Empty:
                return None
        self._schedule.launch(lambda: self._begin(self._take))
        return None

    def _begin(self, take: Callable[[Grip], object] | None) -> GeneratorAttempt:
        attempt = GeneratorAttempt(self._make, self._answers, self._starter.freed, self._cleanups)
        self._alive.append(attempt)
        try:
            if take is not None:
                take(attempt.taken)
            attempt.begin(self._key)
        except BaseException:
            attempt.leave(self._take_anyway)
            self._alive.remove(attempt)
            raise
        return attempt

    def _won(self, winner: GeneratorAttempt) -> None:
        """Go on with *winner* alone, by the slot of the call; see above for those of the others."""
        primary = self._primary
        assert primary is not None
        self._winner = winner
        if primary is not winner and primary in self._alive:
            primary.taken, winner.taken = winner.taken, primary.taken
        else:
            winner.release()
        self._leave_all(winner)

    def _leave_all(self, winner: GeneratorAttempt | None) -> None:
        """Leave all that race but the *winner*."""
        while self._alive:
            each = self._alive[-1]
            if each is not winner:
                each.leave(self._take_anyway)
            del self._alive[-1]
