"""Batch: which calls are put together, and when.

A *lane* has one batch at most that is open: the first call opens it, and says by
that when it is due. It closes when it is taken, when it has as many items as it may,
or when everybody has left it; the lane's next call opens another. Equal items share a
*place*, and so does what comes of it: the batch function is asked for it once.

A caller's *ticket* says that they are in. They give it up when they have their answer, and
when they go without it. A place that nobody waits for any more is not asked for, and a
batch of which nobody is left never begins.

Which items are equal is for user's code to decide (``__eq__``, ``__hash__``), which
must not run under a lock: a place is found without, in the batch's index, and what
counts, whether it is in the batch, and who waits for it, is settled under it. There
is no call between two of those steps, where an interrupt could come (core.bulkhead).

Everything here is told the time. Who sleeps until a batch is due, and who runs it, is
the drivers' business (drivers.thread_batches, drivers.task_batches).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, Literal, TypeVar

import attrs

from .callable_identity import by_identity
from .checks import callable_or_none, number, one_of, strict
from .locks import Lock

MOST_WINDOW_S = 60.0
MOST_ITEMS = 100_000


@strict
@attrs.frozen(kw_only=True)
class Collapse:
    """How to put calls together.

    Attributes:
        window: How long a batch waits for more after its first call, seconds. Hystrix ticks every 10 ms; half of
            that is short beside a call over a network, and long beside what callers of one page are apart.
        max_batch: Items at most; a batch that has them does not wait any longer.
        scope: Whether all calls may be together, or only those of one request.
        key: Called with an item, returns what equal ones have in common; None: the item itself.
    """

    window: float = attrs.field(default=0.005, validator=number(least=0, most=MOST_WINDOW_S))
    max_batch: int = attrs.field(default=100, validator=number(least=1, most=MOST_ITEMS, whole=True))
    scope: Literal["global", "request"] = attrs.field(default="global", validator=one_of("global", "request"))
    key: Callable[[Any], Hashable] | None = attrs.field(default=None, validator=callable_or_none, eq=by_identity)


class BatchPlace:
    """One item of a batch, and what comes of it for all who asked for it.

    Attributes:
        item: As its first caller gave it.
        key: What equal items have in common.
        callers: Who wait for it.
        answer: What they get, unless ``error`` is set: then that is raised.
        trace: The traceback of ``error`` where it left the batch function.
    """

    __slots__ = ("answer", "callers", "error", "item", "key", "trace")
    answer: Any
    trace: Any

    def __init__(self, key: Hashable, item: Any) -> None:
        self.key, self.item, self.callers = key, item, 0
        self.error: Exception | None = None


class Batch:
    """Calls that go together.

    Attributes:
        lane: Whose it is; None: nobody else may join.
        kept: What its first caller brought along.
        due: When it is to be taken.
        entered: It is, or was, its lane's open one.
        closed: Nobody can join any more.
        begun: It was taken: who leaves now changes nothing about what is asked for.
        callers: Who have not left.
    """

    __slots__ = ("begun", "callers", "closed", "due", "entered", "index", "kept", "lane", "places", "size")

    def __init__(self, lane: Hashable, kept: Any = None) -> None:
        self.lane, self.kept = lane, kept
        self.due = 0.0
        self.entered = self.closed = self.begun = False
        self.callers = self.size = 0
        self.places: dict[BatchPlace, None] = {}  # in order of arrival
        self.index: dict[Hashable, BatchPlace] = {}


B = TypeVar("B", bound=Batch)


class BatchTicket(Generic[B]):
    """That a caller is in a batch.

    Attributes:
        batch: The batch; it stays the same when the caller has left.
        place: BatchPlace of the caller's item in the batch; None: the caller is not in it, or not any more.
    """

    __slots__ = ("batch", "place")

    def __init__(self) -> None:
        self.batch: B | None = None
        self.place: BatchPlace | None = None


class Batcher(Generic[B]):
    """The open batches of one collapsed function. Every method may be called from any thread.

    Args:
        config: How to put calls together.
        make: Makes an empty batch, given its lane and what its first caller brings along.
    """

    __slots__ = ("_lock", "_make", "_max_batch", "_open", "_window")

    def __init__(self, config: Collapse, make: Callable[[Hashable, Any], B]) -> None:
        self._window, self._max_batch, self._make = config.window, config.max_batch, make
        self.renew()

    def renew(self) -> None:
        """Start over in a forked child: nothing is open."""
        self._lock = Lock()
        self._open: dict[Hashable, B] = {}

    @property
    def open(self) -> int:
        """Batches that can be joined."""
        return len(self._open)

    def open_in(self, lane: Hashable) -> B | None:
        """The batch of *lane* that can be joined."""
        return self._open.get(lane)

    def join(self, ticket: BatchTicket[B], lane: Hashable, key: Hashable, item: Any, now: float,
             kept: Any = None) -> None:
        """Enter *ticket* for *item* in the lane's open batch; in one of its own, due at once, if *lane* is None.

        Args:
            ticket: A new one.
            lane: Who may go together; compared under the lock, so let it be of builtin types only.
            key: What equal items have in common.
            item: What is asked for.
            now: Seconds.
            kept: For the batch to keep, if this is the first caller.

        Raises:
            TypeError: *key* cannot be hashed.
        """
        while True:
            batch = self._open.get(lane) if lane is not None else None
            if batch is None:
                batch = self._make(lane, kept)
            place = batch.index.get(key)
            if place is None:
                place = batch.index.setdefault(key, BatchPlace(key, item))
            with self._lock:
                # Without a call from here to the end.
                if batch.closed or (not batch.entered and lane is not None and lane in self._open):
                    continue
                if not batch.entered:
                    batch.entered = True
                    batch.due = now if lane is None else now + self._window
                    self._open[lane] = batch
                if not place.callers:
                    batch.places[place] = None
                    batch.size += 1
                place.callers += 1
                batch.callers += 1
                ticket.batch, ticket.place = batch, place
                if lane is None or batch.size >= self._max_batch:
                    batch.closed = True
                    del self._open[lane]
            return

    def leave(self, ticket: BatchTicket[B]) -> int:
        """Give *ticket* up; harmless if it was given up before. How many are left in its batch."""
        batch = ticket.batch
        if batch is None:
            return 0
        with self._lock:
            place = ticket.place
            if place is not None:
                ticket.place = None
                place.callers -= 1
                batch.callers -= 1
                if not place.callers and not batch.begun:
                    del batch.places[place]
                    batch.size -= 1
                    if not batch.size and not batch.closed:
                        batch.closed = True
                        del self._open[batch.lane]
            return batch.callers

    def take(self, batch: B) -> list[BatchPlace]:
        """Close *batch*, and begin it: the places that somebody waits for, in order of arrival.

        May be called again, by who goes on where another was interrupted.
        """
        with self._lock:
            if not batch.closed:
                batch.closed = True
                del self._open[batch.lane]
            batch.begun = True
        return [place for place in batch.places if place.callers]  # they are settled: leave() only counts now
