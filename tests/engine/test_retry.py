"""Retries against a plain loop, sync, on threads and async; what is counted, told and never tried again."""

import asyncio
import random
import types

import pytest

from resilience import (
    BadRequestError,
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    Fallback,
    Pipeline,
    Registry,
    Retry,
    RetryBudget,
    Timeout,
    command,
    retry,
)
from resilience.events import CallRetried
from resilience.testing import ManualClock, RecordedEvents, assert_counts

FLAVOURS = ["sync", "thread", "async"]
PLAIN = Retry(attempts=4, base=1.0, factor=2.0, max_delay=5.0, jitter="none", budget=None)


def guarded(flavour, registry, policy, work, **settings):
    """(call, handle) of *work* under a retry."""
    decorate = command(registry=registry, key="k", timeout=None, retry=policy,
                       isolation="thread" if flavour == "thread" else "auto", **{"breaker": None, **settings})
    if flavour != "async":
        wrapper = decorate(work)
        return wrapper, wrapper.resilience

    async def awork(*args):
        return work(*args)

    wrapper = decorate(awork)
    return lambda *args: asyncio.run(wrapper(*args)), wrapper.resilience


def script(*outcomes):
    """A function that ends as each of *outcomes* says, in turn."""
    rest = list(outcomes)

    def work():
        outcome = rest.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return work


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_any_history_goes_as_a_plain_loop_says(flavour):
    for seed in range(30):
        rng = random.Random(f"{flavour} {seed}")
        clock = ManualClock()
        registry = Registry(clock=clock)
        policy = Retry(attempts=rng.randrange(2, 6), base=rng.choice([0.0, 1.0]), factor=rng.choice([1.0, 3.0]),
                       max_delay=rng.choice([2.0, 100.0]), jitter="none", on=(OSError, ValueError),
                       unless=(FileNotFoundError,), time_limit=rng.choice([None, 4.0]), budget=None,
                       on_result=rng.choice([None, lambda result: result < 3]))
        outcomes = [rng.choice([OSError(), ValueError(), FileNotFoundError(), KeyError(), 1, 7, 7])
                    for _ in range(policy.attempts)]
        call, _ = guarded(flavour, registry, policy, script(*outcomes))
        expected, elapsed = plain_loop(policy, list(outcomes))
        try:
            result = call()
        except Exception as error:
            result = error
        assert expected is result
        assert elapsed == clock()


def plain_loop(policy, outcomes):
    elapsed, delay = 0.0, policy.base
    for attempt in range(1, policy.attempts + 1):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            again = isinstance(outcome, (OSError, ValueError)) and not isinstance(outcome, FileNotFoundError)
        else:
            again = policy.on_result is not None and outcome < 3
        pause = min(delay, policy.max_delay)
        if not again or attempt == policy.attempts or (
                policy.time_limit is not None and elapsed + pause > policy.time_limit):
            return outcome, elapsed
        elapsed += pause
        delay *= policy.factor
    raise AssertionError("the last attempt returns")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_each_attempt_is_counted_and_told_and_the_last_error_comes_through_with_a_note(flavour, registry, clock):
    errors = [OSError(n) for n in range(4)]
    call, handle = guarded(flavour, registry, PLAIN, script(*errors))
    with RecordedEvents(registry) as events, pytest.raises(OSError) as caught:
        call()

    assert errors[3] is caught.value
    assert ["k: attempt 4 of at most 4, 7 s after the first began"] == caught.value.__notes__
    assert 7.0 == clock()
    assert_counts(handle, failure=4, retry=3, fallback_missing=1, exceptions_thrown=1)
    told = [event for event in events if isinstance(event, CallRetried)]
    assert [(1, 1.0, errors[0]), (2, 2.0, errors[1]), (3, 4.0, errors[2])] == \
        [(event.attempt, event.delay, event.error) for event in told]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_fallback_answers_when_all_attempts_have_failed(flavour, registry):
    call, handle = guarded(flavour, registry, PLAIN, script(*[OSError() for _ in range(4)]), fallback=lambda: "else")

    assert "else" == call()
    assert_counts(handle, failure=4, retry=3, fallback_success=1)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_circuit_that_opens_ends_the_retries(flavour, registry):
    call, handle = guarded(flavour, registry, PLAIN, script(*[OSError() for _ in range(4)]),
                           breaker=CircuitBreaker(min_calls=2, open_for=60.0))
    with pytest.raises(CircuitOpenError):
        call()

    assert_counts(handle, failure=2, retry=2, short_circuited=1, fallback_missing=1, exceptions_thrown=1)


def test_told_to_a_refusal_is_waited_for_as_long_as_it_asks(registry, clock):
    policy = Retry(attempts=4, base=0.0, jitter="none", max_delay=10.0, retry_rejections=True, budget=None)
    call, handle = guarded("sync", registry, policy, script(OSError(), OSError(), "up"),
                           breaker=CircuitBreaker(min_calls=2, open_for=6.0))

    assert "up" == call()
    assert 6.0 == clock()
    assert "closed" == handle.state


@pytest.mark.parametrize(("error", "waited"), [
    (type("Busy", (Exception,), {"retry_after": 3.0})(), 3.0),
    (type("Busy", (Exception,), {"response": types.SimpleNamespace(headers={"Retry-After": "4"})})(), 4.0),
    (type("Busy", (Exception,), {"retry_after": "soon"})(), 1.0),
    (type("Busy", (Exception,), {"retry_after": float("nan")})(), 1.0),
    (type("Busy", (Exception,), {"response": object()})(), 1.0),
])
def test_what_the_target_asks_for_is_heeded(registry, clock, error, waited):
    call, _ = guarded("sync", registry, PLAIN, script(error, "up"))

    assert "up" == call()
    assert waited == clock()


def test_a_wait_beyond_the_longest_is_not_waited(registry, clock):
    error = type("Busy", (Exception,), {"retry_after": 3600.0})()
    call, _ = guarded("sync", registry, PLAIN, script(error))
    with pytest.raises(type(error)):
        call()

    assert 0.0 == clock()


@pytest.mark.parametrize("error", [BadRequestError(), KeyError("mine"), KeyboardInterrupt()])
def test_the_callers_mistakes_and_interrupts_are_never_tried_again(registry, error):
    call, handle = guarded("sync", registry, PLAIN, script(error), ignore=(KeyError,))
    with pytest.raises(type(error)) as caught:
        call()

    assert not hasattr(caught.value, "__notes__")
    assert 0 == handle.snapshot().counts["retry"]


async def test_a_cancellation_during_the_pause_ends_it():
    attempts = []

    @retry(base=60.0, max_delay=60.0, jitter="none", registry=Registry())
    async def fails():
        attempts.append(1)
        raise OSError

    task = asyncio.create_task(fails())
    while not attempts:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [1] == attempts
    assert 0 == fails.resilience.snapshot().in_flight


def test_a_groups_budget_bounds_its_retries(registry):
    policy = Retry(base=0.0, attempts=2, jitter="none", budget=RetryBudget(ratio=0.1, per_second=0.0))
    tried = []

    def commands(name):
        @command(key=name, group="one", registry=registry, timeout=None, breaker=None, retry=policy)
        def fails():
            tried.append(1)
            raise OSError

        return fails

    for fails in (commands("a"), commands("b")):
        for _ in range(100):
            with pytest.raises(OSError):
                fails()

    assert 220 == len(tried)


def test_a_live_change_is_followed(registry, clock):
    call, handle = guarded("sync", registry, PLAIN, script(*[OSError() for _ in range(9)]))
    handle.configure(retry=Retry(attempts=2, base=3.0, jitter="none", budget=None))
    with pytest.raises(OSError):
        call()

    assert 3.0 == clock()


@pytest.mark.parametrize("wrong", [
    (CircuitBreaker(), Retry()), (Bulkhead(), Retry()), (Timeout(1.0), Retry()), (Retry(), Fallback(len))])
def test_an_impossible_order_is_refused_with_the_reason(registry, wrong):
    with pytest.raises(ConfigError, match="must stand above"):
        Pipeline(*wrong, registry=registry)


def test_a_generator_cannot_be_tried_again_for_what_it_returns(registry):
    with pytest.raises(ConfigError) as refused:
        @retry(on_result=bool, registry=registry)
        def numbers():
            yield 1

    assert "on_result" == refused.value.option
