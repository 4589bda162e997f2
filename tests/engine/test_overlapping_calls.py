"""Calls that overlap: the compiled wrapper against a plain model, over random histories, in every flavour.

A history starts calls, ends them in any order (well, badly, by the caller's
fault, by cancellation, by running out of time) and lets time pass between. The
model keeps lists and dictionaries where the wrapper has permits and tokens.
"""

import asyncio
import gc
import queue
import random
import threading
from collections import Counter

import pytest

from resilience import (
    BadRequestError,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Registry,
    command,
)
from resilience.testing import ManualClock, VirtualTimeLoop

LIMIT, TIMEOUT = 3, 2.0
BREAKER = CircuitBreaker(min_calls=4, failure_rate=0.5, window=10.0, open_for=3.0, half_open_calls=2, half_open_for=4.0)
ENDS = ["well", "well", OSError, OSError, BadRequestError, "cancel"]


class Model:
    """What should happen, told the time in every call."""

    def __init__(self, now):
        self.state, self.term, self.counts = "closed", 0, Counter()
        self.running = {}  # call: (term, when it runs out of time)
        self.calm(now)

    def calm(self, now):
        self.origin, self.results = now, []

    def start(self, call, now):
        if self.state == "open" and now >= self.until:
            self.probe(now)
        elif self.state == "half_open" and now >= self.until:
            self.probe(now)
        if self.state == "open" or (self.state == "half_open" and not self.probes):
            self.counts.update(["short_circuited", "fallback_missing", "exceptions_thrown"])
            return CircuitOpenError
        if len(self.running) == LIMIT:
            self.counts.update(["rejected", "fallback_missing", "exceptions_thrown"])
            return BulkheadFullError
        self.probes -= self.state == "half_open"
        self.running[call] = (self.term, now + TIMEOUT)
        return "running"

    def probe(self, now):
        self.state, self.term, self.until = "half_open", self.term + 1, now + BREAKER.half_open_for
        self.probes = self.owed = BREAKER.half_open_calls

    probes = 0

    def end(self, call, how, now):
        term, _ = self.running.pop(call)
        self.counts.update({"well": ["success"], BadRequestError: ["bad_request", "exceptions_thrown"],
                            OSError: ["failure", "fallback_missing", "exceptions_thrown"], "cancel": ["cancelled"],
                            "late": ["timeout", "fallback_missing", "exceptions_thrown"]}[how])
        if term != self.term:
            return
        if how in (BadRequestError, "cancel"):
            self.probes += self.state == "half_open"
        elif self.state == "closed":
            self.weigh(how == "well", now)
        elif how != "well":
            self.open(now)
        else:
            self.owed -= 1
            if not self.owed:
                self.state, self.term = "closed", self.term + 1
                self.calm(now)

    def weigh(self, good, now):
        newest = int(now - self.origin)
        self.results = [each for each in self.results if each[0] > newest - BREAKER.buckets] + [(newest, good)]
        bad = sum(not ok for _, ok in self.results)
        if len(self.results) >= BREAKER.min_calls and bad >= BREAKER.failure_rate * len(self.results):
            self.open(now)

    def open(self, now):
        self.state, self.term, self.until = "open", self.term + 1, now + BREAKER.open_for


class Generators:
    """Calls are generators, advanced by hand; a cancelled one is closed or just dropped."""

    def __init__(self, **settings):
        self.clock, self.calls, self.rng = ManualClock(1000.0), {}, random.Random(1)
        self.registry = Registry(clock=self.clock)

        @command(registry=self.registry, timeout=None, **settings)
        def work():
            how = yield "running"
            if how != "well":
                raise how

        self.work = work

    def now(self):
        return self.clock()

    def start(self, call):
        self.calls[call] = self.work()
        return next(self.calls[call])

    def end(self, call, how):
        generator = self.calls.pop(call)
        if how != "cancel":
            next(iter(()), generator.send(how))
        elif self.rng.random() < 0.5:
            generator.close()

    def advance(self, seconds):
        self.clock.advance(seconds)
        return {}

    def close(self):
        pass


class AsyncGenerators(Generators):
    """The same on an event loop, whose hooks close what is dropped."""

    def __init__(self, **settings):
        self.loop, self.calls, self.rng = VirtualTimeLoop(), {}, random.Random(1)
        self.loop.run_until_complete(asyncio.sleep(0))
        self.registry = Registry(clock=self.loop.time)

        @command(registry=self.registry, timeout=TIMEOUT, **settings)
        async def work():
            how = yield "running"
            await asyncio.sleep(0)
            if how != "well":
                raise how

        self.work = work

    def now(self):
        return self.loop.time()

    def step(self, awaitable):
        async def wrapped():
            return await awaitable

        return self.loop.run_until_complete(wrapped())

    def start(self, call):
        self.calls[call] = self.work()
        return self.step(self.calls[call].__anext__())

    def end(self, call, how):
        agen = self.calls.pop(call)
        if how != "cancel":
            self.step(agen.asend(how))
        elif self.rng.random() < 0.5:
            self.step(agen.aclose())
        else:
            del agen
            for _ in range(5):
                self.step(asyncio.sleep(0))

    def advance(self, seconds):
        self.loop.run_until_complete(asyncio.sleep(seconds))
        return {}

    def close(self):
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


class Tasks(AsyncGenerators):
    """Calls are tasks, each waiting for a future; time may run out for them."""

    def __init__(self, **settings):
        super().__init__(**{**settings, "key": "other"})

        @command(registry=self.registry, timeout=TIMEOUT, **settings)
        async def work(future):
            how = await future
            if how != "well":
                raise how

        self.work, self.futures = work, {}

    def start(self, call):
        self.futures[call] = self.loop.create_future()
        task = self.calls[call] = self.loop.create_task(self.work(self.futures[call]))
        self.step(asyncio.sleep(0))
        return task.result() if task.done() else "running"

    def end(self, call, how):
        task, future = self.calls.pop(call), self.futures.pop(call)
        if how == "cancel":
            task.cancel()
        else:
            future.set_result(how)
        self.step(asyncio.wait([task]))
        return task.result()

    def advance(self, seconds):
        super().advance(seconds)
        late = {call: task for call, task in self.calls.items() if task.done()}
        for call, task in late.items():
            assert isinstance(task.exception(), CallTimeoutError)
            del self.calls[call], self.futures[call]
        return set(late)


class Threads:
    """Calls are threads; a cancelled one is interrupted by an exception of its own."""

    def __init__(self, isolation="semaphore", **settings):
        self.clock, self.calls = ManualClock(1000.0), {}
        self.registry = Registry(clock=self.clock)

        @command(registry=self.registry, timeout=None, isolation=isolation, **settings)
        def work(answers, orders):
            answers.put("running")
            how = orders.get(timeout=10)
            if how != "well":
                raise KeyboardInterrupt if how == "cancel" else how

        self.work = work

    def now(self):
        return self.clock()

    def start(self, call):
        answers, orders = queue.SimpleQueue(), queue.SimpleQueue()

        def caller():
            try:
                self.work(answers, orders)
            except BaseException as error:
                answers.put(error)
            else:
                answers.put("well")

        thread = threading.Thread(target=caller)
        thread.start()
        self.calls[call] = (thread, answers, orders)
        return self.answer(call)

    def answer(self, call):
        answer = self.calls[call][1].get(timeout=10)
        if answer != "running":
            self.calls.pop(call)[0].join(10)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def end(self, call, how):
        self.calls[call][2].put(how)
        return self.answer(call)

    def advance(self, seconds):
        self.clock.advance(seconds)
        return set()

    def close(self):
        self.registry.close()


DRIVERS = {
    "sync": lambda **settings: Threads(**settings),
    "thread": lambda **settings: Threads(isolation="thread", **settings),
    "async": Tasks, "generator": Generators, "async generator": AsyncGenerators,
}


def outcome(act, *args):
    """What came of it: the result, or the type of the error."""
    try:
        return act(*args)
    except (StopIteration, StopAsyncIteration):
        return None
    except BaseException as error:
        return type(error)


def play(flavour, seed):
    rng = random.Random(seed)
    driver = DRIVERS[flavour](key="k", breaker=BREAKER, max_concurrent=LIMIT)
    model, running = Model(driver.now()), []
    try:
        for step in range(70):
            what = rng.choice(["start", "start", "end", "end", "pause"])
            if what == "start":
                expected = model.start(step, driver.now())
                assert expected == outcome(driver.start, step), (seed, step)
                if expected == "running":
                    running.append(step)
                else:
                    driver.calls.pop(step, None)
            elif what == "end" and running:
                call, how = running.pop(rng.randrange(len(running))), rng.choice(ENDS)
                model.end(call, how, driver.now())
                seen = outcome(driver.end, call, how)
                if isinstance(how, type):
                    assert how is seen, (seed, step)
            elif what == "pause":
                seconds = rng.choice([0.125, 0.5, 1.0, 3.0])
                deadline = driver.now() + seconds
                late = driver.advance(seconds)
                for call in [each for each in running if each in late]:
                    running.remove(call)
                    at = model.running[call][1]
                    assert at <= deadline
                    model.end(call, "late", at)
                assert flavour != "async" or all(model.running[call][1] > deadline for call in running)
            handle = driver.registry["k"]
            assert (model.state, len(running)) == (handle.state, handle.snapshot().in_flight), (seed, step)
        for call in running:
            model.end(call, "well", driver.now())
            outcome(driver.end, call, "well")
        check_totals(driver.registry["k"], model.counts, seed)
    finally:
        driver.close()


def check_totals(handle, expected, seed):
    totals = handle._runtime.recorder.totals()[0]
    seen = Counter({name: n for name, n in zip(handle.snapshot().counts, totals, strict=True) if n and name != "emit"})
    seen["rejected"] = seen.pop("semaphore_rejected", 0) + seen.pop("thread_pool_rejected", 0)
    assert expected == +seen, seed
    assert seen["exceptions_thrown"] == sum(
        seen[name] for name in ("bad_request", "fallback_failure", "fallback_rejection", "fallback_missing"))
    assert 0 == handle.snapshot().in_flight


@pytest.mark.parametrize("flavour", DRIVERS)
def test_overlapping_calls_end_as_the_model_says(flavour):
    for seed in range(25 if flavour in ("generator", "async") else 10):
        play(flavour, f"{flavour} {seed}")
    gc.collect()  # a dropped generator that is still about would warn here
