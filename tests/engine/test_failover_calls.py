"""Failover beside the other policies: timeouts, cancellation, streams, caches, retries, hedges, stacks, other processes."""

import asyncio
import gc
import pickle
import threading
import weakref

import pytest

from resilience import (
    Bulkhead,
    Cache,
    CircuitBreaker,
    ConfigError,
    Failover,
    FailureRules,
    Hedge,
    Pipeline,
    Registry,
    Retry,
    circuit_breaker,
    command,
    configure,
    explain,
    failover,
    fallback,
    handle_of,
    handles_of,
    http_status,
)
from resilience.config.mistakes import ConfigFileError
from resilience.core.failover import RestState
from resilience.testing import ManualClock, restored, virtual_time
from tests.engine.failover_rig import FLAVOURS, ONE_ANSWER, Rig

LONG = 60.0
REGIONS = Failover(("eu", "us"), argument="region", grace=30.0)


def plain(*, region="eu"):
    return region


class Answer:
    def __init__(self, status_code):
        self.status_code = status_code


# -- what hangs


def test_a_coroutine_that_hangs_is_given_up_and_the_call_goes_on():
    async def fetch(*, region="eu"):
        if region == "eu":
            await asyncio.get_running_loop().create_future()
        return region

    async def main():
        registry = Registry(clock=asyncio.get_running_loop().time)
        fn = command(key="fetch", timeout=0.5, failover=REGIONS, registry=registry)(fetch)
        assert await fn() == "us"
        return fn.resilience["eu"].snapshot().counts

    assert virtual_time(main())["timeout"] == 1


def test_a_thread_that_hangs_keeps_its_own_targets_slot_and_no_other(registry):
    released, hangs = threading.Event(), threading.Event()

    @command(key="fetch", timeout=0.05, max_concurrent=1, failover=REGIONS, registry=registry)
    def fetch(*, region="eu"):
        if region == "eu":
            hangs.set()
            released.wait(LONG)
        return region

    fetch.resilience["us"].configure(timeout=LONG)
    assert fetch() == "us"
    assert hangs.is_set()
    assert fetch() == "us", "the slot of eu is taken, which is a refusal"
    assert (fetch.resilience["eu"].in_flight, fetch.resilience["us"].in_flight) == (1, 0)
    assert fetch.resilience["eu"].snapshot().refused == 1
    released.set()


async def test_a_cancelled_call_goes_nowhere_else_and_gives_its_permits_back(registry):
    asked = []

    @command(key="fetch", timeout=None, max_concurrent=1, failover=REGIONS, registry=registry)
    async def fetch(*, region="eu"):
        asked.append(region)
        await asyncio.get_running_loop().create_future()

    for _ in range(3):
        task = asyncio.ensure_future(fetch())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert asked == ["eu"] * 3
    assert fetch.resilience["eu"].in_flight == 0


async def test_a_call_that_is_cancelled_at_its_second_target_gives_its_permits_back(registry):
    arrived = asyncio.Event()

    @command(key="fetch", timeout=None, failover=REGIONS, registry=registry)
    async def fetch(*, region="eu"):
        if region == "eu":
            raise ConnectionError
        arrived.set()
        await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(fetch())
    await arrived.wait()
    assert fetch.resilience["us"].in_flight == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fetch.resilience["us"].in_flight == 0
    assert fetch.resilience["us"].snapshot().counts["cancelled"] == 1


async def test_a_probe_that_is_cancelled_leaves_its_place_to_the_next_call(clock, registry):
    answer = "fail"

    @command(key="fetch", timeout=None, breaker=None, failover=REGIONS, registry=registry)
    async def fetch(*, region="eu"):
        if region == "us" or answer == "good":
            return region
        if answer == "fail":
            raise ConnectionError
        return await asyncio.get_running_loop().create_future()

    assert await fetch() == "us"
    clock.advance(30.0)
    answer = "hang"
    probe = asyncio.ensure_future(fetch())
    await asyncio.sleep(0)
    assert await fetch() == "us", "one probe at a time"
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    answer = "good"
    assert [await fetch(), await fetch()] == ["eu", "eu"]


# -- streams


def test_a_stream_goes_on_to_another_target_until_its_first_item_has_come(registry):
    broken = ConnectionError("in the middle")

    @command(key="fetch", timeout=None, failover=REGIONS, registry=registry)
    def fetch(after, *, region="eu"):
        for index in range(3):
            if region == "eu" and index == after:
                raise broken
            yield f"{region} {index}"

    assert list(fetch(0)) == ["us 0", "us 1", "us 2"]
    stream = fetch(1)
    assert next(stream) == "eu 0"
    with pytest.raises(ConnectionError) as caught:
        next(stream)
    assert caught.value is broken
    assert [handle.in_flight for handle in fetch.resilience] == [0, 0]


async def test_a_dropped_stream_gives_its_permits_back_at_whichever_target(registry):
    @command(key="fetch", timeout=None, failover=REGIONS, registry=registry)
    async def fetch(*, region="eu"):
        if region == "eu":
            raise ConnectionError
        yield 1
        yield 2

    stream = fetch()
    assert await anext(stream) == 1
    assert fetch.resilience["us"].in_flight == 1
    await stream.aclose()
    assert fetch.resilience["us"].in_flight == 0


def test_a_first_item_that_is_judged_failed_closes_the_stream_and_the_next_target_answers(registry):
    closed = []

    @command(key="fetch", timeout=None, failover=REGIONS, registry=registry,
             failures=FailureRules(items=lambda item: item == "error"))
    def fetch(bad, *, region="eu"):
        try:
            yield "error" if region in bad else region
            yield "end"
        finally:
            closed.append(region)

    assert list(fetch(("eu",))) == ["us", "end"]
    assert closed == ["eu", "us"]
    assert list(fetch(("eu", "us"))) == ["error"], "there is nobody left to answer"


# -- what stands above


@pytest.mark.parametrize("flavour", ONE_ANSWER)
def test_a_cache_answers_for_all_targets_and_keeps_nothing_that_failed(flavour):
    rig = Rig(flavour, cache=Cache(ttl=10.0), failures=http_status(), breaker=CircuitBreaker())
    bad, good = Answer(503), Answer(200)
    rig.answers.update(eu=bad, us=bad)
    assert rig.call() is bad
    rig.answers["us"] = good
    assert [rig.call(), rig.call()] == [good, good]

    assert rig.took() == ["eu", "us", "eu", "us"]
    counts = rig.registry["fetch"].snapshot().counts
    assert (counts["success"], counts["failure"], counts["responses_from_cache"]) == (1, 1, 1)
    rig.fn.resilience.clear_cache()
    rig.call()
    assert rig.took() == ["eu", "us"]


@pytest.mark.parametrize("flavour", ONE_ANSWER)
def test_a_retry_goes_round_all_targets_again_after_its_pause(flavour):
    rig = Rig(flavour, retry=Retry(attempts=2, base=3.0, jitter="none"))
    answers = iter([ConnectionError("eu"), "second round"])
    rig.answers.update(eu=lambda: next(answers), us=OSError("us"))

    assert rig.call() == "second round"
    assert rig.took() == ["eu", "us", "eu"]
    assert rig.clock() == 3.0
    assert rig.registry["fetch"].snapshot().counts["retry"] == 1


class BusyError(Exception):
    def __init__(self, retry_after):
        super().__init__(retry_after)
        self.retry_after = retry_after


@pytest.mark.parametrize("flavour", ONE_ANSWER)
@pytest.mark.parametrize(("asked", "waited", "is_at"), [((4.0, 9.0), 4.0, "eu"), ((9.0, 4.0), 4.0, "us"),
                                                        ((4.0, None), 1.0, "us"), ((None, 4.0), 1.0, "eu")])
def test_a_retry_waits_for_the_soonest_of_targets_that_are_all_busy(flavour, asked, waited, is_at):
    rig = Rig(flavour, failures=FailureRules(busy=BusyError), retry=Retry(attempts=2, base=0.1, jitter="none"))
    answers = {target: iter([BusyError(each), "well"]) for target, each in zip(("eu", "us"), asked, strict=True)}
    rig.answers.update(eu=lambda: next(answers["eu"]), us=lambda: next(answers["us"]))
    assert rig.outcome() == "well"

    assert rig.clock() == waited
    assert rig.took() == ["eu", "us", is_at]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_without_a_retry_the_caller_gets_the_busy_answer_that_asks_for_the_shortest_pause_unless_a_target_failed(flavour):
    rig = Rig(flavour, ("eu", "us", "asia"), failures=FailureRules(busy=BusyError))
    for eu, us, asia, told in [(BusyError(3.0), BusyError(1.0), BusyError(2.0), "us"),
                               (BusyError(1.0), BusyError(3.0), BusyError(2.0), "eu"),
                               (BusyError(1.0), BusyError(3.0), OSError(), "asia"),
                               (OSError(), BusyError(3.0), BusyError(2.0), "asia")]:
        rig.answers.update(eu=eu, us=us, asia=asia)
        assert rig.outcome() is rig.answers[told]
        rig.fn.resilience.reset()


@pytest.mark.parametrize("flavour", ONE_ANSWER)
def test_what_the_targets_say_of_a_call_is_what_is_counted_above_them(flavour):
    rig = Rig(flavour, failures=http_status(), cache=Cache(ttl=1.0), ignore=KeyError)
    for answer, event in ((Answer(503), "failure"), (Answer(429), "busy"), (KeyError(), "bad_request"),
                          (OSError(), "failure")):
        before = rig.registry["fetch"].snapshot().counts[event]
        rig.answers.update(eu=answer, us=answer)
        rig.outcome()
        assert rig.registry["fetch"].snapshot().counts[event] == before + 1
        rig.clock.advance(60.0)
    rig.outcome(1, 2, 3)
    assert rig.registry["fetch"].snapshot().counts["bad_request"] == 1


def test_the_second_attempt_of_a_hedge_goes_to_another_target():
    asked = []

    async def fetch(*, region="eu"):
        asked.append(region)
        if region == "eu":
            await asyncio.sleep(5.0)
        return region

    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        fn = command(key="fetch", timeout=10.0, failover=REGIONS, hedge=Hedge(idempotent=True, delay=1.0),
                     registry=Registry(clock=loop.time))(fetch)
        assert [await fn(), await fn()] == ["us", "us"]
        assert asked == ["eu", "us"] * 2
        assert loop.time() - began == 2.0
        assert fn.resilience["eu"].snapshot().counts["cancelled"] == 2
        assert [handle.in_flight for handle in fn.resilience] == [0, 0, 0]

    virtual_time(main())


def test_the_second_attempt_of_a_hedge_on_threads_goes_to_another_target(registry):
    released = threading.Event()

    @command(key="fetch", timeout=LONG, failover=REGIONS, hedge=Hedge(idempotent=True, delay=0.001),
             registry=Registry())
    def fetch(*, region="eu"):
        if region == "eu":
            released.wait(LONG)
        return region

    assert fetch() == "us"
    released.set()


def test_hedged_calls_on_threads_are_bounded_by_the_limits_of_their_targets_and_by_no_other(registry):
    together = threading.Barrier(16)

    @command(key="fetch", timeout=LONG, max_concurrent=16, failover=REGIONS, registry=registry,
             hedge=Hedge(idempotent=True, delay=3600.0))
    def fetch(*, region="eu"):
        together.wait(LONG)
        return region

    answers = []
    threads = [threading.Thread(target=lambda: answers.append(fetch())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["eu"] * 16
    assert registry["fetch"].settings.max_concurrent == 32


# -- how it is written


def test_the_decorators_may_be_stacked(registry):
    @fallback(lambda path, **_: "nothing")
    @failover(("eu", "us"), argument="region", key="fetch", registry=registry)
    @circuit_breaker(min_calls=1)
    def fetch(path, *, region="eu"):
        raise ConnectionError(region)

    assert fetch("/") == "nothing"
    assert [handle.key for handle in registry] == ["fetch[eu]", "fetch[us]", "fetch"]
    assert [handle.state.value for handle in registry] == ["open", "open", "disabled"]
    assert "Fallback > Failover (eu, us) > CircuitBreaker" in str(explain(fetch))


def test_a_pipeline_may_have_a_failover():
    rig = Rig("sync", pipeline=(Retry(attempts=2, base=0.01), REGIONS, CircuitBreaker(min_calls=1), Bulkhead(3)))
    rig.answers["eu"] = OSError()

    assert rig.call() == "good"
    assert rig.took() == ["eu", "us"]


def test_a_failover_below_a_breaker_is_a_mistake_that_is_explained(registry):
    with pytest.raises(ConfigError, match="Failover must stand above CircuitBreaker: each target has its own"):
        Pipeline(CircuitBreaker(), REGIONS)


def test_a_method_may_have_a_failover(registry):
    class Client:
        @command(key="client", timeout=None, failover=REGIONS, registry=registry)
        def fetch(self, path, region="eu"):
            if region == "eu":
                raise ConnectionError
            return self, path, region

    client = Client()
    assert client.fetch("/x") == (client, "/x", "us")
    assert handles_of(client.fetch)["us"].snapshot().counts["success"] == 1
    with pytest.raises(TypeError, match="a command for each key"):
        handle_of(Client.fetch)


def test_a_function_without_the_parameter_is_refused_when_it_is_decorated(registry):
    with pytest.raises(ConfigError, match="no keyword parameter 'region'"):
        @command(failover=REGIONS, registry=registry)
        def fetch(path):
            return path

    with pytest.raises(ConfigError, match="no keyword parameter 'region'"):
        @command(failover=REGIONS, registry=registry)
        def get(region, /):
            return region

    @command(failover=REGIONS, key="any", registry=registry)
    def whatever(**options):
        return options

    assert whatever(x=1) == {"x": 1, "region": "eu"}
    assert len(registry) == 2


def test_targets_that_a_file_names_otherwise_are_a_mistake_of_the_file(registry):
    @command(key="fetch", timeout=None, failover=REGIONS, registry=registry)
    def fetch(*, region="eu"):
        return region

    with pytest.raises(ConfigFileError, match="targets= of the failover cannot be changed"):
        configure({"commands": {"fetch": {"failover": {"targets": ["eu", "asia"]}}}}, registry=registry, environ={})


def test_a_failover_that_cannot_be_made_leaves_no_trace(registry):
    @command(key="fetch[us]", timeout=None, max_concurrent=3, registry=registry)
    def other():
        return 1

    with pytest.raises(ConfigError, match="already has"):
        @command(key="fetch", timeout=None, max_concurrent=4, failover=REGIONS, registry=registry)
        def fetch(*, region="eu"):
            return region

    assert [handle.key for handle in registry] == ["fetch[us]"]


def test_the_function_itself_is_left_as_it_was(registry):
    def fetch(*, region="nowhere"):
        return region

    fetch.note = "kept"
    guarded = command(failover=REGIONS, registry=registry)(fetch)

    assert (fetch(), guarded(), guarded.note, guarded.__wrapped__) == ("nowhere", "eu", "kept", fetch)


def test_a_dropped_function_takes_its_exceptions_along(registry):
    class Marker(Exception):
        pass

    @command(key="fetch", timeout=None, failover=REGIONS, registry=registry)
    def fetch(*, region="eu"):
        raise Marker(region)

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Marker) as caught:
            fetch()
        gone = weakref.ref(caught.value)
        caught.value.__context__ = None
        del caught
        assert gone() is None, "no cycle keeps an exception alive"
    finally:
        gc.enable()


def test_a_registry_that_is_put_back_has_the_targets_of_functions_that_came_meanwhile(registry):
    with restored(registry):
        fn = command(key="imported", timeout=None, failover=REGIONS, registry=registry)(plain)
    assert [handle.key for handle in registry] == ["imported[eu]", "imported[us]"]
    registry.remove("imported[eu]")
    assert fn() == "eu"
    assert fn.resilience["eu"].snapshot().counts["success"] == 1


def test_a_child_process_begins_with_targets_that_are_available(clock, registry):
    from resilience.commands.command import internals_of
    from resilience.policies.failover import FAILOVER

    @command(key="fetch", timeout=None, breaker=None, failover=REGIONS, registry=registry)
    def fetch(*, region="eu"):
        if region == "eu":
            raise ConnectionError
        return region

    fetch()
    internals = internals_of(fetch.resilience["eu"])
    rest = internals.runtime.of(FAILOVER).rest
    assert rest.state is RestState.RESTING
    internals.renew()
    assert rest.state is RestState.AVAILABLE


@command(key="pickled", timeout=None, failover=REGIONS)
def module_level(*, region="eu"):
    return region


def test_it_pickles_as_other_guarded_functions_do():
    copy = pickle.loads(pickle.dumps(module_level))

    assert copy() == "eu"


def test_calls_from_many_threads_at_once_give_everything_back():
    clock = ManualClock()
    registry = Registry(clock=clock)
    flip = threading.Event()

    @command(key="fetch", timeout=None, max_concurrent=4, failover=Failover(("a", "b", "c"), grace=1.0),
             breaker=CircuitBreaker(min_calls=3, open_for=1.0), registry=registry)
    def fetch(n, *, target="a"):
        if (n % 3 == 0) is flip.is_set() and target == "a":
            raise ConnectionError
        return target

    def work():
        for n in range(400):
            if n % 50 == 0:
                flip.clear() if flip.is_set() else flip.set()
                clock.advance(1.0)
            try:
                fetch(n)
            except Exception:  # noqa: BLE001, S110 - what it is does not matter here
                pass

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [handle.in_flight for handle in fetch.resilience] == [0, 0, 0]
    clock.advance(100.0)
    flip.set()
    assert fetch(1) == "a"
    assert fetch(1) == "a"


def test_functions_that_nobody_has_any_more_go_though_their_targets_commands_stay(registry):
    gone = []
    for _ in range(3):
        def fetch(*, region="eu"):
            return region

        guarded = command(key="fetch", timeout=None, failover=REGIONS, retry=Retry(attempts=2), registry=registry)(fetch)
        assert guarded() == "eu"
        gone += [weakref.ref(fetch), weakref.ref(guarded)]
        del fetch, guarded
    gc.collect()

    assert [each() for each in gone] == [None] * 6
    assert [handle.key for handle in registry] == ["fetch[eu]", "fetch[us]", "fetch"]
