"""Each waiter that gave up was paid for by all behind it, in one turn of the loop: 4,000 of a rate limit took 49 seconds.

Complaints of the same kind: bharel/asynciolimiter#5, mjpieters/aiolimiter#290. A cache's followers were all woken whenever
their leader was cancelled, and searched for in a list when one of them was.
"""

import asyncio
import contextvars
import gc
import itertools
import random
import threading
import time
import weakref

import pytest

from resilience import Registry, adaptive_limit, cache, collapse, rate_limit
from resilience.core.admission_queue import AdmissionQueue, Ticket
from resilience.core.batch import Collapse
from resilience.core.rate_limit import RateLimit
from resilience.core.rate_limiter import RateLimiter
from resilience.drivers.deadline_context import deadline
from resilience.drivers.single_flight import Flight, Flights
from resilience.drivers.thread_batches import ThreadBatches, _Caller
from tests.drivers.until import until
from tests.interrupts import interrupted

WAITERS = 4000


class Answer:
    """Something that can be known weakly."""


async def forever():
    await asyncio.Event().wait()


def rate_limited(**settings):
    return rate_limit(1, per=1.0, burst=1, max_wait=80_000.0, registry=Registry(), **settings)(forever)


def rate_limited_by_key():
    return rate_limited(by=lambda: "everybody")


def adaptive():
    return adaptive_limit(initial=1, max_limit=1, max_queue=WAITERS, max_queue_for=1000.0, registry=Registry())(forever)


def cached():
    return cache(registry=Registry())(forever)


def collapsed():
    @collapse(window=0.001, max_batch=100_000)
    async def batch(items):
        await asyncio.Event().wait()

    items = itertools.count()
    return lambda: batch(next(items))


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("order", ["the first first", "the last first", "at random"])
@pytest.mark.parametrize("queue", [rate_limited, rate_limited_by_key, adaptive, cached, collapsed])
def test_four_thousand_cancelled_waiters_cost_less_than_a_second(queue, order, one_by_one):
    async def main():
        call = queue()
        tasks = [asyncio.create_task(call()) for _ in range(WAITERS)]
        await asyncio.sleep(0.05)
        if order == "the last first":
            tasks.reverse()
        elif order == "at random":
            random.Random(7).shuffle(tasks)
        began = time.process_time()
        for task in tasks:
            task.cancel()
            if one_by_one:
                await asyncio.sleep(0)
        await asyncio.wait(tasks)
        return time.process_time() - began

    assert asyncio.run(main()) < 1.0


def test_the_turns_that_threads_give_up_cost_the_same_each():
    limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=80_000.0), key="k", now=0.0)
    limiter.reserve(0.0)
    turns = [limiter.reserve(0.0) for _ in range(WAITERS)]
    for turn in turns:
        turn.wake = lambda: None
    random.Random(7).shuffle(turns)
    began = time.process_time()
    for turn in turns:
        limiter.withdraw(turn, 0.5)
    assert time.process_time() - began < 1.0
    assert 1.0 == limiter.pace.tat


def test_tickets_that_come_and_go_behind_a_long_queue_cost_the_same_each():
    queue = AdmissionQueue(WAITERS, 1000.0)
    for _ in range(WAITERS - 1):
        queue.join(Ticket([], 0, lambda: None), 0.0)
    began = time.process_time()
    for _ in range(4 * WAITERS):
        ticket = Ticket([], 0, lambda: None)
        queue.join(ticket, 0.0)
        queue.close(ticket)
    assert time.process_time() - began < 1.5
    assert WAITERS - 1 == len(queue.crowd) == len(queue._line(0))


def test_a_leader_that_leaves_without_an_answer_wakes_the_one_who_is_to_lead_and_nobody_else():
    flights, woken = Flights(), []
    first, second, third = (Flight("k") for _ in range(3))
    assert flights.lead_or_follow(first) is None
    assert first is flights.lead_or_follow(second) is flights.lead_or_follow(third)
    group = first.group()
    for each in (second, third):
        group.gates[each] = lambda each=each: woken.append(each)
    flights.leave(first)
    assert [second] == woken
    assert second is group.flight is flights.lead_or_follow(third)
    assert flights.lead_or_follow(second) is None
    second.succeed(7)
    flights.leave(second)
    flights.leave(second)  # twice is once
    assert ([second, second, third], 0) == (woken, len(flights))


def test_an_heir_that_goes_away_leaves_it_to_the_next_one():
    flights, woken = Flights(), []
    first, second, third = (Flight("k") for _ in range(3))
    flights.lead_or_follow(first)
    group = first.group()
    for each in (second, third):
        group.gates[each] = lambda each=each: woken.append(each)
    flights.leave(first)
    del group.gates[second]
    flights.leave(second)
    assert ([second, third], third) == (woken, group.flight)
    del group.gates[third]
    flights.leave(third)
    assert (0, True) == (len(flights), group.flight.over)


def test_nothing_is_compared_under_the_lock_when_an_heir_leaves():
    class Key:
        def __init__(self):
            self.asked = 0

        def __hash__(self):
            return 7

        def __eq__(self, other):
            self.asked += 1
            return True

    flights, first, second = Flights(), Flight(Key()), Flight(Key())
    flights.lead_or_follow(first)
    flights.lead_or_follow(second)
    gates = first.group().gates
    gates[second] = lambda: None
    keys, before = (first.key, second.key), first.key.asked + second.key.asked
    flights.leave(first)
    del gates[second]
    flights.leave(second)
    assert before == sum(key.asked for key in keys)
    assert 0 == len(flights)


def test_a_leader_that_is_interrupted_as_it_leaves_wakes_the_one_who_is_to_lead_when_it_does_so_again():
    for answered in (False, True):
        flown, woken = [], []

        def work(answered=answered, flown=flown, woken=woken):
            flights, flight, follower = Flights(), Flight("k"), Flight("k")
            flown.append((flights, flight, follower))
            flights.lead_or_follow(flight)
            flight.group().gates[follower] = lambda: woken.append(follower)
            if answered:
                flight.succeed(7)
            flights.leave(flight)

        for point in interrupted(work):
            if flown:
                flights, flight, follower = flown.pop()
                followed = flight.followers is not None and follower in flight.followers.gates
                flights.leave(flight)
                assert not followed or follower in woken, point
                assert flight.over, point
            woken.clear()


def test_a_flight_that_is_over_and_its_followers_need_no_garbage_collection():
    flights, first, second = Flights(), Flight("k"), Flight("k")
    flights.lead_or_follow(first)
    first.group().gates[second] = lambda: None
    flights.leave(first)
    second.succeed(Answer())
    answer = weakref.ref(second.answer)
    flights.leave(second)
    gc.disable()
    try:
        del first, second
        assert answer() is None
    finally:
        gc.enable()


def test_a_thread_that_leaves_a_batch_wakes_one_other_to_lead_and_only_if_nobody_leads():
    batches = ThreadBatches(Collapse(window=59.0), lambda kept, places: None, lambda owner: owner, lambda kept: contextvars.copy_context(), time.monotonic, "b")
    callers = [_Caller(None) for _ in range(3)]
    for caller in callers:
        batches.batcher.join(caller, "lane", caller, caller, 0.0, None)
    batch = callers[0].batch
    for caller in callers:
        batch.gates[caller] = threading.Lock()
        batch.gates[caller].acquire()
    first, second, third = batch.gates.values()
    callers[0].taken.append(batch.tokens)  # the first leads
    callers[0].led = True
    del batch.tokens[-1]
    batches._part(callers[2])
    assert (True, True) == (first.locked(), second.locked())
    batches._part(callers[0])
    assert (False, True, 1) == (second.locked(), third.locked(), len(batch.tokens))
    batches._part(callers[1])
    assert (0, 0) == (len(batch.gates), batches.batcher.open)


def test_a_thread_whose_leader_runs_out_of_time_leads():
    ran, ended = [], []

    def run(kept, places):
        ran.append(len(places))

    batches = ThreadBatches(Collapse(window=0.2), run, lambda owner: owner, lambda kept: contextvars.copy_context(), time.monotonic, "batch")

    def leader():
        try:
            with deadline(0.05):
                batches.ask("lane", "first", "first", None)
        except TimeoutError:
            ended.append("first")

    def follower():
        batches.ask("lane", "second", "second", None)
        ended.append("second")

    threads = [threading.Thread(target=each, daemon=True) for each in (leader, follower)]
    threads[0].start()
    until(lambda: batches.batcher.open == 1)
    threads[1].start()
    until(lambda: len(ended) == 2)
    assert (["first", "second"], [1]) == (ended, ran)
