"""The rate limit beside a plain model that fills a bucket, and what must hold of any limit."""

import heapq
import random
import tracemalloc
import weakref

import attrs
import pytest

from resilience.core.rate_limit import RateLimit
from resilience.core.rate_limiter import RateLimiter
from resilience.errors import ConfigError, RateLimitedError
from tests.core.hammer import hammer
from tests.interrupts import interrupted


class Model:
    """A bucket that is filled drop by drop and a list of those who wait for a drop, in the plainest words."""

    def __init__(self, config, now):
        self.config, self.now, self.line = config, now, []
        self.left = self.burst = config.burst or config.calls
        self.ended = {}  # who: when the turn came, or "refused"

    def wait_of(self, place):
        return (place - self.left) * self.config.per / self.config.calls

    def advance(self, now):
        while self.line and self.now + self.wait_of(1) <= now:
            self.now += max(0.0, self.wait_of(1))
            self.left = max(0.0, self.left - 1.0)
            self.ended[self.line.pop(0)[1]] = self.now
        self.left = min(self.burst, self.left + (now - self.now) * self.config.calls / self.config.per)
        self.now = now

    def ask(self, who, now):
        """For how long to wait; or "refused", and when to ask again."""
        self.advance(now)
        wait = max(0.0, self.wait_of(len(self.line) + 1))
        if wait > self.config.max_wait:
            return "refused", wait - self.config.max_wait
        if wait > 0:
            self.line.append((now, who))
        else:
            self.left -= 1.0
        return "wait", wait

    def leave(self, who, now):
        self.advance(now)
        self.line = [each for each in self.line if each[1] != who]

    def configure(self, config, now):
        self.advance(now)
        burst = config.burst or config.calls
        spent = self.burst - self.left
        spent = min(burst, spent * burst / self.burst if burst > self.burst else spent)
        self.config, self.burst, self.left, line = config, burst, burst - spent, self.line
        self.line = []
        for asked, who in line:
            if now + self.wait_of(len(self.line) + 1) - asked > config.max_wait:
                self.ended[who] = "refused"
            else:
                self.line.append((asked, who))
        self.advance(now)


def any_limit(rng, **settings):
    """A limit whose times are all exact as floats."""
    return RateLimit(rng.choice([1, 2, 4, 8]), per=rng.choice([1.0, 4.0, 16.0]), burst=rng.choice([None, 1, 2, 4]),
                     max_wait=rng.choice([0.0, 1.0, 8.0, 64.0]), **settings)


def asked(limiter, now, *args):
    """("wait", the turn) or ("refused", retry_after)."""
    try:
        return "wait", limiter.reserve(now, args)
    except RateLimitedError as error:
        return "refused", error.retry_after


@pytest.mark.parametrize("keyed", [False, True])
def test_any_history_with_live_changes_goes_as_the_plain_model_says(keyed):
    for seed in range(200):
        rng, by = random.Random(seed), {"by": lambda user: user} if keyed else {}
        config = any_limit(rng, **by)
        now, turns = 16.0, {}
        limiter = RateLimiter(config, key="k", now=now)
        plain = {user: Model(config, now) for user in (["ann", "bob"] if keyed else [None])}
        for who in range(150):
            now += rng.choice([0, 0, 1, 2, rng.randrange(20), rng.randrange(200)]) / 16
            user, dice = rng.choice([*plain]), rng.random()
            if dice < 0.25 and turns:
                user, left = rng.choice([*turns])
                limiter.withdraw(turns.pop((user, left)), now)
                plain[user].leave(left, now)
            elif dice < 0.35:
                config = any_limit(rng, **by)
                limiter.configure(config, now)
                for model in plain.values():
                    model.configure(config, now)
            else:
                said, value = plain[user].ask(who, now)
                what, turn = asked(limiter, now, *([user] if keyed else []))
                assert said == what, (seed, who)
                assert (turn if said == "refused" else turn.at - now if turn else 0.0) == value, (seed, who)
                if said == "wait" and turn:
                    turns[user, who] = turn
            for (user, each), turn in list(turns.items()):
                model = plain[user]
                model.advance(now)
                try:
                    left = limiter.look(turn, now)
                except RateLimitedError as error:
                    assert "refused" == model.ended[each], (seed, who)
                    assert error.retry_after == max(0.0, model.wait_of(len(model.line) + 1) - config.max_wait)
                else:
                    place = [waits for _, waits in model.line].index(each) if each not in model.ended else None
                    assert (place is None) == (left == 0.0), (seed, who)
                    if place is not None:
                        assert left == model.wait_of(1) if place == 0 else left > 0, (seed, who)
                        continue
                del turns[user, each]


class Sleepers:
    """Callers who look when they are told to, and otherwise sleep as long as they were told to."""

    def __init__(self, limiter):
        self.limiter, self.agenda, self.number, self.now, self.ended = limiter, [], 0, 0.0, {}

    def at(self, time, act):
        self.number += 1
        heapq.heappush(self.agenda, (time, self.number, act))

    def wait(self, who, turn):
        def look():
            if who in self.ended:
                return
            try:
                left = self.limiter.look(turn, self.now)
            except RateLimitedError:
                self.ended[who] = "refused"
            else:
                if left > 0:
                    self.at(self.now + left, look)
                else:
                    self.ended[who] = self.now

        turn.wake = lambda: self.at(self.now, look)
        look()

    def pass_time(self, until):
        while self.agenda and self.agenda[0][0] <= until:
            self.now, _, act = heapq.heappop(self.agenda)
            act()
        self.now = until


def test_whoever_sleeps_until_told_begins_when_the_turn_comes_whatever_changes_meanwhile():
    for seed in range(200):
        rng = random.Random(seed)
        config = any_limit(rng)
        limiter, plain, turns, now = RateLimiter(config, key="k", now=0.0), Model(config, 0.0), {}, 0.0
        sleepers = Sleepers(limiter)
        for who in range(100):
            now += rng.choice([0, 0, 1, 2, rng.randrange(40)]) / 16
            sleepers.pass_time(now)
            dice = rng.random()
            if dice < 0.3 and turns:
                gone = rng.choice([*turns])
                limiter.withdraw(turns.pop(gone), now)
                plain.leave(gone, now)
                sleepers.ended.setdefault(gone, "left")
                plain.ended.setdefault(gone, "left")
            elif dice < 0.35:
                config = any_limit(rng)
                limiter.configure(config, now)
                plain.configure(config, now)
            else:
                said, value = plain.ask(who, now)
                turn = asked(limiter, now)[1]
                if said == "wait" and value > 0:
                    turns[who] = turn
                    sleepers.wait(who, turn)
        sleepers.pass_time(now + 1000.0)
        plain.advance(now + 1000.0)
        assert plain.ended == sleepers.ended, seed


@pytest.mark.parametrize("changes", [False, True])
def test_no_stretch_of_time_sees_more_than_the_limit_and_turns_are_in_order(changes):
    for seed in range(60):
        rng = random.Random(seed)
        limits = [RateLimit(4, per=1.0, burst=rng.choice([1, 2, 4]), max_wait=8.0)]
        limiter, now, begun, turns = RateLimiter(limits[0], key="k", now=0.0), 0.0, [], {}
        sleepers = Sleepers(limiter)
        for who in range(400):
            now += rng.expovariate(6.0)
            sleepers.pass_time(now)
            if turns and rng.random() < 0.2:
                gone = rng.choice([*turns])
                limiter.withdraw(turns.pop(gone), now)
                sleepers.ended.setdefault(gone, "left")
            elif changes and rng.random() < 0.05:
                limits.append(RateLimit(rng.choice([1, 3, 6]), per=1.0, burst=rng.choice([1, 2, 5]), max_wait=8.0))
                limiter.configure(limits[-1], now)
            else:
                what, turn = asked(limiter, now)
                if what == "wait" and turn is None:
                    begun.append(now)
                elif what == "wait":
                    turns[who] = turn
                    sleepers.wait(who, turn)
        sleepers.pass_time(now + 1000.0)
        waited = [sleepers.ended[who] for who in sorted(turns) if isinstance(sleepers.ended[who], float)]
        assert sorted(waited) == waited
        begun = sorted(begun + waited)
        burst, rate = max(limit.burst for limit in limits), max(limit.calls for limit in limits)
        for i in range(len(begun)):
            for n in (1, burst, burst + 1, 10, 50):
                if i + n < len(begun):  # n + 1 calls
                    assert n + 1 <= burst + (begun[i + n] - begun[i]) * rate + 1e-6, seed


def test_a_busy_limit_admits_as_many_as_it_says():
    limiter, begun = RateLimiter(RateLimit(50, per=1.0), key="k", now=0.0), 0
    for n in range(100_000):  # 10 s, a thousand times the limit
        try:
            limiter.reserve(n / 10_000)
        except RateLimitedError:
            continue
        begun += 1
    assert 50 + 10 * 50 - 1 == begun


def test_who_gives_up_in_the_middle_lets_those_behind_move_up_and_the_next_is_woken_in_time():
    limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=10.0), key="k", now=0.0)
    assert limiter.reserve(0.0) is None
    turns, woken = [limiter.reserve(0.0) for _ in range(4)], []
    for n, turn in enumerate(turns):
        turn.wake = lambda n=n: woken.append(n)
    assert [1.0, 2.0, 3.0, 4.0] == [turn.at for turn in turns]
    limiter.withdraw(turns[1], 0.5)
    assert [] == woken  # whoever is next knows when already
    assert 4.0 == limiter.reserve(0.5).at
    limiter.withdraw(turns[1], 0.5)  # twice is once
    assert (0.0, [2]) == (limiter.look(turns[0], 1.0), woken)
    assert 1.0 == limiter.look(turns[2], 1.0)
    limiter.withdraw(turns[0], 1.5)  # it has come, and is spent
    assert 0.5 == limiter.look(turns[2], 1.5)
    limiter.withdraw(turns[2], 1.5)
    assert ([2, 3], 0.5) == (woken, limiter.look(turns[3], 1.5))


def test_the_last_one_to_give_up_leaves_the_line_as_it_was():
    limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=10.0), key="k", now=0.0)
    limiter.reserve(0.0)
    turns = [limiter.reserve(0.0) for _ in range(3)]
    for turn in (turns[2], turns[0], turns[1]):
        limiter.withdraw(turn, 0.25)
    assert (0, None, None, 1.0) == (limiter.pace.waiting, limiter.pace.first, limiter.pace.last, limiter.pace.tat)
    assert 1.0 == limiter.reserve(0.25).at


def test_who_passes_when_all_turns_have_come_is_not_forgotten_by_those_who_look_late():
    limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=10.0), key="k", now=0.0)
    limiter.reserve(0.0)
    late, later = limiter.reserve(0.0), limiter.reserve(0.0)
    pace = limiter.pace
    pace.tat = max(pace.tat, 5.0) + limiter.emission_interval  # as a compiled wrapper does it, at 5.0
    limiter.withdraw(late, 0.5)  # with a time that was read before
    assert (6.0, 0, 0.0) == (pace.tat, pace.waiting, limiter.look(later, 0.5))


def test_who_comes_in_shadow_mode_while_others_wait_does_not_let_these_go():
    limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=10.0), key="k", now=0.0)
    limiter.reserve(0.0)
    turns = [limiter.reserve(0.0) for _ in range(2)]
    limiter.shadow = lambda: None
    assert limiter.reserve(0.0) is None
    assert [1.0, 2.0] == [limiter.look(turn, 0.0) for turn in turns]
    limiter.shadow = None
    assert 3.0 == limiter.reserve(0.0).at


def test_a_turn_whose_time_was_not_brought_up_to_date_does_not_go_before_those_ahead():
    limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=10.0), key="k", now=0.0)
    limiter.reserve(0.0)
    turns = [limiter.reserve(0.0) for _ in range(3)]
    turns[1].at = 0.25  # as an interrupt in the midst of a change leaves it
    assert 2.5 == limiter.look(turns[1], 0.5)  # as long as the last one


def test_a_key_for_which_nobody_waits_any_more_is_not_held():
    limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=10.0, by=str), key="k", now=0.0)
    for key in range(20):
        limiter.reserve(0.0, (key,))
        turn = limiter.reserve(0.0, (key,))
        if key % 2:
            limiter.withdraw(turn, 0.5)
        else:
            limiter.look(turn, 1.0)
    assert 0 == len(limiter._lines)


def test_a_waiter_whose_loop_is_closed_gives_its_turn_to_the_next():
    limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=10_000.0), key="k", now=0.0)
    limiter.reserve(0.0)
    turns, woken = [limiter.reserve(0.0) for _ in range(5000)], []

    def closed():
        raise RuntimeError("Event loop is closed")

    for turn in turns:
        turn.wake = closed
    turns[-1].wake = lambda: woken.append(limiter.look(turns[-1], 0.5))
    limiter.withdraw(turns[0], 0.5)
    assert ([0.5], 1) == (woken, limiter.pace.waiting)


def test_an_interrupt_at_any_point_leaves_the_line_whole():
    limiters = []

    def work():
        limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=100.0), key="k", now=0.0)
        limiters.append(limiter)
        limiter.reserve(0.0)
        turns = [limiter.reserve(0.0) for _ in range(4)]
        for turn in (turns[1], turns[0], turns[3]):
            limiter.withdraw(turn, 0.5)
        limiter.configure(RateLimit(2, per=1.0, burst=1, max_wait=100.0), 0.5)
        limiter.look(turns[2], 2.0)

    for point in interrupted(work):
        if limiters:
            pace = limiters.pop().pace
            forwards, backwards, turn = [], [], pace.first
            while turn is not None:
                forwards.append(turn)
                turn = turn.after
            turn = pace.last
            while turn is not None:
                backwards.append(turn)
                turn = turn.before
            assert forwards == backwards[::-1], point
            assert (len(forwards), [0] * len(forwards)) == (pace.waiting, [turn.state for turn in forwards]), point
            if forwards:
                assert pace.tat == pace.planned == pace.base + pace.waiting * pace.rate.emission_interval, point


@pytest.mark.parametrize("by", [None, lambda: "ann"])
def test_who_waits_goes_on_in_a_forked_child(by):
    limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=10.0, by=by), key="k", now=0.0)
    limiter.reserve(0.0)
    turns = [limiter.reserve(0.0) for _ in range(3)]
    limiter.renew(0.5)
    assert [0.0, 0.0, 0.0] == [limiter.look(turn, 0.5) for turn in turns]
    assert limiter.reserve(0.5) is None
    assert 1.5 == limiter.reserve(0.5).at


def test_each_key_has_its_own_pace_and_a_hundred_thousand_leave_memory_flat():
    limiter = RateLimiter(RateLimit(1, per=1.0, by=lambda user: user, max_keys=1000), key="k", now=0.0)
    assert [None, None] == [limiter.reserve(0.0, ("ann",)), limiter.reserve(0.0, ("bob",))]
    with pytest.raises(RateLimitedError):
        limiter.reserve(0.5, ("ann",))
    tracemalloc.start()
    for n in range(2000):
        limiter.reserve(10.0 + n, (n,))
    before = tracemalloc.get_traced_memory()[0]
    for n in range(2000, 100_000):
        limiter.reserve(10.0 + n, (n,))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 1000 == limiter.keys
    assert grown < 50_000


def test_no_flood_of_keys_buys_one_that_owes_a_fresh_burst():
    limiter = RateLimiter(RateLimit(1, per=100.0, by=lambda user: user, max_keys=10), key="k", now=0.0)
    limiter.reserve(0.0, ("ann",))
    admitted = 0
    for n in range(5000):
        try:
            limiter.reserve(0.001 * n, (f"made up {n}",))
        except RateLimitedError:
            continue
        admitted += 1
    assert 9 + 1 == admitted  # the places there were, and the one that all others share
    with pytest.raises(RateLimitedError):
        limiter.reserve(50.0, ("ann",))
    assert limiter.reserve(100.0, ("ann",)) is None


def test_a_key_that_cannot_be_hashed_is_a_type_error():
    limiter = RateLimiter(RateLimit(1, by=lambda x: [x]), key="k", now=0.0)
    with pytest.raises(TypeError, match="unhashable"):
        limiter.reserve(0.0, (1,))


def test_a_live_change_counts_at_once_and_what_was_spent_stays_spent():
    limiter = RateLimiter(RateLimit(2, per=10.0), key="k", now=0.0)
    limiter.reserve(0.0)
    limiter.reserve(0.0)
    limiter.configure(RateLimit(1000, per=10.0, burst=1), 0.0)
    with pytest.raises(RateLimitedError) as caught:
        limiter.reserve(0.0)
    assert pytest.approx(0.01) == caught.value.retry_after
    assert limiter.reserve(0.0101) is None


@pytest.mark.parametrize(("old", "spent", "new", "left"), [
    ((10, 10), 0, (20, 20), 20), ((10, 10), 5, (20, 20), 10), ((10, 10), 10, (20, 20), 0),  # the same share
    ((10, 10), 0, (5, 5), 5), ((10, 10), 3, (5, 5), 2), ((10, 10), 5, (5, 5), 0), ((10, 10), 9, (5, 5), 0),
    ((10, 10), 4, (40, 10), 6), ((10, 10), 4, (2, 10), 6),  # faster and slower, with the burst as it was
])
@pytest.mark.parametrize("keyed", [False, True])
def test_what_is_left_of_the_burst_after_a_change(old, spent, new, left, keyed):
    by = {"by": lambda: "ann"} if keyed else {}
    limiter = RateLimiter(RateLimit(old[0], burst=old[1], per=64.0, **by), key="k", now=0.0)
    for _ in range(spent):
        assert limiter.reserve(0.0) is None
    limiter.configure(RateLimit(new[0], burst=new[1], per=64.0, **by), 0.0)
    for _ in range(left):
        assert limiter.reserve(0.0) is None
    with pytest.raises(RateLimitedError):
        limiter.reserve(0.0)


def test_no_change_there_and_back_gives_anything_back():
    for seed in range(50):
        rng = random.Random(seed)
        limiter = RateLimiter(RateLimit(8, per=8.0), key="k", now=0.0)
        for _ in range(8):
            limiter.reserve(0.0)
        for _ in range(rng.randrange(8)):
            limiter.configure(RateLimit(rng.randrange(1, 20), per=8.0, burst=rng.choice([None, 1, 9])), 0.0)
        limiter.configure(RateLimit(8, per=8.0), 0.0)
        assert ("refused", pytest.approx(1.0)) == asked(limiter, 0.0)


def test_a_key_that_was_not_looked_at_for_many_changes_is_what_it_would_be_otherwise():
    refused = 0
    for seed in range(100):
        rng = random.Random(seed)
        limits = [RateLimit(rng.choice([1, 2, 4]), per=rng.choice([16.0, 64.0]), burst=rng.choice([1, 2, 4]))
                  for _ in range(6)]
        single = RateLimiter(limits[0], key="k", now=0.0)
        keyed = RateLimiter(attrs.evolve(limits[0], by=str), key="k", now=0.0)
        for other in range(100):  # so that ann is not among the few that each change looks after
            keyed.reserve(0.0, (other,))
        assert asked(single, 0.0) == asked(keyed, 0.0, "ann")
        for now, limit in enumerate(limits[1:], 1):
            single.configure(limit, float(now))
            keyed.configure(attrs.evolve(limit, by=str), float(now))
        said = asked(single, 6.0)
        assert said == asked(keyed, 6.0, "ann"), seed
        refused += said[0] == "refused"
    assert 0 < refused < 100


def test_what_keys_went_by_before_is_not_kept_for_ever():
    limiter = RateLimiter(RateLimit(1, per=1000.0, by=str), key="k", now=0.0)
    for key in range(20):
        limiter.reserve(0.0, (key,))
    first = weakref.ref(limiter._rate)
    for now in range(4):
        limiter.configure(RateLimit(2 + now, per=1000.0, by=str), float(now))
    assert first() is None


def test_fewer_keys_are_forgotten_as_far_as_they_are_idle():
    limiter = RateLimiter(RateLimit(1, per=1.0, by=lambda x: x, max_keys=8), key="k", now=0.0)
    for n in range(8):
        limiter.reserve(float(n) / 4, (n,))
    limiter.configure(RateLimit(1, per=1.0, by=lambda x: x, max_keys=2), 2.0)
    assert 3 == limiter.keys


def test_a_clock_that_steps_back_gives_nothing_away():
    limiter = RateLimiter(RateLimit(1, per=1.0), key="k", now=10.0)
    limiter.reserve(10.0)
    with pytest.raises(RateLimitedError) as caught:
        limiter.reserve(5.0)
    assert 6.0 == caught.value.retry_after


def test_threads_together_get_no_more_than_one_would():
    limiter, begun = RateLimiter(RateLimit(1000, per=1000.0), key="k", now=0.0), []

    def work():
        for _ in range(1000):
            try:
                limiter.reserve(0.0)
            except RateLimitedError:
                continue
            begun.append(1)

    hammer(work, threads=8)
    assert 1000 == len(begun)


@pytest.mark.parametrize(("settings", "words"), [
    ({"calls": 0}, "calls must be a whole number at least 1"), ({"calls": 1.5}, "calls must be"),
    ({"calls": 1, "per": 0}, "per must be"), ({"calls": 1, "burst": 0}, "burst must be"),
    ({"calls": 1, "max_wait": -1}, "max_wait must be"), ({"calls": 1, "by": 3}, "by must be callable"),
    ({"calls": 1, "max_keys": 0}, "max_keys must be"), ({"calls": 1, "burts": 2}, "did you mean burst"),
])
def test_what_makes_no_sense_is_refused_by_name(settings, words):
    with pytest.raises(ConfigError, match=words):
        RateLimit(**settings)
