"""A bulkhead whose callers may wait for a slot: first come, first served, or tenant by tenant (``fair_by``).

The queue is an adaptive limit's (admission_queue.py), in turn: one level, the oldest first. As long as somebody waits
a newcomer takes no token, though one may just have come back, but stands behind them. Whoever gives a token back looks
at ``crowd`` and hands the token on; whoever has just come to stand in line looks for one that came back meanwhile. So
no token is left over while somebody waits for one.

In shadow mode nobody waits: a call that finds no token is counted, and runs.

The queue is made when somebody may first have to wait, and stays: most bulkheads refuse at once, and have none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from ..errors import BulkheadFullError
from .admission_queue import AdmissionQueue, Ticket
from .bulkhead import Bulkhead, Slots


class QueuedSlots(Slots):
    """The machine of a command's Bulkhead. Every method may be called from any thread, and by a signal handler.

    Attributes:
        crowd: As long as the number of callers that wait.
        lets_wait: Whether the wrappers of its functions can wait, which they are compiled for.
        fair_by: What tells them whose a call is; None: all wait in one line.
    """

    __slots__ = ("_config", "_queue", "fair_by", "lets_wait")

    def __init__(self, config: Bulkhead, *, key: str) -> None:
        self._config = config
        self.lets_wait = False
        self.fair_by = config.fair_by
        super().__init__(config, key=key)

    @property
    def queue(self) -> AdmissionQueue:
        """Who waits."""
        return self._queue or self._made()

    def let_wait(self, fair_by: Callable[..., Hashable] | None = None) -> None:
        """A function's wrapper can wait, and says by *fair_by* whose its calls are."""
        self.lets_wait, self.fair_by = True, fair_by
        self._made()

    def take(self, taken: list[list[None]], priority: int | None = None) -> None:
        """Take a token and note its sack in *taken*, in one step that no signal can split.

        Args:
            taken: Where to note it.
            priority: Means nothing here.

        Raises:
            BulkheadFullError: None is left, or others wait for one.
        """
        if self.crowd and self.shadow is None:
            raise self.full()
        super().take(taken)

    def settle(self, permit: list[None], outcome: int, started: float, now: float) -> None:
        """Give the token back, or to whoever waits for one. Never raises."""
        super().settle(permit, outcome, started, now)
        if self.crowd:
            self.hand_on(now)

    def enqueue(self, ticket: Ticket, now: float) -> None:
        """Let *ticket* wait for a token, or have one at once; see AdaptiveLimiter.enqueue.

        Raises:
            BulkheadFullError: The queue is full.
        """
        self.hand_on(now)  # a token that an interrupted call has not handed on
        victim = self.queue.join(ticket, now)
        if victim is ticket:
            raise self.full()
        if victim is not None:
            self.queue.wake(victim)
        self.hand_on(now)  # one that came back since it was refused

    def withdraw(self, ticket: Ticket) -> None:
        """End the wait of *ticket*; to be called however the wait ended. A token in ``ticket.taken`` stays there."""
        self.queue.close(ticket)

    def hand_on(self, now: float) -> None:
        """Give free tokens to those who wait, in turn; in shadow mode, in which nobody waits, to all."""
        queue = self._queue
        while queue is not None and queue.first_level() is not None:
            if self.owed:
                self.collect()
            if not self.tokens:
                if self._limit is not None and self.shadow is None:
                    return
                try:
                    self.run_out()
                except BulkheadFullError:  # there is a limit again, just now
                    return
            if not queue.grant(self, 0, now):
                return

    def reconfigure(self, config: Bulkhead, now: float) -> None:
        """Change the limit, the longest wait and the length of the queue, for those who wait too."""
        self._config = config
        if not self.lets_wait:  # else its functions go on as they were declared
            self.fair_by = config.fair_by
        self.configure(config)
        self.hand_on(now)  # before anybody has to leave: there may be room for them now
        if self._queue is None and not config.max_wait:
            return
        queue = self.queue
        for ticket in queue.configure(config.max_queue if config.max_wait else 0, config.max_wait):
            queue.wake(ticket)

    def be_left(self) -> None:
        """Have the limit of the bulkhead again: an adaptive one steers them no more."""
        self.configure(self._config)

    def renew(self) -> None:
        """Start over in a forked child, where none of the other threads' calls goes on, and nobody waits."""
        super().renew()
        self.crowd: Sequence[None] = ()
        self._queue: AdmissionQueue | None = None
        if self._config.max_wait or self.lets_wait:
            self._made()

    def _made(self) -> AdmissionQueue:
        """The queue, made if there is none yet; one for all who ask at once."""
        with self._lock:
            if self._queue is None:
                config = self._config
                queue = AdmissionQueue(config.max_queue if config.max_wait else 0, config.max_wait, in_turn=True,
                                       fair=self.fair_by is not None)
                self.crowd, self._queue = queue.crowd, queue
            return self._queue

