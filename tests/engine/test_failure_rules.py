"""Failure rules: every policy acts on one verdict. Random histories against a plain oracle, in every flavour."""

import asyncio
import gc
import inspect
import random
import weakref

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    CallFailed,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    Ending,
    FailedResultError,
    Failover,
    FailureRules,
    Fallback,
    Hedge,
    Pipeline,
    Registry,
    Retry,
    Throttle,
    ThrottledError,
    Verdict,
    command,
    http_status,
)
from resilience.testing import ManualClock
from tests.seeds import over_seeds


class Answer:
    """What an HTTP client returns."""

    def __init__(self, status_code, **headers):
        self.status_code, self.headers = status_code, {name.replace("_", "-"): value for name, value in headers.items()}


class StatusError(Exception):
    """What an HTTP client raises."""

    def __init__(self, status_code, **headers):
        super().__init__(f"HTTP {status_code}")
        self.response = Answer(status_code, **headers)


class BusyError(Exception):
    pass


class PoolTimeout(Exception):
    pass


#: How a call may end, and what that amounts to.
ENDINGS = {
    "200": (lambda: Answer(200), "good"),
    "404": (lambda: Answer(404), "good"),
    "503": (lambda: Answer(503), "failed"),
    "503 that asks": (lambda: Answer(503, retry_after="2"), "busy"),
    "429": (lambda: Answer(429), "busy"),
    "no answer": (lambda: None, "good"),
    "OSError": (lambda: OSError(), "failed"),
    "KeyError": (lambda: KeyError(), "caller's fault"),
    "BusyError": (lambda: BusyError(), "busy"),
    "raised 404": (lambda: StatusError(404), "caller's fault"),
    "raised 500": (lambda: StatusError(500), "failed"),
    "raised 429": (lambda: StatusError(429), "busy"),
    "PoolTimeout": (lambda: PoolTimeout(), "refused"),
    "a group": (lambda: ExceptionGroup("", [KeyError(), OSError()]), "failed"),
    "a group of faults": (lambda: ExceptionGroup("", [KeyError(), StatusError(404)]), "caller's fault"),
}
RULES = FailureRules(status=http_status(), caller_faults=KeyError, busy=BusyError, refused=PoolTimeout)
EVENT = {"good": "success", "failed": "failure", "busy": "busy", "refused": "semaphore_rejected",
         "caller's fault": "bad_request"}


class Plain:
    """The oracle: a breaker that opens at three failures in a row, a retry of one more attempt, a fallback."""

    def __init__(self, attempts, has_fallback):
        self.attempts, self.has_fallback = attempts, has_fallback
        self.failures, self.is_open, self.counts = 0, False, {}

    def count(self, *names):
        for name in names:
            self.counts[name] = self.counts.get(name, 0) + 1

    def call(self, plan):
        """What the caller gets: the name of an ending, "fallback" or "refused"."""
        for attempt in range(1, self.attempts + 1):
            if self.is_open:
                return self.unanswered("short_circuited", "refused", raised=True)
            name = next(plan)
            verdict = ENDINGS[name][1]
            self.failures = self.failures + 1 if verdict == "failed" else 0 if verdict == "good" else self.failures
            self.is_open = self.failures == 3
            if verdict == "good":
                self.count("success")
                return name
            raised = isinstance(ENDINGS[name][0](), Exception)
            if verdict == "caller's fault":
                self.count("bad_request", "exceptions_thrown")
                return name
            if attempt < self.attempts and verdict != "refused":
                self.count(EVENT[verdict], "retry")
                continue
            return self.unanswered(EVENT[verdict], name, raised=raised)
        raise AssertionError("no attempt")

    def unanswered(self, event, name, *, raised):
        if self.has_fallback:
            self.count(event, "fallback_success")
            return "fallback"
        self.count(event, *(("fallback_missing", "exceptions_thrown") if raised else ()))
        return name


def guarded(flavour, plan, **settings):
    """A function that ends as the next name of *plan* says, and a way to call it."""
    ended = []

    def body():
        name = next(plan)
        ending = ENDINGS[name][0]()
        ended.append((name, ending))
        if isinstance(ending, Exception):
            raise ending
        return ending

    if flavour == "async":
        @command(**settings)
        async def call():
            return body()

        return call, lambda: asyncio.run(call()), ended
    call = command(isolation="thread" if flavour == "thread" else "semaphore", **settings)(body)
    return call, call, ended


def name_of_end(run, ended):
    """What a caller got, by name."""
    try:
        result = run()
    except CircuitOpenError:
        return "refused"
    except Exception as error:
        return next(name for name, ending in reversed(ended) if ending is error)
    return "fallback" if result == "fallback" else next(name for name, ending in reversed(ended) if ending is result)


@pytest.mark.parametrize("flavour", ["sync", "thread", "async"])
@over_seeds(60)
def test_random_histories_are_judged_and_counted_as_the_plain_oracle_does(flavour, seed):
    rng = random.Random(seed)
    attempts, has_fallback = rng.choice((1, 2)), rng.random() < 0.5
    names = [rng.choice(list(ENDINGS)) for _ in range(60)]
    registry = Registry(clock=ManualClock())
    plan = iter(names)
    call, run, ended = guarded(
        flavour, plan, key="k", registry=registry, timeout=None, failures=RULES,
        breaker=CircuitBreaker(failure_rate=None, consecutive=3, sustained_failures=None, open_for=1e6),
        **({"retry": Retry(attempts=attempts, base=0, respect_retry_after=False, budget=None)} if attempts > 1 else {}),
        **({"fallback": lambda: "fallback"} if has_fallback else {}))
    plain, its_plan = Plain(attempts, has_fallback), iter(names)
    for step in range(25):
        assert plain.call(its_plan) == name_of_end(run, ended), step
    counts = {name: n for name, n in call.resilience.snapshot().counts.items() if n}
    assert plain.counts == counts
    assert 0 == call.resilience.snapshot().in_flight


@pytest.mark.parametrize("flavour", ["sync", "thread", "async"])
def test_a_result_that_is_judged_failed_is_raised_if_the_rules_say_so(registry, flavour):
    call, run, _ = guarded(flavour, iter(["503 that asks"]), key="shop", registry=registry, timeout=None,
                           failures=FailureRules(status=http_status(), raise_failures=True))
    with pytest.raises(FailedResultError) as caught:
        run()
    error = caught.value
    assert ("shop", Verdict.BUSY, "HTTP status 503", 2.0) == (error.key, error.verdict, error.why, error.retry_after)
    assert 503 == error.result.status_code
    assert 1 == call.resilience.snapshot().counts["busy"]


@pytest.mark.parametrize("flavour", ["sync", "thread", "async"])
@pytest.mark.parametrize("name", ["503", "OSError"])
def test_a_fallback_for_other_errors_leaves_a_failed_result_to_the_caller(registry, flavour, name):
    _, run, ended = guarded(flavour, iter([name]), key="k", registry=registry, timeout=None, failures=http_status(),
                            fallback=Fallback(lambda: "fallback", on=LookupError))
    assert name == name_of_end(run, ended)


@pytest.mark.parametrize("flavour", ["thread", "async"])
def test_an_attempt_whose_result_is_judged_failed_does_not_win_a_race(registry, flavour):
    """Rules judge below the hedge: a quick 503 is no answer while the other attempt still runs."""
    import threading

    slow_is_in, go = threading.Event(), threading.Event()
    attempts = []

    def body():
        attempts.append(None)
        if len(attempts) == 1:
            slow_is_in.set()
            assert go.wait(10)
            return Answer(200)
        go.set()
        return Answer(503)

    settings = {"key": "k", "registry": Registry(), "failures": http_status(), "timeout": 20.0,
                "hedge": Hedge(idempotent=True, delay=0.001, budget=None)}
    if flavour == "async":
        @command(**settings)
        async def call():
            return await asyncio.to_thread(body)

        assert 200 == asyncio.run(call()).status_code
    else:
        call = command(**settings)(body)
        assert 200 == call().status_code
    assert 2 == len(attempts)
    assert 1 == call.resilience.snapshot().counts["success"]


@pytest.mark.parametrize(("flavour", "timeout"), [("sync", None), ("thread", 30.0), ("async", None), ("async", 30.0)])
def test_a_cache_keeps_no_result_that_is_judged_failed(registry, flavour, timeout):
    _, run, ended = guarded(flavour, iter(["503", "429", "200", "503"]), key="k", registry=registry, timeout=timeout,
                            failures=http_status(), cache=Cache(ttl=60))
    assert ["503", "429", "200", "200", "200"] == [name_of_end(run, ended) for _ in range(5)]


def test_a_cache_keeps_no_failed_result_that_a_fallback_for_other_errors_leaves_alone(registry):
    _, run, ended = guarded("sync", iter(["503", "200", "503"]), key="k", registry=registry, timeout=None,
                            failures=http_status(), cache=Cache(ttl=60), fallback=Fallback(lambda: "fallback", on=LookupError))
    assert ["503", "200", "200"] == [name_of_end(run, ended) for _ in range(3)]


def test_a_cache_keeps_no_failed_result_of_the_last_target_of_a_failover(registry):
    plan = iter([503, 503, 200])

    @Pipeline(Cache(ttl=60), Failover(("a", "b")), FailureRules(results=lambda result: result == 503), registry=registry)
    def call(*, target):
        return next(plan)

    assert [503, 200, 200] == [call() for _ in range(3)]


def test_a_cache_keeps_no_failed_result_of_a_call_that_was_moved_to_a_thread_later(registry):
    plan = iter(["503", "200", "503"])

    @command(key="k", registry=registry, failures=http_status(), cache=Cache(ttl=60))
    def call():
        return ENDINGS[next(plan)][0]()

    call.resilience.configure(timeout=30.0)
    assert [503, 200, 200] == [call().status_code for _ in range(3)]


async def test_callers_who_wait_for_an_equal_call_get_its_failed_result_too(registry):
    go, calls = asyncio.Event(), []

    @command(key="k", registry=registry, failures=http_status(), cache=Cache(ttl=60))
    async def call():
        calls.append(None)
        await go.wait()
        return Answer(503)

    tasks = [asyncio.ensure_future(call()) for _ in range(5)]
    await asyncio.sleep(0)
    go.set()
    assert [503] * 5 == [(await task).status_code for task in tasks]
    assert 1 == len(calls)


@pytest.mark.parametrize("gate", [{"adaptive_limit": AdaptiveLimit(algorithm="aimd", initial=20, min_calls=5, window=1.0)},
                                  {"throttle": Throttle(min_calls=20, max_rejection_rate=0.9)}])
def test_a_busy_target_shrinks_limits_and_says_nothing_to_the_breaker(registry, clock, gate):
    call = command(key="k", registry=registry, timeout=None, failures=http_status(),
                   breaker=CircuitBreaker(min_calls=1, consecutive=1), **gate)(lambda: Answer(429))
    throttled = 0
    for _ in range(100):
        try:
            call()
        except ThrottledError:
            throttled += 1
        clock.advance(0.1)
    snapshot = call.resilience.snapshot()
    assert "closed" == snapshot.state
    assert throttled > 20 if "throttle" in gate else snapshot.max_concurrent < 20


RED = FailureRules(items=lambda item: item == "red")


async def everything(stream):
    return [item async for item in stream]


def streams(*values):
    """The same function as a generator and as an async generator, and a way to read all of it."""
    def plain():
        return (yield from values)

    async def asynchronous():
        for value in values:
            yield value

    return [(plain, lambda stream: list(stream)), (asynchronous, lambda stream: asyncio.run(everything(stream)))]


@pytest.mark.parametrize("kind", [0, 1])
def test_an_item_that_is_judged_failed_is_passed_on_and_the_stream_counts_as_one_failure(registry, kind):
    fn, read = streams("red", "blue", "red")[kind]
    call = command(key="k", registry=registry, failures=RED, breaker=CircuitBreaker(consecutive=1))(fn)
    assert ["red", "blue", "red"] == read(call())
    assert {"failure": 1, "emit": 3} == {name: n for name, n in call.resilience.snapshot().counts.items() if n}
    assert "open" == call.resilience.state
    assert 0 == call.resilience.snapshot().in_flight


@pytest.mark.parametrize("kind", [0, 1])
def test_a_stream_whose_consumer_leaves_after_a_failed_item_has_failed(registry, kind):
    fn, _ = streams("red", "blue")[kind]
    call = command(key="k", registry=registry, failures=RED)(fn)
    stream = call()
    if inspect.isasyncgen(stream):
        async def leave():
            await anext(stream)
            await stream.aclose()

        asyncio.run(leave())
    else:
        next(stream)
        stream.close()
    assert 1 == call.resilience.snapshot().counts["failure"]
    assert 0 == call.resilience.snapshot().in_flight


@pytest.mark.parametrize("kind", [0, 1])
def test_a_fallback_answers_for_a_stream_whose_first_item_is_judged_failed_and_for_no_later_one(registry, kind):
    closed = []

    def plain(*values):
        try:
            yield from values
        finally:
            closed.append(values)

    async def asynchronous(*values):
        try:
            for value in values:
                yield value
        finally:
            closed.append(values)

    fn = (plain, asynchronous)[kind]
    read = (list, lambda stream: asyncio.run(everything(stream)))[kind]
    call = command(key="k", registry=registry, failures=RED, fallback=lambda *values: iter(["green"]))(fn)
    assert ["green"] == read(call("red", "blue"))
    assert [("red", "blue")] == closed
    assert ["blue", "red"] == read(call("blue", "red"))
    assert 1 == call.resilience.snapshot().counts["fallback_success"]


@pytest.mark.parametrize("kind", [0, 1])
def test_a_failed_item_is_raised_where_it_comes_if_the_rules_say_so(registry, kind):
    fn, read = streams("blue", "red", "blue")[kind]
    call = command(key="k", registry=registry, failures=FailureRules(items=lambda item: item == "red",
                                                                     raise_failures=True))(fn)
    with pytest.raises(FailedResultError) as caught:
        read(call())
    assert "red" == caught.value.result
    assert 1 == call.resilience.snapshot().counts["emit"]


def test_what_is_not_said_of_an_ending_or_an_error():
    assert (None, None, False) == (Ending().result, Ending().error, Ending().is_item)
    assert FailedResultError("k", 1, Verdict.BUSY, "why").retry_after is None
    assert 3.0 == FailedResultError("k", 1, Verdict.BUSY, "why", 3.0).retry_after


def test_a_judge_is_asked_about_exceptions_results_and_items(registry):
    seen = []

    def judge(ending):
        seen.append(ending)
        return {"bad": True, "fine": False, "later": Verdict.BUSY, "mine": Verdict.CALLER_FAULT}.get(
            str(ending.error or ending.result))

    @command(key="k", registry=registry, timeout=None, failures=judge)
    def call(what):
        if isinstance(what, Exception):
            raise what
        return what

    for what in ("bad", "fine", "later", "mine", "else"):
        assert what == call(what)
        error = Exception(what)
        with pytest.raises(Exception, match=what):
            call(error)
        assert [Ending(result=what), Ending(error=error)] == seen[-2:]
    counts = call.resilience.snapshot().counts
    assert {"failure": 3, "busy": 2, "bad_request": 3, "success": 2} == {
        name: counts[name] for name in ("failure", "busy", "bad_request", "success")}

    @command(key="stream", registry=registry, failures=lambda ending: ending.is_item and ending.result == 2)
    def stream():
        yield from (1, 2, 3)

    assert [1, 2, 3] == list(stream())
    assert 1 == stream.resilience.snapshot().counts["failure"]


@pytest.mark.parametrize("flavour", ["sync", "thread", "async"])
def test_a_rule_that_raises_about_a_result_is_the_callers_mistake_and_about_an_exception_a_failure(
        registry, flavour, caplog):
    call, run, ended = guarded(flavour, iter(["200", "OSError", "OSError"]), key="k", registry=registry, timeout=None,
                               failures=lambda ending: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run()
    assert ["OSError", "OSError"] == [name_of_end(run, ended) for _ in range(2)]
    counts = call.resilience.snapshot().counts
    assert (1, 2) == (counts["bad_request"], counts["failure"])
    assert 0 == call.resilience.snapshot().in_flight
    assert 1 == caplog.text.count("a failure rule raised ZeroDivisionError")


def test_a_judge_that_says_something_else_is_told_what_to_say(registry):
    call = command(key="k", registry=registry, timeout=None, failures=lambda ending: "bad")(lambda: 1)
    with pytest.raises(TypeError, match="must return a Verdict, True for failed, False for good, or None, not 'bad'"):
        call()


def test_rules_can_be_changed_and_switched_off_while_calls_go_on(registry):
    call = command(key="k", registry=registry, timeout=None, failures=http_status())(lambda status: Answer(status))
    call(503)
    call.resilience.configure(failures=http_status(failed=404))
    call(503)
    call(404)
    call.resilience.configure(failures=None)
    call(404)
    counts = call.resilience.snapshot().counts
    assert (2, 2) == (counts["failure"], counts["success"])


def test_rules_stand_in_a_pipeline_below_all_policies_but_chaos(registry):
    call = Pipeline(CircuitBreaker(consecutive=1), RULES, registry=registry)(lambda: Answer(500))
    assert 500 == call().status_code
    assert "open" == call.resilience.state
    with pytest.raises(ConfigError, match="CircuitBreaker must stand above FailureRules: failure rules judge what the "
                                          "function itself returned or raised"):
        Pipeline(RULES, CircuitBreaker())
    with pytest.raises(ConfigError, match="Bulkhead must stand above FailureRules"):
        Pipeline(RULES, Bulkhead(1))


def test_failures_and_a_retrys_on_result_would_contradict_each_other(registry):
    with pytest.raises(ConfigError, match=r"say it in failures=FailureRules\(results=...\)"):
        command(registry=registry, failures=http_status(), retry=Retry(on_result=lambda result: True))(lambda: 1)


def test_a_failed_result_of_an_inner_command_is_the_inner_commands_alone(registry):
    inner = command(key="inner", registry=registry, timeout=None,
                    failures=FailureRules(status=500, raise_failures=True))(lambda: Answer(500))
    outer = command(key="outer", registry=registry, timeout=None, failures=http_status())(lambda: inner())
    with pytest.raises(FailedResultError) as caught:
        outer()
    assert "inner" == caught.value.key
    assert 1 == outer.resilience.snapshot().counts["failure"]


@pytest.mark.parametrize("flavour", ["sync", "thread", "async"])
def test_a_failed_result_is_not_kept_alive_by_its_error(registry, flavour):
    answers = []

    def body():
        answer = Answer(503)
        answers.append(weakref.ref(answer))
        return answer

    settings = {"key": "k", "registry": registry, "timeout": None, "failures": http_status()}
    gc.disable()
    try:
        if flavour == "async":
            @command(**settings)
            async def call():
                return body()

            asyncio.run(call())
        else:
            command(isolation="thread" if flavour == "thread" else "semaphore", **settings)(body)()
        assert answers[0]() is None
    finally:
        gc.enable()


def test_listeners_and_the_snapshot_tell_why_a_result_failed(registry):
    heard = []
    registry.subscribe(CallFailed, heard.append)
    call = command(key="k", registry=registry, timeout=None, failures=http_status())(lambda: Answer(502))
    call()
    assert ["failure"] == [event.event for event in heard]
    assert "k: HTTP status 502" == str(heard[0].error)
    assert "k: HTTP status 502" == call.resilience.snapshot().last_failure.message
