"""A keyed failover against a plain dict of failovers with fixed keys, over random histories of calls, time and eviction.

The model has one function with a fixed key for each key, in a registry of its own, and forgets them by the rules as the
documentation says them. Calls overlap, go on to another target and end in any order: coroutines are driven by hand.
"""

import asyncio
import random
from collections import Counter

import pytest

from resilience import CircuitBreaker, Failover, Registry, State, command
from resilience.testing import ManualClock
from tests.seeds import over_seeds

MAX_KEYS, IDLE = 3, 20.0
TARGETS = ("eu", "us")


class Word:
    def __await__(self):
        return (yield)


def function(flavour, ran):
    """Waits until it is told how to end, at whichever target."""
    if flavour == "async":
        async def work(host, *, target="nowhere"):
            ran.append(target)
            if not await Word():
                raise OSError(target)
            return target
        return work

    async def work(host, *, target="nowhere"):
        ran.append(target)
        if not await Word():
            raise OSError(target)
        yield target
    return work


class Call:
    """One call, begun; ``ended``: its result, or the class of what it was refused or ended with."""

    def __init__(self, flavour, fn, host):
        self.running = fn(host)
        self.step = self.running.__anext__() if flavour == "async generator" else self.running
        self.ended = None
        self.advance(None)

    def advance(self, word):
        try:
            self.step.send(word)
        except StopIteration as end:
            self.ended = end.value
            if self.step is not self.running:  # past the one item of an async generator
                with pytest.raises(StopAsyncIteration):
                    self.running.__anext__().send(None)
        except Exception as error:
            self.ended = type(error)
        return self.ended

    def drop(self):
        with pytest.raises(asyncio.CancelledError):
            self.step.throw(asyncio.CancelledError())


class Model:
    """A plain dict of functions, each with its own registry."""

    def __init__(self, clock, settings, work, overflow):
        self.clock, self.settings, self.work, self.overflow = clock, settings, work, overflow
        self.functions, self.used, self.busy = {}, {}, Counter()

    def knows_until(self, key):
        """Until when its targets are known to be down; None: they are not."""
        until = []
        for handle in self.functions[key].resilience:
            runtime = handle._runtime
            if handle.state in (State.OPEN, State.HALF_OPEN):
                until.append(runtime.circuit.term.until)
            if handle.snapshot().gauges["failover.resting"]:
                until.append(runtime.named("failover").rest.until)
        return max(until, default=None)

    def read(self):
        now = self.clock()
        for key in list(self.functions):
            if self.busy[key]:
                self.used[key] = now
            elif now - self.used[key] >= IDLE and now - (self.knows_until(key) or -1e9) >= IDLE:
                self.forget(key)

    def forget(self, key):
        del self.functions[key], self.used[key]

    def find(self, key, there):
        """Key and function of a call; *there* are the keys after it, looked at for which of equals went."""
        if key not in self.functions and len(self.functions.keys() - {self.overflow}) >= MAX_KEYS:
            spare = [each for each in self.functions
                     if each != self.overflow and not self.busy[each] and self.knows_until(each) is None]
            oldest = min((self.used[each] for each in spare), default=None)
            gone = [each for each in spare if self.used[each] == oldest and each not in there]
            if spare:
                assert len(gone) == 1, (spare, there)
                self.forget(gone[0])
            else:
                key = self.overflow
        if key not in self.functions:
            self.functions[key] = command(key=key, registry=Registry(clock=self.clock), **self.settings)(self.work)
        self.used[key] = self.clock()
        return key, self.functions[key]

    def seen(self):
        return {handle.key: seen(handle) for fn in self.functions.values() for handle in fn.resilience}


def seen(handle):
    snapshot = handle.snapshot()
    return snapshot.state, snapshot.in_flight, snapshot.counts, snapshot.gauges, snapshot.retry_after


@pytest.mark.parametrize("flavour", ["async", "async generator"])
@pytest.mark.parametrize("breaker", [CircuitBreaker(failure_rate=None, consecutive=2, open_for=5.0), None])
@over_seeds(4)
def test_each_key_is_as_a_failover_with_that_key_for_as_long_as_it_is_there(flavour, breaker, seed):
    chance, clock, ran = random.Random(f"{flavour} {seed}"), ManualClock(), []
    settings = {"timeout": None, "max_concurrent": 2, "breaker": breaker,
                "failover": Failover(TARGETS, grace=8.0, max_wait=0.0, budget=None)}
    registry, work = Registry(clock=clock), function(flavour, ran)
    get = command(key=lambda host: host, registry=registry, max_keys=MAX_KEYS, idle=IDLE, **settings)(work)
    model = Model(clock, settings, work, get.resilience.overflow)
    calls, happened = [], Counter()
    health = {host: chance.random() for host in "abcdef"}
    for _ in range(150):
        clock.advance(chance.choice([0.01, 0.1, 1.0, 1.0, 4.0, 12.0]))
        list(registry)
        model.read()
        if chance.random() < 0.5 or not calls:
            host = chance.choice("abcdef"[: chance.choice([2, 6])])
            ran.clear()
            real = Call(flavour, get, host)
            before, keys = set(model.functions), {handle.key.partition("[")[0] for handle in get.resilience}
            key, fn = model.find(host, keys)
            plain = Call(flavour, fn, host)
            happened["overflow"] += key == model.overflow
            happened["evicted"] += bool(before - set(model.functions))
            calls += [(key, real, plain)]
        else:
            key, real, plain = calls.pop(chance.randrange(len(calls)))
            model.busy[key] -= 1
            ran.clear()
            if chance.random() < 0.1:
                real.drop()
                plain.drop()
                happened["dropped"] += 1
                real = None
            else:
                word = chance.random() < health.get(key, 0.5)
                real.advance(word)
                plain.advance(word)
                calls += [(key, real, plain)]
        assert ran[: len(ran) // 2] == ran[len(ran) // 2:], "both went to the same target"
        if real is not None:
            assert real.ended == plain.ended
            happened["went on"] += bool(ran) and real.ended is None
            if real.ended is None:
                model.busy[key] += 1
            else:
                happened[real.ended] += 1
                calls.pop()
        assert {handle.key: seen(handle) for handle in registry._table.commands.values()} == model.seen()
    for _, real, plain in calls:
        real.drop()
        plain.drop()

    assert {handle.in_flight for handle in get.resilience} <= {0}
    assert [cell for cell in get.resilience._keyspace.table.values() if cell.pins] == []
    clock.advance(1e6)
    assert list(registry) == []
    assert min(happened["us"], happened["went on"]) > 0, happened
