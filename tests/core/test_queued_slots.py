"""A bulkhead's queue: first come, first served, against plain lists; and that nobody is lost."""

import random
from collections import deque

import pytest

from resilience.core.admission_queue import Ticket
from resilience.core.bulkhead import Bulkhead
from resilience.core.outcome import SUCCESS
from resilience.core.queued_slots import QueuedSlots
from resilience.errors import BulkheadFullError, ConfigError
from tests.core.hammer import hammer
from tests.interrupts import interrupted


def queued(limit=1, **options):
    return QueuedSlots(Bulkhead(limit, **{"max_wait": 2.0, **options}), key="k")


def waiter(woken=None):
    woken = [] if woken is None else woken
    ticket = Ticket([], 0, lambda: woken.append(ticket))
    return ticket


def test_a_slot_that_comes_back_goes_to_whoever_came_first():
    slots, woken = queued(), []
    permit, first, second = slots.acquire(0.0), waiter(woken), waiter(woken)
    slots.enqueue(first, 0.0)
    slots.enqueue(second, 1.9)
    slots.settle(permit, SUCCESS, 0.0, 1.95)

    assert ([permit], [], [first], 1) == (first.taken, second.taken, woken, len(slots.crowd))


def test_a_queue_that_has_stood_for_long_is_still_served_in_turn_and_each_waits_as_long_as_the_first():
    slots = queued()
    slots.acquire(0.0)
    tickets = [waiter() for _ in range(4)]
    for n, ticket in enumerate(tickets):
        slots.enqueue(ticket, n * 1.0)

    assert [2.0, 3.0, 4.0, 5.0] == [ticket.until for ticket in tickets]
    slots.settle(slots.tokens, SUCCESS, 0.0, 3.5)
    assert [0, 0, 1, 0] == [len(ticket.taken) for ticket in tickets]


def test_a_newcomer_does_not_overtake_even_if_a_slot_lies_there():
    slots, first = queued(), waiter()
    permit = slots.acquire(0.0)
    slots.enqueue(first, 0.0)
    permit.append(None)  # given back by a call that was interrupted before it could hand it on
    with pytest.raises(BulkheadFullError):
        slots.acquire(0.1)
    newcomer = waiter()
    slots.enqueue(newcomer, 0.1)

    assert ([permit], []) == (first.taken, newcomer.taken)


def test_a_slot_that_lies_there_makes_room_in_the_queue_before_a_newcomer_is_refused():
    slots, first, newcomer = queued(max_queue=1), waiter(), waiter()
    permit = slots.acquire(0.0)
    slots.enqueue(first, 0.0)
    permit.append(None)  # given back by a call that was interrupted before it could hand it on
    slots.enqueue(newcomer, 0.1)

    assert ([permit], [], True) == (first.taken, newcomer.taken, newcomer.waiting)


def test_nobody_waits_where_no_wrapper_was_compiled_for_it():
    assert queued().lets_wait is False


def test_who_comes_to_stand_in_line_just_after_a_slot_came_back_has_it_at_once():
    slots, ticket = queued(), waiter()
    slots.enqueue(ticket, 0.0)

    assert ([slots.tokens], 1, 0) == (ticket.taken, slots.in_flight, len(slots.crowd))


def test_one_more_than_the_queue_is_long_is_refused_and_told_who_is_there():
    slots = queued(2, max_queue=1)
    slots.acquire(0.0)
    slots.acquire(0.0)
    slots.enqueue(waiter(), 0.0)
    with pytest.raises(BulkheadFullError) as caught:
        slots.enqueue(waiter(), 0.0)

    error = caught.value
    assert (2, 2, 1) == (error.limit, error.in_flight, error.waiting)
    assert "k: the bulkhead is full: calls of its own hold all 2 slots, and 1 more waits for one" == str(error)


@pytest.mark.parametrize(("change", "there", "waiting"), [
    ({"max_concurrent": 3}, 2, 2), ({"max_concurrent": None}, 4, 0), ({"max_queue": 1}, 0, 1), ({"max_wait": 0.0}, 0, 0),
])
def test_a_live_change_counts_at_once_for_those_who_wait(change, there, waiting):
    slots, woken = queued(), []
    slots.acquire(0.0)
    tickets = [waiter(woken) for _ in range(4)]
    for ticket in tickets:
        slots.enqueue(ticket, 0.0)
    slots.reconfigure(Bulkhead(**{"max_concurrent": 1, "max_wait": 2.0, **change}), 0.1)

    assert [1] * there + [0] * (4 - there) == [len(ticket.taken) for ticket in tickets]
    assert waiting == len(slots.crowd)
    assert {*woken} == {ticket for ticket in tickets if not ticket.waiting}


def test_another_longest_wait_is_counted_from_when_each_began_and_wakes_them():
    slots, woken = queued(), []
    slots.acquire(0.0)
    tickets = [waiter(woken) for _ in range(2)]
    for n, ticket in enumerate(tickets):
        slots.enqueue(ticket, float(n))
    slots.reconfigure(Bulkhead(1, max_wait=5.0), 1.5)

    assert ([5.0, 6.0], tickets) == ([ticket.until for ticket in tickets], woken)


def test_a_renewed_bulkhead_has_all_its_slots_and_nobody_waits():
    slots = queued()
    slots.acquire(0.0)
    slots.enqueue(waiter(), 0.0)
    slots.renew()

    assert (0, 0) == (slots.in_flight, len(slots.crowd))
    slots.acquire(0.0)
    slots.enqueue(waiter(), 0.0)
    assert 1 == len(slots.crowd)


def test_a_forked_child_goes_by_what_was_said_last():
    slots = queued(max_wait=0.0)
    assert (0, 0.0) == (slots.queue.size, slots.queue.wait_s)
    slots.reconfigure(Bulkhead(3, max_wait=9.0, max_queue=7), 0.0)
    slots.renew()
    assert (7, 9.0, 3) == (slots.queue.size, slots.queue.wait_s, len(slots.tokens))
    slots.reconfigure(Bulkhead(3), 0.0)
    assert (0, 0.0) == (slots.queue.size, slots.queue.wait_s)
    slots.renew()
    assert (0, 0.0) == (slots.queue.size, slots.queue.wait_s)


def test_a_waiter_whose_loop_is_closed_leaves_the_slot_to_the_next():
    def closed():
        raise RuntimeError("Event loop is closed")

    slots, second = queued(), waiter()
    permit = slots.acquire(0.0)
    slots.enqueue(Ticket([], 0, closed), 0.0)
    slots.enqueue(second, 0.0)
    slots.settle(permit, SUCCESS, 0.0, 0.1)

    assert ([permit], 1) == (second.taken, slots.in_flight)


@pytest.mark.parametrize("options", [{"max_wait": -1.0}, {"max_wait": "2"}, {"max_wait": 86_401}, {"max_queue": 0}])
def test_values_that_make_no_sense_are_named(options):
    with pytest.raises(ConfigError) as caught:
        Bulkhead(4, **options)
    assert next(iter(options)) == caught.value.option


class Oracle:
    """The same with two plain numbers and a list."""

    def __init__(self, limit, max_wait, max_queue):
        self.limit, self.max_wait, self.max_queue = limit, max_wait, max_queue
        self.held, self.line, self.served = 0, deque(), []

    def serve(self, now):
        while self.line and (self.limit is None or self.held < self.limit):
            name, since = self.line.popleft()
            if now < since + self.max_wait:
                self.held += 1
                self.served.append(name)

    def change(self, limit, max_wait, max_queue, now):
        self.limit = limit
        self.serve(now)
        self.max_wait, self.max_queue = max_wait, max_queue
        while len(self.line) > (max_queue if max_wait else 0):
            self.line.pop()

    def call(self, name, now):
        self.serve(now)
        if not self.line and (self.limit is None or self.held < self.limit):
            self.held += 1
            return "in"
        if len(self.line) >= (self.max_queue if self.max_wait else 0):
            return "refused"
        self.line.append((name, now))
        return "waits"


def a_history(seed):
    rng, now = random.Random(seed), 0.0
    oracle = Oracle(rng.randint(1, 3), 2.0, 3)
    slots, served, waiting = queued(oracle.limit, max_queue=3), [], {}
    for name in range(300):
        now += rng.choice([0.0, 0.1, 0.7])
        dice = rng.random()
        if dice < 0.45:
            said, taken = oracle.call(name, now), []
            try:
                slots.take(taken)
                found = "in"
            except BulkheadFullError:
                ticket = Ticket(taken, 0, lambda name=name: served.append(name) if waiting[name].taken else None)
                waiting[name], found = ticket, "waits"
                try:
                    if not slots.queue.size:
                        raise slots.full() from None
                    slots.enqueue(ticket, now)
                except BulkheadFullError:
                    found = "refused"
            assert said == found
        elif dice < 0.8:
            if oracle.held:
                oracle.held -= 1
                oracle.serve(now)
                slots.settle(slots.tokens, SUCCESS, 0.0, now)
        elif dice < 0.92:
            if oracle.line:
                gone = rng.choice(list(oracle.line))
                oracle.line.remove(gone)
                slots.withdraw(waiting[gone[0]])
        else:
            values = rng.choice([1, 2, 4, None]), rng.choice([0.0, 0.5, 2.0, 9.0]), rng.choice([1, 3, 5])
            oracle.change(*values, now)
            slots.reconfigure(Bulkhead(values[0], max_wait=values[1], max_queue=values[2]), now)
        yield oracle, slots, served


def test_any_history_serves_and_refuses_as_a_plain_list_does():
    served_at_all = 0
    for seed in range(60):
        for oracle, slots, served in a_history(seed):
            assert oracle.served == served
            assert oracle.held == slots.in_flight
            assert len(oracle.line) == len(slots.crowd)
        served_at_all += len(served)
    assert served_at_all > 500


def test_threads_that_give_up_while_they_are_served_lose_no_slot():
    slots = queued(2, max_wait=100.0)

    def work():
        for _ in range(300):
            ticket = waiter()
            try:
                slots.enqueue(ticket, 0.0)
            finally:
                slots.withdraw(ticket)
            if ticket.taken:
                slots.settle(ticket.taken[0], SUCCESS, 0.0, 0.0)

    hammer(work)
    assert (0, 0, 2) == (slots.in_flight, len(slots.crowd), len(slots.tokens))


def test_an_interrupt_anywhere_in_a_hand_over_leaves_the_slot_free_or_with_its_new_owner():
    slots, tickets, owners = queued(max_wait=100.0), [], set()

    def work():
        taken, ticket = [], waiter()
        tickets.append(ticket)
        try:
            slots.take(taken)
            slots.enqueue(ticket, 0.0)
        finally:
            for permit in taken:
                permit.append(None)  # as a wrapper's text does, before anything that could be interrupted
        slots.hand_on(0.0)

    for _ in interrupted(work):
        owners |= {len(ticket.taken) for ticket in tickets}
        for ticket in tickets:
            slots.withdraw(ticket)
            for permit in ticket.taken:
                permit.append(None)
        tickets.clear()
        assert (0, 0, 1) == (slots.in_flight, len(slots.crowd), len(slots.tokens))
    assert {0, 1} == owners


def test_a_queue_is_made_when_somebody_may_first_wait_and_stays_the_same_for_all():
    slots = queued(max_wait=0.0)
    none = slots.crowd
    slots.hand_on(0.0)
    slots.reconfigure(Bulkhead(2), 0.0)
    assert () == none == slots.crowd  # nobody can wait: there is no queue

    slots.let_wait()
    queue = slots.queue
    slots.reconfigure(Bulkhead(1, max_wait=2.0), 0.0)
    permit, ticket = slots.acquire(0.0), waiter()
    slots.enqueue(ticket, 0.0)
    slots.let_wait()  # a further function
    slots.settle(permit, SUCCESS, 0.0, 1.0)
    assert (queue, [permit]) == (slots.queue, ticket.taken)


def test_a_bulkhead_that_lets_calls_wait_from_some_moment_on_has_the_queue_before_anybody_waits():
    slots = queued(max_wait=0.0)
    slots.reconfigure(Bulkhead(1, max_wait=2.0), 0.0)
    assert (1000, slots.crowd) == (slots.queue.size, slots.queue.crowd)


def named(name, woken):
    return Ticket([], 0, lambda: woken.append(name), key=name)


def served(slots, names):
    """Who has a slot after who, of waiters of these *names* who came in this order."""
    woken, permit = [], slots.acquire(0.0)
    for name in names:
        slots.enqueue(named(name, woken), 0.0)
    for _ in names:
        slots.settle(permit, SUCCESS, 0.0, 1.0)
    return "".join(woken)


def owner():
    """Say whose a call is; nothing here calls it."""


@pytest.mark.parametrize("fair", [False, True])
def test_tenants_take_turns_only_where_something_tells_them_apart(fair):
    assert ("abab" if fair else "aabb") == served(queued(fair_by=owner if fair else None), "aabb")

    compiled = queued(max_wait=0.0)
    compiled.let_wait(owner if fair else None)
    compiled.reconfigure(Bulkhead(1, max_wait=2.0, fair_by=None if fair else owner), 0.0)
    assert compiled.lets_wait is True
    assert ("abab" if fair else "aabb") == served(compiled, "aabb")  # as its functions were declared

    changed = queued(max_wait=0.0)
    changed.reconfigure(Bulkhead(1, max_wait=2.0, fair_by=owner if fair else None), 0.0)
    assert ("abab" if fair else "aabb") == served(changed, "aabb")


def test_a_tenant_that_fills_the_queue_loses_its_last_place_to_another_and_is_told():
    slots, woken = queued(fair_by=owner, max_queue=2), []
    permit = slots.acquire(0.0)
    first, last, other = named("a", woken), named("a", woken), named("b", woken)
    slots.enqueue(first, 0.0)
    slots.enqueue(last, 0.0)
    slots.enqueue(other, 0.0)

    assert (["a"], True, False, True) == (woken, first.waiting, last.waiting, other.waiting)
    slots.settle(permit, SUCCESS, 0.0, 1.0)
    assert [permit] == first.taken


def test_where_wrappers_can_wait_the_queue_is_there_before_anybody_waits_in_a_forked_child_too():
    slots = queued(max_wait=0.0)
    assert () == slots.crowd
    slots.let_wait()
    crowd = slots.crowd
    assert slots.queue.crowd is crowd
    slots.renew()
    assert slots.crowd is not crowd
    assert slots.queue.crowd is slots.crowd

    plain = queued(max_wait=0.0)
    plain.renew()
    assert () == plain.crowd
    assert plain._queue is None
    waits = queued()
    waits.renew()
    assert waits._queue is not None

    waits.acquire(0.0)
    waits.enqueue(waiter(), 0.0)
    waits.reconfigure(Bulkhead(1), 0.0)
    waits.renew()
    assert () == waits.crowd  # and not what told of those who waited in the parent
