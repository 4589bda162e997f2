"""Retries inside each other do not multiply, and a busy target has a base, a cap and a price of its own."""

import asyncio
import gc
import threading
import types

import pytest

from resilience import (
    CallRetried,
    ConfigError,
    Registry,
    Retry,
    RetryBudget,
    command,
    explain,
    http_status,
    retried_by,
    retry,
)
from resilience.core.retry import total_limit
from resilience.testing import ManualClock
from tests.interrupts import interrupted


def layers(registry, flavour, attempts, **inner):
    """A function that fails, in three commands around each other, and the list of its calls."""
    calls = []
    settings = {"registry": registry, "timeout": None, "isolation": "thread" if flavour == "thread" else "semaphore"}

    def fails():
        calls.append(retried_by())
        raise OSError("down")

    if flavour == "async":
        async def call():
            fails()

        settings["isolation"] = "auto"
    else:
        call = fails
    for key, n in zip(("inner", "middle", "outer"), attempts, strict=True):
        policy = Retry(attempts=n, base=0, budget=None, **(inner if key == "inner" else {}))
        below = call
        if flavour == "async":
            async def step(below=below):
                await below()
        else:
            def step(below=below):
                below()
        call = command(key=key, retry=policy, **settings)(step)
    return call, calls


def run(call):
    result = call()
    return asyncio.run(result) if isinstance(result, types.CoroutineType) else result


@pytest.mark.parametrize("flavour", ["sync", "thread", "async"])
def test_three_layers_make_as_many_requests_as_the_outermost_says(registry, flavour):
    call, calls = layers(registry, flavour, (4, 3, 2))
    with pytest.raises(OSError, match="down") as caught:
        run(call)
    assert ["outer", "outer"] == calls
    assert "inner: left to the retry of outer, which decides whether to repeat this call" in caught.value.__notes__
    for key, left in (("inner", 2), ("middle", 2), ("outer", 0)):
        assert left == registry[key].snapshot().counts["retry_left_to_caller"]
    assert retried_by() is None


@pytest.mark.parametrize("flavour", ["sync", "thread", "async"])
def test_an_inner_retry_repeats_all_the_same_if_it_is_told_to(registry, flavour):
    call, calls = layers(registry, flavour, (4, 3, 2), nested="retry")
    with pytest.raises(OSError, match="down"):
        run(call)
    assert 8 == len(calls)


def test_a_retry_on_its_own_repeats_as_ever_after_one_around_it_has_ended(registry):
    calls = []

    @retry(attempts=3, base=0, budget=None, registry=registry, key="inner")
    def inner():
        calls.append(None)
        raise OSError

    outer = retry(attempts=2, base=0, budget=None, registry=registry, key="outer")(lambda: inner())
    for wanted in (2, 3):
        calls.clear()
        with pytest.raises(OSError):  # noqa: PT011 - which one does not matter
            (outer if wanted == 2 else inner)()
        assert wanted == len(calls)


async def test_a_task_that_outlives_the_call_that_began_it_repeats_for_itself(registry):
    calls, tasks, go = [], [], asyncio.Event()

    @retry(attempts=3, base=0, budget=None, registry=registry, key="inner")
    async def inner():
        calls.append(retried_by())
        raise OSError

    async def later():
        await go.wait()
        await inner()

    @retry(attempts=2, base=0, budget=None, registry=registry, key="outer")
    async def outer():
        tasks.append(asyncio.ensure_future(later()))

    await outer()
    go.set()
    with pytest.raises(OSError):  # noqa: PT011
        await tasks[0]
    assert ["inner"] * 3 == calls


def test_one_of_two_threads_does_not_see_the_retry_of_the_other(registry):
    inside, go, seen = threading.Event(), threading.Event(), []

    @retry(attempts=2, registry=registry, key="outer")
    def outer():
        inside.set()
        assert go.wait(10)

    thread = threading.Thread(target=outer)
    thread.start()
    assert inside.wait(10)
    seen.append(retried_by())
    go.set()
    thread.join()
    assert [None] == seen


def test_an_interrupt_anywhere_leaves_no_mark_of_a_call_that_has_ended():
    registry = Registry(clock=ManualClock())

    @retry(attempts=2, base=0, budget=None, registry=registry, key="outer")
    def outer():
        return 1

    for _ in interrupted(outer):
        assert retried_by() is None


def test_a_generator_that_is_dropped_in_mid_call_leaves_no_mark(registry):
    @retry(attempts=2, base=0, registry=registry, key="outer")
    async def outer():
        await asyncio.Event().wait()

    call = outer()
    loop = asyncio.new_event_loop()
    task = loop.create_task(call)
    loop.call_soon(loop.stop)
    loop.run_forever()
    task.cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    del task, call
    gc.collect()
    assert retried_by() is None


def test_a_retry_in_a_thread_that_a_call_started_leaves_the_rest_to_the_one_further_out(registry):
    calls = []

    @retry(attempts=3, base=0, budget=None, registry=registry, key="inner")
    def inner():
        calls.append(retried_by())
        raise OSError("down")

    @command(key="async", registry=registry, timeout=None, retry=Retry(attempts=2, base=0, budget=None))
    async def in_a_thread():
        await asyncio.to_thread(inner)

    isolated = command(key="isolated", registry=registry, timeout=None, isolation="thread",
                       retry=Retry(attempts=2, base=0, budget=None))(lambda: inner())
    for outer, key in ((in_a_thread, "async"), (isolated, "isolated")):
        calls.clear()
        with pytest.raises(OSError, match="down"):
            run(outer)
        assert [key] * 2 == calls


@pytest.mark.parametrize("is_async", [False, True])
def test_a_retry_in_a_stream_leaves_the_rest_to_the_streams_own_until_its_consumer_has_an_item(registry, is_async):
    calls = []

    @retry(attempts=3, base=0, budget=None, registry=registry, key="inner")
    def inner():
        calls.append(retried_by())
        raise OSError("down")

    def stream(before):
        yield from range(before)
        inner()

    async def async_stream(before):
        for item in range(before):
            yield item
        inner()

    settings = {"registry": registry, "retry": Retry(attempts=2, base=0, budget=None), "timeout": None, "key": "outer"}
    guarded = command(**settings)(async_stream if is_async else stream)

    async def read(before):
        return [item async for item in guarded(before)]

    for before, wanted in ((0, ["outer"] * 2), (1, ["inner"] * 3)):
        calls.clear()
        with pytest.raises(OSError, match="down"):
            asyncio.run(read(before)) if is_async else list(guarded(before))
        assert wanted == calls
        assert retried_by() is None


def test_a_busy_target_has_a_base_a_cap_and_a_price_of_its_own(registry):
    delays = []
    registry.subscribe(CallRetried, lambda event: delays.append((event.event, event.delay)))

    class Answer:
        headers = {}

        def __init__(self, status_code):
            self.status_code = status_code

    plan = iter([503, 429, 429, 200])
    policy = Retry(attempts=4, base=0.1, busy_base=1.0, busy_max_delay=3.0, jitter="none",
                   budget=RetryBudget(ratio=0.0, per_second=1.0, window=10.0), price=2.0, busy_price=4.0)
    call = command(key="k", registry=registry, timeout=None, failures=http_status(), retry=policy)(
        lambda: Answer(next(plan)))
    assert 200 == call().status_code
    assert [("failure", 0.1), ("busy", 2.0), ("busy", 3.0)] == delays  # the budget's ten are used up: 2 + 4 + 4
    plan = iter([503])
    assert 503 == call().status_code
    assert 3 == len(delays)


def test_a_total_bound_follows_from_the_settings_and_the_note_says_so(registry, clock):
    policy = Retry(attempts=3, base=1.0, max_delay=2.0, jitter="none")
    assert 2 * 2.0 + 3 * 10.0 == total_limit(policy, None)
    assert 2 * 20.0 + 3 * 20.0 == total_limit(Retry(max_delay=20.0), None)
    assert 4.0 + 3 * 0.5 == total_limit(policy, 0.5)
    assert 7.0 == total_limit(Retry(time_limit=7.0), 0.5)

    @command(key="k", registry=registry, timeout=None, retry=policy)
    def call():
        clock.advance(33.5)
        raise OSError

    with pytest.raises(OSError) as caught:  # noqa: PT011
        call()
    assert ["k: the time_limit that the other settings give (34 s) leaves no time for another attempt",
            "k: attempt 1 of at most 3, 33.5 s after the first began"] == caught.value.__notes__
    assert "3 attempts, the last of which begins within 34 s" in str(explain(call))


def test_what_the_new_settings_of_a_retry_may_be():
    for settings in ({"nested": "twice"}, {"price": -1}, {"busy_base": -1}, {"busy_max_delay": 0}):
        with pytest.raises(ConfigError):
            Retry(**settings)
