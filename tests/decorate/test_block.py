"""Blocks: a command's policies around the code in a ``with`` statement, which is no function."""

import asyncio
import contextlib
import gc
import threading
import weakref

import pytest

from resilience import (
    AdaptiveLimit,
    BadRequestError,
    Bulkhead,
    BulkheadFullError,
    Cache,
    CallFailed,
    CallRejected,
    CallTimeoutError,
    Chaos,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    DeadlineExceededError,
    FailedResultError,
    Failover,
    FailureRules,
    Hedge,
    NoTimeLeftError,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Registry,
    Retry,
    StateChanged,
    StreamTimeout,
    ThreadPool,
    Throttle,
    Timeout,
    block,
    command,
    configure,
    deadline,
    explain,
    handle_of,
    http_status,
    remaining,
)
from resilience.testing import assert_idle, frozen, virtual_time
from tests.interrupts import interrupted

EAGER = CircuitBreaker(min_calls=1, open_for=5.0)
#: How a block may be entered.
FORMS = ("with block", "with block()", "async with block", "async with block()")


def counts(guarded):
    return {name: n for name, n in guarded.resilience.snapshot().counts.items() if n}


def run(form, guarded, body):
    """Run *body*, given the call, in a block that is entered in this way."""
    if form == "with block":
        with guarded as call:
            return body(call)
    if form == "with block()":
        with guarded() as call:
            return body(call)

    async def main():
        async with guarded if form == "async with block" else guarded() as call:
            return body(call)

    steps = main()
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def raising(error):
    def body(call):
        raise error

    return body


def made(registry, **settings):
    return block("k", **{"registry": registry, "timeout": None, "max_concurrent": 1, "breaker": EAGER, **settings})


# -- how a block ends is how the call ends


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("error", "counted", "state"), [
    (OSError(), {"failure": 1, "fallback_missing": 1, "exceptions_thrown": 1}, "open"),
    (TypeError(), {"failure": 1, "fallback_missing": 1, "exceptions_thrown": 1}, "open"),
    (StopIteration(1), {"failure": 1, "fallback_missing": 1, "exceptions_thrown": 1}, "open"),
    (StopAsyncIteration(), {"failure": 1, "fallback_missing": 1, "exceptions_thrown": 1}, "open"),
    (KeyError("id"), {"bad_request": 1, "exceptions_thrown": 1}, "closed"),
    (BadRequestError(), {"bad_request": 1, "exceptions_thrown": 1}, "closed"),
    (asyncio.CancelledError(), {"cancelled": 1}, "closed"),
    (KeyboardInterrupt(), {"cancelled": 1}, "closed"),
    (SystemExit(), {"cancelled": 1}, "closed"),
    (GeneratorExit(), {"cancelled": 1}, "closed"),
])
def test_an_exception_is_judged_and_leaves_the_block_as_it_was(registry, form, error, counted, state):
    guarded = made(registry, ignore=KeyError)

    try:
        run(form, guarded, raising(error))
    except BaseException as caught:  # noqa: BLE001 - not pytest.raises, which a StopIteration confuses
        seen = caught
    if type(error) is StopIteration and form.startswith("async"):  # main() is a coroutine itself
        seen = seen.__cause__

    assert seen is error
    assert not any("/decorate/block.py" in each or "<resilience" in each for each in files(error)), "no frames of ours"
    assert counted == counts(guarded)
    assert state == guarded.resilience.state
    assert 0 == guarded.resilience.in_flight


def files(error):
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename
        trace = trace.tb_next


@pytest.mark.parametrize("form", FORMS)
def test_a_block_that_ends_is_a_success_as_long_as_it_took(registry, clock, form):
    guarded = made(registry)

    assert "done" == run(form, guarded, lambda call: clock.advance(0.25) or "done")
    snapshot = guarded.resilience.snapshot()
    assert {"success": 1} == counts(guarded)
    assert 0.25 == pytest.approx(snapshot.latency.mean, rel=0.05)


@pytest.mark.parametrize("form", FORMS)
def test_refusals_are_raised_where_a_block_is_entered_and_its_code_does_not_run(registry, clock, form):
    guarded = made(registry, rate_limit=RateLimit(2, per=1.0))
    never = pytest.fail

    with guarded(), pytest.raises(BulkheadFullError):
        run(form, guarded, never)
    with pytest.raises(RateLimitedError):
        run(form, guarded, never)
    guarded.resilience.force_open()
    with pytest.raises(CircuitOpenError):
        run(form, guarded, never)
    with deadline(0.0, clock=clock), pytest.raises(NoTimeLeftError):
        run(form, guarded, never)

    assert {"success": 1, "semaphore_rejected": 1, "rate_limited": 1, "short_circuited": 1, "no_time_left": 1,
            "fallback_missing": 4, "exceptions_thrown": 4} == counts(guarded)
    assert 0 == guarded.resilience.in_flight


@pytest.mark.parametrize("form", FORMS)
def test_every_gate_may_stand_around_a_block(registry, clock, form):
    guarded = made(registry, breaker=CircuitBreaker(), throttle=Throttle(), rate_limit=RateLimit(100),
                   max_concurrent=Bulkhead(3, max_wait=1.0), chaos=Chaos(error_rate=1.0, error=lambda: OSError("chaos")))
    limited = block("adaptive", registry=registry, timeout=None, adaptive_limit=AdaptiveLimit(max_queue=3))

    run(form, guarded, lambda call: None)
    run(form, limited, lambda call: None)
    registry.start_chaos(1.0)
    with pytest.raises(OSError, match="chaos"):
        run(form, guarded, pytest.fail)

    assert {"success": 1, "failure": 1, "chaos": 1, "fallback_missing": 1, "exceptions_thrown": 1} == counts(guarded)
    assert {"success": 1} == counts(limited)


@pytest.mark.parametrize("form", FORMS)
def test_events_and_shadow_mode_are_those_of_any_command(registry, clock, form):
    guarded, events = made(registry, shadow=True), []
    for kind in (CallFailed, CallRejected, StateChanged):
        registry.subscribe(kind, events.append)
    with pytest.raises(OSError):
        run(form, guarded, raising(OSError()))
    run(form, guarded, lambda call: None)

    assert ["failure"] == [event.event for event in events if isinstance(event, CallFailed)]
    assert ["open"] == [event.new for event in events if isinstance(event, StateChanged)]
    assert [] == [event for event in events if isinstance(event, CallRejected)]
    assert 1 == counts(guarded)["shadow_rejected"]


# -- what a block says is its result


class Answer:
    def __init__(self, status_code):
        self.status_code = status_code


def got(result):
    def body(call):
        call.result = result
        return "went on"

    return body


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rules", "result", "counted"), [
    (http_status(), Answer(200), {"success": 1}),
    (http_status(), Answer(500), {"failure": 1}),
    (http_status(), Answer(429), {"busy": 1}),
    (http_status(), None, {"success": 1}),
    (FailureRules(results=lambda result: result is None), None, {"failure": 1}),
    (FailureRules(results=lambda result: result is None), 1, {"success": 1}),
])
def test_a_result_is_judged_and_the_block_goes_on(registry, form, rules, result, counted):
    guarded = made(registry, failures=rules)

    assert "went on" == run(form, guarded, got(result))
    assert counted == {name: n for name, n in counts(guarded).items() if name in ("success", "failure", "busy")}
    assert ("open" if "failure" in counted else "closed") == guarded.resilience.state


@pytest.mark.parametrize("form", FORMS)
def test_a_failed_result_is_raised_where_the_rules_say_so(registry, form):
    guarded = made(registry, failures=FailureRules(results=lambda result: True, raise_failures=True))

    with pytest.raises(FailedResultError) as failed:
        run(form, guarded, got(7))
    assert 7 == failed.value.result


@pytest.mark.parametrize("form", FORMS)
def test_nobody_is_asked_about_a_result_that_a_block_has_not_said(registry, form):
    guarded = made(registry, failures=FailureRules(judge=lambda ending: pytest.fail("asked")),
                   rate_limit=RateLimit(10, cost=2, true_cost=lambda result: pytest.fail("asked")))

    run(form, guarded, lambda call: None)
    assert {"success": 1} == counts(guarded)


@pytest.mark.parametrize("form", FORMS)
def test_a_mistake_in_a_rule_about_results_is_the_callers(registry, form):
    guarded = made(registry, failures=FailureRules(results=lambda result: result.missing))

    with pytest.raises(AttributeError, match="missing"):
        run(form, guarded, got(7))
    assert {"bad_request": 1, "exceptions_thrown": 1} == counts(guarded)


@pytest.mark.parametrize("form", ["with", "async with"])
def test_what_policies_ask_of_a_calls_arguments_is_said_when_it_is_entered(registry, clock, form):
    spent = []
    guarded = made(registry, rate_limit=RateLimit(1, per=10.0, by=lambda tenant, **_: tenant))

    for tenant in ("a", "b"):
        run(f"{form} block()", lambda tenant=tenant: guarded(tenant, priority=1), lambda call: spent.append(1))
    with pytest.raises(RateLimitedError):
        run(f"{form} block()", lambda: guarded("a"), pytest.fail)
    assert [1, 1] == spent


# -- one value, many entries


def test_a_block_may_be_entered_within_itself(registry):
    guarded = made(registry, max_concurrent=3)

    with guarded as outer:
        assert 1 == guarded.resilience.in_flight
        with guarded as inner, guarded:
            assert outer is not inner
            assert 3 == guarded.resilience.in_flight
            with pytest.raises(BulkheadFullError), guarded:
                pass
        assert 1 == guarded.resilience.in_flight
    assert {"success": 3} == {name: n for name, n in counts(guarded).items() if name == "success"}
    assert_idle(guarded)


def test_recursion_takes_a_slot_a_level(registry):
    guarded = made(registry, max_concurrent=3)

    def descend():
        with guarded:
            descend()

    with pytest.raises(BulkheadFullError):
        descend()
    assert 0 == guarded.resilience.in_flight


def test_generators_that_take_turns_each_leave_their_own_call(registry, clock):
    guarded = made(registry, max_concurrent=2, breaker=None, failures=FailureRules(results=lambda result: result == 0))

    def stream(result):
        with guarded as call:
            yield
            call.result = result

    first, second = stream(0), stream(1)
    next(first)
    clock.advance(1.0)
    next(second)
    assert [] == list(first)
    assert 1 == counts(guarded)["failure"], "what the first got was bad, whoever began last"
    assert [] == list(second)
    assert 1 == counts(guarded)["success"]


def test_an_exit_stack_leaves_what_it_entered(registry):
    guarded = made(registry, max_concurrent=3)

    with contextlib.ExitStack() as stack:
        stack.enter_context(guarded)
        call = stack.enter_context(guarded())
        with guarded:
            assert 3 == guarded.resilience.in_flight
        stack.callback(lambda: None)
        assert 2 == guarded.resilience.in_flight
        assert "call of" in repr(call)
    assert_idle(guarded)
    with guarded, contextlib.ExitStack() as stack:
        stack.enter_context(guarded)
        stack.pop_all().close()
        assert 1 == guarded.resilience.in_flight
    assert {"success": 5} == counts(guarded)


def test_stacks_of_several_threads_leave_each_their_own(registry):
    guarded = made(registry, max_concurrent=None, breaker=None, failures=FailureRules(exceptions=OSError))
    barrier, wrong = threading.Barrier(4, timeout=10.0), []

    def work(number):
        for _ in range(100):
            stack = contextlib.ExitStack()
            mine = stack.enter_context(guarded)
            barrier.wait()
            stack.close()
            if any(call is mine for call in guarded._open.copy().values()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [] == wrong
    assert {"success": 400} == counts(guarded)
    assert {} == guarded._open


def test_a_block_may_be_left_in_another_thread_also_from_within_itself(registry):
    guarded = made(registry, max_concurrent=3)

    def close(stack):
        with guarded:
            assert 2 == guarded.resilience.in_flight
            stack.close()
            assert 1 == guarded.resilience.in_flight

    stack = contextlib.ExitStack()
    mine = stack.enter_context(guarded)
    closer = threading.Thread(target=close, args=(stack,))
    closer.start()
    closer.join(10.0)
    assert mine not in guarded._open.values()
    assert {"success": 2} == counts(guarded)
    assert_idle(guarded)


async def test_an_async_block_may_be_left_in_another_task(registry):
    guarded = made(registry, max_concurrent=2)
    stack = contextlib.AsyncExitStack()
    await stack.enter_async_context(guarded)
    await asyncio.create_task(stack.aclose())
    await asyncio.create_task(guarded.__aenter__())
    await asyncio.create_task(guarded.__aexit__(None, None, None))

    assert {"success": 2} == counts(guarded)
    assert_idle(guarded)


async def test_tasks_that_take_turns_leave_each_their_own(registry):
    guarded = made(registry, max_concurrent=None, breaker=None)

    async def work(error):
        async with guarded:
            await asyncio.sleep(0)
            with guarded:
                await asyncio.sleep(0)
                if error:
                    raise error

    await asyncio.gather(*(work(OSError() if number % 2 else None) for number in range(10)), return_exceptions=True)
    assert {"success": 10, "failure": 10} == {name: counts(guarded)[name] for name in ("success", "failure")}
    assert {} == guarded._open


def test_leaving_what_was_not_entered_is_an_error(registry):
    guarded = made(registry)
    for left in (guarded, guarded()):
        with pytest.raises(RuntimeError, match="never entered"):
            left.__exit__(None, None, None)


def test_a_call_is_of_use_once_and_leaving_it_twice_changes_nothing(registry):
    guarded = made(registry)
    call = guarded()
    with call, pytest.raises(RuntimeError, match="entered already"):
        call.__enter__()
    error = OSError()
    call.__exit__(None, None, None)
    call.__exit__(OSError, error, None)
    assert {"success": 1} == counts(guarded)


# -- blocks that nobody leaves


@pytest.mark.parametrize("how", ["dropped", "closed"])
def test_a_block_in_a_generator_that_is_not_exhausted_is_cut_short(registry, how):
    guarded = made(registry)

    def stream():
        with guarded:
            yield

    steps = stream()
    next(steps)
    assert 1 == guarded.resilience.in_flight
    if how == "closed":
        steps.close()
    del steps
    gc.collect()
    assert {"cancelled": 1} == counts(guarded)
    assert_idle(guarded)
    assert {} == guarded._open


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_call_that_nobody_leaves_is_cut_short_when_it_is_dropped(registry, kind):
    guarded = made(registry)
    call = guarded()
    if kind == "sync":
        call.__enter__()
    else:
        with pytest.raises(StopIteration):
            call.__aenter__().send(None)
    assert 1 == guarded.resilience.in_flight
    del call
    gc.collect()

    assert {"cancelled": 1} == counts(guarded)
    assert_idle(guarded)


def test_a_failed_block_pins_nothing(registry):
    class Thing:
        pass

    guarded = made(registry, breaker=None)
    thing = Thing()
    alive = weakref.ref(thing)

    def work(held):
        with guarded:
            raise OSError

    gc.disable()
    try:
        with contextlib.suppress(OSError):
            work(thing)
        del thing
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_anywhere_leaves_every_slot_free(fails):
    registry = Registry()
    guarded = block("k", registry=registry, timeout=None, max_concurrent=2, breaker=CircuitBreaker(min_calls=1000, sustained_failures=None),
                    failures=FailureRules(results=lambda result: result != 1))

    def work():
        with contextlib.suppress(OSError), guarded() as call:
            call.result = 1
            if fails:
                raise OSError

    for point in interrupted(work):
        assert 0 == guarded.resilience.in_flight, point


def test_an_interrupt_in_a_with_of_the_block_itself_loses_a_slot_only_before_its_exit_has_found_the_call():
    guarded = block("k", registry=Registry(), timeout=None, max_concurrent=1000, breaker=None)

    def work():
        with guarded:
            pass

    lost = 0
    for _ in interrupted(work):
        lost += len(guarded._open)
        guarded._open.clear()
        assert 0 == guarded.resilience.in_flight
    assert 1 <= lost <= 3, "at the start of __exit__, of sys._getframe, and of _taken"


# -- timeouts


def test_the_time_of_an_async_block_is_up_and_it_is_cancelled():
    async def main():
        loop = asyncio.get_running_loop()
        guarded = block("k", registry=Registry(clock=loop.time), timeout=0.5, max_concurrent=1)
        began = loop.time()
        with pytest.raises(CallTimeoutError) as late:
            async with guarded:
                await asyncio.sleep(0.3)
                await asyncio.sleep(0.3)
        assert 0.5 == loop.time() - began
        assert ("k", 0.5) == (late.value.key, late.value.timeout)
        assert 0 == asyncio.current_task().cancelling()
        assert 1 == counts(guarded)["timeout"]
        assert_idle(guarded)
        async with guarded:
            await asyncio.sleep(0.4)
        assert 1 == counts(guarded)["success"]

    virtual_time(main())


def test_a_cancellation_from_outside_stays_one_also_together_with_the_timeout():
    async def main():
        loop = asyncio.get_running_loop()
        guarded = block("k", registry=Registry(clock=loop.time), timeout=0.5)

        async def work():
            async with guarded:
                await asyncio.sleep(9.0)

        for when in (0.2, 0.5):
            task = asyncio.create_task(work())
            loop.call_later(when, task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
        assert 2 == counts(guarded)["cancelled"]

    virtual_time(main())


def test_a_users_own_timeout_error_is_a_failure():
    async def main():
        guarded = block("k", registry=Registry(), timeout=5.0)
        with pytest.raises(TimeoutError) as error:
            async with guarded:
                async with asyncio.timeout(0.1):
                    await asyncio.sleep(1.0)
        assert not isinstance(error.value, CallTimeoutError)
        assert {"failure": 1} == {name: n for name, n in counts(guarded).items() if name in ("failure", "timeout")}

    virtual_time(main())


def test_within_a_deadline_a_block_ends_with_it_and_hands_its_own_timeout_down():
    async def inside():
        loop = asyncio.get_running_loop()
        outer = block("outer", registry=Registry(clock=loop.time), timeout=0.5)
        inner = block("inner", registry=Registry(clock=loop.time), timeout=5.0)
        with deadline(10.0, clock=loop.time):
            with pytest.raises(CallTimeoutError) as late:
                async with outer:
                    assert 0.5 == pytest.approx(remaining())
                    async with inner:
                        await asyncio.sleep(0.9)
            assert 9.0 < remaining()
        assert late.value.key in ("outer", "inner")
        assert 0 == asyncio.current_task().cancelling()

    async def cut():
        loop = asyncio.get_running_loop()
        guarded = block("k", registry=Registry(clock=loop.time), timeout=0.5)
        with deadline(0.2, clock=loop.time):
            with pytest.raises(DeadlineExceededError):
                async with guarded:
                    await asyncio.sleep(0.4)
            assert remaining() <= 0.0
        assert remaining() is None
        with deadline(10.0, clock=loop.time):
            async with guarded:
                pass
            assert 9.0 < remaining()

    virtual_time(inside())
    virtual_time(cut())


def test_a_wait_for_a_slot_can_be_cancelled_and_is_no_part_of_the_timeout():
    async def main():
        loop = asyncio.get_running_loop()
        guarded = block("k", registry=Registry(clock=loop.time), timeout=0.5, max_concurrent=Bulkhead(1, max_wait=5.0))

        async def work():
            async with guarded:
                await asyncio.sleep(0.4)

        first, second, third = (asyncio.create_task(work()) for _ in range(3))
        await asyncio.sleep(0.1)
        second.cancel()
        await asyncio.gather(first, third)
        assert 0.8 == pytest.approx(loop.time() - 1000.0)
        assert {"success": 2, "cancelled": 1} == counts(guarded)
        assert_idle(guarded)

    virtual_time(main())


def test_a_frozen_registry_freezes_its_blocks(registry):
    registry = Registry()
    guarded = block("k", registry=registry, timeout=None)
    with frozen(registry) as clock:
        for form in FORMS:
            run(form, guarded, lambda call: clock.advance(0.5))
        assert 0.5 == pytest.approx(guarded.resilience.snapshot().latency.mean, rel=0.05)
    run("with block", guarded, lambda call: None)
    assert {"success": 1} == counts(guarded)


@pytest.mark.parametrize("form", ["with block", "with block()"])
def test_a_with_statement_refuses_a_timeout_that_somebody_asked_for(registry, form):
    guarded = block("k", registry=registry, timeout=0.5)

    for _ in range(2):
        with pytest.raises(ConfigError, match="use async with") as error:
            run(form, guarded, pytest.fail)
    assert "timeout" == error.value.option
    assert {} == counts(guarded)


def test_the_default_timeout_is_none_for_a_with_statement_which_no_handle_may_give_one(registry):
    guarded = block("k", registry=registry)

    assert 1.0 == guarded.resilience.settings.timeout
    guarded.resilience.configure(timeout=1.0)
    with guarded:
        pass
    with pytest.raises(ConfigError, match="use async with"):
        guarded.resilience.configure(timeout=0.3)
    guarded.resilience.configure(timeout=None)
    with guarded:
        pass


def test_a_handle_has_given_a_timeout_before_the_first_with(registry):
    guarded = block("k", registry=registry)
    guarded.resilience.configure(timeout=0.3)

    with pytest.raises(ConfigError, match="use async with"), guarded:
        pass
    guarded.resilience.configure(timeout=None)
    with guarded:
        pass


# -- declaration


REFUSED = {
    "retry": Retry(), "hedge": Hedge(idempotent=True), "cache": Cache(), "fallback": lambda: None,
    "failover": Failover(("a", "b")), "stream_timeout": StreamTimeout(total=1.0), "isolation": "thread",
    "pool": ThreadPool(2), "key": None, "max_keys": 3, "idle": 3.0, "result": Chaos(result=lambda result: None),
    "retries": 3, "max_concurrent": 0,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_for_a_block_is_refused_at_its_declaration_and_leaves_no_trace(registry, name):
    key = None if name == "key" else "k"
    settings = {} if name == "key" else {"chaos" if name == "result" else name: REFUSED[name]}

    with pytest.raises(ConfigError) as error:
        block(key, registry=registry, **settings)
    assert name == error.value.option
    assert [] == list(registry)
    if name in ("retry", "hedge", "cache", "fallback", "failover"):
        assert "Put the code into a function" in str(error.value)
    if name in ("retry", "hedge", "cache", "fallback"):
        policy = Pipeline(*block_policies(name), key="k", registry=registry)
        with pytest.raises(ConfigError, match="Put the code into a function"):
            policy.block()


def block_policies(name):
    from resilience import Fallback

    return [Fallback(REFUSED[name]) if name == "fallback" else REFUSED[name]]


def test_a_key_that_is_a_function_is_refused(registry):
    with pytest.raises(ConfigError, match="one command"):
        block(lambda host: host, registry=registry)


def test_a_pipeline_guards_blocks_and_functions_by_one_command(registry):
    pipeline = Pipeline(CircuitBreaker(), Bulkhead(2), Timeout(5.0), key="k", registry=registry)
    guarded = pipeline.block()

    @pipeline
    async def call():
        return 1

    async def main():
        assert 1 == await call()
        async with guarded, pipeline.block():
            pass

    asyncio.run(main())
    assert guarded.resilience is call.resilience is handle_of(guarded)
    assert {"success": 3} == counts(call)
    with pytest.raises(ConfigError, match="the pipeline has 'k'"):
        pipeline.block("other")
    with pytest.raises(ConfigError, match="give it a key"):
        Pipeline(Bulkhead(2), registry=registry).block()
    assert "other" == Pipeline(Bulkhead(2), registry=registry).block("other").resilience.key


def test_a_block_and_a_function_of_one_key_must_agree_and_the_message_says_where_the_block_stands(registry):
    guarded = block("k", registry=registry, max_concurrent=3)

    with pytest.raises(ConfigError, match=r"max_concurrent=3 \(test_block.py:\d+\)"):
        command(key="k", registry=registry, max_concurrent=4)(lambda: None)
    assert __name__ == guarded.resilience.group
    assert "mine" == block("k2", registry=registry, group="mine").resilience.group


def test_explain_shows_a_block_where_it_was_declared(registry):
    guarded = block("k", registry=registry)
    with guarded:
        pass
    chains = explain(guarded).chains

    assert ["async block", "block"] == [each.runs for each in chains]
    assert {__file__} == {str(each.place.file) for each in chains}
    assert ["at worst 1 s", "at worst unbounded: no timeout"] == [str(each.worst_case).split(";")[0] for each in chains]


def test_a_file_sets_a_blocks_command_by_its_key_as_any_other(tmp_path):
    registry = Registry()
    before = block("before", registry=registry)
    file = tmp_path / "resilience.toml"
    file.write_text("""
[commands.before]
timeout = 0.25
max_concurrent = 2

[commands.after]
timeout = 0.5
breaker = { min_calls = 7 }
""")
    with contextlib.closing(configure(file, registry=registry)):
        after = block("after", registry=registry)
        assert (0.25, 2) == (before.resilience.settings.timeout, before.resilience.settings.max_concurrent)
        assert (0.5, 7) == (after.resilience.settings.timeout, after.resilience.settings.breaker.min_calls)

        async def slow(guarded):
            loop = asyncio.get_running_loop()
            began = loop.time()
            with pytest.raises(CallTimeoutError):
                async with guarded:
                    await asyncio.sleep(5.0)
            return loop.time() - began

        assert 0.25 == virtual_time(slow(before))
        assert 0.5 == virtual_time(slow(after))
        with pytest.raises(ConfigError, match="use async with"), after:
            pass


def test_a_removed_command_goes_on_working_for_its_blocks(registry):
    guarded = made(registry)
    assert registry.remove("k")
    with guarded:
        assert 1 == guarded.resilience.in_flight
    run("async with block", guarded, lambda call: None)
    assert {"success": 2} == counts(guarded)
    assert [] == list(registry)
