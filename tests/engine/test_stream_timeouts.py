"""Streams: their clocks against a plain oracle, and permits that come back in every way that a stream can end."""

import asyncio
import contextvars
import gc
import pickle
import random
from math import inf

import anyio
import pytest

from resilience import (
    CallTimeoutError,
    CircuitBreaker,
    ConfigError,
    DeadlineExceededError,
    FailureRules,
    Registry,
    StreamTimeout,
    StreamTimeoutError,
    command,
    configure,
    deadline,
    stream_timeout,
)
from resilience.drivers.stream_timeouts import _waits
from resilience.testing import ManualClock, VirtualTimeLoop, assert_counts, assert_idle, virtual_time
from tests.seeds import over_seeds


def counts(f):
    return {name: n for name, n in f.resilience.snapshot().counts.items() if n}


# -- the clocks, against an oracle


def expiry(policy, arrivals):
    """When a clock runs out, in own time, if nothing comes after *arrivals*, pairs of time and progress; and which."""
    moves = [(at, amount) for at, amount in arrivals if amount > 0]
    found = []
    if moves:
        found.append((moves[-1][0] + (policy.between_items or inf), 1, "between_items"))
    else:
        found.append((policy.first_item or policy.between_items or inf, 0, "first_item"))
    found.append((policy.total or inf, 2, "total"))
    if policy.min_rate and moves:
        begin = moves[0][0]
        while True:
            end = begin + policy.window
            if sum(amount for at, amount in moves if begin <= at < end) < policy.min_rate * policy.window:
                break
            begin = end
        found.append((end, 3, "min_rate"))
    at, _, clock = min(found)
    return at, clock


def any_policy(rng, *, fields=("first_item", "between_items", "total", "min_rate")):
    said = {name: rng.uniform(0.5, 6.0) for name in fields if rng.random() < 0.5} or {"total": 4.0}
    return StreamTimeout(**said, window=rng.uniform(0.5, 3.0),
                         progress=rng.choice([None, None, lambda item: item % 3, lambda item: item % 4 != 0]))


def weight(policy, item):
    return 1 if policy.progress is None else float(policy.progress(item))


def any_history(rng):
    """(pause, item, the consumer's pause) and how the stream ends."""
    steps = [(rng.choice([0.0, rng.uniform(0.0, 1.5), rng.uniform(0.0, 0.2)]), rng.randrange(12),
              rng.choice([0.0, 0.0, rng.uniform(0.0, 20.0)])) for _ in range(rng.randrange(12))]
    return steps, rng.choice(["end", "end", "error", "hang"]), rng.uniform(0.0, 2.0)


def oracle(policy, history, *, leaves, cancelled_at, deadline_s):
    """What the consumer sees: the items, how it ends, and when."""
    steps, ending, last_pause = history
    own, wall, arrivals = 0.0, 0.0, []
    for pause, item, takes in [*steps, (1e6 if ending == "hang" else last_pause, None, 0.0)]:
        if wall >= deadline_s:
            return len(arrivals), "deadline", wall
        at, clock = expiry(policy, arrivals)
        events = [(wall + pause, "came"), (wall + at - own, clock), (cancelled_at, "cancelled"), (deadline_s, "deadline")]
        when, what = min(event for event in events if event[0] >= wall or event[1] == "came")
        if what != "came":
            return len(arrivals), what, when
        if item is None:
            return len(arrivals), "error" if ending == "error" else "end", when
        own, wall = own + pause, when
        arrivals.append((own, weight(policy, item)))
        if len(arrivals) == leaves:
            return len(arrivals), "left", wall
        if wall <= cancelled_at < wall + takes:
            return len(arrivals), "cancelled", cancelled_at
        wall += takes
    raise AssertionError


async def consumed(guarded, seen, takes, leaves):
    agen = guarded()
    try:
        async for item in agen:
            seen.append(item)
            if len(seen) == leaves:
                return "left"
            if takes[len(seen) - 1]:
                await asyncio.sleep(takes[len(seen) - 1])
    except StreamTimeoutError as error:
        assert len(seen) == error.items
        return error.clock
    except DeadlineExceededError as error:
        assert len(seen) == error.items
        return "deadline"
    except OSError:
        return "error"
    finally:
        await agen.aclose()
    return "end"


async def run_history(policy, history, leaves, cancelled_at, deadline_s):
    steps, ending, last_pause = history
    loop = asyncio.get_running_loop()
    registry, closed = Registry(clock=loop.time), []

    @command(key="k", registry=registry, stream_timeout=policy, max_concurrent=1)
    async def rows():
        try:
            for pause, item, _ in steps:
                if pause:
                    await asyncio.sleep(pause)
                yield item
            await asyncio.sleep(1e6 if ending == "hang" else last_pause)
            if ending == "error":
                raise OSError
        finally:
            closed.append(rows.resilience.snapshot().in_flight)

    seen, began = [], loop.time()

    async def bounded():
        with deadline(None if deadline_s == inf else deadline_s, clock=loop.time):
            return await consumed(rows, seen, [takes for _, _, takes in steps], leaves)

    task = asyncio.create_task(bounded())
    if cancelled_at < inf:
        loop.call_at(began + cancelled_at, task.cancel)
    try:
        how = await task
    except asyncio.CancelledError:
        how = "cancelled"
    ended = loop.time() - began
    assert [1] == closed, "the function's generator is closed once, while its slot is still held"
    assert_idle(rows)
    assert 0 == task.cancelling() or how == "cancelled"
    return len(seen), how, ended, counts(rows)


COUNTED = {"end": "success", "error": "failure", "left": "cancelled", "cancelled": "cancelled"}


@over_seeds(400)
def test_any_history_of_a_stream_ends_when_and_as_an_oracle_says(seed):
    rng = random.Random(seed)
    policy, history = any_policy(rng), any_history(rng)
    leaves = rng.choice([0, 0, 0, rng.randrange(1, 12)])
    cancelled_at = rng.choice([inf, inf, inf, rng.uniform(0.0, 8.0)])
    deadline_s = rng.choice([inf, inf, inf, rng.uniform(0.1, 12.0)])
    expected = oracle(policy, history, leaves=leaves, cancelled_at=cancelled_at, deadline_s=deadline_s)
    items, how, ended, counted = virtual_time(run_history(policy, history, leaves, cancelled_at, deadline_s))
    assert expected[:2] == (items, how)
    assert ended == pytest.approx(expected[2], abs=1e-6)
    assert 1 == counted[COUNTED.get(how, "timeout")]


@over_seeds(300)
def test_a_generator_is_ended_by_its_clocks_when_an_item_comes(seed):
    rng = random.Random(seed)
    policy, (steps, ending, last_pause) = any_policy(rng, fields=("total", "min_rate")), any_history(rng)
    clock, closed = ManualClock(), []

    @command(key="k", registry=Registry(clock=clock), stream_timeout=policy, max_concurrent=1)
    def rows():
        try:
            for pause, item, _ in steps:
                clock.advance(pause)
                yield item
            clock.advance(last_pause)
            if ending == "error":
                raise OSError
        finally:
            closed.append(rows.resilience.snapshot().in_flight)

    own, arrivals, expected = 0.0, [], "error" if ending == "error" else "end"
    for pause, item, _ in steps:
        own += pause
        at, name = expiry(policy, arrivals)
        if own >= at:
            expected = name
            break
        arrivals.append((own, weight(policy, item)))
    seen, how = [], "end"
    try:
        for item in rows():
            clock.advance(steps[len(seen)][2])
            seen.append(item)
    except StreamTimeoutError as error:
        assert len(seen) == error.items
        how = error.clock
    except OSError:
        how = "error"
    assert (len(arrivals), expected) == (len(seen), how)
    assert [1] == closed
    assert_idle(rows)


# -- each clock by itself


def drip(registry, pauses, **settings):
    @command(key="k", registry=registry, **settings)
    async def rows():
        for i, pause in enumerate(pauses):
            await asyncio.sleep(pause)
            yield i

    return rows


async def error_of(agen):
    with pytest.raises(CallTimeoutError) as caught:
        async for _ in agen:
            pass
    return caught.value


@pytest.mark.parametrize(("policy", "pauses", "message"), [
    (StreamTimeout(first_item=2.0, between_items=0.5), [0.1, 9.0], "k: no item for 0.5 s after 1 item"),
    (StreamTimeout(first_item=2.0, between_items=0.5), [9.0], "k: no item within 2 s"),
    (StreamTimeout(between_items=0.5), [9.0], "k: no item within 0.5 s"),
    (StreamTimeout(total=1.0), [0.3] * 9, "k: the stream did not end within 1 s (3 items had come)"),
    (StreamTimeout(min_rate=5.0, window=2.0), [0.3] * 99, "k: too little came in 2 s (7 items had come)"),
    (StreamTimeout(first_item=1.0, progress=lambda item: False), [0.3] * 9,
     "k: no progress within 1 s (3 items had come)"),
])
def test_the_error_says_which_clock_ran_out_and_how_many_items_had_come(registry, policy, pauses, message):
    rows = drip(registry, pauses, stream_timeout=policy)
    error = virtual_time(error_of(rows()))
    again = pickle.loads(pickle.dumps(error))
    assert (message, message) == (str(error), str(again))
    assert (error.clock, error.items) == (again.clock, again.items)


def test_the_error_of_a_deadline_says_how_many_items_had_come(registry):
    rows = drip(registry, [0.3] * 9, timeout=5.0)

    async def main():
        with deadline(1.0, clock=asyncio.get_running_loop().time):
            return str(await error_of(rows()))

    assert "k: the caller's deadline passed after 1 s (3 items had come); this wait had the last 0.1 s" == \
        virtual_time(main())


def test_a_stream_that_never_waits_is_ended_at_the_next_item(registry):
    @command(key="k", registry=registry, stream_timeout=StreamTimeout(total=1.0))
    async def rows():
        for i in range(9):
            asyncio.get_running_loop()._now += 0.3  # it blocks the loop
            yield i

    error = virtual_time(error_of(rows()))
    assert ("total", 4) == (error.clock, error.items)
    assert_idle(rows)


def test_a_stream_times_out_though_its_loops_clock_was_set_back(registry):
    @command(key="k", registry=registry, stream_timeout=StreamTimeout(between_items=1.0))
    async def rows():
        for item in range(5):
            yield item
        await asyncio.sleep(100.0)

    class SettableLoop(VirtualTimeLoop):
        def set(self, now):
            self._now = now

    async def main():
        stream = rows()
        loop.set(1e6)
        assert [0, 1, 2] == [await anext(stream) for _ in range(3)]
        loop.set(0.0)
        with pytest.raises(StreamTimeoutError):
            async for _ in stream:
                pass
        assert pytest.approx(1.0) == loop.time()

    loop = SettableLoop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_streams_that_end_in_time_leave_one_timer_and_nothing_else_behind(registry):
    @command(key="k", registry=registry, stream_timeout=StreamTimeout(between_items=30.0))
    async def rows():
        yield 1

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(2000):
            assert [1] == [item async for item in rows()]
        gc.collect()
        assert len(loop._scheduled) <= 2
        assert len(_waits[loop][30.0].watches) <= 1
        await asyncio.sleep(31.0)
        assert [] == list(_waits[loop]), "with its last timer a FIFO goes"

    virtual_time(main())


@over_seeds(30)
def test_streams_side_by_side_time_out_each_in_its_own_time_whatever_the_loops_clock_does(seed):
    rng, registry, wrong = random.Random(seed), Registry(), []

    @command(key="k", registry=registry, stream_timeout=StreamTimeout(between_items=5.0), max_concurrent=None,
             breaker=None)
    async def rows(pauses):
        for pause in pauses:
            await asyncio.sleep(pause)
            yield pause

    class SettableLoop(VirtualTimeLoop):
        def set_back(self, seconds):
            self._now -= seconds

    async def consume():
        pauses = [rng.choice([0.0, 1.0, 3.0, 4.9, 5.5, 9.0]) for _ in range(rng.randrange(1, 5))]
        waits = []
        try:
            stream = rows(pauses)
            while True:
                waits.append(loop.time())
                await anext(stream)
                if rng.random() < 0.3:
                    await asyncio.sleep(rng.choice([0.5, 7.0]))
        except StopAsyncIteration:
            if max(pauses) > 5.0:
                wrong.append(pauses)
        except StreamTimeoutError as error:
            late = loop.time() - waits[-1]
            if max(pauses[:error.items + 1]) != pauses[error.items] or abs(late - 5.0) > 1e-6:
                wrong.append((pauses, error.items, late))

    async def main():
        for _ in range(4):
            streams = []
            for _ in range(rng.randrange(1, 30)):
                streams.append(asyncio.create_task(consume()))
                await asyncio.sleep(rng.choice([0.0, 0.2, 2.0]))
            await asyncio.gather(*streams)
            if rng.random() < 0.5:
                loop.set_back(rng.choice([1.0, 3.0, 1e6]))

    loop = SettableLoop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert [] == wrong


def test_the_consumer_may_take_a_year(registry):
    rows = drip(registry, [0.3] * 3, stream_timeout=StreamTimeout(between_items=0.5, total=1.0, min_rate=2.0, window=0.7))

    async def main():
        async for _ in rows():
            await asyncio.sleep(3e7)

    virtual_time(main())
    assert_counts(rows, success=1, timeout=0)


# -- tasks and contexts


def test_a_context_variable_that_a_stream_sets_is_there_at_its_next_item(registry):
    seen = contextvars.ContextVar("seen", default=None)

    @command(key="k", registry=registry, stream_timeout=StreamTimeout(between_items=1.0, total=9.0))
    async def rows():
        seen.set("first")
        yield 1
        await asyncio.sleep(0.5)
        yield seen.get()

    async def main():
        return [item async for item in rows()]

    assert [1, "first"] == virtual_time(main())


def test_a_cancel_scope_of_anyio_within_a_stream_ends_its_own_wait_only(registry):
    @command(key="k", registry=registry, stream_timeout=StreamTimeout(between_items=1.0))
    async def rows():
        with anyio.move_on_after(0.5) as scope:
            await anyio.sleep(50.0)
        yield scope.cancelled_caught
        with anyio.move_on_after(50.0):
            await anyio.sleep(5.0)
        yield "too late"

    async def main():
        seen = []
        with pytest.raises(StreamTimeoutError):
            async for item in rows():
                seen.append(item)
        assert ([True], 0) == (seen, asyncio.current_task().cancelling())

    virtual_time(main())


def test_each_item_may_be_asked_for_from_another_task(registry):
    rows = drip(registry, [0.4, 0.4, 9.0], stream_timeout=StreamTimeout(between_items=0.5))

    async def main():
        agen, seen = rows(), []
        bystander = asyncio.create_task(asyncio.sleep(100.0))
        for _ in range(2):
            seen.append(await asyncio.create_task(anext(agen)))
        with pytest.raises(StreamTimeoutError):
            await asyncio.create_task(anext(agen))
        await bystander
        assert ([0, 1], 0) == (seen, asyncio.current_task().cancelling())

    virtual_time(main())
    assert_idle(rows)


# -- every way to end


async def async_rows(events):
    try:
        yield 1
        await asyncio.sleep(0)
        yield 2
        raise OSError
    finally:
        await asyncio.sleep(0)
        events.append("closed")


def sync_rows(events):
    try:
        yield 1
        yield 2
        raise OSError
    finally:
        events.append("closed")


def wrong(item):
    raise ZeroDivisionError


ENDINGS = ["closed", "dropped", "thrown into", "failed", "progress raises", "items raises", "judged failed"]


def settings_of(ending):
    policy = StreamTimeout(total=50.0, progress=wrong if ending == "progress raises" else None)
    items = {"items raises": wrong, "judged failed": lambda item: item == 2}.get(ending)
    rules = None if items is None else FailureRules(items=items, raise_failures=True)
    return {"stream_timeout": policy, "failures": rules, "max_concurrent": 1}


@pytest.mark.parametrize("ending", ENDINGS)
def test_however_a_generator_ends_its_function_is_closed_before_its_slot_is_free(registry, ending):
    events = []
    guarded = command(key="k", registry=registry, **settings_of(ending))(sync_rows)
    slots = guarded.resilience.snapshot

    class Events(list):
        def append(self, what):
            super().append((what, slots().in_flight))

    events = Events()
    stream = guarded(events)
    if ending.endswith("raises"):
        with pytest.raises(ZeroDivisionError):
            next(stream)
    else:
        next(stream)
    if ending == "closed":
        stream.close()
    elif ending == "thrown into":
        with pytest.raises(KeyError):
            stream.throw(KeyError())
    elif ending in ("failed", "judged failed"):
        with pytest.raises(Exception):  # noqa: B017, PT011 - which one does not matter here
            list(stream)
    del stream
    gc.collect()
    assert [("closed", 1)] == events
    assert_idle(guarded)


@pytest.mark.parametrize("ending", [*ENDINGS, "cancelled"])
def test_however_an_async_generator_ends_its_function_is_closed_before_its_slot_is_free(registry, ending):
    guarded = command(key="k", registry=registry, **settings_of(ending))(async_rows)
    snapshot = guarded.resilience.snapshot

    class Events(list):
        def append(self, what):
            super().append((what, snapshot().in_flight))

    events = Events()

    async def main():
        stream = guarded(events)
        if ending.endswith("raises"):
            with pytest.raises(ZeroDivisionError):
                await anext(stream)
        else:
            await anext(stream)
        if ending == "closed":
            await stream.aclose()
        elif ending == "thrown into":
            with pytest.raises(KeyError):
                await stream.athrow(KeyError())
        elif ending in ("failed", "judged failed"):
            with pytest.raises(Exception):  # noqa: B017, PT011 - which one does not matter here
                [item async for item in stream]
        elif ending == "cancelled":
            task = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        del stream
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)

    virtual_time(main())
    assert [("closed", 1)] == events
    assert_idle(guarded)


# -- where it is said


def test_it_is_for_generators_and_takes_the_place_of_the_timeout(registry):
    with pytest.raises(ConfigError, match="is for generators"):
        command(registry=registry, stream_timeout=StreamTimeout(total=1.0))(len)
    with pytest.raises(ConfigError, match="use between_items in the place of timeout"):
        command(registry=registry, timeout=1.0, stream_timeout=StreamTimeout(total=1.0))(async_rows)
    with pytest.raises(ConfigError, match="first_item and between_items: the wait for an item of a generator"):
        stream_timeout(first_item=1.0, between_items=1.0, registry=registry)(sync_rows)
    with pytest.raises(ConfigError, match="needs first_item"):
        StreamTimeout()


def test_it_changes_live_and_in_a_file_for_streams_that_begin_then(registry):
    rows = drip(registry, [0.4, 9.0], stream_timeout=StreamTimeout(total=50.0))
    rows.resilience.configure(stream_timeout=StreamTimeout(between_items=0.5))
    assert "between_items" == virtual_time(error_of(rows())).clock
    rows.resilience.configure(stream_timeout=None)

    async def main():
        return [item async for item in rows()]

    assert [0, 1] == virtual_time(main())
    with pytest.raises(ConfigError):
        rows.resilience.configure(timeout=1.0)
    tables = {"commands": {"k": {"stream_timeout": {"total": 1.0, "progress": "builtins:str"}}}}
    configure(tables, registry=registry, environ={})
    assert "total" == virtual_time(error_of(rows())).clock


def test_a_circuit_counts_a_stream_that_ran_out_of_time_as_a_failure(registry):
    rows = drip(registry, [9.0], stream_timeout=StreamTimeout(first_item=1.0), breaker=CircuitBreaker(min_calls=1))
    virtual_time(error_of(rows()))
    assert "open" == rows.resilience.state
    assert_counts(rows, timeout=1)


def test_clocks_that_a_generator_cannot_keep_are_refused_live_too(registry):
    rows = command(key="k", registry=registry, stream_timeout=StreamTimeout(total=1.0))(sync_rows)
    with pytest.raises(ConfigError, match="cannot be in force for a generator"):
        rows.resilience.configure(stream_timeout=StreamTimeout(between_items=1.0))
