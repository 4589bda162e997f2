"""Streams are tried again until their consumer has an item, and not after; what is held back may start over."""

import asyncio
import random

import pytest

from resilience import (
    CallTimeoutError,
    ConfigError,
    FailedResultError,
    FailureRules,
    RateLimit,
    Registry,
    Retry,
    StreamTimeout,
    command,
    explain,
)
from resilience.testing import ManualClock, assert_counts, assert_idle, virtual_time
from tests.interrupts import interrupted
from tests.seeds import over_seeds

BAD = "bad"


class Broken(Exception):
    pass


def attempt_of(rng):
    """What one run of the function yields, and whether it fails after that."""
    items = [rng.choice([1, 2, 3, 4, BAD]) if rng.random() < 0.3 else rng.randrange(9) for _ in range(rng.randrange(5))]
    return items, rng.random() < 0.6


def size_of(item):
    return 3 if item == BAD else item


def first(items, hold, hold_bytes):
    """How many of the first *items* the consumer gets at once; too many to count if there are not enough."""
    ends = [max(1, hold)] if hold or not hold_bytes else []
    size = 0
    for number, item in enumerate(items, 1):
        size += max(1, size_of(item))
        if hold_bytes and size >= hold_bytes:
            ends.append(number)
    return min(ends, default=999)


def oracle(attempts, most, hold, hold_bytes, judges):
    """The consumer's items, the end, and how many attempts there were."""
    for number, (items, fails) in enumerate(attempts, 1):
        enough = first(items, hold, hold_bytes)
        good = items.index(BAD) if judges and BAD in items else len(items)
        can_pass = min(good, enough)
        if can_pass >= enough or (good == len(items) and not fails):  # the consumer has an item, or the stream has ended
            return items, "failed" if fails else "end", number
        if number < most:
            continue
        if good < len(items):  # a failed item, with nothing before it that was passed on
            return [BAD], "end", number
        return [], "failed", number
    raise AssertionError


@over_seeds(400)
def test_any_stream_is_tried_again_until_its_consumer_has_an_item_as_an_oracle_says(seed):
    rng = random.Random(seed)
    most, hold, judges = rng.randrange(2, 5), rng.choice([0, 0, 1, 2, 4]), rng.random() < 0.5
    hold_bytes = rng.choice([0, 0, 1, 5, 12])
    attempts = [attempt_of(rng) for _ in range(most)]
    expected = oracle(attempts, most, hold, hold_bytes, judges)
    settings = {
        "retry": Retry(attempts=most, base=0.0, budget=None, hold=hold, hold_bytes=hold_bytes, hold_size=size_of if hold_bytes else None),
        "breaker": None, "max_concurrent": 1,
        "failures": FailureRules(items=lambda item: item == BAD) if judges else None,
        **({"stream_timeout": StreamTimeout(total=50.0, min_rate=0.001)} if rng.random() < 0.5 else {"timeout": None})}
    for run in (run_sync, run_async):
        assert expected == run(attempts, dict(settings)), run.__name__


def run_sync(attempts, settings):
    runs, closed = iter(attempts), []

    @command(key="k", registry=Registry(clock=ManualClock()), **settings)
    def rows():
        items, fails = next(runs)
        try:
            yield from items
            if fails:
                raise Broken
        finally:
            closed.append(rows.resilience.snapshot().in_flight)
        return "result"

    seen, how = [], "end"
    try:
        for item in rows():
            seen.append(item)
    except Broken:
        how = "failed"
    assert_idle(rows)
    assert {1} == set(closed)
    return seen, how, len(closed)


def run_async(attempts, settings):
    runs, closed, seen, how = iter(attempts), [], [], []

    async def main():
        @command(key="k", registry=Registry(clock=asyncio.get_running_loop().time), **settings)
        async def rows():
            items, fails = next(runs)
            try:
                for item in items:
                    await asyncio.sleep(0.1)
                    yield item
                if fails:
                    raise Broken
            finally:
                closed.append(rows.resilience.snapshot().in_flight)

        try:
            async for item in rows():
                seen.append(item)
        except Broken:
            how.append("failed")
        assert_idle(rows)

    virtual_time(main())
    assert {1} == set(closed)
    return seen, "".join(how) or "end", len(closed)


def flaky(registry, failures, **settings):
    """A stream whose first runs fail before their first item."""
    runs = []

    @command(key="k", registry=registry, timeout=None, **settings)
    def rows():
        runs.append(1)
        if len(runs) <= failures:
            raise Broken
        sent = yield 1
        yield sent
        return "result"

    return rows, runs


def test_the_earlier_attempts_are_counted_and_the_last_keeps_what_a_generator_can_do(registry):
    rows, runs = flaky(registry, 2, retry=Retry(base=0.0))
    stream = rows()
    assert (1, "sent") == (next(stream), stream.send("sent"))
    with pytest.raises(StopIteration) as end:
        next(stream)
    assert ("result", 3) == (end.value.value, len(runs))
    assert_counts(rows, failure=2, retry=2, success=1, emit=2)


def test_a_stream_that_failed_after_its_first_item_is_not_tried_again(registry):
    runs = []

    @command(key="k", registry=registry, timeout=None, retry=Retry(base=0.0))
    def rows():
        runs.append(1)
        yield 1
        raise Broken

    stream = rows()
    assert 1 == next(stream)
    with pytest.raises(Broken):
        next(stream)
    assert [1] == runs
    assert_counts(rows, failure=1, retry=0, emit=1)


def test_what_runs_out_of_time_before_the_first_item_is_tried_again(registry):
    runs = []

    @command(key="k", registry=registry, stream_timeout=StreamTimeout(first_item=1.0, between_items=0.5),
             retry=Retry(base=0.0))
    async def rows():
        runs.append(1)
        await asyncio.sleep(9.0 if len(runs) == 1 else 0.5)
        yield 1
        await asyncio.sleep(9.0)

    async def main():
        stream = rows()
        assert 1 == await anext(stream)
        with pytest.raises(CallTimeoutError):
            await anext(stream)

    virtual_time(main())
    assert [1, 1] == runs
    assert_counts(rows, timeout=2, retry=1)
    assert_idle(rows)


def test_the_clocks_of_a_stream_hear_of_each_item_that_is_held_back(registry):
    @command(key="k", registry=registry, stream_timeout=StreamTimeout(between_items=1.0), retry=Retry(hold=5))
    async def rows():
        for i in range(7):
            await asyncio.sleep(0.8)
            yield i

    async def main():
        began = asyncio.get_running_loop().time()
        arrived = [(item, asyncio.get_running_loop().time() - began) async for item in rows()]
        assert list(range(7)) == [item for item, _ in arrived]
        assert pytest.approx([4.0] * 5 + [4.8, 5.6]) == [when for _, when in arrived]

    virtual_time(main())


@pytest.mark.parametrize("turns", range(1, 8))
def test_a_consumer_that_is_cancelled_while_a_stream_is_tried_again_loses_no_slot(registry, turns):
    @command(key="k", registry=registry, timeout=30.0, max_concurrent=1, retry=Retry(attempts=9, base=0.0, hold=3))
    async def rows():
        await asyncio.sleep(0)
        yield 1
        await asyncio.sleep(0)
        raise Broken

    async def main():
        task = asyncio.create_task(anext(rows()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual_time(main())
    assert_idle(rows)


def test_values_and_exceptions_reach_a_stream_once_what_was_held_back_is_given_out(registry):
    @command(key="k", registry=registry, timeout=5.0, retry=Retry(hold=2))
    async def rows():
        yield 1
        yield 2
        sent = yield 3
        try:
            yield sent
        except KeyError:
            yield "caught"

    async def main():
        stream = rows()
        assert [1, 2, 3] == [await anext(stream) for _ in range(3)]
        assert "sent" == await stream.asend("sent")
        assert "caught" == await stream.athrow(KeyError())
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    virtual_time(main())
    assert_counts(rows, success=1, emit=5)


def test_with_raise_failures_the_last_attempts_failed_item_is_raised(registry):
    @command(key="k", registry=registry, timeout=None, retry=Retry(base=0.0),
             failures=FailureRules(items=lambda item: item == BAD, raise_failures=True))
    def rows():
        yield BAD

    with pytest.raises(FailedResultError):
        list(rows())
    assert_counts(rows, failure=3, retry=2, exceptions_thrown=1)


def test_a_fallback_answers_for_a_stream_when_no_attempt_had_an_item(registry):
    @command(key="k", registry=registry, timeout=None, retry=Retry(base=0.0, hold=3), fallback=lambda: ["instead"])
    def rows():
        yield 1
        yield 2
        raise Broken

    assert ["instead"] == list(rows())
    assert_counts(rows, failure=3, retry=2, fallback_success=1)


def stream_of(registry, is_async, items, **settings):
    """A function that yields *items*, and reads them all; how many had been made when the first came is noted."""
    made, at_first = [], []

    def rows():
        for item in items:
            made.append(item)
            yield item

    async def async_rows():
        for item in rows():
            yield item

    guarded = command(key="k", registry=registry, timeout=None, **settings)(async_rows if is_async else rows)

    def seen(found):
        if not found:
            at_first.append(len(made))
        return found

    async def read():
        found = []
        if is_async:
            async for item in guarded():
                seen(found).append(item)
        else:
            for item in guarded():
                seen(found).append(item)
        assert list(items) == found
        return at_first[0]

    return guarded, read


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("items", "retry", "held"), [
    (["ab"] * 9, Retry(hold_bytes=5), 3),
    (["\u00e9\ud800"] * 9, Retry(hold_bytes=11), 3),
    ([b"abc", bytearray(3), memoryview(bytes(4)).cast("I")] * 3, Retry(hold_bytes=10), 3),
    ([""] * 9, Retry(hold_bytes=4), 4),
    (["ab"] * 9, Retry(hold=2, hold_bytes=5), 2),
    (["ab"] * 9, Retry(hold=8, hold_bytes=5), 3),
    ([0.0, 2.5, -7.0, 9.0], Retry(hold_bytes=5, hold_size=lambda item: item), 3),
    (["ab"] * 3, Retry(hold_bytes=100), 3),
    (["a" * 1000, "b"], Retry(hold_bytes=1), 1)])
async def test_first_items_are_held_back_until_they_have_enough_bytes_or_are_enough(registry, items, retry, held, is_async):
    guarded, read = stream_of(registry, is_async, items, retry=retry)
    assert held == await read()
    assert_counts(guarded, success=1, emit=len(items))
    assert_idle(guarded)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("item", "size", "error"), [
    ({}, None, TypeError), ("ab", lambda item: None, TypeError), ("ab", lambda item: {}["no"], KeyError),
    ("ab", lambda item: float("nan"), TypeError)])
async def test_an_item_whose_size_nobody_knows_ends_the_stream_as_the_callers_mistake(registry, item, size, error, is_async):
    guarded, read = stream_of(registry, is_async, [item], retry=Retry(base=0.0, hold_bytes=5, hold_size=size),
                              max_concurrent=1)
    with pytest.raises(error):
        await read()
    assert_counts(guarded, bad_request=1, failure=0, retry=0)
    assert_idle(guarded)


@pytest.mark.parametrize(("settings", "attempt"), [
    ({"timeout": 2.0}, 2.0), ({"timeout": 2.0, "hold": 3}, 6.0), ({}, 10.0),
    ({"stream_timeout": StreamTimeout(first_item=30.0, between_items=2.0)}, 30.0),
    ({"stream_timeout": StreamTimeout(first_item=30.0, between_items=2.0), "hold": 3}, 34.0),
    ({"stream_timeout": StreamTimeout(between_items=2.0, total=5.0), "hold": 3}, 5.0),
    ({"stream_timeout": StreamTimeout(min_rate=1.0)}, 10.0)], ids=str)
def test_the_total_bound_of_a_retry_knows_how_long_the_first_items_may_take(registry, clock, settings, attempt):
    hold = settings.pop("hold", 0)
    retry = Retry(attempts=2, base=0, max_delay=1.0, hold=hold)
    limit = 2 * (attempt + 3.0) + 1.0
    takes = iter((limit + 0.1, limit - 0.1, 0.0))

    @command(key="k", registry=registry, retry=retry, rate_limit=RateLimit(1000, max_wait=3.0),
             **{"timeout": None, **settings} if "stream_timeout" not in settings else settings)
    async def rows():
        if (seconds := next(takes)):
            clock.advance(seconds)
            raise Broken
        yield 1

    async def read():
        return [item async for item in rows()]

    with pytest.raises(Broken):
        asyncio.run(read())
    assert [1] == asyncio.run(read())
    begins = limit if attempt == 10.0 else limit - attempt - 3.0  # that is after all attempts but one, where they have an end
    assert f"the last of which begins within {begins:.4g} s" in str(explain(rows))


def test_hold_is_for_streams_and_for_those_that_were_decorated_with_it(registry):
    for field in ("hold", "hold_bytes"):
        with pytest.raises(ConfigError, match=f"{field} is for generators"):
            command(registry=registry, retry=Retry(**{field: 1}))(len)
    rows, _ = flaky(registry, 0, retry=Retry())
    for field in ("hold", "hold_bytes"):
        with pytest.raises(ConfigError, match=f"decorated without {field},"):
            rows.resilience.configure(retry=Retry(**{field: 1}))


def drive(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_interrupt_anywhere_in_a_stream_that_is_tried_again_loses_no_slot(registry, is_async):
    retry, runs = Retry(attempts=2, base=0.0, hold=2, budget=None), []

    def items():
        runs.append(1)
        yield 1
        if len(runs) % 2:
            raise Broken
        yield 2
        yield 3

    async def async_items():
        for item in items():
            yield item

    async def drained(stream):
        return [item async for item in stream]

    if is_async:
        guarded = command(registry=registry, timeout=None, max_concurrent=1, breaker=None, retry=retry)(async_items)
    else:
        guarded = command(registry=registry, stream_timeout=StreamTimeout(total=50.0), max_concurrent=1, breaker=None,
                          retry=retry)(items)

    def work():
        try:
            drive(drained(guarded())) if is_async else list(guarded())
        except Broken:
            pass

    points = 0
    for points in interrupted(work):  # noqa: B007 - counted
        assert 0 == guarded.resilience.snapshot().in_flight
        guarded.resilience.reset()
        runs.clear()
    assert points > 20
