"""Failover beside retries of generators, retries inside each other, clocks of streams, stalls, halts and the own pool."""

import asyncio

import cloudpickle
import pytest

import resilience
from resilience import (
    CallTimeoutError,
    CircuitBreaker,
    ConfigError,
    Failover,
    FailureRules,
    Fallback,
    Registry,
    Retry,
    RetryBudget,
    StreamTimeout,
    command,
    explain,
    http_status,
    retried_by,
    retry,
)
from resilience.commands.command import internals_of
from resilience.core.failover import RestState
from resilience.core.stalls import Stalls
from resilience.integrations.httpx import ResilienceTransport
from resilience.registry import table_of
from resilience.testing import ManualClock, virtual_time
from tests.engine.failover_rig import FLAVOURS, ONE_ANSWER, Rig

REGIONS = Failover(("eu", "us"), argument="region", grace=30.0)
TWICE = Retry(attempts=2, base=0.0, jitter="none", budget=None)
STREAMS = ("generator", "async generator")


def fetched(flavour, registry, items, **settings):
    """A guarded stream of what *items* yields, given the region."""
    settings |= {} if "stream_timeout" in settings else {"timeout": None}
    settings = {"key": "fetch", "breaker": None, "failover": REGIONS, "registry": registry, **settings}
    if flavour == "generator":
        def fetch(*, region="eu"):
            yield from items(region)
    else:
        async def fetch(*, region="eu"):
            for item in items(region):
                yield item
    return command(**settings)(fetch)


async def listed(stream):
    return [item async for item in stream]


def all_of(stream):
    return list(stream) if hasattr(stream, "__next__") else asyncio.run(listed(stream))


def rest_of(fn, target):
    return internals_of(fn.resilience[target]).runtime.named("failover").rest


# -- retries of generators


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_retry_goes_round_all_targets_again_in_every_flavour(flavour):
    rig = Rig(flavour, retry=TWICE)
    answers = iter([ConnectionError("eu"), "second round"])
    rig.answers.update(eu=lambda: next(answers), us=OSError("us"))

    assert rig.call() == "second round"
    assert rig.took() == ["eu", "us", "eu"]
    assert rig.registry["fetch"].snapshot().counts["retry"] == 1
    rig.assert_idle()


@pytest.mark.parametrize("flavour", STREAMS)
def test_a_stream_with_a_retry_above_is_begun_anew_only_until_its_first_item(flavour, registry):
    begun = []

    def items(region):
        begun.append(region)
        yield region
        raise ConnectionError(region)

    with pytest.raises(ConnectionError):
        all_of(fetched(flavour, registry, items, retry=TWICE)())
    assert begun == ["eu"]


@pytest.mark.parametrize("flavour", STREAMS)
def test_what_a_retry_holds_back_is_begun_anew_after_a_failure_that_is_too_late_for_the_failover(flavour, registry):
    begun = []

    def items(region):
        begun.append(region)
        yield 1
        if len(begun) == 1:
            raise ConnectionError(region)
        yield 2

    fetch = fetched(flavour, registry, items, retry=Retry(attempts=2, base=0.0, budget=None, hold=2))
    assert all_of(fetch()) == [1, 2]
    assert begun == ["eu", "us"], "eu has no circuit, so that one failure makes it rest"
    assert [handle.in_flight for handle in fetch.resilience] == [0, 0, 0]


@pytest.mark.parametrize("flavour", STREAMS)
def test_an_item_that_is_judged_failed_while_it_is_held_back_begins_the_stream_anew(flavour, registry):
    begun = []

    def items(region):
        begun.append(region)
        yield 1
        yield "bad" if len(begun) == 1 else 2

    fetch = fetched(flavour, registry, items, retry=Retry(attempts=2, base=0.0, budget=None, hold=2),
                    failures=FailureRules(items=lambda item: item == "bad"))
    assert all_of(fetch()) == [1, 2]
    assert fetch.resilience["eu"].snapshot().counts["failure"] == 1


@pytest.mark.parametrize("flavour", STREAMS)
@pytest.mark.parametrize("above", [{"retry": TWICE}, {"fallback": Fallback(lambda: None, on=KeyError)}])
def test_a_failed_first_item_that_nobody_answers_for_comes_alone_through_what_stands_above(flavour, above, registry):
    if flavour == "async generator" and "fallback" in above:
        async def other():
            yield None

        above = {"fallback": Fallback(other, on=KeyError)}
    fetch = fetched(flavour, registry, lambda region: iter(["bad", region]), **above,
                    failures=FailureRules(items=lambda item: item == "bad"))

    assert all_of(fetch()) == ["bad"]
    assert registry["fetch"].snapshot().counts["exceptions_thrown"] == 0


@pytest.mark.parametrize("flavour", STREAMS)
def test_a_failed_item_further_on_reaches_the_consumer_who_gets_the_rest_of_the_stream_too(flavour, registry):
    fetch = fetched(flavour, registry, lambda region: iter([region, "bad", "end"]), retry=TWICE,
                    failures=FailureRules(items=lambda item: item == "bad"))

    assert all_of(fetch()) == ["eu", "bad", "end"]
    assert fetch.resilience["eu"].snapshot().counts["failure"] == 1


def test_what_a_generator_returns_comes_through_a_retry_above_even_after_a_failed_item(registry):
    @command(key="fetch", timeout=None, failover=REGIONS, retry=TWICE, registry=registry,
             failures=FailureRules(items=lambda item: item == "bad"))
    def fetch(*, region="eu"):
        yield "good"
        yield "bad"
        return region

    def consumer():
        return (yield from fetch())

    stream = consumer()
    assert [next(stream), next(stream)] == ["good", "bad"]
    with pytest.raises(StopIteration) as caught:
        next(stream)
    assert caught.value.value == "eu"


@pytest.mark.parametrize("weights", [None, (0, 1)])
def test_what_the_consumer_of_an_async_generator_sends_and_throws_reaches_whichever_target(weights, registry):
    @command(key="fetch", timeout=None, registry=registry,
             failover=Failover(("eu", "us"), argument="region", weights=weights))
    async def fetch(*, region="eu"):
        if region == "eu":
            raise ConnectionError
        got = yield region
        try:
            yield got
        except KeyError as error:
            yield error

    async def main():
        stream, error = fetch(), KeyError()
        assert await stream.asend(None) == "us"
        assert await stream.asend("sent") == "sent"
        assert await stream.athrow(error) is error
        with pytest.raises(StopAsyncIteration):
            await stream.asend(None)

    asyncio.run(main())
    assert [handle.in_flight for handle in fetch.resilience] == [0, 0]


# -- clocks of streams


def test_each_target_has_its_own_time_for_the_first_item():
    async def main():
        loop = asyncio.get_running_loop()
        registry, began = Registry(clock=loop.time), loop.time()

        @command(key="fetch", registry=registry, stream_timeout=StreamTimeout(first_item=2.0, between_items=5.0),
                 failover=Failover(("eu", "us"), argument="region"))
        async def fetch(*, region="eu"):
            await asyncio.sleep(60.0 if region == "eu" else 1.0)
            yield region
            await asyncio.sleep(4.0)
            yield "end"
            await asyncio.sleep(60.0)

        items = []
        with pytest.raises(CallTimeoutError) as caught:  # noqa: PT012 - the items before it count too
            async for item in fetch():
                items.append((item, loop.time() - began))
                counts = fetch.resilience["eu"].snapshot().counts
        assert items == [("us", 3.0), ("end", 7.0)]
        assert caught.value.key == "fetch[us]"
        assert loop.time() - began == 12.0
        assert (counts["timeout"], counts["failover"]) == (1, 1)

    virtual_time(main())


# -- the bound of a retry in total


def test_the_bound_of_a_retry_in_total_has_time_for_all_targets_in_each_attempt():
    async def main(time_limit):
        loop, asked = asyncio.get_running_loop(), []

        @command(key="fetch", timeout=20.0, breaker=None, registry=Registry(clock=loop.time),
                 failover=Failover(("eu", "us"), argument="region", grace=0.001, budget=None),
                 retry=Retry(attempts=3, base=1.0, max_delay=1.0, jitter="none", budget=None, time_limit=time_limit))
        async def fetch(*, region="eu"):
            asked.append(loop.time())
            await asyncio.sleep(100.0)

        began = loop.time()
        with pytest.raises(CallTimeoutError):
            await fetch()
        return [at - began for at in asked], explain(fetch).chains[0].worst_case.last_begins

    assert virtual_time(main(None)) == ([0.0, 20.0, 41.0, 61.0, 82.0, 102.0], 102.0)
    assert virtual_time(main(30.0)) == ([0.0, 20.0], 30.0 + 20.0)  # the last round of targets begins within the limit


def test_the_worst_case_of_a_stream_knows_the_first_items_of_all_targets(registry):
    fetch = fetched("async generator", registry, iter, max_concurrent=None,
                    stream_timeout=StreamTimeout(first_item=3.0, between_items=1.0),
                    retry=Retry(attempts=2, base=1.0, max_delay=1.0, jitter="none", hold=2))
    # the first item of one target, and two items of the other; the pause; the first item of the one again
    assert explain(fetch).chains[0].worst_case.last_begins == 3.0 + 4.0 + 1.0 + 3.0


# -- retries inside each other


@pytest.mark.parametrize("flavour", ONE_ANSWER)
def test_a_retry_inside_leaves_the_repetition_to_the_one_above_the_failover(flavour):
    registry, asked, seen = Registry(clock=ManualClock()), [], []

    @retry(attempts=3, base=0, budget=None, registry=registry, key="inner")
    def inner(region):
        asked.append(region)
        seen.append(retried_by())
        raise OSError(region)

    def answer(region):
        return lambda: inner(region)

    rig = Rig(flavour, retry=TWICE, breaker=None, say={"grace": 0.001, "budget": None})
    rig.answers.update(eu=answer("eu"), us=answer("us"))
    assert isinstance(rig.outcome(), OSError)

    assert sorted(asked) == ["eu", "eu", "us", "us"]
    assert set(seen) == {"fetch"}
    assert registry["inner"].snapshot().counts["retry_left_to_caller"] == 4
    assert retried_by() is None


def test_a_retry_inside_knows_of_the_one_above_when_a_live_timeout_has_moved_the_targets_to_threads():
    registry, seen = Registry(), []

    @command(key="fetch", breaker=None, failover=REGIONS, retry=TWICE, registry=registry)
    def fetch(*, region="eu"):
        seen.append(retried_by())
        return region

    assert fetch() == "eu"
    fetch.resilience.configure(timeout=60.0)
    assert fetch() == "eu"
    assert seen == ["fetch", "fetch"]


@pytest.mark.parametrize("flavour", ONE_ANSWER)
def test_a_failover_alone_is_no_retry_so_one_inside_repeats_at_each_target(flavour):
    registry, asked = Registry(clock=ManualClock()), []

    @retry(attempts=2, base=0, budget=None, registry=registry, key="inner")
    def inner(region):
        asked.append((region, retried_by()))
        raise OSError(region)

    rig = Rig(flavour, breaker=None)
    rig.answers.update(eu=lambda: inner("eu"), us=lambda: inner("us"))
    rig.outcome()
    assert asked == [("eu", "inner")] * 2 + [("us", "inner")] * 2


# -- what says nothing about a target


@pytest.mark.parametrize("is_probe", [False, True])
def test_a_failure_in_a_stall_goes_on_and_says_nothing_of_the_target(is_probe):
    clock, stalls = ManualClock(), Stalls()
    registry = Registry(clock=clock)
    table_of(registry).services.stalls = stalls
    rig = Rig("sync", breaker=None, registry=registry, clock=clock)
    rest = rest_of(rig.fn, "eu")
    if is_probe:
        rig.answers["eu"] = OSError()
        assert rig.call() == "good"
        clock.advance(30.0)

    def stalled():
        stalls.note(clock(), clock() + 4.0)
        clock.advance(5.0)
        return OSError()

    rig.answers["eu"] = stalled
    rig.took()
    assert rig.call() == "good"
    rig.answers["eu"] = "good"
    assert rig.call() == "good"
    assert rig.took() == ["eu", "us", "eu"]
    assert rest.state is RestState.AVAILABLE
    assert rig.counts("eu")["failover"] == 1


def test_a_target_that_halts_its_circuit_is_back_when_it_said_and_not_after_the_grace_time():
    class Answer:
        def __init__(self, status_code, **headers):
            self.status_code, self.headers = status_code, headers

    rig = Rig("sync", failures=FailureRules(status=http_status(), halts=True), breaker=CircuitBreaker())
    good = rig.answers["us"] = Answer(200)

    rig.answers["eu"] = Answer(429, **{"Retry-After": "3"})
    assert rig.call() is good
    rest_of(rig.fn, "eu").clear()  # as for a call that was on its way to the target meanwhile, and meets its circuit
    assert rig.call() is good
    assert rig.counts("eu")["short_circuited"] == 1
    rig.answers["eu"] = good
    rig.took()
    rig.clock.advance(3.0)
    assert rig.call() is good
    assert rig.took() == ["eu"]


def test_what_the_clients_own_pool_refuses_is_passed_over_and_costs_no_budget():
    class PoolTimeout(Exception):
        pass

    rig = Rig("sync", breaker=None, failures=FailureRules(refused=PoolTimeout),
              say={"budget": RetryBudget(ratio=0.001, per_second=0.001)})
    rig.answers["eu"] = PoolTimeout()
    assert [rig.call() for _ in range(50)] == ["good"] * 50
    assert rig.took() == ["eu", "us"] * 50
    assert rig.counts("eu") == {"semaphore_rejected": 50}
    assert rest_of(rig.fn, "eu").state is RestState.AVAILABLE


# -- other processes, and other guards


@pytest.mark.parametrize("settings", ["timeout=None", "timeout=None, retry=Retry(attempts=2)", "timeout=60.0",
                                      "timeout=60.0, hedge=Hedge(idempotent=True, delay=60.0)"])
def test_it_is_sent_by_value_as_other_guarded_functions_are(settings):
    scope = {"__name__": "nowhere", **vars(resilience)}
    exec(f"""
@command(key="sent", failover=Failover(("eu", "us"), argument="region"), registry=Registry(), {settings})
def fetch(*, region="eu"):
    if region == "eu":
        raise OSError
    return region
""", scope)
    fetch = scope["fetch"]
    assert fetch() == "us"
    copy = cloudpickle.loads(cloudpickle.dumps(fetch))
    assert copy() == "us"
    assert copy.resilience["us"].snapshot().counts["success"] == 1
    assert copy.resilience["us"].key == "sent[us]"


def test_guards_for_clients_refuse_a_failover_and_say_where_it_belongs():
    with pytest.raises(ConfigError, match="told the target") as caught:
        ResilienceTransport(failover=REGIONS)
    assert caught.value.option == "failover"
