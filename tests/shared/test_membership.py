"""How many instances are believed to be there: pure."""

import random

from resilience.shared.membership import MEMORY_S, Membership


def test_nobody_was_heard_of_yet_so_there_is_this_instance():
    assert Membership().count == 1


def test_the_count_rises_at_once_and_falls_when_the_higher_one_is_old():
    for seed in range(50):
        rng, members, heard, now = random.Random(seed), Membership(), [], 0.0
        for _ in range(200):
            now += rng.expovariate(1.0)
            count = rng.randint(1, 9)
            members.hear(count, now)
            heard.append((now, count))

            assert members.told == count
            assert members.count == max(each for at, each in heard if at > now - MEMORY_S)
