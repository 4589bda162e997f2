"""asyncio.TaskGroup wrapped a hurried caller's NoTimeLeftError, and the group counted as a failure: five callers in a
hurry opened the circuit of a target that was well. Nor did on=, unless= and ignore= look inside (jd/tenacity#501).

A group is what its leaves are, at any depth.
"""

import asyncio
import concurrent.futures
import random

import pytest

from resilience import (
    BadRequestError,
    Cache,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    DeadlineExceededError,
    Fallback,
    NoTimeLeftError,
    Pipeline,
    Registry,
    Retry,
    collapse,
    command,
    deadline,
)
from resilience.core.exception_groups import holds, is_interrupt, matches, parts
from resilience.core.retry_after import asked_for
from resilience.testing import virtual_time
from tests.issues.every_flavour import FLAVOURS, fallback_of, guarded, isolation


def group(*errors):
    return BaseExceptionGroup("parts", list(errors))


def nested(*errors):
    return group(group(*errors[:1]), group(group(*errors)))


class Mine(ExceptionGroup):
    def derive(self, errors):
        return Mine(self.message, errors)


#: What a group holds, and what a call that raises it is counted as.
VERDICTS = {
    "a failure": ([OSError()], "failure"),
    "a failure among mistakes": ([BadRequestError(), OSError(), KeyError()], "failure"),
    "a failure among those in haste": ([NoTimeLeftError("other"), OSError()], "failure"),
    "mistakes": ([BadRequestError(), KeyError()], "bad_request"),
    "its own timeouts": ([CallTimeoutError("k", 1.0), BadRequestError()], "timeout"),
    "others' timeouts": ([CallTimeoutError("other", 1.0)], "failure"),
    "haste": ([NoTimeLeftError("other"), DeadlineExceededError("other", 1.0)], "timeout"),
    "haste and mistakes": ([BadRequestError(), NoTimeLeftError("other")], "timeout"),
    "futures that were cancelled": ([concurrent.futures.CancelledError()], "cancelled"),
    "a cancellation": ([asyncio.CancelledError()], "cancelled"),
    "an interrupt": ([KeyboardInterrupt()], "cancelled"),
    "an interrupt among failures": ([OSError(), SystemExit()], "cancelled"),
    "an exit of a generator": ([OSError(), GeneratorExit()], "cancelled"),
    "a TypeError of its own": ([TypeError("not about arguments")], "failure"),
}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("wrap", [group, nested])
def test_a_call_that_raises_a_group_counts_as_what_the_group_holds(flavour, wrap):
    now = [0.0]
    for name, (errors, event) in VERDICTS.items():
        registry, raised = Registry(clock=lambda: now[0]), wrap(*errors)

        def body(raised=raised):
            now[0] += 2.0  # the deadline has passed
            raise raised

        run, call = guarded(flavour, Pipeline(CircuitBreaker(min_calls=1, failure_rate=0.01), ignore=(KeyError,),
                                              key="k", registry=registry, **isolation(flavour)), body)
        with deadline(1.0, clock=lambda: now[0]), pytest.raises(BaseException) as caught:  # noqa: PT011 - any
            call()

        assert caught.value is raised, name
        counts = run.resilience.snapshot().counts
        assert [event] == [each for each in ("failure", "timeout", "bad_request", "cancelled") if counts[each]], name
        # Cut short after a time that is no slow call: nothing for the breaker.
        opens = event == "failure" or name == "its own timeouts"
        assert ("open" if opens else "closed") == run.resilience.state, name


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_group_class_that_is_ignored_by_name_is_ignored_whatever_it_holds(registry, flavour):
    def body():
        raise group(Mine("mine", [OSError()]), BadRequestError())

    run, call = guarded(flavour, Pipeline(CircuitBreaker(), ignore=(Mine,), key="k", registry=registry,
                                          **isolation(flavour)), body)
    with pytest.raises(ExceptionGroup):
        call()

    assert 1 == run.resilience.snapshot().counts["bad_request"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_group_that_is_no_exception_and_holds_nothing_but_exceptions_is_what_they_are(registry, flavour):
    class Base(BaseExceptionGroup):
        """Made by its own name, it stays what it is, whatever it holds."""

    def body():
        raise Base("parts", [OSError(), ConnectionError()])

    run, call = guarded(flavour, Pipeline(Fallback(fallback_of(flavour, "answer"), on=OSError), CircuitBreaker(),
                                          key="k", registry=registry, **isolation(flavour)), body)

    assert "answer" == call()
    assert 1 == run.resilience.snapshot().counts["failure"]


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(("errors", "answered"), [
    ([OSError()], True), ([OSError(), ConnectionError()], True), ([OSError(), ValueError()], False),
    ([ValueError()], False), ([OSError(), asyncio.CancelledError()], False)])
def test_a_fallback_answers_for_a_group_if_it_answers_for_all_in_it(registry, flavour, errors, answered):
    """As except* would leave nothing over. A mistake in the user's own code comes through."""
    raised = nested(*errors)

    def body():
        raise raised

    run, call = guarded(flavour, Pipeline(Fallback(fallback_of(flavour, "answer"), on=(OSError,)), CircuitBreaker(),
                                          key="k", registry=registry, **isolation(flavour)), body)
    if answered:
        assert "answer" == call()
    else:
        with pytest.raises(BaseExceptionGroup) as caught:
            call()
        assert caught.value is raised
    assert answered == run.resilience.snapshot().counts["fallback_success"]


@pytest.mark.parametrize("flavour", [each for each in FLAVOURS if "generator" not in each])
@pytest.mark.parametrize(("errors", "settings", "attempts"), [
    ([OSError()], {"on": OSError}, 3),
    ([OSError(), TimeoutError()], {"on": OSError}, 3),
    ([OSError(), ValueError()], {"on": OSError}, 1),
    ([OSError(), ValueError()], {}, 3),
    ([OSError(), ValueError()], {"unless": ValueError}, 1),
    ([OSError(), BadRequestError()], {}, 1),
    ([OSError(), KeyError()], {}, 1),  # which is ignored: the caller's mistake is there at the next attempt too
    ([OSError(), CircuitOpenError("other")], {}, 1),
    ([OSError(), CircuitOpenError("other")], {"retry_rejections": True}, 3),
    ([OSError(), asyncio.CancelledError()], {}, 1),
    ([OSError(), KeyboardInterrupt()], {}, 1),
])
def test_a_group_is_tried_again_if_all_in_it_would_be(registry, flavour, errors, settings, attempts):
    runs, raised = [], nested(*errors)

    def body():
        runs.append(1)
        raise raised

    _, call = guarded(flavour, Pipeline(Retry(attempts=3, base=0.0, **settings), ignore=(KeyError,), key="k",
                                        registry=registry, **isolation(flavour)), body)
    with pytest.raises(BaseExceptionGroup) as caught:
        call()

    assert caught.value is raised
    assert attempts == len(runs)
    assert bool(attempts > 1) == hasattr(raised, "__notes__")


def test_a_group_class_may_be_named_itself(registry):
    runs = []

    @Pipeline(Fallback(lambda: "answer", on=Mine), Retry(attempts=2, base=0.0, on=Mine), key="k", registry=registry)
    def call():
        runs.append(1)
        raise Mine("mine", [ValueError()])

    assert ("answer", 2) == (call(), len(runs))


def test_the_longest_wait_that_a_part_asks_for_is_heeded():
    class Busy(Exception):
        def __init__(self, retry_after):
            super().__init__(retry_after)
            self.retry_after = retry_after

    assert 3.0 == asked_for(nested(Busy(1.0), OSError(), Busy(3.0)))
    assert asked_for(nested(OSError())) is None


@pytest.mark.parametrize(("errors", "runs"), [
    ([KeyError()], 1), ([KeyError(), IndexError()], 1), ([KeyError(), OSError()], 2),
    ([KeyError(), CircuitOpenError("other")], 2)])
def test_a_group_is_kept_if_all_in_it_would_be(registry, errors, runs):
    done = []

    @Pipeline(Cache(cache_exceptions=(LookupError, CircuitOpenError)), key="k", registry=registry)
    def call():
        done.append(1)
        raise nested(*errors)

    for _ in range(2):
        with pytest.raises(ExceptionGroup) as caught:
            call()
        assert {type(each) for each in errors} == {type(each) for each in parts(caught.value)}
    assert runs == len(done)


def test_those_who_follow_a_hurried_caller_do_not_get_his_group():
    async def main():
        clock, runs = asyncio.get_running_loop().time, []

        @Pipeline(Cache(), key="k", registry=Registry(clock=clock))
        async def call():
            runs.append(1)
            await asyncio.sleep(1.0)
            if len(runs) == 1:
                raise nested(NoTimeLeftError("other"))
            return "answer"

        async def hurried():
            with deadline(0.5, clock=clock):
                return await call()

        first = asyncio.create_task(hurried())
        await asyncio.sleep(0.1)
        return await asyncio.gather(first, call(), return_exceptions=True)

    first, second = virtual_time(main())
    assert (True, "answer") == (isinstance(first, ExceptionGroup), second)


def test_callers_in_a_hurry_do_not_open_a_circuit_through_a_task_group():
    async def main():
        loop = asyncio.get_running_loop()
        registry = Registry(clock=loop.time)

        @command(registry=registry, key="part", timeout=1.0)
        async def part():
            return 1

        @command(registry=registry, key="page", timeout=None, breaker=CircuitBreaker(min_calls=5))
        async def page():
            await asyncio.sleep(0.03)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(part())

        for _ in range(5):
            with deadline(0.02, clock=loop.time):
                await asyncio.gather(page(), return_exceptions=True)
        return page.resilience.state, page.resilience.snapshot().counts["timeout"]

    assert ("closed", 5) == virtual_time(main())


def test_a_timeout_that_comes_out_as_a_group_of_cancellations_is_a_timeout():
    async def main():
        @command(registry=Registry(), key="k", timeout=1.0)
        async def call():
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError as error:
                raise BaseExceptionGroup("tasks", [error]) from None

        with pytest.raises(CallTimeoutError):
            await call()
        assert 0 == asyncio.current_task().cancelling()
        return call.resilience.snapshot().counts["timeout"]

    assert 1 == virtual_time(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, OSError])
def test_a_batch_that_ends_with_a_group_of_interrupts_says_so_to_its_callers(error):
    """They got a CancelledError, which in a TaskGroup nobody notices."""
    @collapse(window=0)
    async def user(ids):
        raise BaseExceptionGroup("parts", [error(), ValueError()])

    async def main():
        return await asyncio.gather(user(1), user(2), return_exceptions=True)

    assert [error] * 2 == [type(each.exceptions[0]) for each in asyncio.run(main())]


# -- the questions themselves, against a plain oracle


def _tree(rng, depth):
    kinds = (OSError, ConnectionError, KeyError, ValueError, asyncio.CancelledError)
    if depth == 0 or rng.random() < 0.4:
        return rng.choice(kinds)()
    some = [_tree(rng, depth - 1) for _ in range(rng.randrange(1, 4))]
    ordinary = not any(is_interrupt(each) for each in some)
    return Mine("mine", some) if ordinary and rng.random() < 0.3 else group(*some)


def _matches(error, kinds):
    return isinstance(error, kinds) or (
        isinstance(error, BaseExceptionGroup) and all(_matches(each, kinds) for each in error.exceptions))


def _holds(error, kinds):
    return isinstance(error, kinds) or (
        isinstance(error, BaseExceptionGroup) and any(_holds(each, kinds) for each in error.exceptions))


def _interrupts(error):
    if isinstance(error, BaseExceptionGroup):
        return any(map(_interrupts, error.exceptions))
    return not isinstance(error, Exception)


def test_any_group_is_judged_as_by_looking_at_each_part():
    seen = set()
    for seed in range(2000):
        rng = random.Random(seed)
        error = _tree(rng, 4)
        kinds = rng.choice([(OSError,), (OSError, Mine), (Exception,), (KeyError, ValueError), (Mine,), ()])
        expected = _matches(error, kinds), _holds(error, kinds), _interrupts(error)
        seen.add(expected)

        assert expected == (matches(error, kinds), holds(error, kinds), is_interrupt(error)), seed
    assert 5 == len(seen)  # all that can be


def test_groups_within_groups_are_looked_at_once_each_and_at_any_depth():
    shared = group(OSError())
    for _ in range(5000):
        shared = group(shared, shared)

    assert matches(shared, OSError)
    assert 1 == len([*parts(shared)])
