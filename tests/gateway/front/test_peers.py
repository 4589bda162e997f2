"""The count and the rate of each client address, against plain ones."""

from __future__ import annotations

import random

from resilience.gateway.front.peers import Peers
from tests.seeds import over_seeds


@over_seeds(20)
def test_no_address_has_more_connections_than_it_may_and_all_are_given_back(seed: int) -> None:
    random_ = random.Random(seed)
    most = random_.randint(1, 4)
    peers = Peers(max_connections=most, rate=None, burst=1)
    there: list[str] = []
    for _ in range(300):
        address = random_.choice("abc")
        if there and random_.random() < 0.5:
            peers.leave(there.pop(random_.randrange(len(there))))
        else:
            entered = peers.enter(address)
            assert entered is (there.count(address) < most)
            if entered:
                there.append(address)
        assert len(there) == peers.connections
    for address in there:
        peers.leave(address)
    assert 0 == peers.connections


@over_seeds(20)
def test_the_rate_is_that_of_a_bucket_that_fills_evenly(seed: int) -> None:
    random_ = random.Random(seed)
    rate, burst = random_.choice([0.5, 4.0, 100.0]), random_.randint(1, 5)
    peers = Peers(max_connections=None, rate=rate, burst=burst)
    now, level, last = 1000.0, float(burst), 1000.0
    for _ in range(300):
        now += random_.choice([0.0, 0.125, 1.0]) / rate * random_.randint(0, 2)
        level = min(float(burst), level + (now - last) * rate)
        last = now
        wait = peers.wait("a", now)
        assert (wait == 0) is (level >= 1.0 - 1e-6)
        if wait:
            assert (1.0 - level) / rate <= wait + 1e-6
        else:
            level -= 1.0
        assert 0 == Peers(max_connections=None, rate=rate, burst=burst).wait("a", now), "addresses are apart"


def test_addresses_without_end_are_forgotten() -> None:
    peers = Peers(max_connections=None, rate=1.0, burst=1)
    for number in range(70_000):
        peers.wait(str(number), 0.0)
    assert len(peers._due) <= 65_536
