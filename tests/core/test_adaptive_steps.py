"""The adaptive limiter step by step, at literal times: what is noted, read and resized, and who gets in."""

import math

import pytest

from resilience.core import adaptive
from resilience.core.adaptive import AdaptiveLimit, AdaptiveLimiter
from resilience.core.admission_queue import Ticket
from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.limit_estimator import LimitEstimator, Reading
from resilience.core.outcome import CANCELLED, CUT_SHORT, FAILURE, IGNORED, REJECTED, SUCCESS, TIMEOUT
from resilience.errors import BulkheadFullError

FIXED = {"initial": 10, "min_limit": 1, "max_limit": 100, "min_calls": 3, "window": 1.0}


class Script(LimitEstimator):
    """An estimator whose limits are written down beforehand."""

    def __init__(self, machine, *limits, rtt_s=0.0):
        super().__init__(machine._config, 0.0)
        self.limits, self.readings, self.given_up = [*limits], [], []
        self.rtt_s = rtt_s

    def read(self, reading, now):
        self.readings.append((reading, now))
        self.limit = self.limits.pop(0)

    def give_up(self, now):
        self.given_up.append(now)
        self.limit = self.limits.pop(0)


def limiter(*limits, rtt_s=0.0, now=0.0, **options):
    machine = AdaptiveLimiter(AdaptiveLimit(**{**FIXED, **options}), key="k", now=now)
    if limits:
        machine.estimator = Script(machine, *limits, rtt_s=rtt_s)
    return machine


def waiter(priority=0, woken=None):
    woken = [] if woken is None else woken
    ticket = Ticket([], priority, lambda: woken.append(ticket))
    return ticket


def test_the_numbers_that_stand_in_the_documentation():
    assert (100, 0.1, 2.0, 10) == (adaptive.RING, adaptive.SAME, adaptive.SETTLES, adaptive.PATIENCE)


@pytest.mark.parametrize("options", [{"initial": 1}, {"initial": 100}])
def test_the_first_limit_may_be_the_least_and_the_most(options):
    assert options["initial"] == limiter(**options).limit


def test_a_limiter_steers_a_bulkhead_of_its_own_or_the_one_it_is_given():
    slots = Slots(Bulkhead(3), key="k")
    given = AdaptiveLimiter(AdaptiveLimit(**FIXED), key="k", now=0.0, slots=slots)

    assert given.slots is slots is not limiter().slots
    assert (10, 10, 0, 0) == (slots.limit, given.limit, given.in_flight, given.waiting)
    assert given.acquire(0.0) is slots.tokens


@pytest.mark.parametrize(("options", "outcome", "took", "noted"), [
    ({}, SUCCESS, 0.5, [0.5]), ({}, TIMEOUT, 0.5, [-0.5]), ({}, FAILURE, 0.5, []), ({}, REJECTED, 0.5, []), ({}, IGNORED, 0.5, []),
    ({}, CANCELLED, 0.5, []), ({}, CUT_SHORT, 0.5, []), ({"count_failures": True}, FAILURE, 0.5, [-math.inf]),
    ({"count_failures": True}, SUCCESS, 0.5, [0.5]), ({"slow_call": 0.5}, SUCCESS, 0.5, [-0.5]),
    ({"slow_call": 0.5}, SUCCESS, 0.25, [0.25]), ({"slow_call": 0.5}, CUT_SHORT, 0.5, [-0.5]),
    ({"slow_call": 0.5}, CUT_SHORT, 0.25, []), ({"slow_call": 0.5}, TIMEOUT, 0.25, [-0.25])])
def test_what_a_call_leaves_in_the_ring(options, outcome, took, noted):
    machine = limiter(now=4.0, **options)
    machine.settle(machine.acquire(4.25), outcome, 4.25, 4.25 + took)
    assert (noted, 0) == (list(machine._ring), machine.in_flight)

    machine = limiter()
    machine.configure(AdaptiveLimit(**{**FIXED, **options}), 0.0)
    machine.report(outcome, 0.25, 0.25 + took)
    assert noted == list(machine._ring)


def test_what_ended_before_the_window_began_is_not_noted_and_at_its_beginning_it_is():
    machine = limiter(now=4.0)
    machine.report(SUCCESS, 3.0, 3.999)
    machine.report(SUCCESS, 3.0, 4.0)

    assert [1.0] == list(machine._ring)
    for n in range(200):
        machine.report(SUCCESS, 4.0, 4.5)
    assert 100 == len(machine._ring)


def test_a_window_that_has_enough_calls_is_read_when_it_is_over():
    machine = limiter(20.0, 21.0, rtt_s=0.25)
    permits = [machine.acquire(0.0) for _ in range(4)]
    for permit, took in zip(permits, (0.5, 0.25, 0.75), strict=False):
        machine.settle(permit, SUCCESS, 0.0, took)
    assert [] == machine.estimator.readings
    machine.settle(permits[3], TIMEOUT, 0.0, 1.0)

    assert [(Reading(median_s=0.75, lost=0.25, most=4, span_s=1.0), 1.0)] == machine.estimator.readings
    assert 4 == machine.take_peak()  # who else reads the peak has not heard of it yet
    assert (20, [], 1.5, 1.5, 2.5) == (machine.limit, list(machine._ring), machine._since, machine._window_at, machine._until)
    for _ in range(3):  # nothing of the calls that the old limit let in
        machine.report(SUCCESS, 1.0, 1.49)
    for now in (1.5, 2.0, 2.0, 2.5):
        machine.report(SUCCESS, now - 0.5, now)
    assert (Reading(median_s=0.5, lost=0.0, most=0, span_s=1.0), 2.5) == machine.estimator.readings[-1]
    assert (21, 2.5, 3.5) == (machine.limit, machine._since, machine._until)  # a change of a twentieth is none


@pytest.mark.parametrize(("new", "changed"), [(10.0, False), (11.0, False), (11.9, False), (12.0, True), (9.0, False), (8.9, True),
                                              (8.0, True)])
def test_a_limit_that_changed_by_more_than_a_tenth_has_two_calls_times_to_show(new, changed):
    machine = limiter(new, rtt_s=0.25)
    for _ in range(3):
        machine.report(SUCCESS, 0.0, 1.0)

    assert (int(new), 1.5 if changed else 1.0) == (machine.limit, machine._since)


def test_a_window_with_too_few_calls_goes_on_until_ten_times_its_length_and_is_given_up():
    machine = limiter(7.0)
    machine.report(SUCCESS, 0.0, 1.0)
    machine.report(SUCCESS, 0.0, 9.5)
    assert ([], [], 2, 1.0) == (machine.estimator.given_up, machine.estimator.readings, len(machine._ring), machine._until)
    machine.report(IGNORED, 0.0, 10.0)

    assert ([10.0], [], 0, 7, 10.0) == (machine.estimator.given_up, machine.estimator.readings, len(machine._ring), machine.limit,
                                        machine._since)
    late = limiter(7.0, window=2.0)
    late.report(IGNORED, 0.0, 10.0)
    assert [] == late.estimator.given_up
    late.report(IGNORED, 0.0, 20.0)
    assert [20.0] == late.estimator.given_up


def test_a_window_is_counted_from_its_own_beginning():
    machine = limiter(10.0, 10.0, now=100.0)
    for now in (100.5, 100.5, 101.5):
        machine.report(SUCCESS, now - 0.5, now)

    assert [1.5] == [reading.span_s for reading, _ in machine.estimator.readings]
    assert (101.5, 102.5) == (machine._window_at, machine._until)


def test_who_comes_to_read_a_window_that_another_has_just_read_reads_nothing():
    machine = limiter(10.0, 11.0)
    for now in (0.5, 0.5, 1.0):
        machine.report(SUCCESS, 0.0, now)
    for _ in range(3):
        machine._note(0.5)
    machine._read(1.5)
    assert 1 == len(machine.estimator.readings)
    machine._read(2.0)
    assert 2 == len(machine.estimator.readings)


@pytest.mark.parametrize(("times", "median_s", "lost"), [
    ([0.5, 0.25, 1.0], 0.5, 0.0), ([0.5, 0.25, 1.0, 2.0], 1.0, 0.0), ([-0.5, 0.25, -1.0, 2.0], 1.0, 0.5), ([0.0, 0.0, 1.0], 0.0, 0.0),
    ([-math.inf, 0.5, 0.75], 0.75, 1 / 3), ([-math.inf, -math.inf], 0.125, 1.0), ([0.5, 1.0, 2.0, 3.0, 4.0, 5.0], 3.0, 0.0)])
def test_the_median_is_of_all_that_took_a_time_and_lost_are_those_below_zero(times, median_s, lost):
    machine = limiter(10.0, rtt_s=0.125)

    assert Reading(median_s=median_s, lost=lost, most=7, span_s=2.0) == machine._reading(times, 2.0, 7)


@pytest.mark.parametrize(("said", "limit"), [(0.5, 5), (5.0, 5), (7.9, 7), (50.0, 50), (50.9, 50), (51.0, 50)])
def test_the_limit_stays_within_its_bounds(said, limit):
    machine = limiter(said, min_limit=5, max_limit=50)
    for _ in range(3):
        machine.report(SUCCESS, 0.0, 1.0)

    assert limit == machine.limit == machine.slots.limit
    assert limit == len(machine.slots.tokens)


@pytest.mark.parametrize(("reserved", "limit", "kept"), [
    (0.5, 16, (0, 8, 12, 14, 15, 15, 15, 15, 15, 15)), (0.0, 4, (0,) * 10), (0.25, 4, (0, 1, 2, 3, 3, 3, 3, 3, 3, 3)),
    (0.5, 1, (0,) * 10)])
def test_each_level_leaves_a_share_to_those_above_it_and_one_to_whoever_comes_first(reserved, limit, kept):
    machine = limiter(reserved=reserved, initial=limit)

    assert kept == machine._kept
    assert kept == limiter(reserved=reserved)._shares(limit)


def test_a_less_important_call_gets_in_as_long_as_more_than_its_share_is_left():
    machine = limiter(reserved=0.5)  # of ten, level 1 leaves five
    for _ in range(5):
        assert machine.acquire(0.0, 1) is machine.slots.tokens
    with pytest.raises(BulkheadFullError) as caught:
        machine.acquire(0.0, 1)
    assert (10, 5, 0, 0, "k") == (caught.value.limit, caught.value.in_flight, caught.value.waiting, caught.value.abandoned,
                                  caught.value.key)
    for priority in (0, -1, None):
        machine.take([], priority)
    assert (8, 2) == (machine.in_flight, machine.slots.least_free)


def test_after_nineteen_grants_by_importance_the_next_is_for_the_less_important():
    machine = limiter(reserved=0.5)
    for _ in range(5):
        machine.acquire(0.0, 0)
    assert 5 == machine.queue.passed
    machine.take([], None)
    assert 5 == machine.queue.passed
    machine.queue.passed = 18
    with pytest.raises(BulkheadFullError):
        machine.acquire(0.0, 1)
    machine.queue.passed = 19
    machine.acquire(0.0, 1)
    assert (7, 0) == (machine.in_flight, machine.queue.passed)
    machine.acquire(0.0, 0)
    assert 1 == machine.queue.passed
    machine.queue.passed = 19
    machine.acquire(0.0, 0)  # the important do not spend it
    assert 20 == machine.queue.passed


def test_a_call_too_many_in_shadow_mode_is_told_and_counted():
    machine, told = limiter(initial=1, reserved=0.5), []
    machine.shadow = lambda: told.append(machine.in_flight)
    permits = [machine.acquire(0.0, priority) for priority in (0, 0, 5)]
    assert ([2, 3], 3, 2) == (told, machine.in_flight, machine.slots.owed)
    machine.queue.passed = 19
    permits.append(machine.acquire(0.0, 0))
    assert 20 == machine.queue.passed  # the important do not spend the turn of the less important
    for permit in permits:
        machine.settle(permit, CANCELLED, 0.0, 0.0)
    machine.shadow = None
    machine.acquire(0.0)  # what was owed is taken out first
    with pytest.raises(BulkheadFullError):
        machine.acquire(0.0)
    assert (1, 0) == (machine.in_flight, machine.slots.owed)


def test_two_read_the_peak_and_each_hears_of_all_since_its_own_last_time():
    machine = limiter()
    assert [0, 0] == machine._peaks
    permits = [machine.acquire(0.0) for _ in range(3)]
    for permit in permits:
        machine.settle(permit, CANCELLED, 0.0, 0.0)
    assert (3, 0) == (machine.take_peak(), machine.take_peak())
    machine.acquire(0.0)
    assert (3, 1, 1) == (machine._peak(0), machine.take_peak(), machine._peak(0))
    assert (1, 1) == (machine.take_peak(), machine._peak(0))


def full(limit=1, **options):
    machine = limiter(**{"initial": limit, "max_queue": 2, "max_queue_for": 5.0, "reserved": 0.5, **options})
    return machine, [machine.acquire(0.0) for _ in range(limit)]


def test_who_gives_way_in_the_queue_is_woken_and_a_newcomer_that_does_is_refused():
    machine, _ = full()
    woken = []
    tickets = [waiter(priority, woken) for priority in (5, 0, 0)]
    for ticket in tickets:
        machine.enqueue(ticket, 0.0)
    assert ([tickets[0]], 2) == (woken, machine.waiting)
    with pytest.raises(BulkheadFullError) as caught:
        machine.enqueue(waiter(5, woken), 0.0)
    assert (1, 1, 2, 1) == (caught.value.limit, caught.value.in_flight, caught.value.waiting, len(woken))
    machine.withdraw(tickets[1])
    assert (1, False) == (machine.waiting, tickets[1].waiting)


def test_a_token_that_came_back_between_refusal_and_queue_is_handed_on_at_once():
    machine, permits = full()
    permits[0].append(None)
    ticket = waiter()
    machine.enqueue(ticket, 0.0)

    assert ([machine.slots.tokens], 0, 1) == (ticket.taken, machine.waiting, machine.in_flight)


@pytest.mark.parametrize("change", [
    lambda machine, permit: machine.settle(permit, CANCELLED, 0.0, 0.5), lambda machine, permit: (permit.append(None), machine.clear(0.5)),
    lambda machine, permit: machine.configure(AdaptiveLimit(**{**FIXED, "initial": 2, "min_limit": 2, "max_queue": 2}), 0.5)])
def test_whoever_makes_room_hands_it_on(change):
    machine, permits = full()
    ticket, woken = waiter(), []
    ticket.wake = lambda: woken.append(1)
    machine.enqueue(ticket, 0.0)
    change(machine, permits[0])

    assert ([machine.slots.tokens], [1], 0) == (ticket.taken, woken, machine.waiting)


def test_a_waiter_of_a_lower_level_gets_only_what_is_not_kept_for_others_unless_it_is_its_turn():
    machine, permits = full(4)
    low = waiter(1)
    machine.enqueue(low, 0.0)
    machine.settle(permits.pop(), CANCELLED, 0.0, 0.0)
    machine.settle(permits.pop(), CANCELLED, 0.0, 0.0)
    assert ([], 2) == (low.taken, len(machine.slots.tokens))  # of four, level 1 leaves two
    machine.settle(permits.pop(), CANCELLED, 0.0, 0.0)
    assert ([machine.slots.tokens], 2) == (low.taken, len(machine.slots.tokens))

    machine, permits = full(4)
    high, low = waiter(0), waiter(1)
    for ticket in (high, low):
        machine.enqueue(ticket, 0.0)
    machine.queue.passed = 19
    machine.settle(permits.pop(), CANCELLED, 0.0, 0.0)
    assert ([], [machine.slots.tokens], 0) == (high.taken, low.taken, machine.queue.passed)
    machine.settle(permits.pop(), CANCELLED, 0.0, 0.0)
    assert ([machine.slots.tokens], 1) == (high.taken, machine.queue.passed)


@pytest.mark.parametrize("passed", [0, 19])
def test_without_a_token_nobody_in_the_queue_is_looked_at(passed):
    machine, _ = full()
    for priority in (0, 1):
        machine.enqueue(waiter(priority), 0.0)
    machine.queue.passed = passed
    machine.hand_on(100.0)

    assert 2 == machine.waiting


def test_a_token_that_is_owed_is_not_handed_on():
    machine, permits = full(2)
    ticket = waiter()
    machine.enqueue(ticket, 0.0)
    machine.configure(AdaptiveLimit(**{**FIXED, "initial": 1, "max_limit": 1, "max_queue": 2}), 0.0)
    machine.settle(permits.pop(), CANCELLED, 0.0, 0.0)
    assert ([], 1) == (ticket.taken, machine.in_flight)
    machine.settle(permits.pop(), CANCELLED, 0.0, 0.0)
    assert ([machine.slots.tokens], 1) == (ticket.taken, machine.in_flight)


def test_a_shorter_queue_wakes_those_who_find_no_room_any_more():
    machine, _ = full()
    woken = []
    tickets = [waiter(priority, woken) for priority in (0, 5)]
    for ticket in tickets:
        machine.enqueue(ticket, 0.0)
    machine.configure(AdaptiveLimit(**{**FIXED, "initial": 1, "max_limit": 1, "max_queue": 1, "max_queue_for": 7.0}), 0.0)

    assert ([tickets[1]], 1, 7.0) == (woken, machine.waiting, machine.queue.wait_s)


def test_cleared_it_begins_with_the_initial_limit_and_a_window_from_now():
    machine = limiter(40.0, rtt_s=0.5)
    for _ in range(4):
        machine.report(SUCCESS, 0.0, 1.0)
    assert 40 == machine.limit
    machine._note(0.5)
    machine.clear(5.0)

    assert (10, 10.0, 0.0, [], 5.0, 5.0, 6.0) == (machine.limit, machine.estimator.limit, machine.estimator.rtt_s, list(machine._ring),
                                                  machine._since, machine._window_at, machine._until)
    assert not isinstance(machine.estimator, Script)
    assert machine._kept == machine._shares(10)


def test_in_a_forked_child_it_begins_anew_and_keeps_nobody_waiting():
    machine, _ = full(slow_call=0.5)
    machine.enqueue(waiter(), 0.0)
    machine._note(0.5)
    inside = []

    def forked():
        machine.renew(5.0)
        inside.append(machine._guard.ask(lambda: "free"))

    machine._guard.do(forked)
    assert (["free"], 0, 0, [], 1, 5.0, 5.0, 6.0) == (inside, machine.in_flight, machine.waiting, list(machine._ring), machine.limit,
                                                      machine._since, machine._window_at, machine._until)
    machine.report(SUCCESS, 5.0, 5.5)
    assert [-0.5] == list(machine._ring)
    assert (2, 5.0) == (machine.queue.size, machine.queue.wait_s)


def test_another_configuration_goes_to_the_estimator_too():
    machine, config = limiter(), AdaptiveLimit(**{**FIXED, "initial": 30, "min_limit": 30, "slow_call": 2.0, "reserved": 0.5})
    machine.configure(config, 0.0)

    assert (config, config, 2.0, 30) == (machine._config, machine.estimator.config, machine._slow_s, machine.limit)
    assert machine._shares(30) == machine._kept
    machine.configure(AdaptiveLimit(**FIXED), 0.0)
    assert (math.inf, 30) == (machine._slow_s, machine.limit)
