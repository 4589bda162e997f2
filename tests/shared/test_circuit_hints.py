"""What several gateways know together of targets that are down, over a real redis-server."""

import asyncio
import contextlib
import json
import random
import time

import pytest

from resilience import CircuitBreaker, CircuitOpenError, Registry, StateChanged, command
from resilience.commands.command import internals_of
from resilience.core.events import State
from resilience.shared.circuit_hints import HINTS, MOST, CircuitHints, Quorum
from resilience.shared.membership import LIFETIME_S

from .test_connection import becomes, closed, connection_to

HALF = Quorum(share=0.5, least=2)
BREAKER = CircuitBreaker(consecutive=3, open_for=30.0)


class Instance:
    """One worker of a gateway, with a command for each target."""

    def __init__(self, redis, gateway, *, targets=("t",), quorum=HALF, breaker=BREAKER):
        self.registry, self.events = Registry(), []
        self.registry.subscribe(StateChanged, self.events.append)
        self.calls, self.ejected = {}, {}
        for key in targets:
            self.calls[key] = self.guarded(key, breaker)
        self.connection = connection_to(redis.url, name=gateway)
        self.hints = CircuitHints(self.connection, self.registry, quorum=quorum, gateway=gateway,
                                  is_target=lambda key: key in self.calls, ejected=lambda now: self.ejected)

    def guarded(self, key, breaker):
        @command(key=key, registry=self.registry, timeout=None, breaker=breaker)
        def call(*, well):
            if not well:
                raise OSError
            return key
        return call

    def __getitem__(self, key):
        return self.registry[key]

    def ask(self, key="t", *, well):
        with contextlib.suppress(OSError, CircuitOpenError):
            self.calls[key](well=well)

    def fail(self, key="t"):
        for _ in range(3):
            self.ask(key, well=False)
        assert self[key].state is State.OPEN


@contextlib.asynccontextmanager
async def fleet(redis, *gateways, **how):
    instances = [Instance(redis, each, **how) for each in gateways]
    for each in instances:
        await each.connection.known()
        each.hints.start()
    await becomes(lambda: redis.say("ZCARD", "test:circuits:gateways") == b":%d" % len(instances))
    yield instances
    for each in instances:
        each.hints.close()
        await closed(each.connection)


async def beats(instance, questions=6):
    """Wait until an instance has told and heard at least twice more: each time is a question beside the beat's own."""
    until = instance.connection.round_trips + questions
    await becomes(lambda: instance.connection.round_trips >= until)


def test_a_circuit_opens_without_a_failure_of_its_own_for_the_time_that_the_others_still_wait(redis):
    async def scenario():
        async with fleet(redis, "a", "b", "c") as (a, b, c):
            a.fail()
            await becomes(lambda: b.hints.report()["heard"] == {"t": {"down": 1, "of": 3}})
            assert (b["t"].state, c["t"].state) == (State.CLOSED, State.CLOSED), "one does not decide for all"
            b.fail()
            await becomes(lambda: c["t"].state is State.OPEN)
            left = [each["t"].snapshot().retry_after for each in (a, b, c)]
            assert left[0] - 1 < left[2] < left[0] + 0.1 < left[1], "the first one's end, when no half will hold any more"
            assert (c.events[-1].trigger, c.events[-1].reason) == ("fleet", "2 of 3 gateways see it down")
            assert c.hints.report()["told"] == [], "a hint makes no hints"
            assert redis.say("ZCARD", "test:circuits:down:t") == b":2"

    asyncio.run(scenario())


def test_a_machine_that_is_cut_off_is_outvoted_however_many_workers_it_has(redis):
    async def scenario():
        async with fleet(redis, "cut-off", "cut-off", "cut-off", "b", "c", targets=("t", "u")) as (*poisoned, b, c):
            for each in poisoned:
                each.fail("t")
                each.fail("u")
            await becomes(lambda: c.hints.report()["heard"].keys() == {"t", "u"})
            await becomes(lambda: redis.say("ZCARD", "test:circuits:down:u") == b":3")
            await beats(c)
            assert c.hints.report()["heard"]["u"] == {"down": 1, "of": 3}
            assert {each[key].state for each in (b, c) for key in ("t", "u")} == {State.CLOSED}

    asyncio.run(scenario())


def test_a_target_that_the_balancer_leaves_out_after_failures_is_told_as_one_whose_circuit_is_open(redis):
    async def scenario():
        async with fleet(redis, "a", "b", "c") as (a, b, c):
            a.fail()
            b.ejected = {"t": b.registry.clock() + 12.0, "long ago": 1.0}
            await becomes(lambda: c["t"].state is State.OPEN)
            assert 5 < c["t"].snapshot().retry_after <= 12
            assert (b.hints.told, b["t"].state) == (1, State.OPEN)

    asyncio.run(scenario())


def test_what_an_operator_or_a_busy_target_opened_is_not_told(redis):
    async def scenario():
        async with fleet(redis, "a", "b") as (a, b):
            a["t"].force_open()
            now = b.registry.clock()
            internals_of(b["t"]).runtime.circuit.halt(now + 30.0, now)
            await asyncio.sleep(0)
            assert (a.hints.report()["told"], b.hints.report()["told"]) == ([], [])

    asyncio.run(scenario())


def test_a_probe_that_finds_the_target_well_is_believed_more_than_the_others_for_a_minute(redis):
    async def scenario():
        async with fleet(redis, "a", "b", "c") as (a, b, c):
            c["t"].configure(breaker=CircuitBreaker(consecutive=3, open_for=0.05))
            a.fail()
            b.fail()
            await becomes(lambda: c["t"].state is State.OPEN)
            await becomes(lambda: (c.ask(well=True), c["t"].state is State.CLOSED)[1])
            await beats(c)
            assert c["t"].state is State.CLOSED, "the others still say that it is down"
            assert c.hints.openings == 1

    asyncio.run(scenario())


def test_a_store_that_was_wiped_is_told_again_and_one_that_is_frozen_changes_nothing(redis):
    async def scenario():
        async with fleet(redis, "a", "b", "c", targets=("t", "u")) as (a, b, c):
            a.fail()
            redis.say("FLUSHALL")
            await becomes(lambda: redis.say("ZCARD", "test:circuits:down:t") == b":1")
            redis.freeze()
            b.fail()
            b.fail("u")
            await becomes(lambda: not c.connection.is_connected)
            assert c["t"].state is State.CLOSED
            redis.thaw()
            await becomes(lambda: c["t"].state is State.OPEN)
            redis.kill()
            redis.start()
            a.fail("u")
            await becomes(lambda: c["u"].state is State.OPEN)

    asyncio.run(scenario())


def test_what_somebody_else_writes_to_the_store_ends_nothing_and_opens_no_circuit_for_longer_than_its_own_wait(redis):
    async def scenario():
        async with fleet(redis, "a", "b", "c", targets=("t", "u")) as (a, b, c):
            async def writes(junk):  # again and again: it is there for a quarter of a second
                await a.connection.call(lambda client: client.hset("test:circuits:views", "0.5:2", junk))
                await asyncio.sleep(0.01)

            for junk in ("nonsense", '[[null,1,1,1]]', '[["t",Infinity,1,1]]'):
                until = c.connection.round_trips + 4
                while c.connection.round_trips < until:
                    await writes(junk)
            async with asyncio.timeout(30):
                while c["u"].state is not State.OPEN:
                    await writes('[["u",9,9,"inf"]]')
            assert 20 < c["u"].snapshot().retry_after <= 30
            redis.say("DEL", "test:circuits:views")
            a.fail()
            b.fail()
            await becomes(lambda: c["t"].state is State.OPEN)

    asyncio.run(scenario())


class Oracle:
    """Who said what, in the plainest words."""

    def __init__(self):
        self.down, self.unused, self.alive = {}, set(), set()

    def rows(self, share, least):
        """For each target in question: how many gateways see it down, how many have it, and the end in seconds."""
        found = {}
        gateways = {gateway for gateway, _ in self.alive}
        for target in {target for target, _ in self.down}:
            ends = {}
            for (of, (gateway, worker)), end in self.down.items():
                if of == target and (gateway, worker) in self.alive:
                    ends[gateway] = max(end, ends.get(gateway, 0))
            without = {gateway for of, (gateway, worker) in self.unused
                       if of == target and (gateway, worker) in self.alive} - ends.keys()
            users, end = len(gateways - without), 0
            for candidate in sorted(ends.values()):
                left = [each for each in ends.values() if each >= candidate]
                if len(left) >= least and len(left) >= share * users:
                    end = candidate
            found[target] = (len(ends), users, end)
        return found


def test_the_store_finds_what_a_plain_model_finds_in_any_history(redis):
    async def scenario():
        connection = connection_to(redis.url)
        await connection.known()
        for seed in range(25):
            redis.say("FLUSHALL")
            await history(redis, connection, random.Random(seed))
        await closed(connection)

    asyncio.run(scenario())


async def history(redis, connection, rng):
    oracle, began = Oracle(), time.monotonic()
    share, least = rng.choice((0.3, 0.5, 0.55, 1.0)), rng.choice((2, 3))
    instances = [(f"g{number % 4}", f"{number}") for number in range(rng.randint(2, 8))]
    for _ in range(25):
        redis.say("DEL", "test:circuits:views")
        who = rng.choice(instances)
        if rng.random() < 0.1:
            await connection.call(lambda client, who=who: client.zadd("test:circuits:gateways", {"#".join(who): 1.0}))
            oracle.alive.discard(who)
            continue
        down = {target: rng.choice((-1.0, *range(100, 900, 100))) for target in "xyz" if rng.random() < 0.4}
        over = [target for target in "xyz" if target not in down and rng.random() < 0.5]
        unused = [target for target in "xyz" if target not in down and rng.random() < 0.2]
        answer = await connection.run(HINTS, ("test:circuits:gateways", "test:circuits:targets"), (
            "test:circuits:", *who, LIFETIME_S, share, least, MOST, len(down), len(over), len(unused),
            *(each for said in down.items() for each in said), *over, *unused))
        passed = time.monotonic() - began
        oracle.alive.add(who)
        for target, end in down.items():
            oracle.down[target, who] = end + passed
        for target in over:
            oracle.down.pop((target, who), None)
        oracle.unused.update((target, who) for target in unused)
        oracle.down = {said: end for said, end in oracle.down.items() if end > 50}
        expected = oracle.rows(share, least)
        found = {target: (seen, users, float(end) and float(end) - float(answer[0]) + passed)
                 for target, seen, users, end in json.loads(answer[1])}
        for target, (seen, users, end) in expected.items():
            if seen:
                assert found[target] == (seen, users, pytest.approx(end, abs=2.0)), target
