"""The limit that finds itself: what moves it, what must not, and that it bounds whatever it is."""

import math
import pickle
import random

import attrs
import pytest

from resilience.core.adaptive import PATIENCE, RING, AdaptiveLimit, AdaptiveLimiter
from resilience.core.limit_estimator import TRANSITIONS, LimitEstimator, Phase, Reading, aimd, gradient, vegas
from resilience.core.outcome import BUSY, CANCELLED, CUT_SHORT, FAILURE, IGNORED, REJECTED, SUCCESS, TIMEOUT
from resilience.core.stalls import Stalls
from resilience.errors import BulkheadFullError, ConfigError
from tests.core.hammer import hammer
from tests.seeds import over_seeds

NOT_A_NUMBER = ["1", True, [], None, math.nan, math.inf, 1j]
WHOLE = [0, -1, 1.5, 10**7]
TABLE = [
    ("algorithm", ["bbr", "", None, 1, "Gradient", ["vegas"]], "one of gradient, vegas, aimd"),
    ("initial", [*WHOLE, *NOT_A_NUMBER], "whole number at least 1 and at most 1000000"),
    ("min_limit", [*WHOLE, *NOT_A_NUMBER], "whole number at least 1 and at most 1000000"),
    ("max_limit", [*WHOLE, *NOT_A_NUMBER], "whole number at least 1 and at most 1000000"),
    ("tolerance", [1, 0.5, 101, *NOT_A_NUMBER], "above 1 and at most 100"),
    ("smoothing", [0, -1, 1.01, *NOT_A_NUMBER], "above 0 and at most 1"),
    ("window", [0, 1e-4, 3601, *NOT_A_NUMBER], "at least 0.001 and at most 3600"),
    ("min_calls", [0, 1.5, RING + 1, *NOT_A_NUMBER], f"at least 1 and at most {RING}"),
    ("probe_every", [0, -1, *NOT_A_NUMBER], "above 0"),
    ("loss_tolerance", [-0.1, 1, *NOT_A_NUMBER], "at least 0 and at most 0.99"),
    ("slow_call", [0, -1, "1", True, math.nan], "above 0 or None"),
    ("count_failures", [0, 1, None, "yes"], "True or False"),
    ("priorities", [0, [], True], "callable or None"),
    ("reserved", [-0.1, 1, *NOT_A_NUMBER], "at least 0 and at most 0.99"),
    ("max_queue", [-1, 1.5, 10**7, *NOT_A_NUMBER], "whole number at least 0"),
    ("max_queue_for", [0, -1, *NOT_A_NUMBER], "above 0"),
    ("fair_by", [0, [], True], "callable or None"),
]


@pytest.mark.parametrize(("option", "value", "words"), [(option, value, words) for option, values, words in TABLE
                                                        for value in values])
def test_a_bad_value_is_refused_by_name_and_range(option, value, words):
    with pytest.raises(ConfigError) as caught:
        AdaptiveLimit(**{option: value})

    assert option == caught.value.option
    assert words in str(caught.value)


def test_every_setting_has_its_row_of_bad_values():
    assert [field.name for field in attrs.fields(AdaptiveLimit)] == [row[0] for row in TABLE]


@pytest.mark.parametrize("options", [{"initial": 5, "min_limit": 6}, {"initial": 21, "max_limit": 20}, {"max_limit": 10}])
def test_the_first_limit_lies_between_the_least_and_the_most(options):
    with pytest.raises(ConfigError, match="from min_limit") as caught:
        AdaptiveLimit(**options)

    assert "initial" == caught.value.option


def test_a_configuration_is_a_frozen_value_and_an_unknown_setting_is_refused():
    config = AdaptiveLimit(algorithm="vegas", slow_call=1, max_queue=3)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.max_limit = 1
    with pytest.raises(ConfigError, match="did you mean smoothing?"):
        AdaptiveLimit(smothing=0.1)

    assert config == pickle.loads(pickle.dumps(config)) == attrs.evolve(config)
    assert hash(config) == hash(attrs.evolve(config))


def limiter(**options):
    return AdaptiveLimiter(AdaptiveLimit(**options), key="k", now=0.0)


def windows(machine, number, took, *, share=1.0, outcome=SUCCESS):
    """So many windows of calls that take *took* each, with *share* of the limit in flight; the time after them."""
    for _ in range(number):
        now = machine._since
        permits = [machine.acquire(now) for _ in range(max(1, int(machine.limit * share)))]
        for permit in permits:
            machine.settle(permit, outcome, now - took, now)
        for _ in range(machine._config.min_calls):
            machine.settle(machine.acquire(now), outcome, now - took, now)
        end = machine._until
        machine.settle(machine.acquire(end), outcome, end - took, end)
    return end


@pytest.mark.parametrize("algorithm", ["gradient", "vegas", "aimd"])
def test_it_doubles_while_calls_take_no_longer(algorithm):
    machine, limits = limiter(algorithm=algorithm, probe_every=1000), []
    for _ in range(5):
        limits.append(machine.limit)
        windows(machine, 1, 0.05)

    assert [20, 20, 40, 80, 160] == limits  # the first window only says how long calls take


@pytest.mark.parametrize("algorithm", ["gradient", "vegas"])
def test_calls_that_take_three_times_as_long_bring_it_down(algorithm):
    machine = limiter(algorithm=algorithm, probe_every=1000)
    windows(machine, 4, 0.05)
    before = machine.limit
    windows(machine, 1, 0.15)

    assert machine.limit < 0.95 * before
    assert Phase.CRUISE is machine.estimator.phase


@pytest.mark.parametrize("algorithm", ["gradient", "vegas", "aimd"])
def test_lost_calls_bring_it_down_by_half_of_their_share(algorithm):
    machine = limiter(algorithm=algorithm, probe_every=1000)
    windows(machine, 4, 0.05)
    assert 160 == machine.limit
    windows(machine, 1, 0.05, outcome=TIMEOUT)

    assert 80 == machine.limit


@pytest.mark.parametrize("algorithm", ["gradient", "vegas", "aimd"])
@pytest.mark.parametrize("outcome", [REJECTED, IGNORED, CANCELLED, CUT_SHORT])
def test_what_ended_without_an_answer_says_nothing(algorithm, outcome):
    machine = limiter(algorithm=algorithm, window=1.0)
    for number in range(500):
        machine.settle(machine.acquire(number * 0.1), outcome, number * 0.1 - 5.0, number * 0.1)

    assert (20, 0.0, None) == (machine.limit, machine.estimator.rtt_s, machine.estimator.base_s)
    assert 0 == machine.in_flight


@pytest.mark.parametrize(("slow_call", "halved"), [(None, False), (0.051, False), (0.049, True)])
def test_a_call_cut_short_is_lost_only_if_it_had_as_long_as_a_slow_call_takes(slow_call, halved):
    machine = limiter(probe_every=1000, slow_call=slow_call)
    windows(machine, 4, 0.04)
    assert 160 == machine.limit
    windows(machine, 1, 0.05, outcome=CUT_SHORT)

    assert (80 if halved else 160) == machine.limit


@pytest.mark.parametrize("count_failures", [False, True])
def test_failures_say_something_only_if_they_are_counted(count_failures):
    machine = limiter(count_failures=count_failures, probe_every=1000)
    windows(machine, 4, 0.05)
    assert 160 == machine.limit
    now = machine._until
    for _ in range(RING):
        machine.settle(machine.acquire(now), FAILURE, now - 0.0001, now)

    assert (80 if count_failures else 160) == machine.limit
    assert pytest.approx(0.05) == machine.estimator.rtt_s  # a fast failure is no fast call


def test_busy_answers_count_as_lost_and_say_nothing_of_how_long_work_takes():
    machine = limiter(probe_every=1000)
    windows(machine, 4, 0.05)
    now = machine._until
    for _ in range(RING):
        machine.settle(machine.acquire(now), BUSY, now - 0.0001, now)

    assert 80 == machine.limit
    assert pytest.approx(0.05) == machine.estimator.rtt_s


@pytest.mark.parametrize(("stalled_s", "limit"), [(0.0, 80), (0.1, 80), (0.2, 80), (0.25, 160), (0.8, 160)])
def test_a_call_that_lost_a_quarter_of_its_time_to_a_stall_says_nothing(stalled_s, limit):
    stalls = Stalls()
    machine = AdaptiveLimiter(AdaptiveLimit(probe_every=1000), key="k", now=0.0, stalls=stalls)
    windows(machine, 4, 0.05)
    now = machine._until
    stalls.note(now - 1.5, now - 1.0 + stalled_s)
    for _ in range(RING):
        machine.settle(machine.acquire(now), TIMEOUT, now - 1.0, now)
    end = machine._until
    machine.settle(machine.acquire(end), CANCELLED, end, end)

    assert limit == machine.limit


def test_a_slow_call_counts_as_lost():
    machine = limiter(algorithm="aimd", slow_call=0.2)
    windows(machine, 4, 0.1)
    before = machine.limit
    windows(machine, 1, 0.3)

    assert before // 2 == machine.limit


@pytest.mark.parametrize("algorithm", ["gradient", "vegas", "aimd"])
@pytest.mark.parametrize("took", [0.01, 0.05, 0.5])
def test_a_limit_that_is_not_half_used_stays(algorithm, took):
    machine = limiter(algorithm=algorithm, initial=100, probe_every=1000)
    windows(machine, 3, 0.05, share=0.3)
    windows(machine, 30, took, share=0.3)

    assert 100 == machine.limit


def test_stray_calls_slow_or_fast_do_not_move_it():
    machine = limiter(probe_every=1000, max_limit=40)
    windows(machine, 4, 0.05)
    base = machine.estimator.base_s
    for number in range(2000):
        now = machine._since + number * 0.01
        permits = [machine.acquire(now) for _ in range(machine.limit)]
        for index, permit in enumerate(permits):
            machine.settle(permit, SUCCESS, now - (0.05, 0.0001, 5.0)[index % 10 if index % 10 < 3 else 0], now)

    assert (40, base) == (machine.limit, machine.estimator.base_s)


def test_a_second_of_fast_answers_is_no_new_standard():
    machine = limiter(initial=50, max_limit=50, probe_every=1000)
    windows(machine, 4, 0.05)
    windows(machine, 10, 0.0001)
    assert machine.estimator.base_s > 0.025
    windows(machine, 30, 0.05)

    assert machine.limit >= 40


def test_a_target_that_became_slower_for_good_gets_a_new_base_and_its_limit_back():
    machine = limiter(initial=64, max_limit=64)
    windows(machine, 4, 0.05)
    lowest = 64
    for _ in range(60):
        windows(machine, 1, 0.2)  # however few calls run
        lowest = min(lowest, machine.limit)

    assert lowest < 40
    assert pytest.approx(0.2, rel=0.05) == machine.estimator.base_s
    assert 64 == machine.limit


def test_a_base_read_under_load_is_found_to_be_too_high():
    machine = limiter(initial=64, max_limit=64)
    for _ in range(60):  # a target of 8 workers at 0.05 s a call
        windows(machine, 1, max(0.05, 0.05 * machine.limit / 8))

    assert pytest.approx(0.05, rel=0.3) == machine.estimator.base_s
    assert machine.limit < 24


def test_a_probe_that_gets_too_few_calls_is_given_up():
    machine = limiter(window=1.0, initial=40, max_limit=40)
    windows(machine, 2, 0.05)
    assert (Phase.PROBE, 20) == (machine.estimator.phase, machine.limit)
    now = machine._window_at + PATIENCE + 1.0
    machine.settle(machine.acquire(now), SUCCESS, now - 0.05, now)

    assert (Phase.CRUISE, 40) == (machine.estimator.phase, machine.limit)


def test_calls_from_before_a_large_change_are_not_read():
    machine = limiter(probe_every=1000)
    windows(machine, 2, 0.05)
    assert 40 == machine.limit
    machine.settle(machine.acquire(machine._since - 0.01), SUCCESS, 0.0, machine._since - 0.01)

    assert [] == list(machine._ring)


@pytest.mark.parametrize("took", [0.0, -1.0])
def test_a_clock_that_stands_or_steps_back_does_no_harm(took):
    machine = limiter()
    for number in range(1000):
        now = number * 0.01
        machine.settle(machine.acquire(now), SUCCESS, now - took, now)

    assert machine.limit >= 1


def test_levels_leave_a_share_to_those_above():
    machine = limiter(initial=10, reserved=0.2)
    permits = []
    for level, admitted in ((9, 1), (3, 5), (1, 8), (0, 10)):
        while len(permits) < admitted:
            permits.append(machine.acquire(0.0, level))
        with pytest.raises(BulkheadFullError):
            machine.acquire(0.0, level)
    with pytest.raises(BulkheadFullError):
        machine.acquire(0.0, -3)  # as 0
    machine.settle(permits.pop(), CANCELLED, 0.0, 0.0)
    with pytest.raises(BulkheadFullError):
        machine.acquire(0.0, 99)  # as 9

    assert 9 == machine.in_flight


@pytest.mark.parametrize(("level", "most"), [(0, 40), (1, 32), (3, 20), (9, 5)])
def test_the_shares_of_the_levels_follow_the_limit_up(level, most):
    machine = limiter(reserved=0.2, probe_every=1000)
    windows(machine, 2, 0.05)
    assert 40 == machine.limit
    for _ in range(most):
        machine.acquire(1.0, level)
    machine.queue.passed = 0  # it is nobody's turn who is less important
    with pytest.raises(BulkheadFullError):
        machine.acquire(1.0, level)


@pytest.mark.parametrize(("level", "most"), [(0, 10), (1, 8), (3, 5), (9, 1)])
def test_the_shares_of_the_levels_follow_the_limit_down(level, most):
    machine = limiter(reserved=0.2)
    machine.configure(AdaptiveLimit(initial=10, max_limit=10, reserved=0.2), 0.0)
    for _ in range(most):
        machine.acquire(1.0, level)
    machine.queue.passed = 0  # it is nobody's turn who is less important
    with pytest.raises(BulkheadFullError):
        machine.acquire(1.0, level)


def test_the_shares_of_the_levels_follow_the_setting():
    machine = limiter(initial=10, reserved=0.2)
    machine.configure(AdaptiveLimit(initial=10, reserved=0.5), 0.0)
    for _ in range(5):
        machine.acquire(1.0, 1)
    with pytest.raises(BulkheadFullError):
        machine.acquire(1.0, 1)


def test_a_shorter_window_and_sooner_probes_are_in_force_at_once():
    machine = limiter(window=3600.0, probe_every=86_400.0)
    machine.configure(AdaptiveLimit(window=0.1, probe_every=1.0), 0.05)

    assert 1.0 > windows(machine, 4, 0.05)
    assert 160 == machine.limit
    machine.configure(AdaptiveLimit(window=0.1, probe_every=0.1), machine._since)
    windows(machine, 1, 0.05)
    assert Phase.PROBE is machine.estimator.phase


def test_configuring_keeps_what_was_learnt_and_calls_in_flight():
    machine = limiter(probe_every=1000)
    windows(machine, 4, 0.05)
    permits = [machine.acquire(9.0) for _ in range(50)]
    base = machine.estimator.base_s
    machine.configure(AdaptiveLimit(max_limit=30, probe_every=1000), 9.0)
    assert (30, 50, base) == (machine.limit, machine.in_flight, machine.estimator.base_s)
    for permit in permits[:21]:
        with pytest.raises(BulkheadFullError):
            machine.acquire(9.0)
        machine.settle(permit, CANCELLED, 9.0, 9.0)
    machine.acquire(9.0)

    assert 30 == machine.in_flight


def test_renewed_it_begins_again_and_the_parents_calls_are_not_its_own():
    machine = limiter(probe_every=1000)
    windows(machine, 3, 0.05)
    permit = machine.acquire(9.0)
    machine.renew(9.0)
    machine.settle(permit, SUCCESS, 9.0, 9.1)

    assert (20, 0, None) == (machine.limit, machine.in_flight, machine.estimator.base_s)


def test_a_signal_handler_that_calls_in_while_the_ring_is_read_is_served():
    machine, seen = limiter(probe_every=1000), []

    class Tripwire(LimitEstimator):
        def read(self, reading, now):
            permit = machine.acquire(now)
            machine.settle(permit, SUCCESS, now - 0.05, now)
            machine.configure(AdaptiveLimit(max_limit=33), now)
            seen.append(machine.in_flight)
            super().read(reading, now)

    machine.estimator = Tripwire(machine._config, 0.0)
    windows(machine, 3, 0.05)

    assert 3 == len(seen)
    assert (33, 0) == (machine.limit, machine.in_flight)


@pytest.mark.parametrize("algorithm", ["gradient", "vegas", "aimd"])
@over_seeds(60)
def test_any_history_keeps_the_bounds_and_every_permit(algorithm, seed):
    rng = random.Random(seed)
    least, most = rng.choice([(1, 50), (5, 8), (1, 1), (10, 400)])
    machine = limiter(algorithm=algorithm, min_limit=least, max_limit=most, initial=rng.randint(least, most),
                      min_calls=rng.choice([1, 5, 20]), window=rng.choice([0.01, 0.1]), probe_every=rng.choice([0.5, 10]),
                      count_failures=rng.random() < 0.5)
    now, held, admitted = 0.0, [], 0
    for _ in range(1500):
        now += rng.choice([0.0, 0.001, 0.01, 0.3])
        dice = rng.random()
        if dice < 0.55:
            free = machine.limit - len(held)
            try:
                held.append((machine.acquire(now), now))
                assert free > 0
                admitted += 1
            except BulkheadFullError:
                assert free <= 0
        elif dice < 0.57:
            least, most = rng.choice([(1, 50), (5, 8), (1, 1), (10, 400)])
            machine.configure(attrs.evolve(machine._config, min_limit=least, max_limit=most, initial=least), now)
        elif held:
            permit, started = held.pop(rng.randrange(len(held)))  # late and out of order
            machine.settle(permit, rng.choice([SUCCESS] * 5 + [FAILURE, TIMEOUT, REJECTED, IGNORED, CANCELLED, CUT_SHORT]), started,
                           now)
        assert len(held) == machine.in_flight
        assert least <= machine.limit <= most
        assert math.isfinite(machine.estimator.limit)
    assert admitted > 100


def test_threads_never_pass_the_limit_of_the_moment_and_lose_no_permit():
    machine, over = limiter(initial=3, min_limit=3, max_limit=6, min_calls=1, window=0.001, probe_every=0.01), []

    def work():
        for number in range(1500):
            now = number * 0.0003
            try:
                permit = machine.acquire(now)
            except BulkheadFullError:
                continue
            if machine.in_flight > 6:
                over.append(machine.in_flight)
            machine.settle(permit, SUCCESS if number % 7 else TIMEOUT, now - 0.001 * (number % 5), now)

    def reconfigure():
        for number in range(200):
            machine.configure(attrs.evolve(machine._config, min_calls=1 + number % 3), number * 0.002)

    hammer(work)
    hammer(work, reconfigure, threads=2)

    assert [] == over
    assert 0 == machine.in_flight
    assert 3 <= machine.limit <= 6
    machine.slots.collect()
    assert machine.limit == len(machine.slots.tokens)


def test_the_gradient_follows_the_ratio_and_allows_a_queue_of_the_root():
    assert 110.0 == gradient(100.0, 1.0, 1.4, 1.5)
    assert 85.0 == gradient(100.0, 1.0, 2.0, 1.5)
    assert 60.0 == gradient(100.0, 1.0, 50.0, 1.5)  # at most halved


def test_vegas_steps_by_the_length_of_the_queue():
    assert 112.0 == vegas(100.0, 1.0, 1.0, 1.1)
    assert 102.0 == vegas(100.0, 1.0, 1.05, 1.1)  # 4.8 wait
    assert 100.0 == vegas(100.0, 1.0, 1.11, 1.1)  # 9.9
    assert 98.0 == vegas(100.0, 1.0, 1.15, 1.1)  # 13
    assert 81.0 == vegas(100.0, 1.0, 2.0, 1.1)  # 50: half of what is more than 12


def test_aimd_hurries_far_from_where_calls_were_lost_and_creeps_near_it():
    assert 75.0 == aimd(50.0, 100.0)
    assert 100.5 == aimd(99.5, 100.0)
    assert 165.0 == aimd(110.0, 0.0)
    assert 100.0 == aimd(50.0, math.inf)


def test_the_phases_change_only_as_the_table_says():
    rng, allowed = random.Random(3), {(old, new) for (old, _), new in TRANSITIONS.items()}
    seen = set()
    for _ in range(200):
        estimator, now = LimitEstimator(AdaptiveLimit(algorithm=rng.choice(["gradient", "vegas", "aimd"])), 0.0), 0.0
        for _ in range(100):
            now += rng.choice([0.1, 1.0, 20.0])
            old = estimator.phase
            estimator.read(Reading(median_s=rng.choice([0.01, 0.05, 0.06, 0.3]), lost=rng.choice([0.0, 0.0, 0.0, 0.5]),
                               most=rng.choice([1, 1000]), span_s=0.1), now)
            if estimator.phase is not old:
                seen.add((old, estimator.phase))

    assert allowed == seen
