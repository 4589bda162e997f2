"""Hedging: one command's hedges, as its functions ask for them.

A hedge stands below everything but chaos, so what it is given in place of a
function is what the wrapper calls: breaker, statistics and timeout see one call,
however many attempts it took. Each further attempt is real work all the same: it
takes a slot of the bulkhead, is paid for by the group's budget, and is not begun
while the circuit is not closed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final

import attrs

from ..core.budget import Budget
from ..core.bulkhead import Slots
from ..core.circuit import Circuit
from ..core.events import CallHedged, State
from ..core.hedge import Racer
from ..core.outcome import Event
from ..drivers.deadline_context import in_use, shortened
from ..drivers.hedged_attempts import JobRace, TaskRace, WaitLimit
from ..drivers.hedged_generators import HedgedGenerator
from ..drivers.hedged_streams import HedgedStream, StreamRace
from ..drivers.workers import Job
from ..metrics.recorder import Recorder
from .callables import transparent_frame
from .emitter import Emitter

_HEDGE: Final = (int(Event.HEDGE),)
_NOT_CLOSED: Final = (State.OPEN, State.HALF_OPEN, State.FORCED_OPEN)


@attrs.define
class HedgePolicy:
    """The hedging policy and budget in force for a command. configure() replaces the budget.

    Attributes:
        racer: The policy's machine.
        budget: Its group's.
        is_on: Whether further attempts are begun.
    """

    racer: Racer
    budget: Budget | None
    is_on: bool = True


class Hedging:
    """The hedges of one function. Every method may be called from any thread.

    Attributes:
        key: The command's.
    """

    def __init__(self, held: HedgePolicy, *, key: str, group: str, clock: Callable[[], float], slots: Slots,
                 circuit: Circuit | None, recorder: Recorder, emitter: Emitter, deposits: bool,
                 racing: Callable[[], AbstractContextManager[object]] = nullcontext,
                 cleanups: list[Callable[[], object]]) -> None:
        """Make one.

        Args:
            held: The policy and budget in force.
            key: The command's.
            group: The command's.
            clock: The registry's.
            slots: The command's.
            circuit: The command's; None: it has none.
            recorder: The command's.
            emitter: The registry's.
            deposits: Whether calls count towards the budget here, for no retry above does it.
            racing: What is around the attempts of a stream until its first item.
            cleanups: What a thread that runs a generator does at its end.
        """
        self._held, self.key, self._group, self._clock = held, key, group, clock
        self._slots, self._circuit = slots, circuit
        self._recorder, self._emitter, self._deposits = recorder, emitter, deposits
        self._racing, self._cleanups = racing, cleanups

    # -- what races ask

    def launch_after(self, n: int, now: float) -> float | None:
        """How long after the *n*-th attempt the next may begin; None: never."""
        held = self._held
        return held.racer.launch_after(n, now) if held.is_on else None

    def afford(self, now: float) -> bool:
        """Whether the circuit and the budget allow one more attempt; if so it is paid for."""
        circuit, budget = self._circuit, self._held.budget
        if circuit is not None and circuit.state in _NOT_CLOSED:
            return False
        return budget is None or budget.withdraw(now)

    def refund(self) -> None:
        """Pay back what afford() paid: the attempt could not begin after all."""
        budget = self._held.budget
        if budget is not None:
            budget.refund()

    def began(self, n: int, after: float, now: float) -> None:
        """The *n*-th attempt has begun."""
        self._recorder.count(_HEDGE, now)
        if self._emitter.wanted(CallHedged):
            self._emitter.emit(CallHedged(self.key, self._group, n, after, now))

    def freed(self) -> None:
        """Give the slot that a further attempt gave back to whoever waits for one."""
        if self._slots.crowd:
            self._slots.hand_on(self._clock())

    # -- what wrappers call

    def over(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """The coroutine function that is called in place of *fn*."""
        begin, clock, take = self._begin, self._clock, self._slots.take

        @transparent_frame
        async def hedged(*args: Any, **kwargs: Any) -> Any:
            after = begin(clock())
            if after is None:
                return await fn(*args, **kwargs)
            race = TaskRace(self, take, clock, fn, args, kwargs, after)
            try:
                result = await fn(*args, **kwargs)
            except BaseException as error:
                race.stop()
                if not await race.lost(error):
                    raise
                return race.result()
            race.stop()
            if race.further:
                await race.won()
            return result

        return hedged

    def over_generator(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """What is called in place of the generator function *fn*."""
        begin, clock, slots, key, racing = self._begin, self._clock, self._slots, self.key, self._racing
        cleanups = self._cleanups

        @transparent_frame
        def hedged(*args: Any, **kwargs: Any) -> Any:
            after = begin(clock())
            if after is None:
                return fn(*args, **kwargs)
            return HedgedGenerator(self, slots.take, slots.take_anyway, clock, key, partial(fn, *args, **kwargs), after,
                                   racing, cleanups)

        return hedged

    def over_async_generator(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """What is called in place of the async generator function *fn*."""
        begin, clock, take, racing = self._begin, self._clock, self._slots.take, self._racing

        @transparent_frame
        def hedged(*args: Any, **kwargs: Any) -> Any:
            after = begin(clock())
            if after is None:
                return fn(*args, **kwargs)
            return HedgedStream(fn(*args, **kwargs), partial(StreamRace, self, take, clock, fn, args, kwargs, after),
                                racing)

        return hedged

    @transparent_frame
    def wait(self, job: Job) -> Any:
        """The result of a call that was submitted as *job*, or of another attempt; see ThreadIsolation.wait()."""
        isolation = job.home
        try:
            after, timeout = self._begin(self._clock()), isolation.timeout
            left = shortened(timeout) if in_use and timeout is not None else None  # a deadline alone ends no work
            limit = WaitLimit(timeout, False) if left is None else WaitLimit(left, True)
            if after is not None and (limit.seconds is None or after < limit.seconds):
                if job.wait(after):
                    return job.outcome()
                return JobRace(self, isolation, self._clock, job, after, limit).result()
        except BaseException:
            job.leave()
            raise
        return isolation.wait(job)

    def _begin(self, now: float) -> float | None:
        """Note that a call begins. Return how long until its second attempt may begin."""
        held = self._held
        if not held.is_on:
            return None
        if self._deposits and held.budget is not None:
            held.budget.deposit(now)
        return held.racer.launch_after(1, now)
