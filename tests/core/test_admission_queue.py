"""The queue itself at literal times: who is let in, who gives way, and who is granted what."""

from collections import OrderedDict

import pytest

from resilience.core.admission_queue import FAIR_AFTER, LEVELS, STANDING, AdmissionQueue, Ticket, level_of
from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.waiting_queue import WaitingQueue


def waiter(priority=0, woken=None):
    woken = [] if woken is None else woken
    ticket = Ticket([], priority, lambda: woken.append(ticket))
    return ticket


def joined(queue, *priorities, now=0.0, woken=None):
    """Tickets of so many callers; nobody gave way."""
    tickets = [waiter(priority, woken) for priority in priorities]
    for ticket in tickets:
        assert queue.join(ticket, now) is None
    return tickets


def free(count):
    return Slots(Bulkhead(count), key="k")


def test_what_is_new_is_empty():
    ticket, queue = waiter(3), AdmissionQueue(4, 2.0)

    assert (3, 0.0, 0.0, [], False) == (ticket.level, ticket.since, ticket.until, ticket.taken, ticket.waiting)
    assert (4, 2.0, False, [], 0) == (queue.size, queue.wait_s, queue.in_turn, queue.crowd, queue.passed)
    assert (10, 19, 0.05) == (LEVELS, FAIR_AFTER, STANDING)


@pytest.mark.parametrize(("priority", "level"), [(-3, 0), (0, 0), (1, 1), (8, 8), (9, 9), (10, 9), (99, 9)])
def test_a_number_beyond_the_levels_counts_as_the_nearest(priority, level):
    assert level == level_of(priority)


def test_who_comes_waits_as_long_as_the_queue_does_not_stand():
    queue = AdmissionQueue(10, 2.0)
    (first,) = joined(queue, 0, now=100.0)
    (second,) = joined(queue, 0, now=101.75)
    assert (100.0, 102.0, True, 101.75, 103.75) == (first.since, first.until, first.waiting, second.since, second.until)
    assert [False, True] == [queue.stands(now) for now in (101.75, 102.0)]
    (third,) = joined(queue, 0, now=102.0)
    assert (102.0, 102.1) == (third.since, third.until)
    for ticket in (first, second, third):
        assert queue.close(ticket)
    assert not queue.stands(200.0)
    assert not AdmissionQueue(10, 2.0, in_turn=True).stands(200.0)


def test_in_turn_each_waits_as_long_as_the_first_however_long_the_queue_has_stood():
    queue = AdmissionQueue(10, 2.0, in_turn=True)
    tickets = [joined(queue, 0, now=now)[0] for now in (0.0, 1.5, 3.0)]

    assert ([2.0, 3.5, 5.0], False) == ([ticket.until for ticket in tickets], queue.stands(3.0))


def test_in_turn_who_comes_while_the_longest_wait_is_changed_waits_as_long_as_the_others():
    class Changed(AdmissionQueue):
        """Its longest wait is changed just as somebody is about to stand in line."""

        def _line(self, level):
            self.wait_s = 5.0
            return super()._line(level)

    assert 6.0 == joined(Changed(9, 2.0, in_turn=True), 0, now=1.0)[0].until


@pytest.mark.parametrize(("there", "newcomer", "stands", "victim"), [
    ((0, 0), 0, False, "newcomer"), ((0, 0), 5, False, "newcomer"), ((5, 5), 0, False, 0), ((5, 9), 0, False, 1),
    ((9, 5), 0, False, 0), ((9, 9), 9, False, "newcomer"), ((9, 9), 9, True, 0), ((5, 5), 9, True, "newcomer"),
    ((0, 1), 1, False, "newcomer"), ((0, 1), 1, True, 1), ((1, 0), 0, False, 0), ((0, 0), 0, True, 0)])
def test_when_the_queue_is_full_the_oldest_of_the_least_important_gives_way_to_a_more_important_one(there, newcomer, stands, victim):
    queue, woken = AdmissionQueue(2, 2.0), []
    tickets, new = joined(queue, *there, woken=woken), waiter(newcomer, woken)
    gave_way = queue.join(new, 2.0 if stands else 1.0)
    expected = new if victim == "newcomer" else tickets[victim]

    assert (True, False, 2, []) == (gave_way is expected, expected.waiting, len(queue.crowd), woken)
    assert 2 == sum(ticket.waiting for ticket in (*tickets, new))


def test_a_smaller_size_puts_out_the_newest_of_the_least_important():
    queue = AdmissionQueue(10, 2.0)
    tickets = joined(queue, 5, 0, 9, 5, 0)
    assert [] == queue.configure(5, 1.0)
    assert [tickets[2], tickets[3]] == queue.configure(3, 1.0)
    assert [True, True, False, False, True] == [ticket.waiting for ticket in tickets]
    assert [tickets[0], tickets[4], tickets[1]] == queue.configure(0, 1.0)
    assert (0, 0, 1.0) == (len(queue.crowd), queue.size, queue.wait_s)


def test_another_wait_is_for_those_who_come_or_in_turn_for_all():
    plain, turn = AdmissionQueue(9, 2.0), AdmissionQueue(9, 2.0, in_turn=True)
    for queue, until, woken in ((plain, [2.0, 3.0], []), (turn, [5.0, 6.0], [0, 1])):
        tickets = [joined(queue, 0, now=now)[0] for now in (0.0, 1.0)]
        assert [] == queue.configure(9, 2.0)
        assert [tickets[n] for n in woken] == queue.configure(9, 5.0)
        assert until == [ticket.until for ticket in tickets]
        assert 7.0 == joined(queue, 0, now=2.0)[0].until or queue is plain


def test_the_most_important_goes_first_and_of_one_level_the_oldest_until_the_queue_stands():
    queue, slots, woken = AdmissionQueue(9, 2.0), free(4), []
    low, first, second, third = joined(queue, 5, 1, 1, 1, woken=woken)
    assert 1 == queue.first_level()
    assert queue.grant(slots, 1, 1.0)
    assert ([first], [slots.tokens], 3, 1) == (woken, first.taken, len(queue.crowd), queue.passed)
    low.until = second.until = third.until = 9.0
    assert queue.grant(slots, 1, 2.0)
    assert ([first, third], 2) == (woken, queue.passed)
    assert queue.grant(slots, 1, 2.0)
    assert 5 == queue.first_level()
    assert queue.grant(slots, 5, 2.0)
    assert ([first, third, second, low], None, 0, 4) == (woken, queue.first_level(), slots.least_free, queue.passed)
    assert (0, [], True) == (len(slots.tokens), queue.crowd, queue.grant(slots, 5, 2.0))


def test_the_oldest_is_granted_if_that_is_asked_for_and_then_the_count_begins_anew():
    queue, slots = AdmissionQueue(9, 2.0), free(2)
    first, second = joined(queue, 1, 1)
    first.until = second.until = 9.0
    queue.passed = 19
    assert queue.grant(slots, 1, 5.0, oldest=True)

    assert ([slots.tokens], [], 0, 1) == (first.taken, second.taken, queue.passed, slots.least_free)
    assert [second] == list(queue._lines[1])


def test_a_queue_that_was_emptied_by_a_grant_begins_to_stand_from_then_on():
    queue = AdmissionQueue(9, 2.0)
    (ticket,) = joined(queue, 0, now=0.0)
    queue.grant(free(1), 0, 1.5)
    assert (1.5, False) == (queue._empty_at, queue.stands(9.0))
    joined(queue, 0, 0, now=3.0)
    queue.grant(free(1), 0, 4.5)
    assert [False, True] == [queue.stands(now) for now in (4.9, 5.0)]


def test_whose_time_is_over_is_passed_over_and_no_token_is_spent():
    queue, slots, woken = AdmissionQueue(9, 2.0), free(1), []
    late, next_ = joined(queue, 0, 0, woken=woken)
    next_.until = 9.0
    assert queue.grant(slots, 0, 2.0, oldest=True)
    assert (False, [], 1, 1, []) == (late.waiting, late.taken, len(slots.tokens), len(queue.crowd), woken)
    assert queue.grant(slots, 0, 2.0, oldest=True)
    assert [slots.tokens] == next_.taken


def test_without_a_token_nobody_is_granted_anything_and_with_one_that_is_given_back_nothing_is_lost():
    queue, slots = AdmissionQueue(9, 2.0), free(1)
    (ticket,) = joined(queue, 0)
    slots.acquire(0.0)
    assert (False, True, 1, 0) == (queue.grant(slots, 0, 1.0), ticket.waiting, len(queue.crowd), queue.passed)


def test_a_ticket_that_another_thread_decides_meanwhile_gets_nothing_and_the_token_goes_back():
    queue, slots = AdmissionQueue(9, 2.0), free(1)
    (ticket,) = joined(queue, 0)

    class Decided(list):
        """The mark, which another thread takes out just before."""

        def __delitem__(self, at):
            raise IndexError

    ticket._open = Decided([None])
    assert (True, [], 1) == (queue.grant(slots, 0, 1.0), ticket.taken, len(slots.tokens))


def test_the_twentieth_grant_is_for_whoever_of_the_less_important_has_waited_longest():
    queue = AdmissionQueue(9, 2.0)
    (top,) = joined(queue, 1, now=0.0)
    queue.passed = 19
    assert queue.favoured() is None  # nobody less important is there
    (newer,) = joined(queue, 9, now=1.0)
    (older,) = joined(queue, 5, now=0.5)
    assert queue.favoured() is older
    queue.passed = 18
    assert queue.favoured() is None
    queue.passed = 20
    queue.close(older)
    assert queue.favoured() is newer
    queue.close(newer)
    assert queue.favoured() is None
    queue.close(top)
    assert queue.favoured() is None


@pytest.mark.parametrize(("there", "newcomer", "victim"), [
    ((0, 9), 0, "newcomer"), ((0, 5, 9), 0, 2), ((0, 9, 9), 0, 2), ((0, 0), 9, 0), ((1, 0), 9, "newcomer"), ((5, 9), 0, 1)])
def test_whose_turn_the_next_grant_is_does_not_give_way(there, newcomer, victim):
    queue = AdmissionQueue(len(there), 2.0)
    tickets, new = joined(queue, *there), waiter(newcomer)
    queue.passed = 19
    gave_way = queue.join(new, 1.0)

    assert gave_way is (new if victim == "newcomer" else tickets[victim])


def test_a_ticket_is_decided_once():
    queue = AdmissionQueue(9, 2.0)
    (ticket,) = joined(queue, 0)

    assert ([True, False], False, []) == ([queue.close(ticket) for _ in range(2)], ticket.waiting, queue.crowd)
    assert (0, None) == (len(queue._lines[0]), queue.first_level())
    assert not queue.close(waiter())


def test_what_was_decided_but_not_yet_taken_out_is_taken_out_by_whoever_looks():
    queue = AdmissionQueue(9, 2.0)
    first, second = joined(queue, 0, 0)
    for ticket in (first, second):
        del ticket._open[-1]  # as by a thread that has not come to the next line
    assert (None, 0) == (queue.first_level(), len(queue._lines[0]))


@pytest.mark.parametrize("error", [RuntimeError, StopIteration])
def test_whom_another_thread_takes_out_just_as_the_line_is_looked_at_is_passed_over(error):
    class Changing(OrderedDict):
        """Changes once while it is iterated over."""

        changes = [error]

        def __iter__(self):
            if self.changes:
                raise self.changes.pop()
            return super().__iter__()

    queue = AdmissionQueue(9, 2.0)
    line = queue._lines[0] = WaitingQueue()
    line._tickets = Changing()
    joined(queue, 0)
    assert 0 == queue.first_level()


def test_a_waiter_whose_loop_is_closed_gives_its_token_back_and_one_without_a_token_nothing():
    def closed():
        raise RuntimeError("Event loop is closed")

    queue, slots = AdmissionQueue(9, 2.0), free(1)
    ticket = Ticket([], 0, closed)
    queue.join(ticket, 0.0)
    queue.wake(ticket)
    assert (True, 1) == (ticket.waiting, len(slots.tokens))
    assert queue.grant(slots, 0, 1.0)
    assert ([], 1) == (ticket.taken, len(slots.tokens))
