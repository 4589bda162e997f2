"""A note at the end of a retry raised for a frozen dataclass (python/cpython#99856): the caller got a
FrozenInstanceError, the failure was not counted and the fallback not asked. Other classes forbid other things.

Whatever a class does, its exception reaches the caller as it is, and counts once.
"""

import asyncio
import threading
import traceback

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    Retry,
    Throttle,
    Timeout,
    collapse,
    deadline,
)
from resilience.core.exception_copy import copy_for_raise, copy_without_traceback
from resilience.events import CallFailed, CallRetried
from resilience.testing import RecordedEvents
from tests.issues.every_flavour import FLAVOURS, fallback_of, guarded, isolation
from tests.issues.hostile import MAKERS, check_same, ended

#: Every policy that there is, alone and in company; each lets the call run.
CHAINS = {
    "breaker": lambda: (CircuitBreaker(),),
    "throttle": lambda: (Throttle(),),
    "rate limit": lambda: (RateLimit(1000, by=lambda: "all"),),
    "bulkhead": lambda: (Bulkhead(2),),
    "adaptive limit": lambda: (AdaptiveLimit(),),
    "adaptive limit with priorities": lambda: (AdaptiveLimit(priorities=lambda: 0),),
    "timeout": lambda: (Timeout(5.0),),
    "hedge": lambda: (Hedge(idempotent=True, delay=60.0),),
    "chaos": lambda: (Chaos(error_rate=1.0),),
    "cache": lambda: (Cache(),),
    "cache of exceptions": lambda: (Cache(cache_exceptions=(OSError, LookupError)),),
    "retry": lambda: (Retry(attempts=3, base=0.0, budget=None),),
    "fallback for others": lambda: (Fallback(lambda: None, on=(ZeroDivisionError,)),),
    "many": lambda: (Retry(attempts=3, base=0.0, budget=None), CircuitBreaker(), Throttle(), RateLimit(1000), Bulkhead(2)),
}
#: What is not for every flavour.
UNSUITED = {
    "sync": ("timeout", "hedge"), "thread": ("adaptive limit with priorities",), "async": (),
    "generator": ("retry", "many", "timeout", "hedge", "cache", "cache of exceptions"),
    "async generator": ("retry", "many", "hedge", "cache", "cache of exceptions"),
}


@pytest.mark.parametrize(("flavour", "chain"), [
    (flavour, chain) for flavour in FLAVOURS for chain in CHAINS if chain not in UNSUITED[flavour]])
def test_any_exception_reaches_its_caller_as_it_is_and_counts_once(registry, flavour, chain):
    attempts = 3 if chain in ("retry", "many") else 1
    for name, make in MAKERS.items():
        raised = make()

        def body(raised=raised):
            raise raised

        pipeline = Pipeline(*CHAINS[chain](), registry=registry, key=f"{chain} {name}", **isolation(flavour))
        run, call = guarded(flavour, pipeline, body)
        with RecordedEvents(registry) as events:
            got = ended(call)

        check_same(got, raised, name)
        snapshot = run.resilience.snapshot()
        assert (attempts, 1, 0) == (snapshot.counts["failure"], snapshot.counts["exceptions_thrown"],
                                    snapshot.in_flight), name
        assert all([event.error is raised for event in events.of(CallFailed)]), name
        assert attempts - 1 == len(events.of(CallRetried)), name
        assert repr(events), name


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", MAKERS)
def test_a_fallback_answers_for_any_exception_after_any_number_of_attempts(registry, flavour, name):
    def body():
        raise MAKERS[name]()

    retry = () if "generator" in flavour else (Retry(attempts=2, base=0.0),)
    pipeline = Pipeline(Fallback(fallback_of(flavour, "answer")), *retry, CircuitBreaker(), key="k", registry=registry,
                        **isolation(flavour))
    run, call = guarded(flavour, pipeline, body)

    check_same(ended(call), "answer", name)
    counts = run.resilience.snapshot().counts
    assert (1 + len(retry), 1) == (counts["failure"], counts["fallback_success"])


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", MAKERS)
def test_what_a_fallback_raises_reaches_the_caller_as_it_is(registry, flavour, name):
    raised = MAKERS[name]()

    def answer():
        raise raised

    def items():
        raise raised
        yield

    def body():
        raise OSError

    pipeline = Pipeline(Fallback(items if "generator" in flavour else answer), CircuitBreaker(), key="k",
                        registry=registry, **isolation(flavour))
    run, call = guarded(flavour, pipeline, body)

    check_same(ended(call), raised, name)
    assert 1 == run.resilience.snapshot().counts["fallback_failure"]


@pytest.mark.parametrize("name", MAKERS)
def test_a_retry_that_a_deadline_ends_lets_any_exception_through(registry, clock, name):
    raised = MAKERS[name]()

    @Pipeline(Retry(attempts=3, base=10.0, jitter="none"), key="k", registry=registry)
    def call():
        raise raised

    with deadline(5.0, clock=clock):
        check_same(ended(call), raised, name)


@pytest.mark.parametrize("name", MAKERS)
def test_a_batch_raises_any_exception_for_all_who_asked(name):
    raised = MAKERS[name]()

    @collapse(window=0)
    async def user(ids):
        raise raised

    async def main():
        return await asyncio.gather(user(1), user(2), return_exceptions=True)

    found = asyncio.run(main())
    assert [type(raised)] * 2 == list(map(type, found))


@pytest.mark.parametrize("name", MAKERS)
def test_a_batch_of_threads_raises_any_exception_for_all_who_asked(name):
    raised, found, all_there = MAKERS[name](), [], threading.Barrier(3)

    @collapse(window=60.0, max_batch=3)
    def user(ids):
        raise raised

    def ask(n):
        all_there.wait()
        found.append(ended(lambda: user(n)))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)

    assert [type(raised)] * 3 == list(map(type, found))


@pytest.mark.parametrize("name", MAKERS)
def test_a_batch_may_answer_one_item_with_any_exception(name):
    answer = MAKERS[name]()

    @collapse(window=0)
    async def user(ids):
        return [answer, "fine"]

    async def main():
        return await asyncio.gather(user(1), user(2), return_exceptions=True)

    first, second = asyncio.run(main())
    assert (type(answer), "fine") == (type(first), second)


@pytest.mark.parametrize("name", MAKERS)
def test_those_who_follow_an_execution_get_any_exception_that_it_raised(registry, name):
    raised, runs = MAKERS[name](), []

    @Pipeline(Cache(), key="k", registry=registry)
    async def call():
        runs.append(1)
        await asyncio.sleep(0)
        raise raised

    async def main():
        return await asyncio.gather(*(call() for _ in range(3)), return_exceptions=True)

    assert [type(raised)] * 3 == list(map(type, asyncio.run(main())))
    assert [1] == runs


@pytest.mark.parametrize("name", MAKERS)
def test_a_kept_exception_is_raised_again_or_the_function_is_asked_again(registry, name):
    def body():
        raise MAKERS[name]()

    _, call = guarded("sync", Pipeline(Cache(cache_exceptions=(Exception,)), key="k", registry=registry), body)

    assert [type(MAKERS[name]())] * 2 == [type(ended(call)), type(ended(call))]


@pytest.mark.parametrize("name", MAKERS)
def test_a_listener_may_raise_any_exception(registry, name):
    def listen(event):
        raise MAKERS[name]()

    registry.subscribe(CallFailed, listen)
    raised = OSError("down")

    def body():
        raise raised

    _, call = guarded("sync", Pipeline(CircuitBreaker(), key="k", registry=registry), body)

    check_same(ended(call), raised, name)


# -- copies


def _plain(name):
    return {"Unprintable": False, "NothingCanBeRead": False, "Properties": False}.get(name, True)


@pytest.mark.parametrize("make_copy", [lambda error: copy_for_raise(error, None), copy_without_traceback])
@pytest.mark.parametrize("name", MAKERS)
def test_a_copy_is_another_object_that_says_the_same(name, make_copy):
    error = MAKERS[name]()
    twin = make_copy(error)

    assert (False, type(error)) == (twin is error, type(twin))
    if _plain(name):
        assert (str(error), repr(error)) == (str(twin), repr(twin))
    args = vars(BaseException)["args"]
    assert repr(args.__get__(error)) == repr(args.__get__(twin))


@pytest.mark.parametrize("make", [
    lambda: open("/nonexistent/file"), lambda: b"\xff".decode(), lambda: compile("(", "f", "exec"), lambda: object().x,
    lambda: __import__("nonexistent.module"), lambda: {}["k"], lambda: next(iter(())), lambda: undefined,  # noqa: F821
])
def test_a_copy_of_a_builtin_exception_has_all_that_it_says(make):
    error = ended(make)

    for twin in (copy_for_raise(error, None), copy_without_traceback(error)):
        assert (type(error), str(error), error.args) == (type(twin), str(twin), twin.args)
        assert ["".join(traceback.format_exception_only(each)) for each in (error,)] == [
            "".join(traceback.format_exception_only(each)) for each in (twin,)]
        assert [getattr(error, name, None) for name in ("errno", "filename", "name", "object", "lineno", "value")] == [
            getattr(twin, name, None) for name in ("errno", "filename", "name", "object", "lineno", "value")]


def test_a_kept_group_keeps_no_frame_alive():
    def failing():
        raise OSError("down")

    group = ended(lambda: (_ for _ in ()).throw(ExceptionGroup("parts", [ended(failing)])))
    kept = copy_without_traceback(ExceptionGroup("outer", [group, ValueError()]))

    assert [None, None] == [each.__traceback__ for each in kept.exceptions]
    assert kept.exceptions[0].exceptions[0].__traceback__ is None
    assert "down" == str(kept.exceptions[0].exceptions[0])


def test_each_callers_copy_has_notes_of_its_own():
    error = OSError("down")
    error.add_note("before")
    twin = copy_for_raise(error, None)
    twin.add_note("mine")

    assert (["before"], ["before", "mine"]) == (error.__notes__, twin.__notes__)


def test_no_code_of_the_class_runs_for_a_copy():
    made = []

    class Loud(Exception):
        def __new__(cls, *args):
            made.append("new")
            return super().__new__(cls, *args)

        def __init__(self, status):
            made.append("init")
            super().__init__(f"{status}")

        def __reduce__(self):
            made.append("reduce")
            return super().__reduce__()

    error = Loud(1)
    made.clear()
    copy_for_raise(error, None), copy_without_traceback(error)

    assert [] == made


# -- one exception, raised again and again


def test_notes_do_not_pile_up_on_an_exception_that_is_raised_again(registry):
    """A module's only instance, or one that a client keeps."""
    shared = OSError("down")
    shared.add_note("of the module")

    @Pipeline(Retry(attempts=2, base=0.0, budget=None), key="k", registry=registry)
    def call():
        raise shared

    for _ in range(50):
        ended(call)

    assert ["of the module", "k: attempt 2 of at most 2, 0 s after the first began"] == shared.__notes__


def test_notes_of_many_commands_do_not_pile_up_either(registry):
    shared = OSError("down")
    for n in range(100):
        @Pipeline(Retry(attempts=2, base=0.0, budget=None), key=f"host {n}", registry=registry)
        def call():
            raise shared

        ended(call)

    assert len(shared.__notes__) <= 10
    assert "host 99: attempt 2 of at most 2, 0 s after the first began" == shared.__notes__[-1]


def test_retries_around_each_other_have_a_note_each(registry):
    @Pipeline(Retry(attempts=2, base=0.0, budget=None, nested="retry"), key="inner", registry=registry)
    def inner():
        raise OSError("down")

    @Pipeline(Retry(attempts=2, base=0.0, budget=None), key="outer", registry=registry)
    def outer():
        inner()

    assert ["inner", "outer"] == [note.split(":")[0] for note in ended(outer).__notes__]


def test_a_list_of_notes_that_a_class_has_for_all_is_left_alone(registry):
    class Described(OSError):
        __notes__ = ["see the manual"]

    @Pipeline(Retry(attempts=2, base=0.0, budget=None), key="k", registry=registry)
    def call():
        raise Described

    got = ended(call)
    assert (["see the manual"], 2) == (Described.__notes__, len(got.__notes__))


def test_many_threads_that_raise_one_exception_each_get_it_and_it_gets_one_note(registry):
    shared, found = OSError("down"), []

    @Pipeline(Retry(attempts=2, base=0.0, budget=None), CircuitBreaker(min_calls=10**6), key="k", registry=registry)
    def call():
        raise shared

    def work():
        found.extend(ended(call) for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 400 == len(found)
    assert all(error is shared for error in found)
    assert 1 == len(shared.__notes__)
    assert 800 == call.resilience.snapshot().counts["failure"]
