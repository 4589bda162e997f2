"""Hedged streams: attempts race for the first item beside a plain model; the winner goes on, the losers are closed."""

import asyncio
import contextvars
import gc
import random
import threading

import anyio
import pytest

from resilience import (
    Bulkhead,
    CallTimeoutError,
    Chaos,
    CircuitBreaker,
    Failover,
    FailureRules,
    Hedge,
    Pipeline,
    Registry,
    Retry,
    StreamTimeout,
    command,
)
from resilience.testing import assert_counts, assert_idle, virtual_time
from tests.drivers.until import until
from tests.engine.test_hedge import FREE, Failed, model, on_loop
from tests.interrupts import interrupted
from tests.seeds import over_seeds

ITEMS = 4


def after(delay=1.0, **settings):
    return Hedge(idempotent=True, delay=delay, budget=None, **settings)


class Script:
    """An async generator function: its n-th run has its first item after script[n][0] s, or fails then."""

    def __init__(self, script):
        self.script, self.began, self.closed, self.tasks = script, [], [], []

    async def __call__(self):
        n = len(self.began)
        self.began.append(n)
        tasks = {asyncio.current_task()}
        self.tasks.append(tasks)
        try:
            await asyncio.sleep(self.script[n][0])
            if not self.script[n][1]:
                raise Failed(n)
            for i in range(ITEMS):
                yield n, i
                tasks.add(asyncio.current_task())
                await asyncio.sleep(0.01)
        finally:
            tasks.add(asyncio.current_task())
            try:
                await asyncio.sleep(0)
            finally:
                self.closed.append(n)


def guarded_by(fn, *policies, **options):
    async def rows():
        source = fn()
        try:
            async for item in source:
                yield item
        finally:
            await source.aclose()

    return Pipeline(*policies, key="k", **options)(rows)


@over_seeds(300)
def test_a_stream_begins_as_a_plain_model_of_calls_says_and_the_winner_goes_on_alone(seed):
    rng = random.Random(seed)
    attempts, delay = rng.randrange(2, 6), rng.uniform(0.1, 1.0)
    script = [(rng.uniform(0.05, 4.0), rng.random() < 0.6) for _ in range(attempts)]
    places, leaves = rng.choice([1, 2, 10]), rng.choice([1, 2, 99])

    async def main():
        registry, fn = on_loop(), Script(script)
        guarded = guarded_by(fn, CircuitBreaker(), Bulkhead(places), Hedge(
            idempotent=True, delay=delay, attempts=attempts, budget=FREE), registry=registry)
        start, seen, when, who = registry.clock(), [], None, None
        stream = guarded()
        try:
            async for item in stream:
                if not seen:
                    when, who = registry.clock() - start, item[0]
                    assert sorted(fn.closed) == [n for n in fn.began if n != who]  # the losers, and all of them
                    assert 1 == guarded.resilience.in_flight
                seen.append(item)
                if len(seen) == leaves:
                    break
            await stream.aclose()
        except Failed as error:
            when, who = registry.clock() - start, error.args
        assert seen == [(who, i) for i in range(min(leaves, ITEMS) if seen else 0)]
        assert sorted(fn.closed) == fn.began
        assert {1} == {len(tasks) for tasks in fn.tasks}  # one task runs all steps of a stream
        assert (0, 0) == (guarded.resilience.in_flight, asyncio.current_task().cancelling())
        assert len(fn.began) - 1 == guarded.resilience.snapshot().counts["hedge"]
        return who, pytest.approx(when), len(fn.began)

    assert model(script, delay, attempts, 1e9, places) == virtual_time(main())


def won_by_the_second(**settings):
    """A registry on the loop's clock, and a stream whose second attempt wins, after 1.5 s."""
    fn = Script([(30.0, True), (0.5, True)])
    return command(key="k", registry=on_loop(), **{"timeout": None, "hedge": after(), **settings})(_as_function(fn)), fn


def _as_function(fn):
    async def rows():
        source = fn()
        try:
            async for item in source:
                yield item
        finally:
            await source.aclose()

    return rows


@pytest.mark.parametrize("first", [0.5, 30.0])
def test_values_and_exceptions_reach_whichever_attempt_has_won(first):
    async def main():
        runs, tasks = [], []

        @command(key="k", registry=on_loop(), timeout=None, max_concurrent=2, hedge=after())
        async def rows():
            runs.append(1)
            n = len(runs)
            await asyncio.sleep(first if n == 1 else 1.0)
            sent = yield n
            tasks.append(asyncio.current_task())
            try:
                sent = yield sent
            except KeyError as error:
                sent = yield error
            tasks.append(asyncio.current_task())
            raise Failed(sent)

        stream, error = rows(), KeyError()
        assert (1 if first < 1.0 else 2) == await anext(stream)
        assert "sent" == await stream.asend("sent")
        assert error is await stream.athrow(error)
        with pytest.raises(Failed, match="last"):
            await stream.asend("last")
        assert tasks[0] is tasks[1]
        assert (tasks[0] is asyncio.current_task()) is (first < 1.0)
        assert_counts(rows, failure=1, emit=3, hedge=int(first > 1.0))
        assert_idle(rows)

    virtual_time(main())


def test_what_is_thrown_into_a_further_attempt_and_comes_out_again_is_the_consumers_fault():
    async def main():
        guarded, fn = won_by_the_second(max_concurrent=2)
        stream = guarded()
        assert (1, 0) == await anext(stream)
        with pytest.raises(KeyError):
            await stream.athrow(KeyError())
        assert [0, 1] == sorted(fn.closed)
        assert_counts(guarded, bad_request=1, failure=0)
        assert_idle(guarded)

    virtual_time(main())


def test_a_stream_without_items_wins_too():
    async def main():
        runs = []

        @command(key="k", registry=on_loop(), timeout=None, max_concurrent=2, hedge=after())
        async def rows():
            runs.append(1)
            if len(runs) == 1:
                await asyncio.sleep(30.0)
                yield 1

        assert [] == [item async for item in rows()]
        assert_counts(rows, success=1, hedge=1)
        assert_idle(rows)

    virtual_time(main())


def test_scopes_and_timeouts_may_span_the_items_of_a_further_attempt():
    async def main():
        runs = []

        @command(key="k", registry=on_loop(), timeout=None, max_concurrent=2, hedge=after())
        async def rows():
            runs.append(1)
            with anyio.CancelScope() as scope:
                async with asyncio.timeout(100.0):
                    await asyncio.sleep(30.0 if len(runs) == 1 else 0.5)
                    yield 1
                    yield 2
                    scope.cancel()
                    await asyncio.sleep(9.0)
            assert scope.cancelled_caught
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    yield 3
                    await asyncio.sleep(9.0)

        assert [1, 2, 3] == [item async for item in rows()]
        assert_counts(rows, success=1)

    virtual_time(main())


def test_a_further_attempt_has_a_copy_of_the_consumers_context():
    variable = contextvars.ContextVar("variable", default="unset")

    async def main():
        runs, seen = [], []

        @command(key="k", registry=on_loop(), timeout=None, hedge=after())
        async def rows():
            runs.append(1)
            mine = f"set by {len(runs)}"
            seen.append(variable.get())
            variable.set(mine)
            await asyncio.sleep(30.0 if len(runs) == 1 else 0.5)
            yield 1
            assert mine == variable.get()
            yield 2

        variable.set("consumer's")
        assert [1, 2] == [item async for item in rows()]
        assert ["consumer's", "consumer's"] == seen

    virtual_time(main())


@pytest.mark.parametrize("swallows", [False, True])
def test_a_consumer_that_is_cancelled_cancels_the_step_of_a_further_attempt(swallows):
    async def main():
        runs, closed = [], []

        @command(key="k", registry=on_loop(), timeout=None, max_concurrent=2, hedge=after())
        async def rows():
            runs.append(1)
            try:
                await asyncio.sleep(30.0 if len(runs) == 1 else 0.5)
                yield 1
                try:
                    await asyncio.sleep(30.0)
                except asyncio.CancelledError:
                    if not swallows:
                        raise
                yield 2
                assert 0 == asyncio.current_task().cancelling()
            finally:
                await asyncio.sleep(1.0)
                closed.append(rows.resilience.in_flight)

        async def consumer():
            return [item async for item in rows()]

        task = asyncio.create_task(consumer())
        await asyncio.sleep(6.0)
        task.cancel()
        if swallows:
            assert [1, 2] == await task
        else:
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (2, 0) == (len(closed), min(closed) - 1)
        assert_idle(rows)

    virtual_time(main())


@pytest.mark.parametrize("turns", range(40))
def test_cancelling_the_consumer_at_any_turn_leaves_nothing_behind(turns):
    async def main():
        guarded, fn = won_by_the_second(max_concurrent=2, stream_timeout=StreamTimeout(total=50.0), timeout=None)

        async def consumer():
            async for _ in guarded():
                pass

        task = asyncio.create_task(consumer())
        if turns % 2:
            await asyncio.sleep(1.5)
        for _ in range(turns // 2):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert fn.began == sorted(fn.closed)
        assert {1} >= {len(tasks) for tasks in fn.tasks}
        assert_idle(guarded)
        assert 1 == len(asyncio.all_tasks())

    virtual_time(main())


def test_the_clocks_of_a_stream_end_a_further_attempt():
    async def main():
        for settings in ({"timeout": 2.0}, {"stream_timeout": StreamTimeout(first_item=2.0, between_items=2.0)}):
            runs, closed = [], []

            @command(key="k", registry=on_loop(), max_concurrent=2, hedge=after(), **settings)
            async def rows(runs=runs, closed=closed):
                runs.append(1)
                try:
                    await asyncio.sleep(30.0 if len(runs) == 1 else 0.5)
                    yield 1
                    await asyncio.sleep(30.0)
                finally:
                    closed.append(1)

            stream = rows()
            assert 1 == await anext(stream)
            with pytest.raises(CallTimeoutError):
                await anext(stream)
            assert [1, 1] == closed
            assert_counts(rows, timeout=1, hedge=1)
            assert_idle(rows)

    virtual_time(main())


def test_the_first_item_of_both_attempts_may_be_late():
    async def main():
        guarded, fn = won_by_the_second(stream_timeout=StreamTimeout(first_item=1.2), max_concurrent=2)
        with pytest.raises(CallTimeoutError):
            await anext(guarded())
        assert [0, 1] == sorted(fn.closed)
        assert_idle(guarded)

    virtual_time(main())


def test_a_retry_starts_a_hedged_stream_over_until_it_has_held_enough_back():
    async def main():
        fn = Script([(30.0, True), (0.5, False), (30.0, True), (0.5, True), (0.1, True)])
        fn.script[0] = (2.0, False)
        guarded = command(key="k", registry=on_loop(), timeout=None, max_concurrent=2, hedge=after(),
                          retry=Retry(base=0.0, jitter="none", budget=None, hold=3))(_as_function(fn))
        assert [(3, i) for i in range(ITEMS)] == [item async for item in guarded()]
        assert_counts(guarded, success=1, failure=1, retry=1, hedge=2)
        assert_idle(guarded)

    virtual_time(main())


def test_a_failed_item_of_a_further_attempt_fails_the_stream():
    async def main():
        guarded, _ = won_by_the_second(failures=FailureRules(items=lambda item: item[1] == 2))
        assert ITEMS == len([item async for item in guarded()])
        assert_counts(guarded, failure=1, success=0, hedge=1)

    virtual_time(main())


def test_each_attempt_of_a_stream_meets_chaos():
    async def main():
        registry = on_loop()
        fn = Script([(0.0, True), (0.0, True)])
        guarded = command(key="k", registry=registry, timeout=None, hedge=after(), max_concurrent=2,
                          chaos=Chaos(latency_rate=1.0, latency=3.0))(_as_function(fn))
        registry.start_chaos(60)
        assert ITEMS == len([item async for item in guarded()])
        assert_counts(guarded, success=1, hedge=1, chaos=2)
        assert_idle(guarded)

    virtual_time(main())


def test_the_second_attempt_of_a_hedged_stream_goes_to_another_target():
    async def main():
        asked = []

        @command(key="rows", registry=on_loop(), timeout=60.0, hedge=after(),
                 failover=Failover(("eu", "us"), argument="region"))
        async def rows(*, region="eu"):
            asked.append(region)
            await asyncio.sleep(30.0 if region == "eu" else 0.5)
            yield region
            yield region

        assert ["us", "us"] == [item async for item in rows()]
        assert ["eu", "us"] == asked
        assert [0, 0, 0] == [each.in_flight for each in rows.resilience]

    virtual_time(main())


def test_a_dropped_stream_closes_a_further_attempt():
    async def main():
        guarded, fn = won_by_the_second(max_concurrent=2)
        stream = guarded()
        assert (1, 0) == await anext(stream)
        del stream
        gc.collect()
        await asyncio.sleep(0.1)
        assert [0, 1] == fn.closed
        assert_idle(guarded)
        assert 1 == len(asyncio.all_tasks())

    virtual_time(main())


def test_an_error_of_a_hedged_stream_is_kept_alive_by_nobody():
    async def main():
        fn = Script([(2.0, False), (2.0, False)])
        guarded = command(registry=on_loop(), timeout=None, hedge=after())(_as_function(fn))
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(Failed):
                await anext(guarded())
            return sum(type(each) is Failed for each in gc.get_objects())
        finally:
            gc.enable()

    assert virtual_time(main()) <= 1  # pytest.raises has one


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("first", [3.0, 30.0])
def test_an_interrupt_anywhere_loses_no_slot_of_a_stream(first):
    runs = []

    async def rows():
        runs.append(1)
        await asyncio.sleep(first if len(runs) == 1 else 0.5 if first > 3.0 else 30.0)
        yield 1
        yield 2

    guarded = Pipeline(CircuitBreaker(), Bulkhead(2), after(), registry=Registry(), key="k")(rows)

    async def consume():
        runs.clear()
        assert [1, 2] == [item async for item in guarded()]

    points = 0
    for points in interrupted(lambda: virtual_time(consume()), every=5):  # noqa: B007 - counted
        gc.collect()
        assert 0 == guarded.resilience.in_flight
        guarded.resilience.reset()
    assert points > 100


# -- generators


class Gates:
    """A generator function whose n-th run waits for gate n before its first item, then yields, or raises."""

    def __init__(self, *fails):
        self.gates = [threading.Event() for _ in range(4)]
        self.fails, self.began, self.closed, self.threads = fails, [], [], {}
        self.lock = threading.Lock()

    def __call__(self):
        with self.lock:
            n = len(self.began)
            self.began.append(n)
        self.threads[n] = {threading.get_ident()}
        try:
            self.gates[n].wait(30)
            if n in self.fails:
                raise Failed(n)
            for i in range(ITEMS):
                yield n, i
                self.threads[n].add(threading.get_ident())
        finally:
            self.threads[n].add(threading.get_ident())
            self.closed.append(n)


@pytest.fixture
def gates():
    made = Gates()
    yield made
    for gate in made.gates:
        gate.set()


def hedged(gates, *, places=2, delay=0.002, **settings):
    def rows():
        return (yield from gates())

    return command(key="k", registry=Registry(), timeout=None, max_concurrent=places, breaker=None,
                   hedge=after(delay, **settings.pop("hedge", {})), **settings)(rows)


@pytest.mark.parametrize("winner", [0, 1])
def test_of_two_generators_the_first_to_have_an_item_goes_on_and_the_other_holds_its_slot(gates, winner):
    guarded = hedged(gates)
    opener = threading.Thread(target=lambda: (until(lambda: len(gates.began) == 2), gates.gates[winner].set()))
    opener.start()
    stream = guarded()
    assert (winner, 0) == next(stream)
    assert 2 == guarded.resilience.in_flight
    assert [(winner, i) for i in range(1, ITEMS)] == list(stream)
    assert 1 == guarded.resilience.in_flight  # the loser's, whose thread nobody can end
    assert [winner] == gates.closed
    gates.gates[1 - winner].set()
    until(lambda: guarded.resilience.in_flight == 0)
    assert [winner, 1 - winner] == gates.closed
    assert {1} == {len(each) for each in gates.threads.values()}
    assert not {threading.get_ident()} & gates.threads[winner]
    assert_counts(guarded, success=1, hedge=1, emit=ITEMS)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("fails", [(), (0,), (1,), (0, 1)])
def test_of_two_generators_in_either_order_the_first_success_answers(gates, order, fails):
    gates.fails = fails
    guarded = hedged(gates)

    def open_all():
        until(lambda: len(gates.began) == 2)
        for n in order:
            gates.gates[n].set()
            if n in fails:
                until(lambda n=n: n in gates.closed)

    opener = threading.Thread(target=open_all)
    opener.start()
    best = [n for n in order if n not in fails]
    if best:
        seen = list(guarded())
        assert seen in [[(n, i) for i in range(ITEMS)] for n in best]
    else:
        with pytest.raises(Failed) as caught:
            list(guarded())
        assert (0,) == caught.value.args
    opener.join()
    until(lambda: guarded.resilience.in_flight == 0)
    assert [0, 1] == sorted(gates.closed)
    assert_counts(guarded, success=int(bool(best)), failure=int(not best), hedge=1)


def test_a_fast_generator_is_not_hedged_and_keeps_what_it_can_do(registry):
    @command(key="k", registry=registry, timeout=None, max_concurrent=1, hedge=after(60.0))
    def rows():
        sent = yield 1
        try:
            yield sent
        except KeyError as error:
            yield error
        return "result"

    stream, error = rows(), KeyError()
    assert (1, "sent", error) == (next(stream), stream.send("sent"), stream.throw(error))
    with pytest.raises(StopIteration) as end:
        next(stream)
    assert "result" == end.value.value
    assert_counts(rows, success=1, hedge=0, emit=3)
    assert_idle(rows)


def test_closing_a_hedged_generator_closes_it_in_its_thread_before_the_slot_is_free(registry):
    seen = []

    @command(key="k", registry=registry, timeout=None, max_concurrent=1, hedge=after(60.0))
    def rows():
        mine = threading.get_ident()
        try:
            yield 1
        finally:
            seen.append((mine == threading.get_ident(), rows.resilience.in_flight))

    stream = rows()
    next(stream)
    stream.close()
    stream = rows()
    next(stream)
    del stream
    gc.collect()
    assert [(True, 1)] * 2 == seen
    assert_counts(rows, cancelled=2)
    assert_idle(rows)


def test_what_a_hedged_generator_raises_when_it_is_closed_reaches_its_consumer(registry):
    @command(key="k", registry=registry, timeout=None, max_concurrent=1, hedge=after(60.0))
    def rows():
        try:
            yield 1
        finally:
            raise Failed

    stream = rows()
    next(stream)
    with pytest.raises(Failed):
        stream.close()
    assert_idle(rows)


def test_without_a_slot_a_generator_goes_on_alone_and_pays_nothing(gates):
    guarded = hedged(gates, places=1, delay=0.0001)
    opener = threading.Timer(0.01, gates.gates[0].set)
    opener.start()
    assert [(0, i) for i in range(ITEMS)] == list(guarded())
    assert_counts(guarded, success=1, hedge=0)
    assert_idle(guarded)


def test_the_second_attempt_of_a_hedged_generator_goes_to_another_target(registry):
    asked, gate = [], threading.Event()

    @command(key="rows", registry=registry, timeout=None, hedge=after(0.002),
             failover=Failover(("eu", "us"), argument="region"))
    def rows(*, region="eu"):
        asked.append(region)
        if region == "eu":
            gate.wait(30)
        yield region
        yield region

    assert ["us", "us"] == list(rows())
    assert ["eu", "us"] == asked
    gate.set()
    until(lambda: [0, 0, 0] == [each.in_flight for each in rows.resilience])


def test_arguments_that_do_not_fit_a_hedged_stream_are_the_callers_mistake(registry):
    @command(key="k", registry=registry, timeout=None, hedge=after(60.0))
    def rows(x):
        yield x

    @command(key="l", registry=registry, timeout=None, hedge=after(60.0))
    async def async_rows(x):
        yield x

    async def main():
        with pytest.raises(TypeError):
            await anext(async_rows())

    with pytest.raises(TypeError):
        next(rows())
    virtual_time(main())
    for each in (rows, async_rows):
        assert_counts(each, bad_request=1, failure=0)
        assert_idle(each)


def test_a_retry_starts_a_hedged_generator_over(registry):
    runs = []

    @command(key="k", registry=registry, timeout=None, max_concurrent=1, hedge=after(60.0),
             retry=Retry(base=0.0, hold=2, budget=None))
    def rows():
        runs.append(1)
        yield 1
        if len(runs) < 3:
            raise Failed
        yield 2
        return "result"

    assert [1, 2] == list(rows())
    assert_counts(rows, success=1, failure=2, retry=2)
    assert_idle(rows)


def test_a_hedged_generators_context_is_a_copy_of_its_consumers(registry):
    variable = contextvars.ContextVar("variable", default="unset")

    @command(key="k", registry=registry, timeout=None, hedge=after(60.0))
    def rows():
        yield variable.get()
        variable.set("generator's")
        yield variable.get()

    variable.set("consumer's")
    assert ["consumer's", "generator's"] == list(rows())
    assert "consumer's" == variable.get()


@pytest.mark.parametrize("first", [0.0, 0.02])
def test_an_interrupt_anywhere_loses_no_slot_of_a_hedged_generator(first):
    runs, closed = [], []

    def rows():
        runs.append(1)
        n = len(runs)
        try:
            if n == 1 and first:
                threading.Event().wait(first)
            yield 1
            yield 2
        finally:
            closed.append(1)

    guarded = Pipeline(CircuitBreaker(), Bulkhead(2), after(0.001 if first else 60.0), registry=Registry(), key="k")(rows)
    points = 0

    def consume():
        runs.clear()
        closed.clear()
        assert [1, 2] == list(guarded())

    for points in interrupted(consume, every=2):  # noqa: B007 - counted
        until(lambda: guarded.resilience.in_flight == 0 and len(closed) == len(runs))
        guarded.resilience.reset()
    assert points > 50


def test_generators_that_hedge_all_the_time_lose_no_slot():
    rng = random.Random(3)
    waits = [rng.random() * 0.002 for _ in range(997)]
    lock, count = threading.Lock(), [0]

    def rows():
        with lock:
            count[0] += 1
            n = count[0]
        threading.Event().wait(waits[n % 997])
        if n % 7 == 0:
            raise Failed
        yield n
        yield n

    guarded = command(registry=Registry(), key="k", timeout=None, breaker=None, max_concurrent=6,
                      hedge=Hedge(idempotent=True, delay=0.0005, attempts=3, budget=None))(rows)
    ended = []

    def consumer():
        for i in range(100):
            try:
                stream = guarded()
                first = next(stream)
                if i % 3 == 0:
                    stream.close()
                else:
                    assert [first] == list(stream)
                ended.append(first)
            except Exception as error:  # noqa: BLE001 - counted
                ended.append(error)

    threads = [threading.Thread(target=consumer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert 400 == len(ended)
    until(lambda: guarded.resilience.in_flight == 0)
    counts = guarded.resilience.snapshot().counts
    assert sum(isinstance(each, int) for each in ended) == counts["success"] + counts["cancelled"]
    assert counts["hedge"] > 0


def test_an_error_of_a_hedged_generator_is_kept_alive_by_nobody(registry):
    @command(key="k", registry=registry, timeout=None, hedge=after(60.0))
    def rows():
        yield 1
        raise Failed

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Failed):
            list(rows())
        until(lambda: 2 > sum(type(each) is Failed for each in gc.get_objects()))  # pytest.raises has one
    finally:
        gc.enable()
