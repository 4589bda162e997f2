"""Random trees of deadlines, timeouts, retries, tasks and waits, beside a plain model that only adds and compares.

The model knows no tasks, timers or context variables: it is told when a piece of
work begins, until when it may go on, and when its caller's deadline is, and says
when and how it ends.
"""

import asyncio
import collections
import random
from math import inf

import attrs
import pytest

from resilience import (
    CircuitBreaker,
    DeadlineExceededError,
    NoTimeLeftError,
    RateLimit,
    RateLimitedError,
    Registry,
    Retry,
    command,
    deadline,
    remaining,
)
from resilience.errors import CallTimeoutError
from resilience.testing import ManualClock, assert_idle, virtual_time
from tests.seeds import over_seeds

#: Timers that are due within it end together.
SAME = 1e-7


@attrs.frozen
class Work:
    """Takes its time; fails or not."""

    seconds: float
    fails: bool


@attrs.frozen
class Bound:
    """``with deadline(seconds)`` around a sequence."""

    seconds: float | None
    steps: tuple


@attrs.frozen
class Call:
    """A guarded call of a sequence; *pause* is its retry's, None: it has none."""

    key: str
    timeout: float | None
    pause: float | None
    steps: tuple


@attrs.frozen
class Tasks:
    """Sequences that run side by side, each in a task; the first that fails, in their order, fails all at the end."""

    branches: tuple


ATTEMPTS = 3


def tree(rng, depth, names):
    """A random sequence."""
    return tuple(step(rng, depth, names) for _ in range(rng.randint(1, 3)))


def step(rng, depth, names):
    kind = rng.choice(["work", "bound", "call", "call", "call", "tasks"]) if depth else "work"
    if kind == "work":
        return Work(rng.uniform(0, 2), rng.random() < 0.15)
    if kind == "bound":
        return Bound(rng.choice([None, rng.uniform(0, 4), rng.uniform(-1, 8)]), tree(rng, depth - 1, names))
    if kind == "tasks":
        return Tasks(tuple(tree(rng, depth - 1, names) for _ in range(rng.randint(1, 3))))
    names.append(f"call {len(names)}")
    return Call(names[-1], rng.choice([None, rng.uniform(0.1, 3), rng.uniform(0.1, 6)]),
                rng.choice([None, rng.uniform(0, 1.5)]), tree(rng, depth - 1, names))


class Model:
    """What is to happen; ``counts`` and ``blamed`` by key."""

    def __init__(self):
        self.counts = collections.defaultdict(collections.Counter)
        self.blamed = collections.Counter()
        self.is_repeated = False  # by a retry further out, to which one inside leaves the repetition

    def sequence(self, steps, now, stop, due):
        """Of what begins *now*, is cancelled at *stop*, and whose caller's deadline is *due*: how and when it ends."""
        for each in steps:
            how, now = getattr(self, type(each).__name__.lower())(each, now, stop, due)
            if how != "success":
                return how, now
        return "success", now

    def work(self, work, now, stop, due):
        if now + work.seconds >= stop - SAME:
            return "cancelled", stop
        return "failure" if work.fails else "success", now + work.seconds

    def bound(self, bound, now, stop, due):
        return self.sequence(bound.steps, now, stop, due if bound.seconds is None else min(due, now + bound.seconds))

    def tasks(self, tasks, now, stop, due):
        ends = [self.sequence(branch, now, stop, due) for branch in tasks.branches]
        if any(how == "cancelled" for how, _ in ends):
            return "cancelled", stop
        return next((how for how, _ in ends if how != "success"), "success"), max(at for _, at in ends)

    def call(self, call, now, stop, due):
        above, self.is_repeated = self.is_repeated, self.is_repeated or call.pause is not None
        try:
            return self.attempts(call, now, stop, due, 1 if above else ATTEMPTS)
        finally:
            self.is_repeated = above

    def attempts(self, call, now, stop, due, most):
        for attempt in range(1, ATTEMPTS + 1):
            how, event, now = self.attempt(call, now, stop, due)
            self.counts[call.key][event] += 1
            again = call.pause is not None and attempt < most and how not in ("success", "cancelled", "refused") \
                and now + call.pause < due
            if not again:
                return how, now
            self.counts[call.key]["retry"] += 1
            if now + call.pause >= stop - SAME:  # cancelled in its pause, by an outer timeout
                self.counts[call.key]["cancelled"] += 1  # instead of the attempt that was to follow
                return "cancelled", stop
            now += call.pause
        raise AssertionError

    def attempt(self, call, now, stop, due):
        """How, counted as what, and when."""
        if due <= now:
            return "refused", "no_time_left", now
        mine = inf if call.timeout is None else min(now + call.timeout, due)
        narrowed = due if call.timeout is None or due == inf else mine
        if mine >= stop - SAME:
            mine = inf  # whoever cancels first, or together with it from further outside, takes it
        how, at = self.sequence(call.steps, now, min(stop, mine), narrowed)
        if how == "cancelled" and mine < stop:
            cut = mine == due
            self.blamed[call.key] += not cut
            return ("cut" if cut else "timeout"), "timeout", at
        if how in ("cut", "refused") and due <= at + SAME:
            return how, "timeout", at  # of a call inside, by our own caller's deadline
        if how not in ("success", "cancelled"):
            self.blamed[call.key] += 1
            return how, "failure", at
        return how, how, at


class Real:
    """The same, with the real thing."""

    def __init__(self, steps, registry, loop):
        self.steps, self.registry, self.loop = steps, registry, loop
        self.functions = {}

    def guarded(self, call):
        if call.key not in self.functions:
            retry = None if call.pause is None else Retry(
                attempts=ATTEMPTS, base=call.pause, factor=1.0, jitter="none", budget=None)

            @command(key=call.key, registry=self.registry, timeout=call.timeout, retry=retry, max_concurrent=100,
                     breaker=CircuitBreaker(min_calls=1000, window=3600.0))
            async def function():
                await self.sequence(call.steps)

            self.functions[call.key] = function
        return self.functions[call.key]

    async def sequence(self, steps):
        for each in steps:
            before = remaining()
            began = self.loop.time()
            try:
                await getattr(self, type(each).__name__.lower())(each)
            finally:  # whatever was put in force inside is gone
                after = remaining()
                assert (before is None) is (after is None)
                assert before is None or abs(before - after - (self.loop.time() - began)) < SAME

    async def work(self, work):
        await asyncio.sleep(work.seconds)
        if work.fails:
            raise OSError

    async def bound(self, bound):
        with deadline(bound.seconds, clock=self.loop.time):
            await self.sequence(bound.steps)

    async def tasks(self, tasks):
        ends = await asyncio.gather(*map(self.sequence, tasks.branches), return_exceptions=True)
        for each in ends:
            if each is not None:
                raise each

    async def call(self, call):
        await self.guarded(call)()


HOW = [(DeadlineExceededError, "cut"), (CallTimeoutError, "timeout"), (NoTimeLeftError, "refused"), (OSError, "failure")]


async def run(steps):
    loop = asyncio.get_running_loop()
    real = Real(steps, Registry(clock=loop.time), loop)
    began = loop.time()
    try:
        await real.sequence(steps)
        how = "success"
    except Exception as error:
        how = next(name for kind, name in HOW if isinstance(error, kind))
    ended = loop.time()
    await asyncio.sleep(0)
    assert 0 == asyncio.current_task().cancelling()
    counts, blamed = {}, {}
    for key, function in real.functions.items():
        assert_idle(function)
        snapshot, bad = function.resilience.snapshot(), function.resilience._runtime.circuit.term.counts(loop.time())
        # The window of the statistics is shorter than the history.
        counts[key] = {name: n for name, n in snapshot.counts.items()
                       if n and name in ("success", "failure", "timeout", "no_time_left", "retry", "cancelled")}
        blamed[key] = bad[1] + bad[3]
    await asyncio.sleep(100)  # no timer is left that would cancel anybody
    return how, ended - began, counts, blamed


@over_seeds(600)
def test_random_trees_end_when_and_as_the_model_says(seed):
    rng = random.Random(seed)
    steps = (Bound(rng.choice([None, rng.uniform(0, 8)]), tree(rng, rng.randint(1, 4), [])),)
    model = Model()
    how, at = model.sequence(steps, 0.0, inf, inf)
    real_how, real_at, counts, blamed = virtual_time(run(steps), start=0.0)

    assert (how, pytest.approx(at, abs=1e-5)) == (real_how, real_at)
    if at < 8.0:  # all of it is in the window of the statistics
        assert {key: dict(+found) for key, found in model.counts.items() if +found} == \
            {key: found for key, found in counts.items() if found}
    assert {key: n for key, n in model.blamed.items() if n} == {key: n for key, n in blamed.items() if n}


@over_seeds(300)
def test_random_plain_calls_wait_and_pause_within_their_deadlines(seed):
    """A rate limit and a retry, nested deadlines, a body that takes time: on a clock that only they move."""
    rng, clock = random.Random(seed), ManualClock()
    spacing, pause = rng.uniform(0.1, 2), rng.uniform(0, 2)
    max_wait = rng.uniform(0, 5)
    registry = Registry(clock=clock)
    bodies, began = [], []

    @command(registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=10_000, window=3600.0), max_concurrent=1,
             rate_limit=RateLimit(1, per=spacing, max_wait=max_wait),
             retry=Retry(attempts=3, base=pause, factor=1.0, jitter="none", budget=None, max_delay=10.0))
    def work():
        began.append(clock())
        seconds, fails = bodies.pop(0)
        clock.advance(seconds)
        if fails:
            raise OSError

    booked = 0.0  # the model: until when
    now, expected = 0.0, []

    def model(todo, dues):
        nonlocal booked, now
        due = min(dues, default=inf)
        for attempt in range(1, 4):
            if due <= now:
                return "refused"
            start = max(booked, now)
            wait = start - now
            if wait > max_wait or (wait > 0 and wait > due - now):
                return "limited"
            booked = start + spacing
            now = start
            expected.append(now)
            seconds, fails = todo.pop(0)
            now += seconds
            if not fails:
                return "success"
            if attempt == 3 or now + pause >= due:
                return "failure"
            now += pause
        raise AssertionError

    def called():
        try:
            work()
        except OSError as error:
            return "refused" if isinstance(error, NoTimeLeftError) else "failure"
        except RateLimitedError:
            return "limited"
        return "success"

    def nest(depth, dues):
        nonlocal now
        for _ in range(rng.randint(1, 4)):
            if depth and rng.random() < 0.5:
                seconds = rng.uniform(-0.5, 6)
                with deadline(seconds, clock=clock):
                    nest(depth - 1, [*dues, now + seconds])
            else:
                bodies[:] = todo = [(rng.uniform(0, 2), rng.random() < 0.5) for _ in range(3)]
                assert model(list(todo), dues) == called()
                assert pytest.approx(now) == clock()
                now = clock()
                assert_idle(work)
            rest = rng.choice([0.0, rng.uniform(0, 3)])
            clock.advance(rest)
            now += rest

    nest(3, [])
    assert pytest.approx(expected) == began
