"""Failover calls: one function's calls on their way through the targets of its failover.

Each target is a command. What callers call is the wrapper of the first: where that would ask a fallback, it asks for
another target. So while nothing is wrong a failover costs one look at an attribute. The others are called by a loop
(commands.failover_loop). What fails there or is refused comes out of their wrappers as a MovesOn, which carries the
exception and the event that it was counted as. No other exception concerns a failover: interrupts, cancellation and
the caller's own mistakes pass by.

A stream moves on until its first item has come; its wrapper knows, and lets a later exception pass.

Who gives up raises the most telling exception: what a target raised last that ran the function (of several that were
busy: the one that asks for the shortest pause, which a retry above will keep), else the refusal of the target that will
admit calls soonest. A result that was judged failed is the caller's all the same, unless something
above (a fallback, a cache, a retry) is to hear of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar, Token
from math import inf
from typing import Any, Final

import attrs

from ..core.budget import Budget
from ..core.context_managers import context_manager
from ..core.events import CallFailedOver, State
from ..core.exception_groups import is_a
from ..core.failover import Rest
from ..core.failover_state import FailoverState
from ..core.outcome import CUT_SHORT, EVENT_NAMES, TIMEOUT, Event, event_name
from ..core.retry_after import asked_for
from ..core.verdict import OUTCOME_OF, FailedResultError
from ..drivers.deadline_context import in_use, remaining
from ..drivers.system_clock import wall_clock
from ..errors import CallTimeoutError, CircuitOpenError, DeadlineExceededError, RejectedError
from .call_accounting import CallAccounting
from .callables import transparent_frame
from .command_runtime import CommandRuntime
from .failure_judge import FailureJudge
from .notes import add_notes
from .retrying import REFUSED
from .site import Site
from .wrapper_spec import Flavour

_BUSY: Final = int(Event.BUSY)
#: Of a hedged call: the targets that its attempts are at, so that each goes to another one.
_in_use_by_attempts: ContextVar[list[int] | None] = ContextVar("resilience_failover_attempts", default=None)


class MovesOn(BaseException):
    """What came of a call at one target, on its way to the loop, which may have another; nobody else meets it."""

    def __init__(self, error: BaseException, event: int, started: float) -> None:
        super().__init__()
        self.error, self.event, self.started = error, event, started


@attrs.define(eq=False)
class TargetFailover:
    """The part of a failover that the command of each target has. configure() replaces the budget."""

    rest: Rest
    budget: Budget | None


@attrs.frozen(eq=False)
class Target:
    """One target of one function.

    Attributes:
        name: As the function gets it.
        call: The compiled wrapper.
        held: Its part of the failover.
        runtime: The machines of its command.
        accounting: The function's accounts there.
        site: What the wrapper was compiled of.
    """

    name: str
    call: Callable[..., Any]
    held: TargetFailover
    runtime: CommandRuntime
    accounting: CallAccounting
    site: Site

    def is_down(self) -> bool:
        """Whether its circuit has opened, or there is none to say; one that a busy target halted is not down."""
        circuit = self.runtime.circuit
        return circuit is None or (circuit.state in (State.OPEN, State.DISABLED) and not circuit.is_halted)

    def verdict(self, error: BaseException, event: int, started: float, now: float) -> tuple[bool, float | None, bool]:
        """What a call since *started* that ended with *error*, counted as *event*, says of the target.

        Returns:
            Whether it is down; for how many seconds it asks to be left alone, None if it is not busy; and whether the
                call says nothing, since this process stood still, or the caller's own deadline was too short.
        """
        is_excused = self.accounting.excuses(started, now) or self.accounting.was_cut_short(error, event)
        if event == _BUSY:
            return False, asked_for(error, wall_clock) or 0.0, is_excused
        return not is_excused and self.is_down(), None, is_excused

    def broke_off(self, error: BaseException, event: int, started: float, now: float) -> None:
        """A stream has ended so after its first item: no other target follows, but this one may be down or busy."""
        is_down, asked, is_excused = self.verdict(error, event, started, now)
        if asked is not None:
            self.held.rest.pause(asked, now)
        elif not is_excused:
            self.held.rest.broke_off(is_down, started, now)


class FailingOver:
    """The failovers of one function. Every method may be called from any thread.

    Args:
        key: The function's.
        targets: In order of preference.
        clock: Monotonic seconds.
        random: Numbers in [0, 1).
        is_beneath: Whether a command stands above the loop, which is to hear of results that were judged failed.
        is_hedged: Whether that command may make several attempts at once.
    """

    def __init__(self, key: str, targets: Sequence[Target], *, clock: Callable[[], float],
                 random: Callable[[], float], is_beneath: bool = False, is_hedged: bool = False) -> None:
        self.key, self.targets, self.clock, self._random = key, tuple(targets), clock, random
        self.rests = tuple(target.held.rest for target in targets)
        self.names = tuple(target.name for target in targets)
        for target in self.targets:
            target.accounting.broke_off = target.broke_off
        self.is_beneath, self.is_hedged = is_beneath, is_hedged

    def random(self) -> float:
        """A random number, if one is needed."""
        return 0.0 if self.rests[0].config.weights is None else self._random()

    def begin(self) -> FailoverCall:
        """A call begins, and something has to be asked first."""
        now, budget = self.clock(), self.targets[0].held.budget
        if budget is not None:
            budget.deposit(now)
        return FailoverCall(self).begin(now)

    def after_first(self, error: BaseException, event: int, started: float) -> FailoverCall:
        """A call has ended so at the first target, where it went without a question."""
        return FailoverCall(self).after_first(error, event, started)


class FailoverCall:
    """One call on its way. It belongs to the thread or task of its caller.

    Attributes:
        call: The wrapper of the target that is chosen; None: there is no other.
        pause: Seconds to wait before resume(); 0: none.
    """

    __slots__ = ("_attempts", "_error", "_of", "_soonest", "_sorry", "_state", "_steps", "call", "pause")

    def __init__(self, of: FailingOver) -> None:
        self._of, self._attempts = of, _in_use_by_attempts.get() if of.is_hedged else None
        self._state = FailoverState(of.rests, of.targets[0].held.budget, of.names)
        self._error: BaseException | None = None  # the most telling
        self._sorry: Target | None = None  # where it came from
        self._soonest = inf
        self._steps: list[str] = []
        self.call: Callable[..., Any] | None = None
        self.pause = 0.0

    def begin(self, now: float) -> FailoverCall:
        """Choose the first target."""
        self._state.begin(now, self._of.random(), self._others())
        self._go()
        return self

    def after_first(self, error: BaseException, event: int, started: float) -> FailoverCall:
        """The first target was called, for it was calm, and the call ended so."""
        self._state.at_first()
        self.go_on(error, event, started)
        return self

    def succeeded(self) -> None:
        """The call has succeeded."""
        self._leave()
        self._state.succeeded(self._of.clock())

    def left(self) -> None:
        """It has ended in a way that says nothing about the target: cancelled, the caller's mistake."""
        self._leave()
        self._state.left(self._of.clock())

    def go_on(self, error: BaseException, event: int, started: float) -> None:
        """Find out what follows, after a call since *started* ended so at its target: ``call``, ``pause``, or neither.

        What ended so because this process or its loop stood still, or because the caller's deadline passed, has failed
        all the same, but says nothing of the target.
        """
        of, state = self._of, self._state
        index = state.target
        assert index is not None
        target, now = of.targets[index], of.clock()
        self._leave()
        left = remaining() if in_use else None
        self.call = None
        if event in REFUSED or event >= len(EVENT_NAMES):
            is_down = is_a(error, CircuitOpenError) and target.is_down()
            asked = error.retry_after if is_a(error, RejectedError) else None
            self._note_refusal(error, target, inf if asked is None else now + asked)
            state.after_refusal(is_down, asked, now, of.random(), left, self._others())
            self.pause = state.pause
        else:
            is_down, asked, is_excused = target.verdict(error, event, started, now)
            self._note_failure(error, target, None if asked is None else now + asked)
            self._steps.append(f"{target.name} ({_called(error)})")
            state.after_failure(is_down, asked, now, of.random(), left, self._others(), is_excused=is_excused)
            if state.target is not None:
                self._tell(target, error, event, of.targets[state.target], now)
        self._go()

    def resume(self) -> None:
        """The pause has passed."""
        self.pause = 0.0
        self._state.resume(self._of.clock(), self._of.random(), self._others())
        self._go()

    @transparent_frame
    def answer(self) -> Any:
        """What the caller gets when there is no other target: the result that was judged failed, or the exception.

        Raises:
            BaseException: The most telling one.
        """
        error, target, of = self._error, self._sorry, self._of
        assert error is not None
        assert target is not None
        self._state.give_back()
        self._error = self._sorry = None
        is_result = target.accounting.stayed(error, of.clock())
        if is_result and not of.is_beneath:
            assert isinstance(error, FailedResultError)
            if target.site.flavour.is_generator:
                target.accounting.emitted(1)
            return error.result
        if len(self._steps) > 1 or self._state.bound:
            add_notes(error, of.key, [self._state.bound] if self._state.bound else [],
                      f"targets tried: {', '.join(self._steps)}")
        try:
            raise error
        finally:
            del error  # no cycle through this frame

    def _note_failure(self, error: BaseException, target: Target, until: float | None) -> None:
        """Keep the last one; of targets that are busy that which will be so no longer soonest."""
        if until is None or not self._state.failed or until <= self._soonest:
            self._error, self._sorry, self._soonest = error, target, inf if until is None else until

    def _note_refusal(self, error: BaseException, target: Target, until: float) -> None:
        self._steps.append(f"{target.name} (refused)")
        if not self._state.failed and (self._error is None or until < self._soonest):
            self._error, self._sorry, self._soonest = error, target, until

    def _tell(self, target: Target, error: BaseException, event: int, following: Target, now: float) -> None:
        target.accounting.moved_on(now)
        runtime = target.runtime
        emitter = runtime.services.emitter
        if emitter.wanted(CallFailedOver):
            emitter.emit(CallFailedOver(runtime.key, runtime.group, event_name(event), error, following.runtime.key,
                                        now))

    def _go(self) -> None:
        index = self._state.target
        if index is not None:
            self.call = self._of.targets[index].call
            if self._attempts is not None:
                self._attempts.append(index)

    def _leave(self) -> None:
        if self._attempts is not None and self._state.target in self._attempts:
            self._attempts.remove(self._state.target)

    def _others(self) -> Sequence[int]:
        """Where the other attempts of a hedged call are."""
        return () if self._attempts is None else tuple(self._attempts)


def _called(error: BaseException) -> str:
    return error.why if type(error) is FailedResultError else type(error).__name__


class _Attempts:
    """The attempts of one call. Methods, for picklers that send a wrapper by value leave those behind."""

    __slots__ = ()

    def begin(self) -> Token[list[int] | None]:
        return _in_use_by_attempts.set([])

    def end(self, token: Token[list[int] | None]) -> None:
        try:
            _in_use_by_attempts.reset(token)
        except ValueError:  # closed by the garbage collector, in another context
            pass


@context_manager
def shared_attempts() -> Iterator[None]:
    """As long as the attempts of a hedged stream race for its first item: each is to go to another target."""
    attempts = _Attempts()
    token = attempts.begin()
    try:
        yield
    finally:
        attempts.end(token)


def with_attempts(guarded: Callable[..., Any], flavour: Flavour) -> Callable[..., Any]:
    """*guarded*, whose hedge makes several attempts at once, each of which is to go to another target."""
    attempts = _Attempts()

    def hedged(*args: Any, **kwargs: Any) -> Any:
        token = attempts.begin()
        try:
            return guarded(*args, **kwargs)
        finally:
            attempts.end(token)

    async def hedged_async(*args: Any, **kwargs: Any) -> Any:
        token = attempts.begin()
        try:
            return await guarded(*args, **kwargs)
        finally:
            attempts.end(token)

    return transparent_frame(hedged_async if flavour.is_async else hedged)


class TargetsJudge(FailureJudge):
    """What the command above a failover takes an exception of its targets for: what the target took it for."""

    __slots__ = ("_accountings", "_keys")

    def __init__(self, key: str, targets: Sequence[Target]) -> None:
        super().__init__(None, key=key)
        self._accountings = [target.accounting for target in targets]
        self._keys = frozenset(target.runtime.key for target in targets)
        self.item = self._held_item

    def error(self, error: Exception) -> int | None:
        """The Outcome of a call that raised *error*; None: nobody has an opinion."""
        if type(error) is FailedResultError and error.key in self._keys:
            return OUTCOME_OF[error.verdict]
        if is_a(error, CallTimeoutError) and error.key in self._keys:
            return CUT_SHORT if is_a(error, DeadlineExceededError) else TIMEOUT
        judging = self._accountings[0].judging
        return None if judging is None else judging.error(error)

    def passes_on(self, error: BaseException) -> bool:
        """Whether *error* stands for a result that is the caller's all the same."""
        return any(each.judging is not None and each.judging.passes_on(error) for each in self._accountings)

    @transparent_frame
    def _held_item(self, item: Any) -> FailedResultError | None:
        """Judge an *item* that a retry above holds back, as the targets do: they take it for their consumer's."""
        judging = self._accountings[0].judging
        return None if judging is None else judging.item(item)
