"""Exchange: asks the shared store for the leases of all limits of one gateway. One question is under way at a time.

Whatever has come up in one turn of the event loop, and while the last question was under way, goes out in one. A
question that is not answered within a quarter of the timeout is late: then only one request waits on, and all others
are decided locally, also those that come meanwhile. So the loss of the store costs one request the timeout, and the
others that wait at that moment a quarter of it at most.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .booking_script import BOOK
from .connection import FOUND_S
from .lease import HOLD_S, Lease
from .limiter import SharedLimiter
from .store import Store, StoreRefusalError, StoreUnavailableError

#: Leases in one question: the server does nothing else meanwhile.
_MOST: Final = 64
_LATE_SHARE: Final = 0.25
#: Turns of the event loop that a late answer still has, since the loop itself may have been late.
_TURNS: Final = 8
#: After the return of the store each gateway decides by itself for so long, until all have told what they admitted.
SETTLING_S: Final = 1.5 * FOUND_S
_SETTLING_STEPS: Final = 10
_TICK_S: Final = HOLD_S / 4
_log = logging.getLogger("resilience")


class Exchange:
    """The questions of one gateway to one store. For one event loop.

    Attributes:
        limiters: Whose leases are asked for.
        questions: How many there were.
        episode: Counts the times without the store: those since it was last of use belong to this one.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        """Nothing is asked yet.

        Args:
            store: Is asked.
            clock: Monotonic seconds.
        """
        self._store, self._clock = weakref.ref(store), clock
        self.limiters = weakref.WeakSet[SharedLimiter]()
        self.questions, self.episode = 0, 1
        self._queue: deque[tuple[SharedLimiter, Lease]] = deque()
        self._asked: list[tuple[SharedLimiter, Lease]] = []
        self._is_late = self._is_settling = self._was_lost = False
        self._task: asyncio.Task[None] | None = None
        self._held: dict[Lease, SharedLimiter] = {}
        self._tick: asyncio.TimerHandle | None = None

        store.follow(self._hear)

    @property
    def store(self) -> Store:
        """Is asked."""
        store = self._store()
        assert store is not None, "whoever asks has the store"
        return store

    @property
    def _is_connected(self) -> bool:
        """Whether the store is there; a reload may have taken it away for good."""
        store = self._store()
        return store is not None and store.is_connected

    @property
    def is_usable(self) -> bool:
        """Whether there is a point in asking."""
        return self._is_connected and not self._is_late and not self._is_settling

    def ask(self, limiter: SharedLimiter, lease: Lease) -> None:
        """Ask for this *lease*, soon."""
        if lease.is_queued:
            return
        lease.is_queued = True
        self._queue.append((limiter, lease))
        if self._task is None:
            self.store.start()
            self._task = asyncio.get_running_loop().create_task(self._ask_all(), name="shared limits")

    async def _ask_all(self) -> None:
        try:
            while self._queue and self._is_connected:
                await self._ask_some()
        finally:
            self._task = None
            self._give_up()

    async def _ask_some(self) -> None:
        now, lines = self._clock(), []
        batch = self._asked = [self._queue.popleft() for _ in range(min(_MOST, len(self._queue)))]
        for limiter, lease in batch:
            lease.is_queued = False
            lines.append(limiter.question(lease, now, wants=not self._is_settling))
        self.questions += 1
        store, loop = self.store, asyncio.get_running_loop()
        late = loop.call_later(_LATE_SHARE * store.timeout_s, self._late, loop, batch, _TURNS)
        answers = None
        try:
            answers = await store.run(BOOK, [f"{store.prefix}epoch", *(lease.key for _, lease in batch)],
                                      [store.instance, store.epoch, *lines])
        except StoreRefusalError:
            self.episode += 1
        except StoreUnavailableError:
            pass
        finally:
            late.cancel()
            self._asked, self._is_late = [], False
            if answers is None:
                for limiter, lease in batch:
                    limiter.no_answer(lease)
        if answers is not None:
            self._take(batch, answers)

    def _take(self, batch: list[tuple[SharedLimiter, Lease]], answers: Any) -> None:
        now = self._clock()
        is_list = isinstance(answers, list) and len(answers) == len(batch)
        lines: list[Any] = answers if is_list else [answers] * len(batch)
        for (limiter, lease), line in zip(batch, lines, strict=True):
            try:
                limiter.answer(lease, bytes.decode(line, "ascii"), now)
            except (TypeError, ValueError) as error:
                _log.error("the shared store gave an answer that is none: %s", error)
                limiter.no_answer(lease)
            if lease.units > 0.0:
                self._held[lease] = limiter
            if lease.needs or lease.owes > 0.0:
                self.ask(limiter, lease)
        if self._held and self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_TICK_S, self._look)

    def _late(self, loop: asyncio.AbstractEventLoop, batch: list[tuple[SharedLimiter, Lease]], turns: int) -> None:
        """The answer has not come; let one wait on, and nobody else."""
        if self._asked is not batch:
            return
        if turns:
            loop.call_soon(self._late, loop, batch, turns - 1)
            return
        self._is_late = True
        self.episode += 1
        first = next(filter(None, (lease.awaited() for _, lease in batch)), None)
        for _, lease in (*batch, *self._queue):
            lease.abandon(but=first)

    def _look(self) -> None:
        """Give back what is not needed, and say what was spent."""
        now, self._tick = self._clock(), None
        for lease, limiter in list(self._held.items()):
            if lease.units <= 0.0 and not lease.unreported:
                del self._held[lease]
            elif lease.look_at <= now and self._is_connected:
                del self._held[lease]
                self.ask(limiter, lease)
        if self._held and self._store() is not None:
            self._tick = asyncio.get_running_loop().call_later(_TICK_S, self._look)

    def _hear(self, is_connected: bool) -> None:
        """Tell the store, when it is there again, what was admitted without it, and let all others do so, too."""
        if not is_connected:
            self.episode += 1
            self._was_lost = True
            return
        if self._was_lost and not self._is_settling:
            self._is_settling = True
            self._settle(_SETTLING_STEPS)
        else:
            self._tell()

    def _settle(self, steps: int) -> None:
        self._is_settling = steps > 0
        if self._is_connected:
            self._tell()
        if steps:
            asyncio.get_running_loop().call_later(SETTLING_S / _SETTLING_STEPS, self._settle, steps - 1)

    def _tell(self) -> None:
        now = self._clock()
        for limiter in self.limiters:
            for lease in limiter.debtors(now):
                self.ask(limiter, lease)

    def _give_up(self) -> None:
        """Nobody asks any more, since the store is lost: whoever is queued decides locally."""
        queue, self._queue = self._queue, deque()
        for _, lease in queue:
            lease.is_queued = False
            lease.abandon()


_known: weakref.WeakKeyDictionary[Store, Exchange] = weakref.WeakKeyDictionary()


def exchange_of(store: Store, clock: Callable[[], float]) -> Exchange:
    """The exchange with this *store*."""
    exchange = _known.get(store)
    if exchange is None:
        exchange = _known[store] = Exchange(store, clock)
    return exchange
