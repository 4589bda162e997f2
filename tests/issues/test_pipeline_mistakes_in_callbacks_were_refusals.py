"""A typo in the `by` of a rate limit counted as rate_limited, in the `priorities` of an adaptive limit as
semaphore_rejected, and was told to listeners as a refusal; a fallback answered for it, and a retry repeated it. So a
mistake looked like a limit that is reached, for ever.

A mistake in a function that the user gave to a policy reaches the caller as it is. It is a bad request, as a call with
wrong arguments is: no refusal, no failure of the target, no fallback, no retry, and no permit is left behind.
"""

import asyncio

import pytest

from resilience import (
    AdaptiveLimit,
    BulkheadFullError,
    Cache,
    Chaos,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Registry,
    Retry,
    StateChanged,
    circuit_breaker,
    collapse,
    command,
)
from resilience.commands.command import internals_of
from resilience.events import CallFailed, CallRejected, CallRetried
from resilience.testing import ManualClock, RecordedEvents
from tests.issues.every_flavour import FLAVOURS, fallback_of, guarded, isolation
from tests.issues.hostile import MAKERS

WHERE = ("rate limit", "adaptive limit", "adaptive limit with a queue", "chaos instead of a call", "chaos after a call")


def policy(where, callback):
    """The policy that calls *callback* there, in each call."""
    return {
        "rate limit": lambda: RateLimit(1000, by=callback),
        "adaptive limit": lambda: AdaptiveLimit(priorities=callback),
        "adaptive limit with a queue": lambda: AdaptiveLimit(priorities=callback, max_queue=5),
        "chaos instead of a call": lambda: Chaos(error=callback, error_rate=1.0),
        "chaos after a call": lambda: Chaos(result=callback, result_rate=1.0),
    }[where]()


def suited(where, flavour):
    return not (where == "chaos after a call" and "generator" in flavour) and not (
        where.startswith("adaptive") and flavour == "thread")


CASES = [(flavour, where) for flavour in FLAVOURS for where in WHERE if suited(where, flavour)]


def failing_guarded(registry):
    """A function whose own circuit is open."""
    @circuit_breaker(registry=registry, key="directory")
    def look_up(): ...

    look_up.resilience.force_open()
    return look_up


MISTAKES = {
    "a typo": lambda: AttributeError("nmae"),
    "wrong arguments": lambda: TypeError("takes 1 positional argument"),
    "a refusal of another command": lambda: CircuitOpenError("directory"),
    "what looks like our own refusal": lambda: RateLimitedError("k", 1.0),
    "what looks like a full bulkhead": lambda: BulkheadFullError("k"),
    "a group": lambda: ExceptionGroup("parts", [OSError(), ValueError()]),
    "a frozen one": MAKERS["Frozen"],
    "one that cannot be read": MAKERS["Properties"],
}


@pytest.mark.parametrize(("flavour", "where"), CASES)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_callback_is_a_bad_request_and_nothing_else(flavour, where, mistake):
    registry, raised = Registry(clock=ManualClock()), MISTAKES[mistake]()

    def callback(*args):
        raise raised

    retry = () if "generator" in flavour else (Retry(attempts=3, base=0.0),)
    pipeline = Pipeline(
        Fallback(fallback_of(flavour, "answer")), *retry,
        CircuitBreaker(min_calls=1, failure_rate=0.01, count_rejections=True), policy(where, callback), key="k",
        registry=registry, **isolation(flavour))
    run, call = guarded(flavour, pipeline, lambda user: "called")
    registry.start_chaos(60.0)
    with RecordedEvents(registry) as events, pytest.raises(BaseException) as caught:  # noqa: PT011 - any
        call("somebody")

    assert [True] == [caught.value is raised]
    snapshot = run.resilience.snapshot()
    assert {"bad_request": 1, "exceptions_thrown": 1} == {
        name: n for name, n in snapshot.counts.items() if n and name != "chaos"}
    assert ("closed", 0) == (snapshot.state, snapshot.in_flight)
    for kind in (CallRejected, CallFailed, CallRetried, StateChanged):
        events.none(kind)


@pytest.mark.parametrize(("flavour", "where"), [each for each in CASES if not each[1].startswith("chaos")])
def test_a_mistake_in_a_callback_is_no_failed_probe(flavour, where):
    """Nor does it keep the probe's place: the next caller probes."""
    clock = ManualClock()
    registry, mistakes = Registry(clock=clock), []

    def callback(*args):
        if mistakes:
            raise mistakes.pop()
        return 1

    pipeline = Pipeline(CircuitBreaker(min_calls=1, failure_rate=0.01, open_for=1.0, count_rejections=True),
                        policy(where, callback), key="k", registry=registry, **isolation(flavour))
    outcomes = [ConnectionResetError()]

    def body():
        if outcomes:
            raise outcomes.pop()
        return "called"

    run, call = guarded(flavour, pipeline, body)
    with pytest.raises(ConnectionResetError):
        call()
    clock.advance(2.0)
    mistakes.append(AttributeError("nmae"))
    with pytest.raises(AttributeError):
        call()

    assert "half_open" == run.resilience.state
    assert ("called", "closed") == (call(), run.resilience.state)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_a_rate_limit_refuses_is_still_a_refusal(registry, flavour):
    run, call = guarded(flavour, Pipeline(RateLimit(1, by=lambda user: user), key="k", registry=registry,
                                          **isolation(flavour)), lambda user: "called")
    call("somebody")
    with RecordedEvents(registry) as events, pytest.raises(RateLimitedError):
        call("somebody")

    assert 1 == run.resilience.snapshot().counts["rate_limited"]
    events.one(CallRejected, event="rate_limited")


@pytest.mark.parametrize("flavour", [each for each in FLAVOURS if each != "thread"])
def test_what_an_adaptive_limit_refuses_is_still_a_refusal(registry, flavour):
    run, call = guarded(flavour, Pipeline(AdaptiveLimit(initial=1, max_limit=1, priorities=lambda: 9), key="k",
                                          registry=registry, **isolation(flavour)), lambda: "called")
    held = []
    internals_of(run.resilience).runtime.named("adaptive_limit").take(held)
    with RecordedEvents(registry) as events, pytest.raises(BulkheadFullError):
        call()

    assert 1 == run.resilience.snapshot().counts["semaphore_rejected"]
    events.one(CallRejected, event="semaphore_rejected")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_chaos_is_told_to_raise_is_still_the_targets_failure(registry, flavour):
    run, call = guarded(flavour, Pipeline(CircuitBreaker(), Chaos(error=lambda: OSError("chaos"), error_rate=1.0),
                                          key="k", registry=registry, **isolation(flavour)), lambda: "called")
    registry.start_chaos(60.0)
    with pytest.raises(OSError, match="chaos"):
        call()

    assert 1 == run.resilience.snapshot().counts["failure"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_mistake_in_a_callback_of_a_command_inside_is_a_failure_to_the_one_outside(registry, flavour):
    @command(registry=registry, key="inner", timeout=None, rate_limit=RateLimit(10, by=lambda: undefined))  # noqa: F821
    def inner(): ...

    run, call = guarded(flavour, Pipeline(CircuitBreaker(), key="outer", registry=registry, **isolation(flavour)), inner)
    with pytest.raises(NameError):
        call()

    assert 1 == run.resilience.snapshot().counts["failure"]
    assert 1 == inner.resilience.snapshot().counts["bad_request"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_callback_that_calls_a_guarded_function_may_be_refused_by_that(registry, flavour):
    look_up = failing_guarded(registry)
    run, call = guarded(flavour, Pipeline(Fallback(fallback_of(flavour, "answer")), RateLimit(10, by=look_up), key="k",
                                          registry=registry, **isolation(flavour)), lambda: "called")
    with pytest.raises(CircuitOpenError) as caught:
        call()

    assert "directory" == caught.value.key
    assert 0 == run.resilience.snapshot().counts["rate_limited"]


@pytest.mark.parametrize("returned", ["high", None, 1.5])
def test_priorities_that_are_no_numbers_are_a_mistake_and_no_full_bulkhead(registry, returned):
    @command(registry=registry, timeout=None, adaptive_limit=AdaptiveLimit(priorities=lambda: returned),
             fallback=lambda: "answer")
    def call(): ...

    with pytest.raises(TypeError, match="priorities must return a whole number"):
        call()
    counts = call.resilience.snapshot().counts
    assert (0, 1) == (counts["semaphore_rejected"], counts["bad_request"])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_key_that_cannot_be_hashed_is_a_mistake_and_no_refusal(registry, flavour):
    run, call = guarded(flavour, Pipeline(Fallback(fallback_of(flavour, "answer")), RateLimit(10, by=list),
                                          key="k", registry=registry, **isolation(flavour)), lambda: "called")
    with pytest.raises(TypeError, match="unhashable"):
        call()

    assert 0 == run.resilience.snapshot().counts["rate_limited"]


def test_a_clock_that_cannot_wait_is_no_refusal(clock):
    class Clock:
        def __call__(self):
            return 1.0

        def sleep(self, seconds):
            raise OSError("cannot wait")

    registry = Registry(clock=Clock())

    @command(registry=registry, timeout=None, rate_limit=RateLimit(1, max_wait=60.0), fallback=lambda: "answer")
    def call(): ...

    call()
    with pytest.raises(OSError, match="cannot wait"):
        call()
    assert 0 == call.resilience.snapshot().counts["rate_limited"]


@pytest.mark.parametrize("flavour", [each for each in FLAVOURS if "generator" not in each])
def test_a_predicate_on_results_that_raises_is_no_failure_of_the_call(registry, flavour):
    runs = []

    def body():
        runs.append(1)
        return 7

    run, call = guarded(flavour, Pipeline(
        Fallback(lambda: "answer"), Retry(attempts=3, base=0.0, on_result=lambda result: result.nmae),
        CircuitBreaker(min_calls=1, failure_rate=0.01), key="k", registry=registry, **isolation(flavour)), body)
    with pytest.raises(AttributeError):
        call()

    assert [1] == runs
    snapshot = run.resilience.snapshot()
    assert {"success": 1} == {name: n for name, n in snapshot.counts.items() if n}
    assert ("closed", 0) == (snapshot.state, snapshot.in_flight)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_key_function_that_raises_reaches_the_caller_as_it_is(registry, flavour):
    run, call = guarded(flavour, Pipeline(Fallback(fallback_of(flavour, "answer")), CircuitBreaker(),
                                          key=lambda user: user.nmae, registry=registry, **isolation(flavour)),
                        lambda user: "called")
    with pytest.raises(AttributeError):
        call("somebody")

    assert 0 == len(run.resilience)


@pytest.mark.parametrize("flavour", [each for each in FLAVOURS if "generator" not in each])
def test_the_by_of_a_cache_that_raises_reaches_the_caller_as_it_is(registry, flavour):
    run, call = guarded(flavour, Pipeline(Fallback(lambda user: "answer"), Cache(by=lambda user: user.nmae),
                                          CircuitBreaker(), key="k", registry=registry, **isolation(flavour)),
                        lambda user: "called")
    with pytest.raises(AttributeError):
        call("somebody")

    assert 0 == run.resilience.snapshot().counts["failure"]


def test_the_key_function_of_a_batch_that_raises_reaches_the_caller_as_it_is():
    @collapse(window=0, key=lambda user: user.nmae)
    async def users(some):
        return some

    async def main():
        with pytest.raises(AttributeError):
            await users("somebody")

    asyncio.run(main())


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_listener_that_raises_is_nothing_to_the_call(registry, flavour, caplog):
    for kind in (CallFailed, CallRejected, CallRetried, StateChanged):
        registry.subscribe(kind, lambda event: event.nmae)

    def body():
        raise OSError("down")

    run, call = guarded(flavour, Pipeline(CircuitBreaker(min_calls=1, failure_rate=0.01), key="k", registry=registry,
                                          **isolation(flavour)), body)
    with pytest.raises(OSError, match="down"):
        call()
    with pytest.raises(CircuitOpenError):
        call()

    assert (1, 1) == (run.resilience.snapshot().counts["failure"], run.resilience.snapshot().counts["short_circuited"])
    assert "listener" in caplog.text
