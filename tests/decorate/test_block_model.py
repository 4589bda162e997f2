"""Blocks under random histories: against a plain oracle, and in storms of threads and tasks."""

import asyncio
import contextlib
import gc
import random
import sys
import threading
from collections import Counter

from resilience import (
    BadRequestError,
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    FailureRules,
    RateLimit,
    Registry,
    block,
    deadline,
)
from resilience.core.outcome import Event
from resilience.testing import ManualClock, assert_idle, virtual_time
from tests.seeds import over_seeds

BREAKER = CircuitBreaker(consecutive=3, failure_rate=None, open_for=2.0, half_open_for=1000.0)
#: How a block may end, and what that is counted as.
ENDS = {None: "success", OSError: "failure", TypeError: "failure", KeyError: "bad_request",
        BadRequestError: "bad_request", KeyboardInterrupt: "cancelled", asyncio.CancelledError: "cancelled",
        GeneratorExit: "cancelled", "bad": "failure", "good": "success"}


class Oracle:
    """One command as a reader would write it down: the open calls, and failures in a row."""

    def __init__(self, slots):
        self.slots, self.term = slots, 0
        self.open, self.in_row, self.open_until, self.probing = {}, 0, None, False
        self.counts = Counter()

    def enter(self, name, now):
        """The error that the entry is to raise; None: it succeeds."""
        if self.open_until is not None and (now < self.open_until or self.probing):
            self.counts["short_circuited"] += 1
            return CircuitOpenError
        probes = self.open_until is not None
        if len(self.open) >= self.slots:
            self.counts["semaphore_rejected"] += 1
            return BulkheadFullError
        self.probing = self.probing or probes
        self.open[name] = (probes, self.term)
        return None

    def leave(self, name, end, now):
        probes, term = self.open.pop(name)
        self.counts[ENDS[end]] += 1
        if term != self.term:
            return  # the circuit has changed since, and the call decides nothing
        if probes:
            self.probing = False
            if ENDS[end] == "success":
                self.open_until, self.in_row, self.term = None, 0, self.term + 1
            elif ENDS[end] == "failure":
                self.open_until, self.term = now + BREAKER.open_for, self.term + 1
        elif ENDS[end] == "success":
            self.in_row = 0
        elif ENDS[end] == "failure":
            self.in_row += 1
            if self.in_row >= BREAKER.consecutive:
                self.open_until, self.in_row, self.term = now + BREAKER.open_for, 0, self.term + 1


class Entry:
    """One entry of a block, in its own frame: a generator or coroutine that is held inside until it is told the end."""

    def __init__(self, guarded, form):
        self.steps = self._plain(guarded) if form == "with" else self._call(guarded) if form == "with call" \
            else self._async(guarded) if form == "async with" else self._async_call(guarded)
        self.steps.send(None)

    def leave(self, end):
        """Go on to *end*; what came out of the block."""
        try:
            if isinstance(end, type):
                self.steps.throw(end("planned"))
            else:
                self.steps.send(end)
        except StopIteration:
            return None
        except BaseException as error:  # noqa: BLE001 - it is compared
            return type(error)
        raise AssertionError("it has not ended")

    def _plain(self, guarded):
        with guarded as call:
            self._said(call, (yield))

    def _call(self, guarded):
        with guarded() as call:
            self._said(call, (yield))

    async def _async(self, guarded):
        async with guarded as call:
            self._said(call, await _pause())

    async def _async_call(self, guarded):
        async with guarded() as call:
            self._said(call, await _pause())

    @staticmethod
    def _said(call, end):
        if end is not None:
            call.result = end


class _pause:  # noqa: N801 - reads as a call
    def __await__(self):
        return (yield)


@over_seeds(150)
def test_random_entries_in_every_form_are_refused_and_settled_as_the_oracle_says(seed):
    dice, clock = random.Random(seed), ManualClock()
    slots = dice.randint(1, 4)
    guarded = block("k", registry=Registry(clock=clock), timeout=None, breaker=BREAKER, max_concurrent=slots,
                    ignore=KeyError,
                    failures=FailureRules(results=lambda result: result == "bad"))
    oracle, open_entries = Oracle(slots), {}
    for number in range(80):
        clock.advance(dice.choice([0.0, 0.1, 0.7, 2.0]))
        if open_entries and dice.random() < 0.5:
            name = dice.choice(list(open_entries))
            end = dice.choice(list(ENDS))
            seen = open_entries.pop(name).leave(end)
            oracle.leave(name, end, clock())
            assert seen is (end if isinstance(end, type) else None)
        else:
            wanted, seen = oracle.enter(number, clock()), None
            try:
                open_entries[number] = Entry(guarded, dice.choice(["with", "with call", "async with", "async call"]))
            except (CircuitOpenError, BulkheadFullError) as error:
                seen = type(error)
            assert wanted is seen
        counted = guarded.resilience.snapshot().counts
        totals = dict(zip(Event, guarded.resilience._runtime.recorder.totals()[0], strict=False))
        assert dict(oracle.counts) == {event.name.lower(): n for event, n in totals.items()
                                       if n and event.name.lower() in {*ENDS.values(), "short_circuited",
                                                                       "semaphore_rejected"}}, counted
        assert len(oracle.open) == guarded.resilience.in_flight
    for entry in open_entries.values():
        entry.leave(GeneratorExit)
    assert_idle(guarded)
    assert {} == guarded._open


def totals_of(guarded):
    counts, _ = guarded.resilience._runtime.recorder.totals()
    return dict(zip(Event, counts, strict=False))


@over_seeds(5)
def test_a_storm_of_threads_leaves_nothing_open_and_counts_each_entry_once(seed):
    guarded = block("k", registry=Registry(), timeout=None, max_concurrent=6, ignore=KeyError,
                    breaker=CircuitBreaker(min_calls=10**6, sustained_failures=None))
    entered, raised, wrong = [], [], []

    def generator(call_of):
        with call_of:
            yield

    def work(dice):
        held = []
        for _ in range(300):
            error = dice.choice([None, None, OSError, KeyError, KeyboardInterrupt])
            how = dice.randrange(5)
            try:
                if how == 0:
                    with guarded, guarded():
                        raise error if error else RuntimeError("fine")
                elif how == 1:
                    stack = contextlib.ExitStack()
                    stack.enter_context(guarded)
                    stack.__exit__(None, None, None)
                elif how == 2:
                    steps = generator(guarded)
                    next(steps)
                    held.append(steps)
                elif how == 3 and held:
                    held.pop(dice.randrange(len(held))).close()
                else:
                    with guarded() as call:
                        entered.append(call)
                        if error:
                            raise error
            except (BulkheadFullError, OSError, KeyError, KeyboardInterrupt) as caught:
                raised.append(type(caught))  # in one step: another thread may come in between
            except RuntimeError as caught:
                if "never" in str(caught):
                    wrong.append(caught)
            if dice.random() < 0.1:
                held.clear()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(random.Random(seed * 100 + n),)) for n in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60.0)
    finally:
        sys.setswitchinterval(interval)
    gc.collect()
    assert [] == wrong
    assert {} == guarded._open
    assert_idle(guarded)
    totals, ended = totals_of(guarded), Counter(raised)
    assert ended[BulkheadFullError] == totals[Event.SEMAPHORE_REJECTED]
    assert len(entered) <= sum(totals[event] for event in (Event.SUCCESS, Event.FAILURE, Event.BAD_REQUEST,
                                                          Event.CANCELLED))


@over_seeds(20)
def test_a_storm_of_tasks_with_cancellations_timeouts_and_deadlines_leaves_nothing_open(seed):
    virtual_time(storm_of_tasks(random.Random(seed)))


async def storm_of_tasks(dice):
    loop = asyncio.get_running_loop()
    guarded = block("k", registry=Registry(clock=loop.time), timeout=0.5, ignore=KeyError,
                    max_concurrent=Bulkhead(4, max_wait=0.3), rate_limit=RateLimit(50, burst=5, max_wait=0.2),
                    breaker=CircuitBreaker(min_calls=10, open_for=0.5))
    entries = []

    async def work():
        await asyncio.sleep(3 * dice.random())
        entries.append(1)
        with deadline(dice.random() if dice.random() < 0.3 else None, clock=loop.time):
            async with guarded if dice.random() < 0.5 else guarded():
                await asyncio.sleep(dice.choice([0.0, 0.1, 0.4, 0.9]))
                error = dice.choice([None, None, OSError, KeyError])
                if error is not None:
                    raise error

    tasks = [asyncio.create_task(work()) for _ in range(100)]
    for each in tasks:
        if dice.random() < 0.3:
            loop.call_later(4 * dice.random(), each.cancel)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert not any(isinstance(each, (RuntimeError, AssertionError)) for each in results), results
    assert {} == guarded._open
    assert_idle(guarded)
    totals = totals_of(guarded)
    assert len(entries) == sum(totals[event] for event in (
        Event.SUCCESS, Event.FAILURE, Event.TIMEOUT, Event.SHORT_CIRCUITED, Event.SEMAPHORE_REJECTED,
        Event.BAD_REQUEST, Event.CANCELLED, Event.RATE_LIMITED, Event.NO_TIME_LEFT)), totals
    assert totals[Event.TIMEOUT] == sum(isinstance(each, CallTimeoutError) for each in results)
