"""Each waiter that gave up was paid for by all behind it, in one turn of the loop: 4,000 of a rate limit took 49 seconds.

Complaints of the same kind: bharel/asynciolimiter#5, mjpieters/aiolimiter#290. A cache's followers were all woken whenever
their leader was cancelled, and searched for in a list when one of them was.
"""

import asyncio
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
from resilience.core.rate_limit import RateLimit, RateLimiter
from resilience.drivers.batches import ThreadBatches
from resilience.drivers.flights import Flight, Flights
from resilience.drivers.time_left import deadline
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
    return adaptive_limit(initial=1, most=1, max_queue=WAITERS, max_queue_for=1000.0, registry=Registry())(forever)


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
    assert 1.0 == limiter.pace.booked


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
    assert flights.board(first) is None
    assert first is flights.board(second) is flights.board(third)
    group = first.group()
    for each in (second, third):
        group.gates[each] = lambda each=each: woken.append(each)
    flights.leave(first)
    assert [second] == woken
    assert second is group.flight is flights.board(third)
    assert flights.board(second) is None
    second.succeed(7)
    flights.leave(second)
    flights.leave(second)  # twice is once
    assert ([second, second, third], 0) == (woken, len(flights))


def test_an_heir_that_goes_away_leaves_it_to_the_next_one():
    flights, woken = Flights(), []
    first, second, third = (Flight("k") for _ in range(3))
    flights.board(first)
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
    flights.board(first)
    flights.board(second)
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
            flights.board(flight)
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
    flights.board(first)
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


def test_threads_in_a_batch_whose_leaders_run_out_of_time_all_get_their_error():
    ended = []

    def run(kept, places):
        raise AssertionError("nobody was left")

    batches = ThreadBatches(Collapse(window=59.0), run, lambda owner: owner, time.monotonic, "batch")

    def ask(number):
        try:
            with deadline(0.2):
                batches.ask("lane", number, number, None)
        except TimeoutError:
            ended.append(number)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(50)]
    for thread in threads:
        thread.start()
    until(lambda: len(ended) == 50)
    assert 0 == batches.batcher.open
