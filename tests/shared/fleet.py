"""Several gateways under one shared limit, in virtual time: the real machine and driver, over a store in memory."""

import asyncio
import contextlib

from resilience import RateLimitedError
from resilience.gateway.limits.request_limit import policy_of
from resilience.gateway.limits.shared_limit import SharedLimit
from resilience.testing.virtual_loop import VirtualTimeLoop

from .memory_store import MemoryStore, Server


def virtually(scenario):
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario())


class Level:
    """How much of a burst is used up: the plain leaky bucket. Its height is the most by which any period was over."""

    def __init__(self, rate):
        self.rate, self.at, self.level, self.highest, self.total = rate, 0.0, 0.0, 0.0, 0.0

    def add(self, units, now):
        self.level = max(0.0, self.level - (now - self.at) * self.rate) + units
        self.at, self.total = now, self.total + units
        self.highest = max(self.highest, self.level)


class Fleet:
    """So many gateways, whose clocks and networks differ."""

    def __init__(self, rng, rate, burst, *, gateways=8, max_wait=0.0, when_unavailable="share", settles=False,
                 delay=lambda: 0.0003, timeout_s=0.02):
        self.loop = asyncio.get_running_loop()
        self.server = Server(self.loop.time, offset=rng.uniform(-1e6, 1e6))
        self.stores = [MemoryStore(self.server, f"g{number}", instances=gateways, delay=delay, timeout_s=timeout_s)
                       for number in range(gateways)]
        self.rate, self.burst = rate, burst
        policy = policy_of(rate, 1.0, burst=burst, max_wait=max_wait, settles=settles, max_keys=1000)
        self.limits = [self._limit(policy, store, rng, when_unavailable) for store in self.stores]
        self.levels, self.asked, self.refused = {}, 0, 0

    def _limit(self, policy, store, rng, when_unavailable):
        offset, drift = rng.uniform(0, 1e5), rng.choice([1.0, 1.0001, 0.9999])
        return SharedLimit(policy, name="limit", max_waiting=1000, store=store, when_unavailable=when_unavailable,
                           clock=lambda: self.loop.time() * drift + offset)

    @property
    def questions(self):
        return self.server.questions

    def level(self, key):
        return self.levels.setdefault(key, Level(self.rate))

    async def request(self, gateway, key, units=1.0, *, true=None):
        """Whether one request was admitted; what it spends counts from its turn on."""
        limit = self.limits[gateway]
        self.asked += 1
        try:
            booking = limit.book(key, units)
            await limit.wait(booking)
        except RateLimitedError:
            self.refused += 1
            return False
        self.level(key).add(units, self.loop.time())
        if true is not None:
            limit.settle(booking, true)
            self.level(key).add(max(0.0, true - units), self.loop.time())
        return True


async def arrive(fleet, rng, seconds, per_s, *, keys=("one",), units=lambda: 1.0, gateway=None):
    """Poisson traffic, to random gateways."""
    end, running = fleet.loop.time() + seconds, set()
    while fleet.loop.time() < end:
        await asyncio.sleep(rng.expovariate(per_s))
        which = rng.randrange(len(fleet.limits)) if gateway is None else gateway()
        task = asyncio.ensure_future(fleet.request(which, rng.choice(keys), units()))
        if not task.done():
            running.add(task)
            task.add_done_callback(running.discard)
    with contextlib.suppress(ValueError):
        await asyncio.wait(running)
