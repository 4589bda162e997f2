"""Thread batches: callers that block, of whom one leads. For tasks see drivers.task_batches.

The leader waits for the others until the batch is due
or full, runs it in its own thread, and wakes them; no further thread is needed. The
leadership is a token in the batch's list: whoever takes it leads. A leader that is
interrupted, before the batch ran or while it did, puts the token back and wakes the first
of the others, which takes it. A caller that leaves while nobody leads wakes another too, so
the token always finds somebody. What an interrupted leader left undone is begun anew. A
signal handler may ask while its own thread leads: it must not wait for the code that it
interrupted, and gets a batch of its own.

Nobody waits in a circle: a batch that runs is closed, so what it asks for itself goes
into a later one, and of two batches only the later can be waited for by the earlier. What
else callers and batches wait for is in the wait-for graph (drivers.batch_waits).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Hashable
from contextvars import Context
from sys import is_finalizing
from typing import Any

from ..core.batch import Batcher, BatchPlace, Collapse
from .batch_waits import AwaitingTicket, ScopedBatch
from .deadline_context import Patience, in_use, waited_in_vain
from .retry_layers import not_repeated
from .wait_for_graph import scopes

_TOKEN = (None,)


class ThreadBatch(ScopedBatch):
    """A batch of callers that block.

    Attributes:
        tokens: The leadership, unless somebody has it.
        gates: What each caller sleeps at, in order of arrival; to release it once is enough.
        leader: The thread that leads, and ``bell`` its gate.
        over: All answers are there.
        told: And everybody was woken after that.
    """

    __slots__ = ("bell", "gates", "leader", "over", "tokens", "told")

    def __init__(self, lane: Hashable, kept: Any) -> None:
        super().__init__(lane, kept)
        self.tokens: list[None] = [None]
        self.gates: dict[_Caller, threading.Lock] = {}
        self.leader: int | None = None
        self.bell: threading.Lock | None = None
        self.over = self.told = False

    def wake(self) -> None:
        """Wake everybody who sleeps."""
        over = self.over
        for gate in list(self.gates.values()):  # a caller that comes later sees what has happened before it sleeps
            _ring(gate)
        self.told = over

    def pass_on(self) -> None:
        """Wake the one who is to lead."""
        while self.gates:
            try:
                _ring(next(iter(self.gates.values())))
            except (RuntimeError, StopIteration):  # somebody came or went between the steps
                continue
            return


class _Caller(AwaitingTicket[ThreadBatch]):
    """A ticket, whether its holder has the leadership (``taken``) or had it (``led``), and its ``patience``."""

    __slots__ = ("led", "patience", "taken")

    def __init__(self, patience: Patience | None) -> None:
        super().__init__()
        self.patience = patience
        self.taken: list[list[None]] = []
        self.led = False


class ThreadBatches:
    """Puts calls of blocking callers together.

    Args:
        config: How.
        run: Called with what the batch keeps and the places; gives each its answer, or its error. What it raises
            is no Exception: an interrupt.
        keep: Called when a batch is made, with the first caller's owner; returns what the batch is to keep.
        context: The context to run a batch in, given what it keeps; one of its own.
        clock: Monotonic seconds. One with a ``sleep`` of its own (ManualClock) passes the time by that.
        name: Of what is called, for those who have no time for it.
    """

    def __init__(self, config: Collapse, run: Callable[[Any, list[BatchPlace]], None], keep: Callable[[Any], Any],
                 context: Callable[[Any], Context], clock: Callable[[], float], name: str) -> None:
        self._context = context
        self._run, self._clock, self._name, self._window = run, clock, name, config.window
        self._batcher = Batcher(config, lambda lane, owner: ThreadBatch(lane, keep(owner)))

    @property
    def batcher(self) -> Batcher[ThreadBatch]:
        """The open batches."""
        return self._batcher

    def renew(self) -> None:
        """Start over in a forked child: the leaders of the open batches are not there."""
        self._batcher.renew()

    def ask(self, lane: Hashable, key: Hashable, item: Any, owner: Any) -> BatchPlace:
        """Wait for what comes of *item*; see Batcher.join().

        Raises:
            NoTimeLeftError: The caller's deadline has passed.
            DeadlineExceededError: It passed while the caller waited. A caller who runs the batch is not cut short.
        """
        caller = _Caller(Patience.of(self._name) if in_use else None)
        try:
            if caller.scopes:
                caller.begin_wait()
            return self._ask(caller, lane, key, item, owner)
        finally:
            try:
                self._part(caller)
            except BaseException:
                self._part(caller)  # an interrupt: the steps that are done already are not done again
                raise

    def _ask(self, caller: _Caller, lane: Hashable, key: Hashable, item: Any, owner: Any) -> BatchPlace:
        me, known = threading.get_ident(), self._batcher.open_in(lane)
        if (known is not None and known.leader == me) or is_finalizing():  # or its leader does not run any more
            lane = None
        self._batcher.join(caller, lane, key, item, self._clock(), owner)
        batch, place = caller.batch, caller.place
        assert batch is not None
        assert place is not None
        gate = threading.Lock()
        gate.acquire()
        batch.gates[caller] = gate
        if batch.closed and batch.bell is not None:
            _ring(batch.bell)
        tokens, taken = batch.tokens, caller.taken
        while not batch.over:
            try:
                del tokens[-1]
                taken += (tokens,)
                batch.leader, batch.bell, caller.led = me, gate, True
            except IndexError:
                pass
            if taken:
                self._lead(batch, gate, caller.patience)
            else:
                left = -1.0 if caller.patience is None else caller.patience.left()
                if not gate.acquire(timeout=left) and caller.patience is not None:
                    _check(caller.patience, left)
        return place

    def _lead(self, batch: ThreadBatch, gate: threading.Lock, patience: Patience | None) -> None:
        while not batch.closed:
            left = min(batch.due - self._clock(), self._window)
            if left <= 0:
                break
            if patience is not None and (end := patience.left()) < left:
                if not self._rest(gate, end) and not hasattr(self._clock, "sleep"):
                    _check(patience, end)
            elif not self._rest(gate, left):
                break
        self._run_apart(batch)
        batch.over = batch.scope.is_over = True
        batch.wake()

    @not_repeated
    def _run_apart(self, batch: ThreadBatch) -> None:
        """Run *batch*, which is not the leader's own call."""
        places, context = self._batcher.take(batch), self._context(batch.kept)
        context.run(scopes.set, (batch.scope,))
        context.run(self._run, batch.kept, places)

    def _rest(self, gate: threading.Lock, seconds: float) -> bool:
        """Sleep so long. Return whether somebody rang before, or the clock should be looked at again."""
        sleep: Callable[[float], None] | None = getattr(self._clock, "sleep", None)
        if sleep is None:
            return gate.acquire(timeout=seconds)
        sleep(seconds)
        return False

    def _part(self, caller: _Caller) -> None:
        batch, taken = caller.batch, caller.taken
        if caller.scopes:
            caller.end_wait()
        if batch is None:
            return
        self._batcher.leave(caller)
        if taken:
            batch.leader = batch.bell = None
            tokens = batch.tokens
            tokens += _TOKEN
            del taken[0]
        batch.gates.pop(caller, None)
        if not batch.over and batch.tokens:
            batch.pass_on()
        elif caller.led and batch.over and not batch.told:
            batch.wake()


def _check(patience: Patience, waited: float) -> None:
    """Look at *patience* after a wait for all of it.

    Raises:
        DeadlineExceededError: It has come to an end, or its clock stands still.
    """
    if waited_in_vain(waited, patience.left()):
        raise patience.lost()


def _ring(gate: threading.Lock) -> None:
    with contextlib.suppress(RuntimeError):  # rung before
        gate.release()
