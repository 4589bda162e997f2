"""A keyed function against a plain dict of unkeyed ones, over random histories of calls, time and eviction.

The model has one function with a fixed key for each key, in a registry of its own, and forgets
them by the rules as the documentation says them. Calls overlap and end in any order: coroutines
and generators are driven by hand, so that there is no loop, no thread and no chance in it.
"""

import asyncio
import random
from collections import Counter

import pytest

from resilience import CircuitBreaker, CircuitOpenError, Registry, State, command
from resilience.testing import ManualClock
from tests.seeds import over_seeds

FLAVOURS = ["generator", "async", "async generator"]
MAX_KEYS, IDLE = 4, 20.0
SETTINGS = {"timeout": None, "max_concurrent": 2, "breaker": CircuitBreaker(min_calls=3, open_for=5.0, window=10.0)}


class Wait:
    def __await__(self):
        return (yield)


def function(flavour):
    """Waits until it is told how to end."""
    if flavour == "generator":
        def work(host):
            if not (yield):
                raise OSError
        return work
    if flavour == "async":
        async def work(host):
            if not await Wait():
                raise OSError
        return work

    async def work(host):
        if not await Wait():
            raise OSError
        yield host
    return work


class Call:
    """One call, begun; the class of what it was refused with is in ``ended``."""

    def __init__(self, flavour, fn, host):
        self.running = fn(host)
        self.step = self.running.__anext__() if flavour == "async generator" else self.running
        self.ended = None
        self.advance(None)

    def advance(self, word):
        try:
            self.step.send(word)
        except Exception as error:
            self.ended = type(error)

    def end(self, word):
        self.advance(word)
        if self.step is not self.running:  # an async generator: past its one item
            self.step = self.running.__anext__()
            self.advance(None)
        return self.ended

    def drop(self):
        """Cancelled, or closed."""
        if hasattr(self.running, "send") and not hasattr(self.running, "__await__"):
            self.running.close()
            return
        with pytest.raises(asyncio.CancelledError):
            self.step.throw(asyncio.CancelledError())


class Model:
    """A plain dict, and what was said about it."""

    def __init__(self, clock, work, overflow):
        self.clock, self.work, self.overflow = clock, work, overflow
        self.functions, self.used, self.busy = {}, {}, Counter()

    def needed_until(self, key):
        circuit = self.functions[key].resilience._runtime.circuit
        return float("-inf") if circuit.state is State.CLOSED else circuit.term.until

    def read(self):
        now = self.clock()
        for key in list(self.functions):
            if self.busy[key]:
                self.used[key] = now
            elif now - self.used[key] >= IDLE and now - self.needed_until(key) >= IDLE:
                self.forget(key)

    def forget(self, key):
        del self.functions[key], self.used[key]

    def find(self, key, there):
        """Key and function of a call; *there* are the keys after it, looked at for which of equals went."""
        if key not in self.functions and len(self.functions.keys() - {self.overflow}) >= MAX_KEYS:
            spare = [each for each in self.functions if each != self.overflow and not self.busy[each]
                     and self.functions[each].resilience.state is State.CLOSED]
            oldest = min((self.used[each] for each in spare), default=None)
            gone = [each for each in spare if self.used[each] == oldest and each not in there]
            if spare:
                assert 1 == len(gone), (spare, there)
                self.forget(gone[0])
            else:
                key = self.overflow
        if key not in self.functions:
            self.functions[key] = command(key=key, registry=Registry(clock=self.clock), **SETTINGS)(self.work)
        self.used[key] = self.clock()
        return key, self.functions[key]

    def seen(self):
        return {key: seen(fn.resilience) for key, fn in self.functions.items()}


def seen(handle):
    snapshot = handle.snapshot()
    return snapshot.state, snapshot.in_flight, snapshot.counts, snapshot.retry_after


@pytest.mark.parametrize("flavour", FLAVOURS)
@over_seeds(4)
def test_each_key_is_as_an_unkeyed_command_for_as_long_as_it_is_there(flavour, seed):
    chance, clock = random.Random(f"{flavour} {seed}"), ManualClock()
    registry, work = Registry(clock=clock), function(flavour)
    get = command(key=lambda host: host, registry=registry, max_keys=MAX_KEYS, idle=IDLE, **SETTINGS)(work)
    model = Model(clock, work, get.resilience.overflow)
    calls, happened = [], Counter()
    health = {host: chance.random() for host in "abcdefgh"}
    for _ in range(400):
        clock.advance(chance.choice([0.01, 0.1, 1.0, 1.0, 4.0, 12.0]))
        list(registry)
        model.read()
        if chance.random() < 0.6 or not calls:
            host = chance.choice("abcdefgh"[: chance.choice([3, 8])])
            real = Call(flavour, get, host)
            before = set(model.functions)
            key, fn = model.find(host, {each.key for each in get.resilience})
            plain = Call(flavour, fn, host)
            happened["overflow"] += key == model.overflow
            happened["evicted"] += bool(before - set(model.functions))
            assert plain.ended is real.ended
            happened[plain.ended] += 1
            if plain.ended is None:
                model.busy[key] += 1
                calls.append((key, real, plain))
        else:
            key, real, plain = calls.pop(chance.randrange(len(calls)))
            if chance.random() < 0.1:
                real.drop()
                plain.drop()
            else:
                word = chance.random() < health.get(key, 0.5)
                assert plain.end(word) is real.end(word)
            model.busy[key] -= 1
        assert model.seen() == {each.key: seen(each) for each in registry._table.commands.values()}
        assert model.functions.keys() == {each.key for each in get.resilience}
    for _, real, plain in calls:
        real.drop()
        plain.drop()

    assert {0} == {each.in_flight for each in get.resilience}
    assert [] == [cell for cell in get.resilience._keyspace.table.values() if cell.pins]
    clock.advance(1e6)
    assert [] == list(registry)
    assert min(happened["evicted"], happened[None]) > 5, happened


def test_the_histories_of_the_model_reach_what_is_rare():
    """Overflow and open circuits happen in it, or it would show nothing about them."""
    happened = Counter()
    for seed in range(12):
        chance, clock = random.Random(f"generator {seed}"), ManualClock()
        registry = Registry(clock=clock)
        get = command(key=lambda host: host, registry=registry, max_keys=MAX_KEYS, idle=IDLE, **SETTINGS)(
            function("generator"))
        calls = []
        for _ in range(400):
            clock.advance(chance.choice([0.01, 0.1, 1.0]))
            if chance.random() < 0.6 or not calls:
                call = Call("generator", get, chance.choice("abcdefgh"))
                happened[call.ended] += 1
                calls += [call] if call.ended is None else []
            else:
                calls.pop(chance.randrange(len(calls))).end(chance.random() < 0.5)
            happened["overflow"] += get.resilience.overflow in get.resilience

    assert min(happened["overflow"], happened[CircuitOpenError]) > 50, happened
