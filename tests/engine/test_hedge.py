"""Hedged calls: races of tasks and of worker threads beside a plain model; nothing is ever left behind."""

import asyncio
import contextvars
import gc
import random
import threading

import pytest

from resilience import (
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    Chaos,
    CircuitBreaker,
    ConfigError,
    Hedge,
    Pipeline,
    Registry,
    Retry,
    RetryBudget,
    Timeout,
    command,
    configure,
)
from resilience.core.outcome import Event
from resilience.events import CallHedged
from resilience.testing import assert_counts, virtual_time
from tests.drivers.until import until
from tests.interrupts import interrupted
from tests.seeds import over_seeds

FREE = RetryBudget(ratio=1.0, per_second=1000.0)


class Failed(Exception):
    pass


def on_loop():
    return Registry(clock=asyncio.get_running_loop().time)


def scripted(script, began=None, ended=None):
    """A coroutine function whose n-th run takes script[n][0] seconds and then returns n, or raises Failed(n)."""
    began, ended = [] if began is None else began, [] if ended is None else ended

    async def fn():
        n = len(began)
        began.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(script[n][0])
        finally:
            ended.append(n)
        if not script[n][1]:
            raise Failed(n)
        return n

    return fn


# -- one call beside a plain model


def model(script, delay, attempts, timeout, places):
    """(what comes out, when, how many attempts began): by looking at each moment at which something happens."""
    started, over = {0: 0.0}, {}
    failed, next_at = set(), delay
    while True:
        ends = {n: started[n] + script[n][0] for n in started if n not in over}
        moment, n = min([(end, n) for n, end in ends.items()] + [(timeout, "timeout")]
                        + ([(next_at, "next")] if next_at is not None else []), key=lambda each: each[0])
        if n == "timeout":
            return "timeout", moment, len(started)
        if n == "next":
            next_at = None
            if len(ends) < places and not failed:
                started[len(started)] = moment
                next_at = moment + delay if len(started) < attempts else None
        elif script[n][1]:
            return n, moment, len(started)
        else:
            over[n] = True
            failed.add(n)
            if len(over) == len(started):
                return Failed(0).args, moment, len(started)


@over_seeds(300)
def test_a_call_ends_as_a_plain_model_says(seed):
    rng = random.Random(seed)
    attempts, delay = rng.randrange(2, 6), rng.uniform(0.1, 1.0)
    script = [(rng.uniform(0.05, 4.0), rng.random() < 0.6) for _ in range(attempts)]
    timeout, places = rng.choice([1.5, 100.0]) + rng.random(), rng.choice([1, 2, 10])

    async def main():
        registry, began, ended = on_loop(), [], []
        policies = (CircuitBreaker(), Bulkhead(places), Timeout(timeout),
                    Hedge(idempotent=True, delay=delay, attempts=attempts, budget=FREE))
        guarded = Pipeline(*policies, registry=registry, key="k")(scripted(script, began, ended))
        start = registry.clock()
        try:
            result = await guarded()
        except Failed as error:
            result = error.args
        except CallTimeoutError:
            result = "timeout"
        assert 0 == guarded.resilience.in_flight
        assert len(began) == len(ended)  # when the call returns nothing of it is under way
        assert 0 == asyncio.current_task().cancelling()
        counts = guarded.resilience.snapshot().counts
        assert (len(began) - 1, 1) == (counts["hedge"], counts["success"] + counts["failure"] + counts["timeout"])
        return result, pytest.approx(registry.clock() - start), len(began)

    assert model(script, delay, attempts, timeout, places) == virtual_time(main())


@over_seeds(40)
def test_any_history_of_calls_and_cancellations_leaves_nothing_behind(seed):
    rng = random.Random(seed)

    async def main():
        registry, running = on_loop(), set()

        async def fn(n):
            token = object()
            running.add(token)
            try:
                for _ in range(rng.randrange(3)):
                    try:
                        await asyncio.sleep(rng.expovariate(2.0))
                    except asyncio.CancelledError:
                        if rng.random() < 0.8:
                            raise
                        await asyncio.sleep(rng.random())  # does not like to be cancelled
                if rng.random() < 0.3:
                    raise Failed
                return n
            finally:
                running.discard(token)

        guarded = Pipeline(CircuitBreaker(min_calls=20), Bulkhead(6), Timeout(3.0),
                           Hedge(idempotent=True, delay=0.3, attempts=3, budget=FREE), registry=registry, key="k")(fn)

        async def caller(n):
            assert n == await guarded(n)

        calls = []
        for n in range(150):
            calls.append(asyncio.create_task(caller(n)))
            await asyncio.sleep(rng.expovariate(10.0))
            if rng.random() < 0.2:
                rng.choice(calls).cancel()
            assert guarded.resilience.in_flight <= 6
        await asyncio.wait(calls)
        for call in calls:
            assert call.cancelled() or call.exception() is None or not isinstance(call.exception(), AssertionError)
        assert (set(), 0) == (running, guarded.resilience.in_flight)
        assert {asyncio.current_task()} == asyncio.all_tasks()
        return guarded.resilience.snapshot().counts["hedge"]

    assert virtual_time(main()) > 5


# -- what a further attempt needs


def hedged_call(main_script, **more):
    """(result or error, counts) of one call through a registry of its own."""
    async def main():
        registry = on_loop()
        settings = {"hedge": Hedge(idempotent=True, delay=1.0, budget=FREE), "timeout": 60.0, **more}
        guarded = command(registry=registry, key="k", **settings)(scripted(main_script))
        try:
            return await guarded(), guarded.resilience.snapshot().counts
        except Exception as error:  # noqa: BLE001
            return type(error), guarded.resilience.snapshot().counts

    return virtual_time(main())


def test_without_a_slot_the_call_goes_on_alone():
    result, counts = hedged_call([(5.0, True), (0.1, True)], max_concurrent=1)
    assert (0, 0, 0) == (result, counts["hedge"], counts["semaphore_rejected"])
    assert 1 == hedged_call([(5.0, True), (0.1, True)], max_concurrent=2)[0]


def test_without_a_budget_too():
    none_left = Hedge(idempotent=True, delay=1.0, budget=RetryBudget(ratio=0.0, per_second=0.0))
    assert 0 == hedged_call([(5.0, True), (0.1, True)], hedge=none_left)[0]
    unlimited = Hedge(idempotent=True, delay=1.0, budget=None)
    assert 1 == hedged_call([(5.0, True), (0.1, True)], hedge=unlimited)[0]


def test_a_refused_slot_gives_the_budget_back():
    async def main():
        registry = on_loop()
        one = Hedge(idempotent=True, delay=1.0, budget=RetryBudget(ratio=0.0, per_second=0.1))  # one in ten seconds
        guarded = command(registry=registry, key="k", hedge=one, timeout=60.0, max_concurrent=1)(
            scripted([(2.0, True), (2.0, True), (0.1, True)]))
        assert 0 == await guarded()
        guarded.resilience.configure(max_concurrent=2)
        return await guarded()

    assert 2 == virtual_time(main())


@pytest.mark.parametrize("state", ["open", "forced_open"])
def test_with_a_circuit_that_is_not_closed_too(state):
    async def main():
        registry = on_loop()
        guarded = command(registry=registry, key="k", hedge=Hedge(idempotent=True, delay=1.0, budget=None), timeout=60.0,
                          breaker=CircuitBreaker(min_calls=1, open_for=100.0))(scripted([(5.0, True), (0.1, False), (0, True)]))
        call = asyncio.create_task(guarded())
        await asyncio.sleep(0.5)
        if state == "open":
            with pytest.raises(Failed):
                await guarded()
        else:
            guarded.resilience.force_open()
        assert state == guarded.resilience.state
        return await call, guarded.resilience.snapshot().counts["hedge"]

    assert (0, 0) == virtual_time(main())


def test_calls_and_hedges_share_the_budget_with_the_groups_retries():
    """A tenth of 1,000 slow calls, whichever of hedges and retries they go to."""
    async def main():
        registry = on_loop()
        budget = RetryBudget(ratio=0.1, per_second=0.0, window=3600.0)

        async def slow():
            await asyncio.sleep(0.2)

        async def failing():
            raise Failed

        hedged = command(registry=registry, key="a", group="g", hedge=Hedge(idempotent=True, delay=0.1, budget=budget))(slow)
        retried = command(registry=registry, key="b", group="g", breaker=None, retry=Retry(base=0.0, budget=budget))(failing)
        both = command(registry=registry, key="c", group="g", retry=Retry(base=0.0, budget=budget),
                       hedge=Hedge(idempotent=True, delay=0.1, budget=budget))(slow)
        for _ in range(500):
            await hedged()
            with pytest.raises(Failed):
                await retried()
        for _ in range(200):  # a call with both is one call
            await both()
        counts = [each.resilience.snapshot() for each in (hedged, retried, both)]
        totals = [each.resilience._runtime.recorder.totals()[0] for each in (hedged, retried, both)]
        return sum(total[Event.HEDGE] + total[Event.RETRY] for total in totals), counts

    assert 119 <= virtual_time(main())[0] <= 120


# -- how the others see it


def test_the_winners_latency_and_outcome_are_the_calls():
    async def main():
        registry, seen = on_loop(), []
        registry.subscribe(CallHedged, seen.append)
        guarded = command(registry=registry, key="k", group="g", timeout=60.0,
                          hedge=Hedge(idempotent=True, delay=1.0, budget=FREE))(scripted([(50.0, True), (0.5, True)]))
        start = registry.clock()
        assert 1 == await guarded()
        assert_counts(guarded, success=1, hedge=1)
        assert pytest.approx(1.5, rel=0.01) == guarded.resilience.snapshot().latency.p100
        assert [CallHedged("k", "g", 2, 1.0, start + 1.0)] == seen

    virtual_time(main())


def test_the_percentile_comes_from_the_commands_own_calls():
    async def main():
        registry, runs = on_loop(), []

        async def fn(seconds):
            runs.append(seconds)
            await asyncio.sleep(seconds)

        guarded = command(registry=registry, key="k", timeout=60.0,
                          hedge=Hedge(idempotent=True, percentile=90, min_calls=50, budget=FREE))(fn)
        for n in range(50):
            await guarded(0.1 if n % 20 else 0.4)
        assert 50 == len(runs)
        await guarded(0.4)
        assert 51 == len(runs)  # looked at, not long ago, when there was nothing
        await asyncio.sleep(1.0)
        start = registry.clock()
        task = asyncio.create_task(guarded(0.4))
        while len(runs) < 53:
            await asyncio.sleep(0.001)
        assert pytest.approx(0.1, rel=0.05) == registry.clock() - start
        await task

    virtual_time(main())


def test_each_attempt_meets_chaos():
    async def main():
        registry = on_loop()
        guarded = command(registry=registry, key="k", timeout=60.0, chaos=Chaos(latency_rate=1.0, latency=3.0),
                          hedge=Hedge(idempotent=True, delay=1.0, budget=FREE))(scripted([(0.0, True), (0.0, True)]))
        registry.start_chaos(60)
        await guarded()
        assert_counts(guarded, success=1, hedge=1, chaos=2)

    virtual_time(main())


def test_a_retry_makes_a_hedge_of_each_attempt():
    async def main():
        registry = on_loop()
        guarded = command(registry=registry, key="k", timeout=60.0, retry=Retry(base=0.0, jitter="none", budget=None),
                          hedge=Hedge(idempotent=True, delay=1.0, budget=None))(
            scripted([(2.0, False), (2.0, False), (2.0, True), (0.5, True)]))
        assert 3 == await guarded()
        assert_counts(guarded, success=1, failure=1, retry=1, hedge=2)

    virtual_time(main())


def test_the_first_attempt_runs_in_the_callers_task_and_the_others_in_copies_of_its_context():
    variable = contextvars.ContextVar("variable", default="unset")

    async def main():
        registry, seen = on_loop(), []

        async def fn():
            seen.append(variable.get())
            variable.set(f"set by {len(seen)}")
            await asyncio.sleep(5.0 if len(seen) == 1 else 0.1)

        variable.set("callers")
        await command(registry=registry, timeout=60.0, hedge=Hedge(idempotent=True, delay=1.0, budget=FREE))(fn)()
        assert ["callers", "callers"] == seen
        assert "set by 1" == variable.get()

    virtual_time(main())


def test_a_loser_that_refuses_to_be_cancelled_holds_up_the_answer_and_its_slot():
    async def main():
        registry, began = on_loop(), []

        async def fn():
            began.append(1)
            if len(began) == 1:
                await asyncio.sleep(2.0)
                return "first"
            try:
                await asyncio.sleep(3600.0)
            except asyncio.CancelledError:
                await asyncio.sleep(10.0)
                raise

        guarded = command(registry=registry, timeout=60.0, hedge=Hedge(idempotent=True, delay=1.0, budget=FREE))(fn)
        start = registry.clock()
        call = asyncio.create_task(guarded())
        await asyncio.sleep(11.0)
        assert 2 == guarded.resilience.in_flight
        assert "first" == await call
        assert (pytest.approx(12.0), 0) == (registry.clock() - start, guarded.resilience.in_flight)

    virtual_time(main())


def test_a_call_that_is_cancelled_while_it_waits_for_losers_is_cancelled():
    async def main():
        registry, began, stubborn = on_loop(), [], []

        async def fn():
            began.append(1)
            if len(began) == 1:
                await asyncio.sleep(2.0)
                return "first"
            try:
                await asyncio.sleep(3600.0)
            finally:
                await asyncio.sleep(10.0)
                stubborn.append("ended")

        guarded = command(registry=registry, timeout=None, hedge=Hedge(idempotent=True, delay=1.0, budget=FREE))(fn)
        call = asyncio.create_task(guarded())
        await asyncio.sleep(5.0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (["ended"], 0) == (stubborn, guarded.resilience.in_flight)

    virtual_time(main())


def test_a_users_own_timeout_around_it_stays_the_users():
    async def main():
        guarded = command(registry=on_loop(), timeout=60.0, hedge=Hedge(idempotent=True, delay=1.0, budget=FREE))(
            scripted([(5.0, True), (5.0, True)]))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.0):
                await guarded()
        assert (0, 0) == (guarded.resilience.in_flight, asyncio.current_task().cancelling())

    virtual_time(main())


def test_an_error_is_kept_alive_by_nobody():
    async def main():
        guarded = command(registry=on_loop(), timeout=None, hedge=Hedge(idempotent=True, delay=1.0, budget=FREE))(
            scripted([(2.0, False), (2.0, False)]))
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(Failed):
                await guarded()
            return sum(type(each) is Failed for each in gc.get_objects())
        finally:
            gc.enable()

    assert virtual_time(main()) <= 1  # pytest.raises has one


def test_a_closed_coroutine_cancels_the_others():
    async def main():
        registry, ended = on_loop(), []
        guarded = command(registry=registry, timeout=None, hedge=Hedge(idempotent=True, delay=0.1, budget=FREE))(
            scripted([(50.0, True), (50.0, True)], ended=ended))

        async def caller():
            coroutine = guarded()
            task = asyncio.current_task()
            step = coroutine.send(None)  # as a task does, by hand
            await asyncio.sleep(0.2)
            coroutine.close()
            step.cancel()
            assert task is not None

        await caller()
        await asyncio.sleep(0.1)
        assert ([0, 1], 0) == (sorted(ended), guarded.resilience.in_flight)

    virtual_time(main())


# -- worker threads


class Gates:
    """A plain function whose n-th run waits for gate n, then returns n or raises."""

    def __init__(self, *fails):
        self.gates = [threading.Event() for _ in range(4)]
        self.fails, self.threads, self.lock = fails, [], threading.Lock()

    @property
    def began(self):
        return len(self.threads)

    def __call__(self):
        with self.lock:
            n = self.began
            self.threads.append(threading.current_thread().name)
        self.gates[n].wait(30)
        if n in self.fails:
            raise Failed(n)
        return n

    def free(self):
        for gate in self.gates:
            gate.set()


def called(guarded):
    """(a list that gets the outcome, the thread)."""
    found = []

    def call():
        try:
            found.append(guarded())
        except Exception as error:  # noqa: BLE001
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return found, thread


def isolated(target, **more):
    settings = {"timeout": 30.0, "hedge": Hedge(idempotent=True, delay=0.001, budget=FREE), **more}
    return command(registry=Registry(), key="k", **settings)(target)


@pytest.fixture
def gates():
    made = []

    def make(*fails):
        made.append(Gates(*fails))
        return made[-1]

    yield make
    for each in made:
        each.free()


def test_of_two_threads_the_first_to_succeed_answers_and_the_other_holds_its_slot(gates):
    target = gates()
    guarded = isolated(target)
    found, thread = called(guarded)
    until(lambda: target.began == 2)
    target.gates[1].set()
    thread.join(30)
    assert ([1], 1, 1) == (found, guarded.resilience.in_flight, guarded.resilience.snapshot().abandoned)
    target.gates[0].set()  # an hour late
    until(lambda: (0, 0) == (guarded.resilience.in_flight, guarded.resilience.snapshot().abandoned))
    assert_counts(guarded, success=1, hedge=1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("fails", [(), (0,), (1,), (0, 1)])
def test_of_two_threads_in_either_order(gates, order, fails):
    target = gates(*fails)
    guarded = isolated(target)
    found, thread = called(guarded)
    until(lambda: target.began == 2)
    for n in order:
        target.gates[n].set()
        until(lambda: guarded.resilience.in_flight < 2)
    thread.join(30)
    good = [n for n in order if n not in fails]
    if good:
        assert good[:1] == found
    else:
        first = target.threads.index(min(target.threads))  # the later thread may be the faster one
        assert (Failed, (first,)) == (type(found[0]), found[0].args)
    until(lambda: (0, 0, 0) == (guarded.resilience.in_flight, guarded.resilience.snapshot().abandoned,
                                guarded.resilience.pool.admitted))


def test_one_timeout_covers_all_attempts(gates):
    target = gates()
    guarded = isolated(target, timeout=0.05)
    with pytest.raises(CallTimeoutError):
        guarded()
    until(lambda: guarded.resilience.snapshot().abandoned == target.began)
    target.free()
    until(lambda: (0, 0) == (guarded.resilience.in_flight, guarded.resilience.snapshot().abandoned))
    assert 1 == guarded.resilience.snapshot().counts["timeout"]


def test_without_a_place_the_call_goes_on_alone(gates):
    target = gates()
    guarded = isolated(target, max_concurrent=1)
    found, thread = called(guarded)
    until(lambda: target.began == 1)
    with pytest.raises(BulkheadFullError):
        guarded()
    target.free()
    thread.join(30)
    assert ([0], 0) == (found, guarded.resilience.snapshot().counts["hedge"])


def test_threads_that_hedge_all_the_time_lose_no_slot():
    rng = random.Random(3)
    waits = [rng.random() * 0.002 for _ in range(997)]
    lock, count = threading.Lock(), [0]

    def fn():
        with lock:
            count[0] += 1
            n = count[0]
        threading.Event().wait(waits[n % 997])
        if n % 7 == 0:
            raise Failed
        return n

    guarded = command(registry=Registry(), key="k", timeout=30.0, breaker=None, max_concurrent=6,
                      hedge=Hedge(idempotent=True, delay=0.0005, attempts=3, budget=None))(fn)
    outcomes = []

    def caller():
        for _ in range(150):
            try:
                outcomes.append(guarded())
            except (Failed, BulkheadFullError) as error:
                outcomes.append(error)

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert 600 == len(outcomes)
    until(lambda: (0, 0, 0) == (guarded.resilience.in_flight, guarded.resilience.snapshot().abandoned,
                                guarded.resilience.pool.admitted))
    counts = guarded.resilience.snapshot().counts
    answers = sum(isinstance(each, int) for each in outcomes)
    assert (answers, len({each for each in outcomes if isinstance(each, int)})) == (counts["success"], answers)
    assert counts["hedge"] > 0


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("winner", [0, 1])
def test_an_interrupt_anywhere_loses_no_slot_of_a_coroutines(winner):
    script = [(3.0, True), (0.5 if winner else 30.0, True)]
    registry, held = Registry(), []

    async def fn():
        held.append(None)
        await asyncio.sleep(script[(len(held) - 1) % 2][0])

    guarded = Pipeline(CircuitBreaker(), Bulkhead(2), Hedge(idempotent=True, delay=1.0, budget=None),
                       registry=registry, key="k")(fn)
    points = 0
    for points in interrupted(lambda: virtual_time(guarded())):  # noqa: B007 - counted
        held.clear()
        gc.collect()
        assert 0 == guarded.resilience.in_flight
        guarded.resilience.reset()
    assert points > 20


def test_an_interrupt_anywhere_loses_no_slot_of_the_threads():
    def fn():
        threading.Event().wait(0.003)

    guarded = isolated(fn)
    guarded()
    points = 0
    for points in interrupted(guarded):  # noqa: B007 - counted
        until(lambda: (0, 0, 0) == (guarded.resilience.in_flight, guarded.resilience.snapshot().abandoned,
                                    guarded.resilience.pool.admitted))
    assert points > 20


# -- where it may stand, and live


@pytest.mark.parametrize(("settings", "fn"), [
    ({"timeout": None}, lambda: 1), ({"isolation": "semaphore", "timeout": None}, lambda: 1)])
def test_a_plain_function_without_threads_is_refused(registry, settings, fn):
    with pytest.raises(ConfigError, match="isolation='thread'") as caught:
        command(registry=registry, hedge=Hedge(idempotent=True), **settings)(fn)
    assert "hedge" == caught.value.option
    assert 0 == len(registry)


@pytest.mark.parametrize("outer", [Timeout(1.0), Bulkhead(1), CircuitBreaker(), Retry()])
def test_nothing_but_chaos_may_stand_below_it(registry, outer):
    with pytest.raises(ConfigError, match=f"{type(outer).__name__} must stand above Hedge"):
        Pipeline(Hedge(idempotent=True), outer, registry=registry)


def test_it_is_configured_live_and_from_a_file():
    async def main():
        registry, began = on_loop(), []
        guarded = command(registry=registry, key="k", timeout=60.0,
                          hedge=Hedge(idempotent=True, delay=1.0, budget=None))(scripted([(0.5, True)] * 10, began))
        await guarded()
        assert 1 == len(began)
        guarded.resilience.configure(hedge=Hedge(idempotent=True, delay=0.2, budget=None))
        await guarded()
        assert 3 == len(began)
        with configured(registry, {"commands": {"k": {"hedge": {"delay": 0.1, "attempts": 4}}}}):
            await guarded()
            assert 7 == len(began)
        guarded.resilience.configure(hedge=None)
        await guarded()
        assert 8 == len(began)

    virtual_time(main())


class configured:  # noqa: N801 - reads as a statement
    def __init__(self, registry, tables):
        self.configuration = configure(tables, registry=registry, environ={})

    def __enter__(self):
        return self.configuration

    def __exit__(self, *_):
        self.configuration.close()


@pytest.mark.parametrize("policy", [
    {"rate_limit": {"calls": 5}}, {"chaos": {"error_rate": 0.5}}, {"retry": {"attempts": 5}}, {"throttle": {"k": 3.0}},
    {"adaptive_limit": {"initial": 5}}, {"hedge": {"delay": 0.1, "idempotent": True}}])
def test_a_file_may_put_any_policy_around_what_it_guards(registry, policy):
    [(name, settings)] = policy.items()
    target = {"key": "sleep", **policy}
    with configured(registry, {"guards": {"asyncio.tasks:sleep": target}}) as found:
        in_force = registry.get("sleep").settings
        assert settings == {key: getattr(getattr(in_force, name), key) for key in settings}
        assert name.replace("_", "") in str(found.explain("sleep")).lower().splitlines()[1]


@pytest.mark.parametrize(("policy", "word"), [
    ({"hedge": {"delay": 0.1}}, "idempotent"), ({"rate_limit": {"per": 1.0}}, "calls")])
def test_what_a_policy_needs_is_missed_by_name(registry, policy, word):
    with pytest.raises(ConfigError, match=word):
        configure({"guards": {"asyncio.tasks:sleep": policy}}, registry=registry, environ={})
    assert 0 == len(registry)
