"""The queue in front of the limit: who waits, who goes first, who gives way, and that nobody is lost."""

import random

import pytest

from resilience.core.adaptive import AdaptiveLimit, AdaptiveLimiter
from resilience.core.admission_queue import AdmissionQueue, Ticket
from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.outcome import CANCELLED, SUCCESS
from resilience.errors import BulkheadFullError
from tests.core.hammer import hammer
from tests.interrupts import interrupted


def limiter(limit=1, **options):
    options = {"max_queue": 3, "max_queue_for": 1.0, "window": 3600, **options}
    return AdaptiveLimiter(AdaptiveLimit(initial=limit, min_limit=limit, max_limit=limit, **options), key="k", now=0.0)


def waiter(priority=0, woken=None):
    woken = [] if woken is None else woken
    ticket = Ticket([], priority, lambda: woken.append(ticket))
    return ticket


def test_a_permit_that_comes_back_goes_to_a_waiter_and_wakes_it():
    machine, woken = limiter(), []
    permit, ticket = machine.acquire(0.0), waiter(woken=woken)
    machine.enqueue(ticket, 0.0)
    assert (1, [], []) == (machine.waiting, ticket.taken, woken)

    machine.settle(permit, SUCCESS, 0.0, 0.5)

    assert (0, [permit], [ticket]) == (machine.waiting, ticket.taken, woken)
    assert 1 == machine.in_flight
    with pytest.raises(BulkheadFullError):
        machine.acquire(0.5)


def test_who_finds_a_free_permit_on_queueing_has_it_at_once():
    machine, ticket = limiter(), waiter()
    machine.enqueue(ticket, 0.0)

    assert 1 == len(ticket.taken)
    assert not ticket.waiting


def test_a_waiter_that_withdrew_is_passed_over():
    machine, first, second = limiter(), waiter(), waiter()
    permit = machine.acquire(0.0)
    machine.enqueue(first, 0.0)
    machine.enqueue(second, 0.1)
    machine.withdraw(first)
    machine.settle(permit, CANCELLED, 0.0, 0.2)

    assert ([], [permit], 0) == (first.taken, second.taken, machine.waiting)


def test_withdrawing_after_the_grant_leaves_the_permit_to_its_owner():
    machine, ticket = limiter(), waiter()
    permit = machine.acquire(0.0)
    machine.enqueue(ticket, 0.0)
    machine.settle(permit, SUCCESS, 0.0, 0.2)
    machine.withdraw(ticket)
    machine.withdraw(ticket)
    assert 1 == machine.in_flight

    machine.settle(ticket.taken[0], CANCELLED, 0.2, 0.3)

    assert 0 == machine.in_flight


def test_a_full_queue_refuses():
    machine = limiter()
    machine.acquire(0.0)
    for _ in range(3):
        machine.enqueue(waiter(), 0.0)
    with pytest.raises(BulkheadFullError) as caught:
        machine.enqueue(waiter(), 0.0)

    assert ("k", 3) == (caught.value.key, machine.waiting)


def test_without_a_queue_nobody_waits():
    machine = limiter(max_queue=0)
    machine.acquire(0.0)
    with pytest.raises(BulkheadFullError):
        machine.enqueue(waiter(), 0.0)
    assert 0 == machine.waiting


def test_the_more_important_goes_first_and_pushes_the_least_important_out():
    machine, woken = limiter(), []
    permit = machine.acquire(0.0)
    low, lower, middle, high = (waiter(level, woken) for level in (5, 9, 3, 0))
    for ticket in (low, lower, middle):
        machine.enqueue(ticket, 0.0)
    machine.enqueue(high, 0.1)
    assert [lower] == woken
    assert ([], False) == (lower.taken, lower.waiting)

    machine.settle(permit, SUCCESS, 0.0, 0.2)

    assert [permit] == high.taken


def test_an_equal_is_not_pushed_out_of_a_queue_that_does_not_stand():
    machine, tickets = limiter(), [waiter() for _ in range(3)]
    permit = machine.acquire(0.0)
    for ticket in tickets:
        machine.enqueue(ticket, 0.0)
    with pytest.raises(BulkheadFullError):
        machine.enqueue(waiter(), 0.5)
    machine.settle(permit, SUCCESS, 0.0, 0.6)

    assert [permit] == tickets[0].taken  # first come, first served


def test_in_a_queue_that_stands_waits_are_short_and_the_newest_goes_first():
    machine = limiter(max_queue=2)
    permit = machine.acquire(0.0)
    old, older = waiter(), waiter()
    machine.enqueue(older, 0.0)
    machine.enqueue(old, 0.9)
    assert (1.0, 1.9) == (older.until, old.until)
    new = waiter()
    machine.enqueue(new, 1.0)  # not empty for a second
    assert not older.waiting  # it gave way
    assert pytest.approx(1.05) == new.until

    machine.settle(permit, SUCCESS, 0.0, 1.01)

    assert ([permit], []) == (new.taken, old.taken)


def test_a_queue_that_was_empty_for_a_moment_does_not_stand():
    queue, ticket = AdmissionQueue(5, 1.0), waiter()
    queue.join(ticket, 0.0)
    assert queue.stands(1.0)
    assert queue.grant(Slots(Bulkhead(1), key="k"), 0, 0.5)
    assert ticket.taken
    queue.join(waiter(), 0.9)

    assert not queue.stands(1.5)
    assert queue.stands(2.0)


def test_whose_time_is_over_gets_no_permit():
    machine, ticket = limiter(), waiter()
    permit = machine.acquire(0.0)
    machine.enqueue(ticket, 0.0)
    machine.settle(permit, SUCCESS, 0.0, 1.0)

    assert ([], 0, 0) == (ticket.taken, machine.in_flight, machine.waiting)


def test_a_waiter_whose_loop_is_closed_loses_no_permit():
    machine = limiter()

    def closed():
        raise RuntimeError("Event loop is closed")

    dead, alive = Ticket([], 0, closed), waiter()
    permit = machine.acquire(0.0)
    machine.enqueue(dead, 0.0)
    machine.enqueue(alive, 0.0)
    machine.settle(permit, SUCCESS, 0.0, 0.1)

    assert ([], [permit], 1) == (dead.taken, alive.taken, machine.in_flight)


def test_a_lower_level_waits_as_long_as_what_is_left_is_kept_for_others():
    machine = limiter(10, reserved=0.5)
    permits = [machine.acquire(0.0) for _ in range(6)]
    low = waiter(1)
    machine.enqueue(low, 0.0)
    assert low.waiting
    machine.settle(permits.pop(), SUCCESS, 0.0, 0.1)
    assert low.waiting
    machine.settle(permits.pop(), SUCCESS, 0.0, 0.2)

    assert 1 == len(low.taken)
    assert 5 == machine.in_flight


def test_those_that_gave_up_take_no_room_for_long():
    machine = limiter(max_queue=10)
    machine.acquire(0.0)
    for number in range(1000):
        ticket = waiter()
        machine.enqueue(ticket, number * 0.01)
        machine.withdraw(ticket)

    assert 0 == machine.waiting
    assert sum(map(len, machine.queue._lines.values())) == 0


def test_a_longer_queue_can_be_configured_while_calls_wait():
    machine = limiter(max_queue=1)
    machine.acquire(0.0)
    machine.enqueue(waiter(), 0.0)
    machine.configure(AdaptiveLimit(initial=1, max_limit=1, max_queue=2), 0.0)
    machine.enqueue(waiter(), 0.0)

    assert 2 == machine.waiting


def test_a_larger_limit_is_handed_to_the_waiters_at_once():
    machine, ticket = limiter(), waiter()
    machine.acquire(0.0)
    machine.enqueue(ticket, 0.0)
    machine.configure(AdaptiveLimit(initial=2, min_limit=2, max_limit=2, max_queue=3), 0.1)

    assert 1 == len(ticket.taken)


class Model:
    """The queue in the plainest words: a list of [level, until, who, since], oldest first."""

    def __init__(self, limit, size, wait, reserved):
        self.limit, self.size, self.wait, self.reserved = limit, size, wait, reserved
        self.busy, self.line, self.empty_at, self.granted, self.passed = 0, [], 0.0, set(), 0

    def room(self, level):
        return self.busy < (self.limit if level == 0 else max(1, int(self.limit * (1 - self.reserved) ** level)))

    def stands(self, now):
        return bool(self.line) and now - self.empty_at >= self.wait

    def acquire(self, level):
        """False if refused."""
        fair = not self.room(level) and self.passed >= 19 and level > 0 and self.busy < self.limit
        if not fair and not self.room(level):
            return False
        self.busy += 1
        self.passed = 0 if fair else self.passed + 1
        return True

    def favoured(self):
        """Of whom is the twentieth grant."""
        if self.passed < 19 or not self.line:
            return None
        first = min(entry[0] for entry in self.line)
        return min((entry for entry in self.line if entry[0] > first), key=lambda entry: (entry[3], entry[0]),
                   default=None)

    def enqueue(self, who, level, now):
        """False if refused."""
        if not self.line:
            self.empty_at = now
        stands = self.stands(now)
        new = [level, now + self.wait * (0.05 if stands else 1.0), who, now]
        self.line.append(new)
        if len(self.line) > self.size:
            spared = self.favoured()
            lesser = [entry for entry in self.line if entry[0] > level or (stands and entry[0] == level)
                      or spared is new]
            lesser = [entry for entry in lesser if entry is not spared]
            lowest = max((entry[0] for entry in lesser), default=None)
            # The oldest of the lowest level; the newest, if the oldest is spared.
            if spared is not None and spared[0] == lowest and spared is not new:
                victim = [entry for entry in self.line if entry[0] == lowest][-1]
            else:
                victim = next((entry for entry in lesser if entry[0] == lowest), new)
            self.line.remove(victim)
            if victim is new:
                return False
        self.hand_on(now)
        return True

    def hand_on(self, now):
        while self.line:
            fair = self.favoured()
            level = min(entry[0] for entry in self.line) if fair is None else fair[0]
            if not (self.room(level) if fair is None else self.busy < self.limit):
                return
            line = [entry for entry in self.line if entry[0] == level]
            entry = line[-1] if self.stands(now) and fair is None else line[0]
            self.line.remove(entry)
            if now < entry[1]:
                self.busy += 1
                self.passed = self.passed + 1 if fair is None else 0
                self.granted.add(entry[2])
                if not self.line:
                    self.empty_at = now


@pytest.mark.parametrize("seeds", [range(100), range(100, 200), range(200, 300)])
def test_any_history_grants_refuses_and_evicts_as_a_plain_list_does(seeds):
    for seed in seeds:
        any_history(random.Random(seed))


def any_history(rng):
    limit, size = rng.choice([1, 3, 10]), rng.choice([1, 2, 5])
    machine = limiter(limit, max_queue=size, reserved=rng.choice([0.0, 0.1, 0.5]))
    model = Model(limit, size, 1.0, machine._config.reserved)
    now, tickets, held = 0.0, [], []
    for number in range(300):
        now += rng.choice([0.0, 0.01, 0.1, 0.7])
        dice = rng.random()
        if dice < 0.3:
            level = rng.choice([0, 0, 1, 2, 9])
            try:
                held.append(machine.acquire(now, level))
                got = True
            except BulkheadFullError:
                got = False
            assert got == model.acquire(level)
        elif dice < 0.55:
            level = rng.choice([0, 0, 1, 2, 9])
            ticket = waiter(level)
            try:
                machine.enqueue(ticket, now)
                took = True
            except BulkheadFullError:
                took = False
            assert took == model.enqueue(number, level, now)
            tickets.append((number, ticket))
        elif dice < 0.65 and tickets:
            who, ticket = rng.choice(tickets)
            machine.withdraw(ticket)
            model.line = [entry for entry in model.line if entry[2] != who]
        else:
            mine = held or [t.taken for _, t in tickets if t.taken]
            if mine:
                permit = mine.pop() if mine is held else rng.choice(mine).pop()
                machine.settle(permit, rng.choice([SUCCESS, CANCELLED]), now - 0.05, now)
                model.busy -= 1
                model.hand_on(now)
        granted = {who for who, ticket in tickets if ticket.taken}
        waiting = {who for who, ticket in tickets if ticket.waiting}
        assert (model.busy, {entry[2] for entry in model.line}) == (machine.in_flight, waiting)
        assert granted <= model.granted
        assert len(waiting) == machine.waiting


def test_threads_that_wait_give_up_and_settle_lose_no_permit_and_pass_no_limit():
    machine, over, sums = limiter(3, max_queue=4, max_queue_for=0.5), [], []

    def work():
        rng, granted = random.Random(), 0
        for number in range(400):
            taken = []
            ticket = Ticket(taken, rng.choice([0, 0, 1]), lambda: None)
            try:
                machine.take(taken, ticket.level)
            except BulkheadFullError:
                try:
                    machine.enqueue(ticket, number * 0.001)
                except BulkheadFullError:
                    continue
                for _ in range(rng.randrange(20)):
                    if taken:
                        break
                machine.withdraw(ticket)
            if taken:
                granted += 1
                if machine.in_flight > 3:
                    over.append(machine.in_flight)
                machine.settle(taken[0], SUCCESS, 0.0, number * 0.001)
        sums.append(granted)

    hammer(work)

    assert [] == over
    assert sum(sums) > 100
    assert (0, 0) == (machine.in_flight, machine.waiting)
    assert 3 == len(machine.slots.tokens)


def test_an_interrupt_at_any_point_loses_no_permit():
    spare = [limiter(2)]
    machine, held, taken = spare[0], [], []

    def work():
        ticket = None
        try:
            machine.take(held)
            machine.take(held)
            ticket = Ticket(taken, 0, lambda: None)
            machine.enqueue(ticket, 0.0)
            permit = held.pop()
            permit += (None,)
            machine.report(SUCCESS, 0.0, 0.1)
        finally:
            if ticket is not None:
                machine.queue._lines.clear()  # as withdraw() would, which is struck elsewhere
                del ticket._open[:], machine.queue.crowd[:]

    for point in interrupted(work):
        assert len(held) + len(taken) == machine.in_flight, point
        while held or taken:
            permit = (held or taken).pop()
            permit += (None,)
        assert 0 == machine.in_flight
        assert 2 == len(machine.slots.tokens)


def test_an_interrupt_while_it_gives_up_leaves_no_waiter_counted():
    machine, tickets = limiter(1, max_queue=2), []
    machine.acquire(0.0)

    def work():
        ticket = waiter()
        tickets.append(ticket)
        machine.enqueue(ticket, 0.0)
        machine.withdraw(ticket)

    for point in interrupted(work):
        assert sum(ticket.waiting for ticket in tickets) == machine.waiting, point
        for ticket in tickets:
            machine.withdraw(ticket)
        assert 0 == machine.waiting


def test_a_priority_above_nine_counts_as_nine_and_one_below_zero_as_zero():
    machine = limiter(10, reserved=0.1)
    # Of ten permits, level n may have int(10 * 0.9 ** n): 10, 9, 8, 7, 6, 5, 5, 4, 4, 3.
    for level, allowed in ((-7, 10), (0, 10), (1, 9), (2, 8), (3, 7), (4, 6), (5, 5), (6, 5), (7, 4), (8, 4), (9, 3),
                           (10, 3), (1000, 3)):
        permits = []
        with pytest.raises(BulkheadFullError):
            while True:
                machine.queue.passed = 0
                permits.append(machine.acquire(0.0, level))
        assert allowed == len(permits), level
        for permit in permits:
            machine.settle(permit, SUCCESS, 0.0, 0.0)
    assert [0, 0, 9, 9, 9] == [waiter(level).level for level in (-1, 0, 9, 10, 10**6)]


def test_who_joins_a_queue_that_stands_waits_a_twentieth():
    queue = AdmissionQueue(5, 4.0)
    tickets = [waiter() for _ in range(2)]
    queue.join(tickets[0], 0.0)
    queue.join(tickets[1], 4.0)
    assert [4.0, 4.2] == [ticket.until for ticket in tickets]


def test_reserved_shares_follow_the_limit():
    machine = limiter(10, reserved=0.5)
    machine.configure(AdaptiveLimit(initial=30, min_limit=30, max_limit=30, reserved=0.5), 0.0)
    permits = [machine.acquire(0.0, 1) for _ in range(15)]
    with pytest.raises(BulkheadFullError):
        machine.acquire(0.0, 1)
    assert 15 == len(permits)


def test_the_twentieth_grant_is_for_a_waiter_that_is_less_important_and_it_gives_way_to_nobody_meanwhile():
    machine, low = limiter(max_queue=2, max_queue_for=1000.0), waiter(9)
    permit = machine.acquire(0.0)  # the first
    machine.enqueue(low, 0.0)
    for number in range(18):
        high = waiter(0)
        machine.enqueue(high, float(number))
        machine.settle(permit, SUCCESS, 0.0, float(number))
        permit = high.taken[0]
        assert not low.taken
    for _ in range(3):
        try:
            machine.enqueue(waiter(0), 19.0)
        except BulkheadFullError:
            continue
    assert (True, 2) == (low.waiting, machine.waiting)
    machine.settle(permit, SUCCESS, 0.0, 19.0)
    assert 1 == len(low.taken)
    again = waiter(9)  # then it goes by importance again, and the queue has a place
    machine.enqueue(again, 19.0)
    high = waiter(0)
    machine.enqueue(high, 19.5)
    assert not again.waiting


def test_of_the_less_important_whoever_has_waited_longest_is_favoured():
    machine = limiter(max_queue=5, max_queue_for=1000.0)
    permit = machine.acquire(0.0)
    older, newer, high = waiter(9), waiter(3), waiter(0)
    for now, ticket in enumerate((older, newer, high)):
        machine.enqueue(ticket, float(now))
    machine.queue.passed = 19
    machine.settle(permit, SUCCESS, 0.0, 3.0)
    assert ([permit], 0) == (older.taken, machine.queue.passed)


@pytest.mark.parametrize("size", [0, 1, 4])
@pytest.mark.parametrize("level", [1, 9])
def test_no_level_starves_under_a_flood_of_more_important_calls_and_none_floods_them(size, level):
    for seed in range(5):
        rng = random.Random(seed)
        machine = limiter(4, max_queue=size, max_queue_for=0.5, reserved=0.5)
        now, running, waits, got = 0.0, [], [], {0: 0, level: 0}
        for _ in range(6000):
            now += 0.01
            for each in list(running):  # calls of a fifth of a second: 20 a second, of 100 that are asked
                if each[0] <= now:
                    running.remove(each)
                    machine.settle(each[1], SUCCESS, each[0] - 0.2, now)
            for rank in (0, level) if rng.random() < 0.5 else (level, 0):
                taken = []
                try:
                    machine.take(taken, rank)
                except BulkheadFullError:
                    ticket = Ticket(taken, rank, lambda: None)
                    if size:
                        try:
                            machine.enqueue(ticket, now)
                        except BulkheadFullError:
                            continue
                        waits.append((rank, ticket))
                    continue
                got[rank] += 1
                running.append((now + 0.2, taken[0]))
            for rank, ticket in list(waits):
                if ticket.taken or now >= ticket.until or not ticket.waiting:
                    machine.withdraw(ticket)
                    waits.remove((rank, ticket))
                    if ticket.taken:
                        got[rank] += 1
                        running.append((now + 0.2, ticket.taken[0]))
        assert got[level] >= 0.04 * (got[0] + got[level]), (seed, got)
        if size:
            assert got[level] <= 0.06 * (got[0] + got[level]), (seed, got)


def test_a_shorter_queue_refuses_at_once_whoever_came_last_of_the_least_important():
    machine, woken = limiter(max_queue=4), []
    machine.acquire(0.0)
    high, low, newer, newest = (waiter(level, woken) for level in (0, 5, 5, 0))
    for ticket in (high, low, newer, newest):
        machine.enqueue(ticket, 0.0)
    machine.configure(AdaptiveLimit(initial=1, max_limit=1, max_queue=2, max_queue_for=1.0), 0.5)
    assert ([newer, low], 2) == (woken, machine.waiting)
    machine.configure(AdaptiveLimit(initial=1, max_limit=1, max_queue=0), 0.5)
    assert ([newer, low, newest, high], 0) == (woken, machine.waiting)


def test_one_that_was_decided_but_is_still_in_its_line_is_passed_over():
    machine, decided, low = limiter(max_queue=3), waiter(0), waiter(5)
    permit = machine.acquire(0.0)
    machine.enqueue(decided, 0.0)
    machine.enqueue(low, 0.0)
    del decided._open[-1], machine.queue.crowd[-1]  # as an interrupt in the midst of withdraw() leaves it
    machine.settle(permit, SUCCESS, 0.0, 0.1)
    assert ([permit], [], 0) == (low.taken, decided.taken, machine.waiting)
