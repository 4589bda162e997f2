"""Lingering, with literal times, and beside a plain account of bytes and seconds."""

from __future__ import annotations

import random
from math import inf

from resilience.gateway.front.lingering import LINGER_BYTES, LINGER_S, Lingering


def test_a_stream_lingers_until_its_time_or_its_bytes_are_used_up_or_it_ends() -> None:
    lingering = Lingering()
    assert (0, inf, False, False) == (len(lingering), lingering.deadline, lingering.take(1, 9), lingering.end(1))
    lingering.begin(1, 10.0)
    lingering.begin(3, 11.0)
    assert (10.0 + LINGER_S, []) == (lingering.deadline, lingering.due(11.9))
    assert [1] == lingering.due(12.0)
    assert (False, True) == (lingering.take(3, LINGER_BYTES), lingering.take(3, 1))
    assert (True, False, 11.0 + LINGER_S) == (lingering.end(1), lingering.end(1), lingering.deadline)


def test_lingering_does_as_a_plain_account_does() -> None:
    for seed in range(50):
        draw, now, lingering = random.Random(seed), 0.0, Lingering()
        known: dict[int, tuple[float, int]] = {}
        for number in range(300):
            now += draw.random() / 4
            which = draw.choice([*known, number])
            action = draw.randrange(4)
            if action == 0:
                lingering.begin(number, now)
                known[number] = now + LINGER_S, 0
            elif action == 1:
                size = draw.randrange(LINGER_BYTES // 2)
                if which in known:
                    known[which] = known[which][0], known[which][1] + size
                assert lingering.take(which, size) is (which in known and known[which][1] > LINGER_BYTES)
            elif action == 2:
                assert lingering.end(which) is (known.pop(which, None) is not None)
            assert lingering.due(now) == [each for each, (until, _) in known.items() if until <= now]
            assert (lingering.deadline, len(lingering)) == (min((until for until, _ in known.values()), default=inf), len(known))
