"""One limit in eight gateways, in virtual time, against a plain leaky bucket that sees everything."""

import asyncio
import random
from collections import Counter

import pytest

from resilience import RateLimitedError
from resilience.gateway.limits.shared_limit import LimitUnavailableError

from .fleet import Fleet, arrive, virtually

#: The promise, and what a millisecond of network adds: a unit is counted here when its answer has arrived.
OVER = 1.05
NETWORK_S = 0.002


def network(rng):
    return lambda: rng.choice([0.0001, 0.0003, 0.001])


def bound(fleet, share=OVER):
    return share * fleet.burst + fleet.rate * NETWORK_S + 1.0


def test_no_period_has_more_than_the_limit_and_5_percent_at_any_load_and_an_overload_gets_all_of_it():
    for seed in range(10):
        rng = random.Random(seed)
        rate, burst = rng.choice([(20, 20), (100, 100), (1000, 1000), (1000, 100), (50, 500), (300, 30)])
        load, seconds = rng.choice([0.5, 0.95, 1.5, 5.0]), 1500 / rate

        async def scenario(rng=rng, rate=rate, burst=burst, load=load, seconds=seconds):
            fleet = Fleet(rng, rate, burst, delay=network(rng))
            await arrive(fleet, rng, seconds / load, rate * load)
            level = fleet.level("one")
            assert level.highest <= bound(fleet)
            if load >= 1.5:
                admissible = min(fleet.asked, burst + rate * seconds / load)
                assert level.total >= 0.95 * min(admissible, rate * seconds / load)
            else:
                assert fleet.refused <= 0.1 * fleet.asked

        virtually(scenario)


def test_each_of_many_callers_has_the_limit_whichever_gateway_it_asks_and_a_hot_gateway_takes_what_others_leave():
    async def scenario():
        rng = random.Random(1)
        fleet = Fleet(rng, 50, 50, delay=network(rng))
        keys = [("address", f"10.0.0.{number}") for number in range(15)]
        await arrive(fleet, rng, 3.0, 1500, keys=keys, gateway=lambda: min(7, int(rng.expovariate(0.7))))
        for key in keys:
            assert fleet.level(key).highest <= bound(fleet)
            assert fleet.level(key).total >= 0.95 * 50 * 3

    virtually(scenario)


def test_far_from_the_limit_hardly_any_request_asks_and_beyond_it_refusals_cost_nothing():
    async def scenario(load, most):
        rng = random.Random(2)
        fleet = Fleet(rng, 1000, 1000, delay=network(rng))
        await arrive(fleet, rng, 3.0, 1000 * load)
        assert fleet.questions / fleet.asked < most

    virtually(lambda: scenario(0.5, 0.1))
    virtually(lambda: scenario(5.0, 0.15))


def test_in_a_flood_hardly_anybody_waits_for_the_store():
    async def scenario():
        rng = random.Random(11)
        fleet = Fleet(rng, 500, 500, delay=network(rng))
        await arrive(fleet, rng, 1.0, 2500)
        before = sum((limit.counts for limit in fleet.limits), Counter())
        await arrive(fleet, rng, 1.0, 2500)
        counts = sum((limit.counts for limit in fleet.limits), Counter()) - before
        assert counts["store", "admitted"] + counts["store", "rejected"] <= 0.03 * counts.total()
        assert counts["lease", "admitted"] >= 0.9 * 500

    virtually(scenario)


def test_units_of_those_who_give_up_are_given_back_and_true_costs_are_settled():
    async def scenario():
        rng = random.Random(3)
        fleet = Fleet(rng, 10, 1000, settles=True, delay=network(rng))
        true = 0.0
        for _ in range(300):
            limit = rng.choice(fleet.limits)
            booking = limit.book("one", 2.0)
            waiting = asyncio.ensure_future(limit.wait(booking))
            await asyncio.sleep(rng.choice([0.0, 0.0, 0.0004, 0.01]))
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait([waiting])
            elif rng.random() < 0.5:
                limit.refund(booking)
            else:
                cost = rng.uniform(0.0, 5.0)
                true += cost
                limit.settle(booking, cost)
        began = fleet.loop.time()
        for limit in fleet.limits:  # says what is owed
            await limit.wait(limit.book("one", 0.0))
        await asyncio.sleep(60.0)
        for limit in fleet.limits:
            await limit.wait(limit.book("one", 0.0))
        drained = 10 * (fleet.loop.time() - began + 3.0)
        (state,) = fleet.server.keys.values()
        level = state["ahead"] / state["interval"]
        assert max(0.0, true - drained) - 1e-3 <= level <= true, "nothing was lost, and no unit counts twice"

    virtually(scenario)


def test_those_who_may_wait_go_in_turn_across_gateways_and_those_beyond_are_refused():
    async def scenario():
        rng = random.Random(4)
        fleet = Fleet(rng, 100, 10, max_wait=0.5, delay=network(rng))
        began = fleet.loop.time()
        done = await asyncio.gather(*(fleet.request(number % 8, "one") for number in range(100)))
        assert fleet.level("one").highest <= 10 * OVER + 1
        assert 55 <= sum(done) <= 62, "the burst, and half a second's"
        assert 0.4 < fleet.loop.time() - began < 0.6

    virtually(scenario)


def test_without_the_store_each_gateway_has_its_share_and_nobody_has_a_burst_twice():
    for seed in range(4):
        async def scenario(rng=random.Random(seed)):
            fleet = Fleet(rng, 100, 100, delay=network(rng))
            await arrive(fleet, rng, 3.0, 500)
            for store in fleet.stores:
                store.connect(False)
            before = fleet.questions
            await arrive(fleet, rng, 3.0, 500)
            assert fleet.questions <= before + 8, "those that were under way"
            if rng.random() < 0.5:
                fleet.server.wipe()
            for store in fleet.stores:
                store.connect(True)
            await arrive(fleet, rng, 3.0, 500)
            level = fleet.level("one")
            assert level.highest <= bound(fleet) + 8, "a unit is whole in each gateway's share"
            assert level.total >= 0.9 * 900, "neither the loss nor the return costs the callers their rate"
            counts = sum((limit.counts for limit in fleet.limits), Counter())
            assert counts["local", "admitted"] > 200

        virtually(scenario)


def test_a_store_that_was_wiped_gives_no_fresh_bursts_to_those_who_were_known_or_not():
    async def scenario():
        rng = random.Random(5)
        fleet = Fleet(rng, 10, 100, delay=network(rng))
        await arrive(fleet, rng, 3.0, 200, keys=["known"], gateway=lambda: 0)
        fleet.server.wipe()
        await arrive(fleet, rng, 2.0, 200, keys=["known", "new"], gateway=lambda: rng.randrange(1, 8))
        assert fleet.level("known").highest <= bound(fleet), "though the gateways that are asked have not seen it"
        assert fleet.level("new").total <= 10 * 2 + 5

    virtually(scenario)


def test_lost_questions_and_lost_answers_let_nobody_in_beyond_the_limit():
    for seed in range(3):
        async def scenario(rng=random.Random(seed)):
            fleet = Fleet(rng, 200, 200, delay=network(rng))

            async def trouble():
                while True:
                    await asyncio.sleep(rng.uniform(0.05, 0.3))
                    store = rng.choice(fleet.stores)
                    which = rng.choice(["loses_questions", "loses_answers"])
                    setattr(store, which, True)
                    await asyncio.sleep(rng.uniform(0.0, 0.2))
                    setattr(store, which, False)
                    await asyncio.sleep(0.05)
                    store.connect(True)

            task = asyncio.ensure_future(trouble())
            await arrive(fleet, rng, 5.0, 600)
            task.cancel()
            # Who is cut off has an eighth for itself, which the others do not know of.
            assert fleet.level("one").highest <= bound(fleet, 1.05 + 0.15)
            assert fleet.level("one").total >= 0.85 * 1000

        virtually(scenario)


def test_when_an_answer_is_late_one_request_waits_for_the_timeout_and_the_others_for_a_quarter_of_it_at_most():
    async def scenario():
        fleet = Fleet(random.Random(6), 100, 100, delay=lambda: 10.0, timeout_s=0.02)
        took = []

        async def timed():
            began = fleet.loop.time()
            assert await fleet.request(0, "one")
            took.append(fleet.loop.time() - began)

        await asyncio.gather(*(timed() for _ in range(5)))
        for _ in range(3):
            await timed()
        assert sorted(round(each, 4) for each in took) == [0.0, 0.0, 0.0, 0.005, 0.005, 0.005, 0.005, 0.02]

    virtually(scenario)


@pytest.mark.parametrize(("when", "outcome"), [("closed", LimitUnavailableError), ("open", None), ("share", RateLimitedError)])
def test_a_limit_without_its_store_is_closed_or_open_or_has_its_share(when, outcome):
    async def scenario():
        fleet = Fleet(random.Random(7), 8, 8, when_unavailable=when)
        fleet.stores[0].connect(False)
        limit = fleet.limits[0]
        if when == "share":
            await limit.wait(limit.book("one", 1.0))
        if outcome is None:
            for _ in range(20):
                await limit.wait(limit.book("one", 1.0))
            return
        with pytest.raises(outcome) as raised:
            await limit.wait(limit.book("one", 1.0))
        assert isinstance(raised.value, LimitUnavailableError) == (when == "closed")
        assert raised.value.retry_after > 0

    virtually(scenario)


def test_a_caller_that_was_refused_stays_refused_when_the_store_is_lost_and_when_it_comes_back():
    async def scenario():
        fleet = Fleet(random.Random(8), 1, 10)
        for _ in range(10):
            assert await fleet.request(0, "one")
        assert not await fleet.request(0, "one")
        for store in fleet.stores:
            store.connect(False)
        assert not await fleet.request(0, "one")
        await asyncio.sleep(0.5)
        assert not await fleet.request(0, "one")
        for store in fleet.stores:
            store.connect(True)
        assert not await fleet.request(0, "one")

    virtually(scenario)


def test_a_flood_of_made_up_callers_is_bounded_here_and_forgotten_there():
    async def scenario():
        fleet = Fleet(random.Random(9), 10, 10)
        for number in range(1500):
            await fleet.request(0, ("header", f"made up {number}"))
        assert fleet.limits[0].keys <= 1000
        await asyncio.sleep(10.0)
        now = fleet.server.now()
        assert all(state["expires"] < now for state in fleet.server.keys.values())
        assert not any("made up" in key for key in fleet.server.keys), "what tells callers apart may be a secret"

    virtually(scenario)


def test_a_changed_limit_refills_nothing():
    async def scenario():
        from resilience.gateway.limits.request_limit import policy_of

        fleet = Fleet(random.Random(10), 1, 10)
        for _ in range(10):
            assert await fleet.request(0, "one")
        for limit, store in zip(fleet.limits, fleet.stores, strict=True):
            limit.configure(policy_of(2, 1.0, burst=20), 10, store, "share")
        assert [await fleet.request(number, "one") for number in range(8)] == [False] * 8

    virtually(scenario)


def test_while_a_limit_is_changed_in_one_gateway_after_the_other_their_turns_add_nothing_to_what_was_spent():
    async def scenario():
        from resilience.gateway.limits.request_limit import policy_of

        fleet = Fleet(random.Random(10), 1, 10)
        for limit, store in zip(fleet.limits[::2], fleet.stores[::2], strict=True):
            limit.configure(policy_of(1, 1.0, burst=20), 10, store, "share")
        assert [await fleet.request(number, "one") for number in range(8)] == [True] * 8

    virtually(scenario)


@pytest.mark.parametrize("junk", [None, 7, b"junk", [], [7], [None], [b"nan nan nan nan nan"], [b"1 1 0 0"], [b"1"] * 2])
def test_an_answer_that_is_none_leaves_nobody_waiting_and_the_next_question_is_asked(junk):
    async def scenario():
        fleet = Fleet(random.Random(1), 10, 10, gateways=1)
        store, run = fleet.stores[0], fleet.stores[0].run

        async def mad(*asked):
            store.run = run
            await run(*asked)
            return junk

        store.run = mad
        async with asyncio.timeout(1):
            assert await fleet.request(0, "one")
            assert await fleet.request(0, "one")
        assert fleet.limits[0].counts == {("local", "admitted"): 1, ("store", "admitted"): 1}

    virtually(scenario)


@pytest.mark.parametrize("is_asked", [True, False], ids=["a request waits", "units are set aside"])
def test_a_store_that_a_reload_takes_away_leaves_nobody_waiting_and_no_error(is_asked):
    async def scenario():
        fleet, errors = Fleet(random.Random(1), 100, 100, gateways=2, delay=lambda: 0.001), []
        fleet.loop.set_exception_handler(lambda loop, context: errors.append(context["message"]))
        limit = fleet.limits[0]
        for _ in range(20):
            assert await fleet.request(0, "one")
        waiting = [asyncio.ensure_future(fleet.request(0, f"{number}")) for number in range(100 * is_asked)]
        await asyncio.sleep(0.0005)
        limit.configure(limit.policy, 1000, fleet.stores[1], "share")
        fleet.stores[0].connect(False)
        fleet.stores[0] = None
        async with asyncio.timeout(10):
            assert all(await asyncio.gather(*waiting))
        await asyncio.sleep(5)
        assert errors == []

    virtually(scenario)


def test_whoever_leaves_while_waiting_for_a_turn_without_the_store_is_not_reported_to_it():
    async def scenario():
        fleet = Fleet(random.Random(1), 1, 2, gateways=1, max_wait=5.0)
        fleet.stores[0].connect(False)
        for _ in range(2):
            assert await fleet.request(0, "one")
        waiting = [asyncio.ensure_future(fleet.request(0, "one")) for _ in range(4)]
        await asyncio.sleep(0.1)
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        lease = fleet.limits[0]._limiter.lease_of("one", 0.0)
        assert lease.local.owed(fleet.limits[0]._clock()) <= 2

    virtually(scenario)
