"""What is shed when the event loop falls behind: in virtual time, with a loop that has three times more work than time."""

import random

import pytest

from resilience.gateway.limits.lag_shedder import LEAST, WINDOW_S, LagShedder, _cap

SERVED_S, REFUSED_S = 0.001, 0.00002


class Loop:
    """A loop that serves in each round what came during the last one, and looks at its own lag every 20 ms."""

    def __init__(self, seed, *, load, target_s=0.05, important=0.1, tenants=None):
        self.dice, self.shedder = random.Random(seed), LagShedder(target_s, 0.0)
        self.load, self.important, self.tenants = load, important, tenants
        self.served, self.came, self.waits = {}, {}, []

    def run(self, seconds, *, ignoring=5.0):
        dice, shedder = self.dice, self.shedder
        now, next_at, look_at = 0.0, 0.0, 0.02
        while now < seconds:
            ready = []  # all that came while the last round went on
            if next_at > now:
                now = min(next_at, look_at)
            while next_at <= now:
                ready.append(next_at)
                next_at += dice.expovariate(self.load / SERVED_S)
            for came_at in ready:
                level = 0 if dice.random() < self.important else 4
                tenant = None if self.tenants is None else self.tenants(dice)
                admitted = shedder.admits(level, tenant, dice.random())
                now += SERVED_S if admitted else REFUSED_S
                if now > ignoring:
                    key = level, tenant
                    self.came[key] = self.came.get(key, 0) + 1
                    self.served[key] = self.served.get(key, 0) + admitted
                    if admitted:
                        self.waits.append(now - came_at)
            if now >= look_at:
                shedder.sample(now - look_at, now)
                look_at = now + 0.02
        return self

    def goodput(self, seconds):
        return sum(self.served.values()) * SERVED_S / seconds

    def share(self, level):
        return sum(n for key, n in self.served.items() if key[0] == level) / sum(n for key, n in self.came.items() if key[0] == level)


def jain(shares):
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


@pytest.mark.parametrize("seed", range(3))
def test_at_three_times_the_load_the_loop_spends_its_time_on_what_it_admits_and_the_important_all_get_in(seed):
    loop = Loop(seed, load=3.0).run(25.0)

    assert loop.goodput(20.0) >= 0.93  # of which refusals alone take 4 %
    assert loop.share(0) >= 0.995
    assert sorted(loop.waits)[int(0.99 * len(loop.waits))] < 0.2


@pytest.mark.parametrize("seed", range(3))
def test_at_three_times_the_load_tenants_share_what_there_is(seed):
    def tenant(dice):
        return "greedy" if dice.random() < 0.5 else f"modest {dice.randrange(9)}"

    loop = Loop(seed, load=3.0, important=0.0, tenants=tenant).run(25.0)

    assert jain([served for (_, _), served in loop.served.items()]) >= 0.95
    assert loop.goodput(20.0) >= 0.9


def test_at_four_fifths_of_the_load_nobody_is_turned_away():
    loop = Loop(1, load=0.8).run(10.0, ignoring=0.0)
    assert loop.served == loop.came


def test_one_stall_is_no_lag_and_a_lag_that_stands_is():
    shedder = LagShedder(0.05, 0.0)
    for tick in range(1, 100):  # every window has a stall, and rounds that are not late
        shedder.admits(4, None, 0.5)
        shedder.sample(1.0 if tick % 5 == 0 else 0.0, tick * 0.02)
    assert not shedder.sheds
    for tick in range(100, 130):
        shedder.admits(4, None, 0.5)
        shedder.sample(0.2, tick * 0.02)
    assert shedder.sheds


def test_what_is_admitted_falls_by_half_at_most_and_grows_by_a_fiftieth_only_well_below_the_target():
    shedder, now, dice = LagShedder(0.05, 0.0), 0.0, random.Random(1)

    def window(lag_s, level=4):
        nonlocal now
        for _ in range(1000):
            shedder.admits(level, None, dice.random())
        now += WINDOW_S
        shedder.sample(lag_s, now)
        return shedder.share

    assert window(10.0) == 0.5
    assert [window(0.04), window(0.03)] == [0.5, 0.5]
    assert shedder.sheds
    assert [window(0.02), window(0.0)] == [pytest.approx(0.52), pytest.approx(0.54)]
    for _ in range(60):
        window(0.0)
    assert not shedder.sheds
    for _ in range(40):
        window(10.0)
    assert shedder.share >= LEAST


def test_an_idle_loop_forgets_what_was_shed():
    shedder = LagShedder(0.05, 0.0)
    for _ in range(100):
        shedder.admits(4, None, 0.5)
    shedder.sample(1.0, 0.1)
    assert shedder.sheds
    shedder.sample(0.0, 0.2)
    shedder.sample(0.0, 0.3)
    assert not shedder.sheds


def test_the_cap_gives_each_what_it_asks_for_or_an_equal_share():
    for seed in range(200):
        dice = random.Random(seed)
        asked = [dice.randrange(1, 50) for _ in range(dice.randrange(1, 12))]
        room = dice.uniform(0.5, sum(asked) * 1.2)
        cap = _cap(asked, room)
        total = sum(min(each, cap) for each in asked)
        assert total == pytest.approx(min(room, sum(asked)))


def test_made_up_tenants_do_not_make_it_grow():
    shedder = LagShedder(0.05, 0.0)
    for each in range(100):
        shedder.admits(4, each, 0.5)
    shedder.sample(1.0, 0.1)
    for each in range(20_000):
        shedder.admits(4, each, 0.5)
    assert len(shedder._tenants) <= 4097
    shedder.sample(1.0, 0.2)
    assert len(shedder._asked) <= 4097
