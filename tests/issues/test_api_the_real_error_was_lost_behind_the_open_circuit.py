"""Nothing could say why a circuit was open: not the refusal, its cause, an event, the snapshot, the stream, or the log.

A retried call whose own failures opened the circuit ended in a CircuitOpenError with neither cause nor context. Polly
has the last exception on its BrokenCircuitException, and users of pybreaker, circuitbreaker and opossum ask for it.
"""

import asyncio
import copy
import gc
import json
import logging
import pickle
import weakref

import pytest

from resilience import (
    BadRequestError,
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    LastFailure,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Registry,
    Retry,
    StateChanged,
    command,
    deadline,
)
from resilience.metrics.stream import Encoder
from resilience.testing import ManualClock

FLAVOURS = ["sync", "thread", "async"]


@pytest.fixture
def clock():
    return ManualClock(1000.0)


@pytest.fixture
def registry(clock):
    return Registry(clock=clock)


def made(flavour, fn, **settings):
    """*fn* guarded in one flavour, as something that is called plainly; its command is ``resilience``."""
    if flavour != "async":
        return command(isolation="thread" if flavour == "thread" else "auto", timeout=None, **settings)(fn)

    @command(timeout=None, **settings)
    async def awaited():
        return fn()

    def call():
        coroutine = awaited()  # without a loop, whose tasks keep exceptions and frames for a while
        try:
            while True:
                coroutine.send(None)
        except StopIteration as end:
            return end.value

    call.resilience = awaited.resilience
    return call


def raising(*errors):
    """A function that raises these one after the other, and returns what is no exception."""
    left = iter(errors)

    def fn():
        error = next(left)
        try:
            if isinstance(error, BaseException):
                raise error
            return error
        finally:
            del error  # or this frame and the exception would keep each other

    return fn


def caught(call, kind=Exception):
    with pytest.raises(kind) as info:
        call()
    return info.value


# -- the cause of a refusal after retries


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_refusal_after_retries_has_the_targets_error_as_its_cause(registry, flavour):
    call = made(flavour, raising(OSError("first"), error := ConnectionError("no route")), key="k", registry=registry,
                breaker=CircuitBreaker(min_calls=2), retry=Retry(attempts=5, base=0.001, jitter="none"))

    refusal = caught(call, CircuitOpenError)

    assert refusal.__cause__ is error
    assert "fn" == error.__traceback__.tb_next.tb_frame.f_code.co_name or flavour != "sync"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_fallback_sees_it_too(registry, flavour):
    seen = []
    call = made(flavour, raising(error := ConnectionError("no route")), key="k", registry=registry,
                breaker=CircuitBreaker(min_calls=1), retry=Retry(base=0.001),
                fallback=lambda *, error: seen.append((error, error.__cause__)))

    assert call() is None
    assert [(CircuitOpenError, error)] == [(type(each), cause) for each, cause in seen]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_refusal_that_is_retried_itself_hands_the_cause_on(registry, flavour):
    call = made(flavour, raising(error := ConnectionError("no route")), key="k", registry=registry,
                breaker=CircuitBreaker(min_calls=1), retry=Retry(attempts=4, base=0.001, retry_rejections=True, respect_retry_after=False))

    refusal = caught(call, CircuitOpenError)

    assert refusal.__cause__ is error


def test_another_gates_refusal_has_it_too(registry):
    call = command(key="k", registry=registry, timeout=None, breaker=None, rate_limit=RateLimit(1, per=3600.0),
                   retry=Retry(base=0.001))(raising(error := ConnectionError("no route")))

    refusal = caught(call, RateLimitedError)

    assert refusal.__cause__ is error


def test_an_answer_that_was_not_wanted_in_between_does_not_lose_it(registry):
    call = command(key="k", registry=registry, timeout=None, breaker=None, rate_limit=RateLimit(2, per=3600.0, burst=2),
                   retry=Retry(attempts=4, base=0.001, on_result=lambda result: result is None))(
        raising(error := ConnectionError("no route"), None))

    assert caught(call, RateLimitedError).__cause__ is error


def test_a_refusal_at_the_first_attempt_has_none(registry):
    call = command(key="k", registry=registry, timeout=None, retry=Retry())(len)
    call.resilience.force_open()

    assert caught(lambda: call("x"), CircuitOpenError).__cause__ is None


@pytest.mark.parametrize("last", [ValueError("last"), BadRequestError("last"), CircuitOpenError("inner", 1.0)])
def test_an_error_that_is_the_callers_or_the_targets_own_is_left_as_it_is(registry, last):
    """Also when it is a refusal that came from a command inside."""
    call = command(key="k", registry=registry, timeout=None, retry=Retry(attempts=2, base=0.001))(
        raising(ConnectionError("no route"), last))

    assert caught(call) is last
    assert last.__cause__ is None


def test_an_error_of_the_users_own_code_in_a_gate_is_left_as_it_is(registry):
    answers, mistake = iter(["all"]), ZeroDivisionError("in the key of a rate limit")

    def key():
        for answer in answers:
            return answer
        raise mistake

    call = command(key="k", registry=registry, timeout=None, rate_limit=RateLimit(5, by=key),
                   retry=Retry(attempts=2, base=0.001))(raising(ConnectionError("no route")))

    caught(call)
    assert mistake.__traceback__ is not None
    assert mistake.__cause__ is None


@pytest.fixture
def uncollected():
    """A class of exceptions, and weak references to all that were made of it; nothing is collected meanwhile."""
    made = []

    class Local(Exception):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(weakref.ref(self))

    gc.collect()
    gc.disable()
    yield Local, made
    gc.enable()


@pytest.mark.parametrize(("outcomes", "settings"), [
    ("LL7", {}), ("LLL", {}), ("LN7", {"on_result": lambda result: result is None}),
    ("L0", {"on_result": lambda result: 1 / result}), ("LL7", {"attempts": 2}), ("LB", {}), ("LLK", {}),
], ids=["answered", "failed", "judged", "mistaken", "given up", "bad request", "interrupted"])
@pytest.mark.parametrize("gates", [{}, {"breaker": CircuitBreaker(min_calls=2), "fallback": lambda: 0},
                                   {"rate_limit": RateLimit(1, per=3600.0)}], ids=["bare", "fallback_ended", "refused"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_no_call_leaves_its_exceptions_to_the_garbage_collector(registry, uncollected, flavour, outcomes, settings, gates):
    Local, left = uncollected
    made_of = {"L": lambda n: Local("x" * n), "7": lambda n: 7, "0": lambda n: 0, "N": lambda n: None,
               "B": lambda n: BadRequestError("mine"), "K": lambda n: Stop()}

    call = made(flavour, raising_by(made_of[each] for each in outcomes),
                **{"registry": registry, "breaker": None, "retry": Retry(**{"base": 0.001, **settings}), **gates})
    try:
        call()
    except (Exception, Stop):
        pass

    assert left
    assert {None} == {each() for each in left}


class Stop(BaseException):
    pass


def raising_by(makers):
    """As raising(), of exceptions that nobody else has; the n-th is made with n."""
    makers = enumerate(list(makers), 1)

    def fn():
        n, make = next(makers)
        answer = make(n)
        try:
            if isinstance(answer, BaseException):
                raise answer
            return answer
        finally:
            del answer

    return fn


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_interrupted_pause_leaves_nothing_either(uncollected, flavour):
    Local, left = uncollected

    class Interrupted(ManualClock):
        def sleep(self, seconds):
            raise Stop

    call = made(flavour, raising_by([lambda n: Local()]), registry=Registry(clock=Interrupted()), breaker=None,
                retry=Retry(base=0.001))
    try:
        call()
    except Stop:
        pass

    assert [None] == [each() for each in left]


# -- what the refusal itself says


def opened(registry, clock, *errors, **settings):
    """A command that these errors opened, half a second apart."""
    call = command(key="stock", registry=registry, timeout=None, **settings)(raising(*errors))
    for _ in errors:
        clock.advance(0.5)
        try:
            call()
        except Exception:
            pass
    return call


def test_a_refusal_says_why_the_circuit_is_open_and_what_failed_last(registry, clock):
    call = opened(registry, clock, 1, 2, 3, OSError("a"), *[ConnectionError("no route to 10.1.2.3")] * 4,
                  breaker=CircuitBreaker(min_calls=8, open_for=10.0))
    clock.advance(3.25)

    refusal = caught(call, CircuitOpenError)

    assert ("stock: the circuit is open, opened 3.25 s ago: 5 of 8 calls failed, last ConnectionError('no route to 10.1.2.3') "
            "3.25 s ago; retry in 6.75 s") == str(refusal)
    assert LastFailure("ConnectionError", "no route to 10.1.2.3", 1004.0, 4) == refusal.last_failure
    assert "5 of 8 calls failed" == refusal.why
    assert 6.75 == refusal.retry_after


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_it_survives_the_journey_to_another_process(registry, clock, again):
    refusal = caught(opened(registry, clock, ConnectionError("no route"), breaker=CircuitBreaker(min_calls=1)))

    there = again(refusal)

    assert str(refusal) == str(there)
    assert LastFailure("ConnectionError", "no route", 1000.5, 1) == there.last_failure
    assert there.last_failure == pickle.loads(pickle.dumps(there.last_failure))


def test_probes_that_failed_are_told_and_the_first_cause_stays(registry, clock):
    call = opened(registry, clock, *[OSError("a")] * 4, breaker=CircuitBreaker(min_calls=2, open_for=0.5))
    clock.advance(0.25)

    assert ("stock: the circuit is open, opened 1.25 s ago: 2 of 2 calls failed, and 2 probes failed since, last OSError('a') "
            "0.25 s ago; retry in 0.25 s") == str(caught(call))
    snapshot = call.resilience.snapshot()
    assert (1001.0, 1002.0) == (snapshot.opened_at, snapshot.state_since)


def test_a_call_beside_a_probe_is_told_that_it_is_under_way(registry, clock):
    said = []

    def probe():
        said.append(str(caught(call, CircuitOpenError)))

    call = command(key="stock", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1, open_for=2.0))(
        lambda: (_ for _ in ()).throw(OSError("a")) if not said_yet() else probe())
    answers = iter([False, True])

    def said_yet():
        return next(answers)

    caught(call, OSError)
    clock.advance(2.0)
    call()

    assert ["stock: the circuit is open, opened 2 s ago, and its probes are under way: 1 call failed, last OSError('a') "
            "2 s ago; retry in 2 s"] == said


def test_a_circuit_that_slow_calls_opened_says_so(registry, clock):
    @command(key="stock", registry=registry, timeout=None,
             breaker=CircuitBreaker(min_calls=5, failure_rate=None, slow_call=1.0, slow_rate=0.6))
    def call(seconds):
        clock.advance(seconds)
        if seconds == 0.5:
            raise OSError("fast and bad")

    for seconds in (0.5, 0.125, 1.0, 1.0, 1.0):
        try:
            call(seconds)
        except OSError:
            pass

    refusal = caught(lambda: call(0.0))
    assert "stock: the circuit is open, opened 0 s ago: 3 of 5 calls were slow; retry in 5 s" == str(refusal)
    assert "OSError" == refusal.last_failure.type, "which is there for who asks, but not the reason"


def test_calls_that_are_slow_while_they_run_are_counted_in_the_reason(registry, clock):
    async def main():
        @command(key="stock", registry=registry, timeout=None,
                 breaker=CircuitBreaker(min_calls=4, slow_call=1.0, slow_rate=1.0))
        async def call():
            await forever.wait()

        forever = asyncio.Event()
        tasks = [asyncio.ensure_future(call()) for _ in range(5)]
        await asyncio.sleep(0)
        for _ in range(12):
            clock.advance(0.125)
            tasks.append(asyncio.ensure_future(call()))
            await asyncio.sleep(0)
        forever.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return str(call.resilience.snapshot().reason)

    assert "5 of 5 calls were slow" == asyncio.run(main())


def test_an_operators_word_is_told_and_no_wait(registry, clock):
    call = opened(registry, clock, OSError("a"))
    call.resilience.force_open()
    clock.advance(7200.0)

    refusal = caught(call, CircuitOpenError)

    assert "stock: the circuit is open, opened 7200 s ago: an operator forced it open, until it is released" == str(refusal)
    assert refusal.retry_after is None
    snapshot = call.resilience.snapshot()
    assert (None, "an operator forced it open, until it is released") == (snapshot.retry_after, snapshot.reason)


def test_failures_in_a_row_and_a_restored_circuit_are_told_in_words(registry, clock):
    call = opened(registry, clock, *[OSError("a")] * 3, breaker=CircuitBreaker(consecutive=3))
    assert "3 calls in a row failed" == caught(call).why
    other = command(key="stock", registry=Registry(clock=clock), timeout=None)(len)
    other.resilience.restore(call.resilience.save())
    assert ("stock: the circuit is open, opened 0 s ago: it was open before the process was started anew; retry in 5 s"
            == str(caught(other)))
    slow = command(key="slow", registry=registry, timeout=None)(raising(*[OSError("a")] * 5))
    for _ in range(5):
        clock.advance(19.0)
        caught(slow, OSError)
    assert "5 calls in a row failed, over 76 s" == caught(slow, CircuitOpenError).why


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_timeout_is_a_failure_too(flavour):
    registry = Registry()
    settings = {"key": "k", "registry": registry, "timeout": 0.001, "breaker": CircuitBreaker(min_calls=1)}
    if flavour == "async":
        @command(**settings)
        async def slow():
            await asyncio.sleep(30)

        call = lambda: asyncio.run(slow())  # noqa: E731
    else:
        import threading

        released = threading.Event()
        slow = call = command(**settings)(lambda: released.wait(30))
    error = caught(call, CallTimeoutError)
    if flavour != "async":
        released.set()

    failure = caught(call, CircuitOpenError).last_failure
    assert ("resilience.errors.CallTimeoutError", str(error), 1) == (failure.type, failure.message, failure.count)


def test_generators_tell_it_too(registry):
    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1))
    def items():
        yield 1
        raise OSError("cut off")

    caught(lambda: list(items()), OSError)

    assert "OSError('cut off')" == str(caught(lambda: list(items()), CircuitOpenError).last_failure)


@pytest.mark.parametrize("counted", [True, False])
def test_an_inner_refusal_is_one_where_the_breaker_counts_those(registry, clock, counted):
    def fill():
        return caught(call, BulkheadFullError)

    call = command(key="k", registry=registry, timeout=None, max_concurrent=1,
                   breaker=CircuitBreaker(min_calls=2, count_rejections=counted))(lambda: fill() and fill())
    call()

    failure = call.resilience.snapshot().last_failure
    assert (("resilience.errors.BulkheadFullError", 2) if counted else None) == (failure and (failure.type, failure.count))
    assert ("open" if counted else "closed") == call.resilience.state


@pytest.mark.parametrize(("slow_call", "told"), [(0.0005, "resilience.errors.DeadlineExceededError"), (5.0, None)])
def test_a_callers_own_deadline_is_one_where_it_left_as_long_as_a_slow_call_takes(slow_call, told):
    @command(key="k", registry=Registry(), timeout=30.0,
             breaker=CircuitBreaker(min_calls=1, slow_call=slow_call, slow_rate=1.0))
    async def call():
        await asyncio.sleep(30)

    async def hurried():
        with deadline(0.002):
            await call()

    caught(lambda: asyncio.run(hurried()), TimeoutError)

    failure = call.resilience.snapshot().last_failure
    assert told == (failure and failure.type)
    assert ("open" if told else "closed") == call.resilience.state


def test_what_is_no_failure_is_not_told(registry):
    call = command(key="k", registry=registry, timeout=None, ignore=(KeyError,))(
        raising(KeyError("mine"), BadRequestError("mine"), KeyboardInterrupt(), 7))
    for kind in (KeyError, BadRequestError, KeyboardInterrupt):
        caught(call, kind)
    assert 7 == call()

    assert call.resilience.snapshot().last_failure is None


def test_a_fallbacks_own_failure_is_not_the_targets(registry):
    call = command(key="k", registry=registry, timeout=None, fallback=raising(ValueError("of the fallback")))(
        raising(OSError("of the target")))
    caught(call, ValueError)

    assert "OSError" == call.resilience.snapshot().last_failure.type


def test_every_key_of_a_keyed_command_has_its_own(registry):
    @command(key=lambda host: f"get {host}", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1))
    def get(host):
        raise OSError(f"{host} is down")

    for host in ("a", "b"):
        caught(lambda host=host: get(host), OSError)

    for host in ("a", "b"):
        refusal = caught(lambda host=host: get(host), CircuitOpenError)
        assert (f"get {host}", f"{host} is down") == (refusal.key, refusal.last_failure.message)


def test_pipelines_and_commands_without_a_breaker_have_it_too(registry, clock):
    call = Pipeline(Fallback(lambda: 0), Bulkhead(2), key="k", registry=registry)(raising(OSError("down")))
    assert 0 == call()

    snapshot = call.resilience.snapshot()
    assert LastFailure("OSError", "down", 1000.0, 1) == snapshot.last_failure
    assert (None, None, None) == (snapshot.state_since, snapshot.opened_at, snapshot.reason)


def test_reset_forgets_it(registry, clock):
    call = opened(registry, clock, OSError("a"), breaker=CircuitBreaker(min_calls=1))
    call.resilience.reset()

    snapshot = call.resilience.snapshot()
    assert (None, None, None) == (snapshot.last_failure, snapshot.reason, snapshot.opened_at)


# -- elsewhere


def test_a_listener_is_told_with_each_change(registry, clock):
    heard = []
    registry.subscribe(StateChanged, heard.append)
    call = opened(registry, clock, *[OSError("a")] * 2, 7, breaker=CircuitBreaker(min_calls=2, open_for=0.5))
    call.resilience.force_closed()

    assert ["2 of 2 calls failed", "its wait is over, and a call came", "its probes succeeded",
            "an operator forced it closed, until it is released"] == [event.reason for event in heard]
    assert {LastFailure("OSError", "a", 1001.0, 2)} == {event.last_failure for event in heard}
    assert heard == list(call.resilience.snapshot().transitions)


def test_the_stream_has_it(registry, clock):
    encoder = Encoder()

    def tick():
        (text,) = encoder.messages(registry, 0)
        assert text.isascii()
        message = json.loads(text)
        return {name: message[name] for name in ("state_since_s", "forced", "opened_ago_s", "reason", "last_failure",
                                                 "retry_after_s")}

    call = command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=2, open_for=4.0))(
        raising(OSError('"quoted" 100 %d\n\ud800'), OSError("b")))
    clock.advance(8.0)
    assert {"state_since_s": 8.0, "forced": False, "opened_ago_s": None, "reason": None, "last_failure": None,
            "retry_after_s": None} == tick()
    caught(call)
    assert {"type": "OSError", "message": '"quoted" 100 %d\n\ud800', "ago_s": 0.0, "count": 1} == tick()["last_failure"]
    caught(call)
    clock.advance(1.5)
    assert {"state_since_s": 1.5, "forced": False, "opened_ago_s": 1.5, "reason": "2 of 2 calls failed",
            "last_failure": {"type": "OSError", "message": "b", "ago_s": 1.5, "count": 2}, "retry_after_s": 2.5} == tick()
    call.resilience.force_open()
    told = tick()
    assert (True, 0.0, None, None) == (told["forced"], told["state_since_s"], told["opened_ago_s"], told["retry_after_s"])
    call.resilience.force_closed()
    assert (True, None) == (tick()["forced"], tick()["reason"])


def test_one_line_is_logged_for_each_change_and_none_for_a_refusal(registry, clock, caplog):
    caplog.set_level(logging.DEBUG, "resilience")
    call = opened(registry, clock, *[OSError("a\nb")] * 3, 7, breaker=CircuitBreaker(min_calls=2, open_for=0.5))
    call.resilience.force_open()
    for _ in range(100):
        caught(call, CircuitOpenError)
    call.resilience.release()

    assert [
        ("WARNING", "'stock': the circuit went from closed to open: 2 of 2 calls failed; "
                    "the last failure was OSError('a\\nb')"),
        ("INFO", "'stock': the circuit went from open to half_open: its wait is over, and a call came"),
        ("WARNING", "'stock': the circuit went from half_open to open: 2 of 2 calls failed, and 1 probe failed since; "
                    "the last failure was OSError('a\\nb')"),
        ("INFO", "'stock': the circuit went from open to half_open: its wait is over, and a call came"),
        ("INFO", "'stock': the circuit went from half_open to closed: its probes succeeded"),
        ("WARNING", "'stock': the circuit went from closed to forced_open: "
                    "an operator forced it open, until it is released"),
        ("INFO", "'stock': the circuit went from forced_open to closed: an operator released it"),
    ] == [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "resilience"]


def test_shadow_mode_says_that_nothing_is_refused(registry, clock, caplog):
    opened(registry, clock, OSError("a"), breaker=CircuitBreaker(min_calls=1), shadow=True)

    assert "in shadow mode no call is refused" in caplog.text


def test_a_log_filter_that_raises_harms_no_call(registry, clock):
    def broken(record):
        raise RuntimeError("broken filter")

    logger = logging.getLogger("resilience")
    logger.addFilter(broken)
    try:
        call = opened(registry, clock, OSError("a"), breaker=CircuitBreaker(min_calls=1))
    finally:
        logger.removeFilter(broken)

    assert "open" == call.resilience.state


def test_no_exception_is_kept_alive_by_a_command(registry, uncollected):
    Local, left = uncollected
    call = command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1))(
        raising_by([lambda n: Local("down")]))
    try:
        call()
    except Local:
        pass
    refusal = caught(call, CircuitOpenError)

    assert "down" in str(refusal)
    assert [None] == [each() for each in left]


def test_a_gateway_keeps_the_changes_of_its_circuits_off_the_terminal_and_nothing_else(registry, clock, capfd):
    from resilience.gateway import server
    from resilience.gateway.logs.messages import MessageHandler

    logger = logging.getLogger("resilience")
    before, propagates, level = logger.handlers[:], logger.propagate, logger.level
    logger.propagate = False  # pytest has handlers at the root
    try:
        server.log_to_stderr()
        server.log_to_stderr()
        assert len(before) + 2 == len(logger.handlers), "nor does it add to what somebody configured"
        opened(registry, clock, OSError("a"), breaker=CircuitBreaker(min_calls=1))
        logger.warning("chaos for 60 s")
        logger.info("of no interest")
        logger.info("s: 10.0.0.1:80 is back", extra={"upstream": "10.0.0.1:80"})
        for handler in logger.handlers:
            if isinstance(handler, MessageHandler):
                handler.writer.close()
    finally:
        logger.handlers[:], logger.propagate = before, propagates
        logger.setLevel(level)

    assert ("s: 10.0.0.1:80 is back\n", "chaos for 60 s\n") == capfd.readouterr()
