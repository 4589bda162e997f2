"""explain() said that the last attempt of a call may begin when all of its attempts have ended.

Where a retry has no ``time_limit`` it goes by the time that its attempts and delays may take at most, and explain() told
that as the time until which the last attempt begins: "at worst 5 s; 3 attempts, the last of which begins within 5 s". With
a failover below it, a ``time_limit`` was told of the retry's last round, and not of the last target in it.
"""

import random

import pytest

from resilience import Bulkhead, Failover, Pipeline, Registry, Retry, Timeout, explain
from resilience.core.retry import next_delay


def told(*policies):
    @Pipeline(*policies, registry=Registry())
    async def fetch(target="a"): ...

    return explain(fetch).chains[0].worst_case


@pytest.mark.parametrize(("policies", "words"), [
    ((Retry(attempts=3, max_delay=1.0), Timeout(1.0)), "at worst 5 s; 3 attempts, the last of which begins within 4 s"),
    ((Retry(attempts=9, max_delay=1.0), Timeout(0.5)), "at worst 12.5 s; 9 attempts, the last of which begins within 12 s"),
    ((Retry(attempts=3, max_delay=1.0, time_limit=2.0), Timeout(1.0)), "at worst 3 s; 3 attempts, the last of which begins within 2 s"),
    ((Retry(attempts=3, max_delay=1.0, time_limit=2.0),), "at worst unbounded: no timeout; 3 attempts, the last of which begins within 2 s"),
    ((Failover(("a", "b", "c"), max_wait=0.0), Timeout(1.0)), "at worst 3 s; 3 attempts, the last of which begins within 2 s"),
    ((Retry(attempts=2, max_delay=1.0, time_limit=2.0), Failover(("a", "b", "c"), max_wait=0.0), Timeout(1.0)),
     "at worst 5 s; 6 attempts, the last of which begins within 4 s"),
    ((Timeout(1.0),), "at worst 1 s; 1 attempt"),
])
def test_the_last_attempt_begins_one_attempt_before_the_end(policies, words):
    assert words == str(told(*policies))


def simulated(retry, targets, wait, timeout):
    """The latest begin of an attempt and the latest end, of a call whose every attempt, wait and pause takes as long as it may."""
    now, begins, asked = 0.0, 0.0, None if not retry.respect_retry_after else max(retry.max_delay, retry.busy_max_delay or 0.0)
    delay, attempt = 0.0, 0
    while True:
        for _ in range(targets):
            begins, now = now, now + wait + timeout
        attempt += 1
        nexts = [next_delay(retry, attempt, delay, now, 1.0, asked if busy else min(asked, retry.max_delay) if asked else None, busy=busy,
                            timeout=targets * timeout, waits=targets * wait)[0] for busy in (False, True)]
        left = [each for each in nexts if each is not None]
        if not left:
            return begins, now
        delay = max(left)
        now += delay


def test_no_history_is_longer_than_the_worst_case_and_some_are_as_long():
    dice, exact = random.Random(7), 0
    for _ in range(500):
        retry = Retry(attempts=dice.randint(2, 6), base=dice.choice([0.0, 0.1, 1.0]), factor=dice.choice([1.0, 2.0]), budget=None,
                      busy_base=dice.choice([0.0, 1.0]), max_delay=dice.choice([1.0, 3.0]), busy_max_delay=dice.choice([None, 5.0]),
                      jitter=dice.choice(["none", "full", "equal", "decorrelated"]), respect_retry_after=dice.random() < 0.5,
                      time_limit=dice.choice([None, None, 2.0, 10.0]))
        targets, wait, timeout = dice.choice([1, 1, 3]), dice.choice([0.0, 0.0, 2.0]), dice.choice([0.5, 1.0, 4.0])
        policies = (retry, *([Failover(tuple("abc"), max_wait=0.0)] if targets > 1 else []),
                    Bulkhead(9, max_wait=wait), Timeout(timeout))
        worst, (begins, ends) = told(*policies), simulated(retry, targets, wait, timeout)
        assert begins <= worst.last_begins + 1e-9, (retry, targets, wait, timeout)
        assert ends <= worst.seconds + 1e-9, (retry, targets, wait, timeout)
        exact += abs(begins - worst.last_begins) < 1e-9 and abs(ends - worst.seconds) < 1e-9
    assert exact > 150  # with a time_limit a shorter attempt may be followed by one more, which begins later
