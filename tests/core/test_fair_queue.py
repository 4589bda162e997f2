"""Tenants take turns in the queues of a bulkhead and an adaptive limit: beside a plain model, and under three times the load."""

import random
import time

import pytest

from resilience.core.adaptive import AdaptiveLimit, AdaptiveLimiter
from resilience.core.admission_queue import AdmissionQueue, Ticket
from resilience.core.bulkhead import Bulkhead
from resilience.core.outcome import SUCCESS
from resilience.core.queued_slots import QueuedSlots
from resilience.core.waiting_queue import CREDIT, FEW, ROUND
from resilience.errors import BulkheadFullError
from tests.benchmarks.simulation import Adaptive, Change, Run, World, exponential
from tests.core.hammer import hammer

TENANTS = ["greedy", *(f"modest {n}" for n in range(9))]


def slots(limit=1, **options):
    return QueuedSlots(Bulkhead(limit, fair_by=len, **{"max_wait": 1000.0, "max_queue": 1000, **options}), key="k")


def queued(machine, key, now=0.0, priority=0):
    ticket = Ticket([], priority, lambda: None, key)
    machine.enqueue(ticket, now)
    return ticket


def grants(machine, permit, tickets):
    """In which order those who wait get the one slot."""
    order = []
    while waiting := [ticket for ticket in tickets if ticket not in order]:
        machine.settle(permit, SUCCESS, 0.0, 0.0)
        permit = next(ticket for ticket in waiting if ticket.taken)
        order.append(permit)
        permit = permit.taken[0]
    return [ticket.key for ticket in order]


def test_tenants_take_turns_and_of_each_the_oldest_goes_first():
    machine = slots()
    permit = machine.acquire(0.0)
    tickets = [queued(machine, key) for key in "aaaabbc"]
    assert list("abcabaa") == grants(machine, permit, tickets)


def test_a_tenant_that_missed_turns_gets_them_but_no_more_than_its_credit():
    machine = slots()
    permit = machine.acquire(0.0)
    grants(machine, permit, [queued(machine, key) for key in ["b", *"a" * 100]])
    order = grants(machine, permit, [queued(machine, key) for key in [*"a" * 30, *"b" * 30]])
    assert CREDIT <= order.index("a") <= CREDIT + 1


def test_a_new_tenant_begins_in_the_round_that_is_served():
    machine = slots()
    permit = machine.acquire(0.0)
    grants(machine, permit, [queued(machine, "a") for _ in range(100)])
    assert list("nana") == grants(machine, permit, [queued(machine, key) for key in "aann"])


def test_new_tenants_without_end_do_not_keep_a_known_one_waiting_for_ever():
    machine = slots()
    permit = machine.acquire(0.0)
    known = [queued(machine, "known"), queued(machine, "known")]
    served = 0
    for number in range(3 * ROUND):
        queued(machine, number)
        machine.settle(permit, SUCCESS, 0.0, 0.0)
        served += 1
        if known[1].taken:
            break
    assert served <= ROUND + 10


def test_when_there_is_no_room_the_tenant_with_the_most_gives_way_with_its_newest():
    machine = slots(max_queue=4)
    machine.acquire(0.0)
    first, *others, newest = [queued(machine, "greedy") for _ in range(4)]
    modest = queued(machine, "modest")
    assert (False, True, True) == (newest.waiting, first.waiting, modest.waiting)
    with pytest.raises(BulkheadFullError):
        queued(machine, "greedy")
    queued(machine, "modest")
    with pytest.raises(BulkheadFullError):
        queued(machine, "modest")
    assert [2, 2] == [sum(t.waiting for t in (first, *others)), 2]


class Model:
    """Who waits, as a plain list, and how many turns each tenant has had."""

    def __init__(self, room):
        self.room, self.waiting, self.rounds, self.round = room, [], {}, 0
        self.entered = {}
        self.clock = 0

    def join(self, name, key):
        """Whom to turn away: one of these; an empty set: nobody."""
        own = sum(k == key for _, k in self.waiting)
        self.clock += 1
        if own == 0:
            self.rounds[key] = max(self.rounds.get(key, self.round), self.round - CREDIT)
            self.entered[key] = self.clock
        self.waiting.append((name, key))
        if len(self.waiting) <= self.room:
            return set()
        counts = {k: [n for n, other in self.waiting if other == k] for _, k in self.waiting}
        most = max(map(len, counts.values()))
        if most <= own + 1:
            return {name}
        return {names[-1] for names in counts.values() if len(names) > own + 1 and len(names) * len(counts) >= self.room}

    def leave(self, name):
        self.waiting = [each for each in self.waiting if each[0] != name]

    def next(self):
        if not self.waiting:
            return None
        key = min({k for _, k in self.waiting}, key=lambda k: (self.rounds[k], self.entered[k]))
        name = next(n for n, k in self.waiting if k == key)
        self.leave(name)
        self.round = max(self.round, self.rounds[key])
        self.rounds[key] += 1
        self.clock += 1
        self.entered[key] = self.clock
        return name


@pytest.mark.parametrize("seed", range(3))
def test_random_histories_agree_with_a_plain_model(seed):
    for history in range(60):
        dice = random.Random(f"{seed} {history}")
        room = dice.choice([3, 8, 40])
        machine, model, tickets = slots(max_queue=room), Model(room), {}
        permit = machine.acquire(0.0)
        weights = [dice.choice([1, 10]) for _ in range(5)]
        for name in range(200):
            act = dice.random()
            if act < 0.6:
                key = dice.choices("abcde", weights)[0]
                gone = model.join(name, key)
                ticket = tickets[name] = Ticket([], 0, lambda: None, key)
                try:
                    machine.enqueue(ticket, 0.0)
                except BulkheadFullError:
                    assert {name} == gone
                    left = name
                else:
                    left = next((n for n, each in tickets.items() if not each.waiting and not each.taken), None)
                    assert left in gone if gone else left is None
                if left is not None:
                    model.leave(left)
                    del tickets[left]
            elif act < 0.75 and tickets:
                name = dice.choice([*tickets])
                machine.withdraw(tickets.pop(name))
                model.leave(name)
            elif tickets:
                machine.settle(permit, SUCCESS, 0.0, 0.0)
                name = model.next()
                permit = tickets.pop(name).taken[0]
        assert len(machine.crowd) == len(tickets) == len(model.waiting)


def jain(shares):
    """Jain's index: 1 if all have the same, 1/n if one has all (Jain, Chiu and Hawe, 1984)."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def overloaded(*, seed, load=3.0, important=0.1, **options):
    """Half of the calls are the greedy tenant's; so many are important."""
    limiter = AdaptiveLimiter(AdaptiveLimit(max_queue=20, **options), key="server", now=0.0)
    world = World(changes=[Change(at=0.0, workers=20, service_s=0.05)], seconds=30.0, load=load, seed=seed,
                  service=exponential)
    return Run(world, Adaptive(limiter), priority=lambda rng: 0 if rng.random() < important else 1,
               tenant=lambda rng: "greedy" if rng.random() < 0.5 else rng.choice(TENANTS[1:])).go()


def important_share(run):
    return sum(run.good_by[0, each] for each in TENANTS) / sum(run.came_by[0, each] for each in TENANTS)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_three_times_the_load_tenants_share_fairly_and_important_calls_keep_their_goodput(seed):
    run = overloaded(seed=seed, fair_by=len)
    alone = overloaded(seed=seed, load=0.3, important=1.0, fair_by=len)

    assert jain([run.good_by[1, each] for each in TENANTS]) >= 0.95
    assert important_share(run) >= 0.995 * important_share(alone)
    assert run.goodput(10.0, 30.0) >= 0.9


def test_without_fair_by_the_greedy_tenant_takes_what_it_asks_for():
    run = overloaded(seed=1)
    assert jain([run.good_by[1, each] for each in TENANTS]) < 0.5


def test_in_a_waiting_bulkhead_tenants_share_fairly_at_three_times_the_load():
    machine, dice, now, good, running, waiting = slots(limit=20, max_queue=100, max_wait=0.5), random.Random(5), 0.0, {}, [], []
    while now < 60.0:  # 1,200 calls a second, 400 of which there is room for
        now += dice.expovariate(1200.0)
        running.sort(key=lambda each: each[0])
        while running and running[0][0] <= now:
            ended, permit = running.pop(0)
            machine.settle(permit, SUCCESS, 0.0, ended)
            for ticket in [ticket for ticket in waiting if ticket.taken]:
                waiting.remove(ticket)
                good[ticket.key] = good.get(ticket.key, 0) + 1
                running.append((ended + dice.expovariate(20.0), ticket.taken[0]))
            running.sort(key=lambda each: each[0])
        for ticket in [ticket for ticket in waiting if now >= ticket.until or not ticket.waiting]:
            machine.withdraw(ticket)
            waiting.remove(ticket)
        key = "greedy" if dice.random() < 0.5 else dice.choice(TENANTS[1:])
        taken = []
        try:
            machine.take(taken)
        except BulkheadFullError:
            try:
                waiting.append(queued(machine, key, now))
            except BulkheadFullError:
                pass
        else:
            good[key] = good.get(key, 0) + 1
            running.append((now + dice.expovariate(20.0), taken[0]))
    assert jain([good[each] for each in TENANTS]) >= 0.95


def test_ten_thousand_tenants_that_come_and_go_leave_little_behind_and_cost_the_same_each():
    queue = AdmissionQueue(100, 1000.0, fair=True)
    began = time.process_time()
    for number in range(20_000):
        ticket = Ticket([], 0, lambda: None, number)
        queue.join(ticket, 0.0)
        queue.close(ticket)
    line = queue._lines[0]
    assert len(line._tenants) <= FEW
    assert not any(line._ring)
    assert time.process_time() - began < 3.0


@pytest.mark.parametrize("tenants", [1, 50, 4000])
def test_four_thousand_waiters_that_are_cancelled_cost_less_than_a_second(tenants):
    queue, dice = AdmissionQueue(4000, 1000.0, fair=True), random.Random(1)
    tickets = [Ticket([], 0, lambda: None, number % tenants) for number in range(4000)]
    for ticket in tickets:
        queue.join(ticket, 0.0)
    dice.shuffle(tickets)
    began = time.process_time()
    for ticket in tickets:
        queue.close(ticket)
        queue.first_level()
    assert time.process_time() - began < 1.0
    assert not any(queue._lines[0]._ring)


def test_threads_that_join_leave_and_hand_on_at_once_lose_no_slot_and_leave_nobody_waiting():
    machine = slots(limit=2, max_queue=6)

    def work():
        dice = random.Random()
        for _ in range(300):
            taken = []
            ticket = Ticket(taken, 0, lambda: None, dice.randrange(4))
            try:
                machine.take(taken)
            except BulkheadFullError:
                try:
                    machine.enqueue(ticket, 0.0)
                except BulkheadFullError:
                    pass
                finally:
                    machine.withdraw(ticket)
            if taken:
                machine.settle(taken[0], SUCCESS, 0.0, 0.0)

    hammer(work, threads=6)
    assert (0, 0, 2) == (len(machine.crowd), machine.in_flight, len(machine.tokens))
    line = machine.queue._lines.get(0)
    assert line is None or (line.next() is None and not any(line._ring))


def test_a_key_whose_equality_raises_leaves_the_queue_as_it_was():
    class Odd:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            raise ValueError("odd")

    machine = slots()
    permit = machine.acquire(0.0)
    first = queued(machine, Odd())
    with pytest.raises(ValueError, match="odd"):
        queued(machine, Odd())
    assert 1 == len(machine.crowd)
    machine.settle(permit, SUCCESS, 0.0, 0.0)
    assert first.taken
