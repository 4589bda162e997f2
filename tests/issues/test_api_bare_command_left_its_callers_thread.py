"""A bare @command moved a plain function to a worker thread, where its caller's transaction, session and thread-locals are not.

sqlite3, Django's connections and SQLAlchemy's scoped_session belong to a thread; nobody had asked for a timeout.
"""

import asyncio
import contextvars
import logging
import sqlite3
import threading

import pytest

from resilience import (
    AdaptiveLimit,
    Cache,
    CallTimeoutError,
    CircuitBreaker,
    ConfigError,
    Hedge,
    Pipeline,
    Registry,
    Retry,
    ThreadPool,
    Timeout,
    bulkhead,
    command,
    explain,
    timeout,
)
from resilience.config import configure
from tests.drivers.until import until

LONG = 30.0


def here():
    return threading.current_thread()


def is_here(call):
    return call() is threading.current_thread()


@pytest.mark.parametrize("said", [
    {}, {"max_concurrent": 3}, {"retry": Retry(attempts=2)}, {"cache": Cache(ttl=0.001)}, {"isolation": "semaphore"},
    {"fallback": lambda: None}, {"timeout": None}, {"breaker": CircuitBreaker(min_calls=2)},
])
def test_a_plain_function_stays_in_its_callers_thread_when_no_timeout_is_said(registry, said):
    call = command(key="k", registry=registry, **said)(here)

    assert is_here(call)
    assert (None, "semaphore", None) == (call.resilience.settings.timeout, call.resilience.settings.isolation,
                                         call.resilience.pool)
    assert {} == registry.pools()


@pytest.mark.parametrize("said", [
    {"timeout": 1.0}, {"timeout": LONG}, {"isolation": "thread"}, {"isolation": "thread", "timeout": None},
    {"pool": ThreadPool(size=2)}, {"hedge": Hedge(delay=LONG, idempotent=True)},
])
def test_it_runs_on_a_thread_when_something_is_said_that_needs_one(registry, said):
    call = command(key="k", registry=registry, **said)(here)

    assert not is_here(call)
    assert "thread" == call.resilience.settings.isolation
    assert said.get("timeout", 1.0) == call.resilience.settings.timeout


def test_single_policies_say_their_timeout_and_a_stack_is_as_if_it_were_said_in_one(registry):
    assert not is_here(timeout(LONG, key="a", registry=registry)(here))
    assert not is_here(Pipeline(Timeout(LONG), key="b", registry=registry)(here))
    assert not is_here(bulkhead(3, key="c", registry=registry)(timeout(LONG, registry=registry)(here)))
    assert is_here(bulkhead(3, key="d", registry=registry)(here))


def test_bare_on_methods_and_callable_objects(registry):
    class Shop:
        @command(registry=registry)
        def method(self):
            return here()

        @classmethod
        @command(registry=registry)
        def of_class(cls):
            return here()

        def __call__(self):
            return here()

    assert is_here(Shop().method)
    assert is_here(Shop.of_class)
    assert is_here(command(key="object", registry=registry)(Shop()))
    assert is_here(command(key=lambda: "by key", registry=registry)(here))


def test_the_callers_database_connection_is_there(registry):
    database = sqlite3.connect(":memory:")
    database.execute("create table t (n)")

    @command(key="count", registry=registry)
    def count():
        return database.execute("select count(*) from t").fetchone()[0]

    with database:
        database.execute("insert into t values (1)")
        assert 1 == count()
    database.close()


def test_a_function_that_shares_its_key_with_a_coroutine_function_stays_too(registry):
    @command(key="k", registry=registry)
    async def other():
        await asyncio.sleep(0)

    call = command(key="k", registry=registry)(here)

    assert is_here(call)
    assert 1.0 == other.resilience.settings.timeout


# -- a timeout that is said later


def test_a_timeout_that_the_handle_says_moves_the_calls_and_taking_it_back_returns_them(registry):
    go = threading.Event()

    def work(wait=False):
        if wait:
            go.wait(LONG)
        return threading.current_thread()

    call = command(key="k", registry=registry, max_concurrent=2, fallback=None)(work)
    assert call() is threading.current_thread()
    call.resilience.configure(timeout=0.001)
    with pytest.raises(CallTimeoutError):
        call(wait=True)
    assert (1, "thread") == (call.resilience.in_flight, call.resilience.settings.isolation)
    assert 2 == call.resilience.pool.size
    go.set()
    until(lambda: call.resilience.in_flight == 0)
    call.resilience.configure(timeout=None)

    assert call() is threading.current_thread()
    assert (None, "semaphore") == (call.resilience.settings.timeout, call.resilience.settings.isolation)
    assert 2 == call.resilience.snapshot().counts["success"]


@pytest.mark.parametrize("first", ["file", "function"])
def test_a_timeout_that_a_file_says_of_the_command_moves_its_calls_whichever_comes_first(first):
    registry = Registry()
    tables = {"commands": {"k": {"timeout": LONG}}}
    if first == "file":
        configuration = configure(tables, registry=registry, environ={})
    call = command(key="k", registry=registry, fallback=lambda: "fallback")(here)
    if first == "function":
        assert is_here(call)
        configuration = configure(tables, registry=registry, environ={})

    assert not is_here(call)
    assert ("thread", ()) == (explain(call).chains[0].runs, configuration.mistakes)
    configuration.close()
    assert is_here(call)


def test_what_a_file_says_of_all_commands_moves_none(registry):
    call = command(key="k", group="g", registry=registry)(here)
    configuration = configure({"defaults": {"timeout": 2.0}, "groups": {"g": {"timeout": 3.0}}}, registry=registry,
                              environ={})

    assert is_here(call)
    assert () == configuration.mistakes


def test_a_function_with_a_key_for_each_call_moves_too(registry):
    call = command(key=str, registry=registry)(lambda host: threading.current_thread())
    assert call("a") is threading.current_thread()
    call.resilience["a"].configure(timeout=LONG)

    assert call("a") is not threading.current_thread()
    assert call("b") is threading.current_thread()


def test_what_moved_still_answers_with_its_fallback_caches_and_retries(registry):
    calls = []

    def work(n):
        calls.append(n)
        raise OSError(n)

    call = command(key="k", registry=registry, retry=Retry(attempts=2, base=0.0), fallback=lambda n, *, error: -n)(work)
    cached = command(key="c", registry=registry, cache=Cache(ttl=LONG))(lambda n: calls.append(n) or n)
    for each in (call, cached):
        each.resilience.configure(timeout=LONG)

    assert (-3, [3, 3]) == (call(3), calls)
    assert ([4, 4], [3, 3, 4]) == ([cached(4), cached(4)], calls)


def test_one_whose_callers_wait_in_line_cannot_be_moved_and_says_so(registry):
    call = command(key="k", registry=registry, adaptive_limit=AdaptiveLimit(max_queue=3))(here)

    with pytest.raises(ConfigError, match="decorate it with timeout=... or isolation='thread'"):
        call.resilience.configure(timeout=1.0)


# -- what can be known


def test_explain_says_that_no_timeout_is_in_force_and_what_would_give_it_one(registry):
    bare, said = command(key="a", registry=registry)(here), command(key="b", registry=registry, timeout=None)(here)

    assert "Timeout" not in explain(bare).chains[0].policies
    assert "timeout=... or isolation='thread' would move it to a worker thread" in str(explain(bare))
    assert "" == explain(said).chains[0].hint


def no_locals():
    return threading.local().session


def wrong_thread(database=sqlite3.connect(":memory:")):
    return database.execute("select 1")


def no_loop():
    return asyncio.get_event_loop()


@pytest.mark.parametrize("complains", [no_locals, wrong_thread, no_loop])
def test_an_error_that_complains_of_the_thread_names_the_isolation_once(registry, complains):
    shared = []

    def work():
        try:
            return complains()
        except Exception as error:
            shared.append(error)
            raise shared[0] from None

    moved = command(key="moved", registry=registry, timeout=LONG)(work)
    for _ in range(3):
        with pytest.raises(Exception) as caught:
            moved()
    assert caught.value is shared[0]
    [note] = caught.value.__notes__
    assert "isolation='semaphore' keeps the call in its caller's thread" in note


def test_other_errors_and_calls_that_stay_get_no_note_and_an_error_that_takes_none_comes_as_it_is(registry):
    class Frozen(AttributeError):
        __slots__ = ()

        def add_note(self, note):
            raise TypeError("frozen")

    class Hostile(Exception):
        @property
        def args(self):
            raise RuntimeError("hostile")

    complaint = "'_thread._local' object has no attribute 'x'"
    for error in (ValueError("mine"), OSError(5, "x"), Frozen(complaint), Hostile(), ValueError()):
        def fails(error=error):
            raise error

        with pytest.raises(type(error)) as caught:
            command(key=str(id(error)), registry=registry, timeout=LONG)(fails)()
        assert caught.value is error
        assert () == getattr(error, "__notes__", ())
    with pytest.raises(AttributeError) as caught:
        command(key="stays", registry=registry)(no_locals)()
    assert () == getattr(caught.value, "__notes__", ())


# -- cleaning up on the worker


def test_a_cleanup_runs_on_the_worker_after_each_call_also_of_one_that_was_left_and_nowhere_else(registry):
    go, seen, variable = threading.Event(), [], contextvars.ContextVar("variable", default=None)

    def clean_up():
        seen.append((threading.current_thread().name, variable.get(), call.resilience.in_flight))

    end = registry.after_isolated_calls(clean_up)
    call = command(key="k", group="g", registry=registry, timeout=LONG)(
        lambda wait=False: variable.set("the call's") and (wait and go.wait(LONG)))
    stays = command(key="stays", registry=registry)(here)
    stays()
    assert [] == seen
    call()
    assert [("resilience-g-1", "the call's", 1)] == seen

    call.resilience.configure(timeout=0.001)
    with pytest.raises(CallTimeoutError):
        while True:
            call(wait=True)
    go.set()
    until(lambda: not call.resilience.in_flight)
    before = len(seen)
    end()
    end()
    call.resilience.configure(timeout=LONG)
    call()
    assert before == len(seen)


def test_a_cleanup_that_raises_is_logged_and_harms_nobody(registry, caplog):
    def fails():
        raise SystemExit("mine")

    registry.after_isolated_calls(fails)
    call = command(key="k", registry=registry, timeout=LONG)(lambda: "answer")

    with caplog.at_level(logging.ERROR, logger="resilience"):
        assert ["answer", "answer"] == [call(), call()]
    assert 2 == sum("clean up after isolated calls" in record.message for record in caplog.records)
    until(lambda: not call.resilience.in_flight)
    with pytest.raises(TypeError, match="clean_up must be callable"):
        registry.after_isolated_calls(None)
