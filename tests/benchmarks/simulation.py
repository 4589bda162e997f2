"""A server, its clients and whatever limits them, in virtual time.

The server has workers and one queue, first come, first served; it works on what
its clients have given up all the same, which is the worst case. Clients come as a
Poisson stream (open loop: they do not wait for each other), and each wants its
answer within a deadline. Goodput is what came in time, per second.

Everything is drawn from one seeded source, so a run repeats exactly.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs

from resilience.core.adaptive import AdaptiveLimiter
from resilience.core.admission_queue import Ticket
from resilience.core.outcome import SUCCESS, TIMEOUT
from resilience.core.throttle import Throttler
from resilience.errors import RejectedError


@attrs.frozen(kw_only=True)
class Change:
    """The server from *at* on: how many workers, and how long a call takes them on average, seconds."""

    at: float
    workers: int
    service_s: float

    @property
    def capacity(self) -> float:
        """Calls per second."""
        return self.workers / self.service_s


def exponential(rng: random.Random, mean_s: float) -> float:
    """Service times without memory."""
    return rng.expovariate(1.0 / mean_s)


def lognormal(rng: random.Random, mean_s: float) -> float:
    """Service times with one mode and a tail: sigma 0.5, so p99 is thrice the median."""
    return mean_s * rng.lognormvariate(-0.125, 0.5)


def constant(rng: random.Random, mean_s: float) -> float:
    """All alike."""
    return mean_s


def no_noise(rng: random.Random, now: float) -> float | None:
    """The network adds nothing."""
    return 0.0


def stragglers(rng: random.Random, now: float) -> float | None:
    """One answer in twenty takes 0.4 s more on its way."""
    return 0.4 if rng.random() < 0.05 else 0.0


def fluke(rng: random.Random, now: float) -> float | None:
    """As stragglers, and for a second in ten half of the answers come at once, from elsewhere (None)."""
    return None if now % 10.0 >= 9.0 and rng.random() < 0.5 else stragglers(rng, now)


@attrs.frozen(kw_only=True)
class World:
    """One experiment.

    Attributes:
        changes: The server's capacity over time; the first is at 0.
        seconds: How long.
        load: Calls per second, as a multiple of the capacity at that time.
        calls_per_s: Calls per second whatever the capacity; None: as ``load`` says.
        deadline_s: How long a client waits.
        service: Draws a service time, seconds.
        noise: Draws what the network adds, seconds; None: the answer comes at once, from elsewhere.
        seed: Of everything drawn.
    """

    changes: Sequence[Change]
    seconds: float
    load: float = 3.0
    calls_per_s: float | None = None
    deadline_s: float = 0.5
    service: Callable[[random.Random, float], float] = exponential
    noise: Callable[[random.Random, float], float | None] = no_noise
    seed: int = 1

    def at(self, now: float) -> Change:
        """The server at *now*."""
        return [change for change in self.changes if change.at <= now][-1]


class Policy(Protocol):
    """What stands before the server."""

    def admit(self, run: Run, call: Call) -> None:
        """Send *call*, refuse it, or keep it for later."""

    def settle(self, run: Run, call: Call, outcome: int) -> None:
        """*call* is over."""

    def level(self) -> float:
        """What to plot: the limit."""


@attrs.define(eq=False)
class Call:
    """One call on its way."""

    came: float
    priority: int = 0
    sent: float = 0.0
    permit: Any = None
    over: bool = False
    tenant: Any = None


@attrs.define
class Count:
    """One slice of the time."""

    good: int = 0
    late: int = 0
    refused: int = 0
    level: float = 0.0


class Run:
    """One world with one policy."""

    def __init__(self, world: World, policy: Policy, *, slice_s: float = 0.5,
                 priority: Callable[[random.Random], int] = lambda rng: 0,
                 tenant: Callable[[random.Random], Any] = lambda rng: None) -> None:
        self.world, self.policy, self.slice_s, self.priority, self.tenant = world, policy, slice_s, priority, tenant
        self.rng = random.Random(world.seed)
        self.now = 0.0
        self.slices = [Count() for _ in range(math.ceil(world.seconds / slice_s))]
        self.good_of: dict[int, int] = {}
        self.came_by: Counter[tuple[int, Any]] = Counter()  # priority and tenant
        self.good_by: Counter[tuple[int, Any]] = Counter()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._server = world.at(0.0)
        self._idle = self._server.workers
        self._jobs: deque[Call] = deque()

    def go(self) -> Run:
        """Run to the end."""
        world, events = self.world, self._events
        for change in world.changes[1:]:
            self.after(change.at, self._change, change)
        for at in range(len(self.slices)):
            self.after((at + 1) * self.slice_s - 1e-9, self._look)
        self.after(0.0, self._come)
        while events:
            self.now, _, what, arguments = heapq.heappop(events)
            if self.now >= world.seconds:
                break
            what(*arguments)
        return self

    def after(self, wait_s: float, what: Callable[..., None], *arguments: Any) -> None:
        """Do something later."""
        heapq.heappush(self._events, (self.now + wait_s, next(self._order), what, arguments))

    def send(self, call: Call) -> None:
        """Let *call* through to the server."""
        call.sent = self.now
        left = call.came + self.world.deadline_s - self.now
        self.after(left, self._give_up, call)
        extra = self.world.noise(self.rng, self.now)
        if extra is None:
            self.after(0.001, self._answer, call, False)
        elif self._idle > 0:
            self._work(call)
        else:
            self._jobs.append(call)

    def refuse(self, call: Call) -> None:
        """Count *call* as refused."""
        self.count.refused += 1

    @property
    def count(self) -> Count:
        """Of the present slice."""
        return self.slices[min(int(self.now / self.slice_s), len(self.slices) - 1)]

    def goodput(self, start: float, end: float) -> float:
        """Answers in time per second, as a share of the capacity."""
        chosen = [(i * self.slice_s, count) for i, count in enumerate(self.slices)
                  if start <= i * self.slice_s + 1e-9 and (i + 1) * self.slice_s <= end + 1e-9]
        able = sum(self.world.at(at).capacity * self.slice_s for at, _ in chosen)
        return sum(count.good for _, count in chosen) / able

    def recovery(self, change_at: float, *, least: float = 0.9, over_s: float = 2.0) -> float:
        """Seconds from a change until goodput, over the next *over_s*, is *least* of the capacity; infinite if never."""
        end = min([change.at for change in self.world.changes if change.at > change_at], default=self.world.seconds)
        at = change_at
        while at + over_s <= end + 1e-9:
            if self.goodput(at, at + over_s) >= least:
                return at - change_at
            at += self.slice_s
        return math.inf

    def _come(self) -> None:
        world, rng = self.world, self.rng
        self.after(rng.expovariate(world.calls_per_s or world.load * self._server.capacity), self._come)
        call = Call(self.now, self.priority(rng), tenant=self.tenant(rng))
        self.came_by[call.priority, call.tenant] += 1
        self.policy.admit(self, call)

    def _change(self, change: Change) -> None:
        self._idle += change.workers - self._server.workers
        self._server = change
        self._next()

    def _work(self, call: Call) -> None:
        self._idle -= 1
        self.after(self.world.service(self.rng, self._server.service_s), self._done, call)

    def _done(self, call: Call) -> None:
        self._idle += 1
        self._next()  # before the answer, which may send another call: first come, first served
        extra = self.world.noise(self.rng, self.now) or 0.0
        if extra:
            self.after(extra, self._answer, call)
        else:
            self._answer(call)

    def _next(self) -> None:
        while self._idle > 0 and self._jobs:
            self._work(self._jobs.popleft())

    def _answer(self, call: Call, counts: bool = True) -> None:
        if not call.over:
            call.over = True
            self.count.good += counts
            self.good_by[call.priority, call.tenant] += counts
            self.good_of[call.priority] = self.good_of.get(call.priority, 0) + 1
            self.policy.settle(self, call, SUCCESS)

    def _give_up(self, call: Call) -> None:
        if not call.over:
            call.over = True
            self.count.late += 1
            self.policy.settle(self, call, TIMEOUT)

    def _look(self) -> None:
        self.count.level = self.policy.level()


class NoLimit:
    """Everything goes through."""

    def admit(self, run: Run, call: Call) -> None:
        run.send(call)

    def settle(self, run: Run, call: Call, outcome: int) -> None:
        pass

    def level(self) -> float:
        return math.nan


class Fixed:
    """A bulkhead."""

    def __init__(self, limit: int) -> None:
        self.limit = self.free = limit

    def admit(self, run: Run, call: Call) -> None:
        if self.free:
            self.free -= 1
            run.send(call)
        else:
            run.refuse(call)

    def settle(self, run: Run, call: Call, outcome: int) -> None:
        self.free += 1

    def level(self) -> float:
        return self.limit


class Adaptive:
    """An AdaptiveLimiter, with waiters if it has a queue."""

    def __init__(self, limiter: AdaptiveLimiter) -> None:
        self.limiter = limiter
        self.most_in_flight_over_limit = 0

    def admit(self, run: Run, call: Call) -> None:
        taken: list[Any] = []
        try:
            self.limiter.take(taken, call.priority)
        except RejectedError:
            self._wait(run, call, taken)
        else:
            call.permit = taken[0]
            run.send(call)

    def settle(self, run: Run, call: Call, outcome: int) -> None:
        self.limiter.settle(call.permit, outcome, call.sent, run.now)

    def level(self) -> float:
        return self.limiter.limit

    def _wait(self, run: Run, call: Call, taken: list[Any]) -> None:
        if not self.limiter.queue.size:
            run.refuse(call)
            return
        ended: list[None] = []

        def end() -> None:
            if ended:
                return
            ended.append(None)
            self.limiter.withdraw(ticket)
            if taken:
                call.permit = taken[0]
                run.send(call)
            else:
                run.refuse(call)

        ticket = Ticket(taken, call.priority, end, call.tenant)
        try:
            self.limiter.enqueue(ticket, run.now)
        except RejectedError:
            run.refuse(call)
            return
        if not ended:
            run.after(ticket.until - run.now, end)


class Throttled:
    """A Throttler."""

    def __init__(self, throttler: Throttler) -> None:
        self.throttler = throttler

    def admit(self, run: Run, call: Call) -> None:
        try:
            call.permit = self.throttler.acquire(run.now, run.rng.random())
        except RejectedError:
            run.refuse(call)
        else:
            run.send(call)

    def settle(self, run: Run, call: Call, outcome: int) -> None:
        self.throttler.settle(call.permit, outcome, call.sent, run.now)

    def level(self) -> float:
        return math.nan
