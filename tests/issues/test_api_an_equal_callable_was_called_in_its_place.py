"""Pipeline.call kept its wrappers by equality, so that a callable equal to an earlier one was not called: that one was.

One user's request went out with another user's token (jax-ml/jax#1637, python/cpython#89155: the same in caches of
others). The equality and the hash of callables decide nothing anywhere.
"""

import dataclasses
import functools
import gc
import weakref

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    Fallback,
    Pipeline,
    RateLimit,
    Retry,
    StateChanged,
    Timeout,
    circuit_breaker,
    command,
)
from resilience.commands.internals import CommandInternals
from resilience.core.batch import Collapse
from resilience.core.callable_identity import by_identity
from resilience.core.events import CallFailed


class Equal:
    """Equal to all others of its kind, as a frozen dataclass is whose one field is left out of the comparison."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, *args):
        return self.answer

    def __eq__(self, other):
        return isinstance(other, Equal)

    def __hash__(self):
        return 1


class Refusing(Equal):
    def __eq__(self, other):
        raise RuntimeError("no ==")

    def __hash__(self):
        raise RuntimeError("no hash")


@dataclasses.dataclass(frozen=True)
class Fetch:
    url: str
    token: str = dataclasses.field(compare=False)

    def __call__(self):
        return f"GET {self.url} with {self.token}"

    def method(self):
        return self()


@pytest.fixture
def compiled(monkeypatch):
    """Each wrapper that a command is told of."""
    found, guards = [], CommandInternals.guards
    monkeypatch.setattr(CommandInternals, "guards",
                        lambda self, function, timeless: (found.append(function), guards(self, function, timeless))[1])
    return found


def test_the_very_callable_is_called_and_not_one_that_is_equal_to_it(registry):
    pipeline = Pipeline(Bulkhead(5), registry=registry)

    assert ["GET /a with 1", "GET /a with 2", "GET /a with 1"] == [
        pipeline.call(Fetch("/a", "1")), pipeline.call(Fetch("/a", "2")), pipeline.call(Fetch("/a", "1"))]


def test_so_are_the_methods_and_partials_of_equal_objects(registry):
    pipeline = Pipeline(Bulkhead(5), key="k", registry=registry)
    one, other = Fetch("/a", "1"), Fetch("/a", "2")

    assert ["GET /a with 1", "GET /a with 2"] == [pipeline.call(one.method), pipeline.call(other.method)]
    assert ["GET /a with 1", "GET /a with 2"] == [
        pipeline.call(functools.partial(Fetch.method, one)), pipeline.call(functools.partial(Fetch.method, other))]
    assert [1, 2] == [pipeline.call(functools.partial(Equal(n), n)) for n in (1, 2)]


def test_methods_of_equal_builtin_objects_are_told_apart(registry):
    pipeline = Pipeline(Bulkhead(5), key="k", registry=registry)
    one, other = [], []
    pipeline.call(one.append, 1)
    pipeline.call(other.append, 2)
    one.clear(), other.clear()
    pipeline.call(one.append, 3)

    assert ([3], []) == (one, other)


def test_a_callable_that_refuses_to_be_compared_is_called(registry):
    pipeline = Pipeline(Bulkhead(5), key="k", registry=registry)

    assert [1, 2] == [pipeline.call(Refusing(1)), pipeline.call(Refusing(2))]


@pytest.mark.parametrize("of", [
    lambda fetch, items: fetch, lambda fetch, items: fetch.method, lambda fetch, items: functools.partial(fetch),
    lambda fetch, items: items.copy])
def test_what_is_the_same_is_compiled_once(registry, compiled, of):
    pipeline, fetch, items = Pipeline(Bulkhead(5), key="k", registry=registry), Fetch("/a", "1"), []
    for _ in range(5):
        pipeline.call(of(fetch, items))

    assert 1 == len(compiled)


def test_what_is_called_often_stays_while_others_come_and_go(registry, compiled):
    pipeline = Pipeline(Bulkhead(5), key="k", registry=registry)

    def often():
        return "often"

    for n in range(300):
        pipeline.call(often)
        pipeline.call(lambda n=n: n)

    assert 301 == len(compiled)


def test_an_object_whose_methods_were_called_goes_with_later_calls(registry):
    pipeline = Pipeline(Bulkhead(5), key="k", registry=registry)
    gone = []
    for n in range(200):
        fetch = Fetch(f"/{n}", "1")
        gone.append(weakref.ref(fetch))
        pipeline.call(fetch.method)
    del fetch
    gc.collect()

    assert sum(ref() is not None for ref in gone) <= 128


VALUES = {
    "rate limit": lambda fn: RateLimit(1, by=fn),
    "cache": lambda fn: Cache(by=fn),
    "adaptive limit": lambda fn: AdaptiveLimit(priorities=fn),
    "retry": lambda fn: Retry(on_result=fn),
    "chaos's error": lambda fn: Chaos(error=fn),
    "chaos's result": lambda fn: Chaos(result=fn),
    "fallback": lambda fn: Fallback(fn),
    "collapse": lambda fn: Collapse(key=fn),
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_policies_whose_callables_are_merely_equal_are_different(make):
    one, other = Equal(1), Equal(2)
    fetch = Fetch("/a", "1")

    assert make(one) != make(other)
    assert make(one) == make(one)
    assert make(fetch.method) == make(fetch.method)
    assert hash(make(fetch.method)) == hash(make(fetch.method))
    assert make(fetch.method) != make(Fetch("/a", "2").method)
    assert make(Refusing(1)) != make(Refusing(2))


def test_a_live_change_to_an_equal_callable_is_a_change(registry):
    @command(registry=registry, key="k", timeout=None, rate_limit=RateLimit(1, by=Equal("one")))
    def call():
        return "called"

    call()
    call.resilience.configure(rate_limit=RateLimit(1, by=Equal("two")))

    assert "called" == call()


def test_functions_of_one_key_with_merely_equal_callables_do_not_agree(registry):
    command(registry=registry, key="k", timeout=None, rate_limit=RateLimit(1, by=Equal(1)))(lambda: None)

    with pytest.raises(ValueError, match="rate_limit"):
        command(registry=registry, key="k", timeout=None, rate_limit=RateLimit(1, by=Equal(2)))(lambda: None)


@pytest.mark.parametrize("kind", [Equal, Refusing])
def test_stacked_keys_that_are_merely_equal_contradict_each_other(registry, kind):
    with pytest.raises(ValueError, match="key: one stack has both"):
        @circuit_breaker(key=kind("one"), registry=registry)
        @command(key=kind("two"), registry=registry, breaker=None, timeout=None)
        def call(): ...


def test_the_same_method_may_be_the_key_of_a_whole_stack(registry):
    class Hosts:
        def of(self, host):
            return host

    hosts = Hosts()

    @circuit_breaker(key=hosts.of, registry=registry)
    @command(key=hosts.of, registry=registry, breaker=None, timeout=None)
    def call(host):
        return host

    assert "a" == call("a")


def test_a_guard_under_an_equal_key_below_somebodys_decorator_is_another(registry):
    def between(fn):
        @functools.wraps(fn)
        def outer(*args):
            return fn(*args)
        return outer

    @circuit_breaker(key=Refusing("outer"), registry=registry)
    @between
    @circuit_breaker(key=Refusing("inner"), registry=registry)
    def call():
        return "called"

    assert "called" == call()


def test_a_pipeline_calls_a_guarded_function_whose_key_refuses_to_be_compared(registry):
    guarded = circuit_breaker(key=Refusing("a"), registry=registry)(lambda: "called")

    assert "called" == Pipeline(Timeout(None), key="k", registry=registry).call(guarded)


def test_equal_listeners_are_told_and_end_each_by_itself(registry):
    told = []

    class Listener(Equal):
        def __call__(self, event):
            told.append(self.answer)

    ends = [registry.subscribe(StateChanged, Listener(n)) for n in (1, 2)]

    @circuit_breaker(registry=registry)
    def call(): ...

    call.resilience.force_open()
    ends[0]()
    call.resilience.release()

    assert [1, 2, 2] == told


def test_events_can_be_compared_and_kept_in_a_set_whatever_their_exceptions_say():
    class Incomparable(Exception):
        def __eq__(self, other):
            raise RuntimeError("no ==")

        __hash__ = None

    one, other = Incomparable(), Incomparable()
    first, second, third = (CallFailed("k", "g", "failure", error, 0.1, 1.0) for error in (one, one, other))

    assert 2 == len({first, second, third})


def test_the_key_of_a_callable_is_that_of_its_object():
    values = [len, [].append, (1).__add__, Fetch("/", "1"), Fetch("/", "1").method, functools.partial(len), lambda: 1]

    for value in values:
        assert by_identity(value) == by_identity(value)
    assert len(values) == len({by_identity(value) for value in values})


def test_a_cache_may_not_be_given_a_by_live_that_is_merely_equal(registry):
    @command(registry=registry, key="k", timeout=None, cache=Cache(by=Equal("one")))
    def call(): ...

    call.resilience.configure(cache=Cache(by=call.resilience.settings.cache.by, ttl=1.0))
    with pytest.raises(ValueError, match="by"):
        call.resilience.configure(cache=Cache(by=Equal("two")))


def test_what_stands_under_the_name_of_a_new_function_may_be_equal_to_anything(registry):
    """It was taken for the function's older self, which a reload may change."""
    name = "in_the_place_of_a_function"

    def make():
        def function(): ...

        function.__name__ = function.__qualname__ = name
        return function

    globals()[name] = Everything()
    try:
        kept = command(registry=registry, timeout=None, max_concurrent=1)(make())
        other = command(registry=registry, timeout=None, max_concurrent=2)(make())
    finally:
        del globals()[name]
    assert kept() is None
    assert kept.resilience is not other.resilience


class Everything:
    def __eq__(self, other):
        return True

    __hash__ = None


class CallsItselfFalse(Equal):
    def __bool__(self):
        return False



@pytest.mark.parametrize("settings", [{"error": CallsItselfFalse(OSError("chaos")), "error_rate": 1.0},
                                      {"result": CallsItselfFalse("spoilt"), "result_rate": 1.0}])
def test_chaos_uses_callables_that_call_themselves_false(registry, settings):
    @command(registry=registry, timeout=None, breaker=None, chaos=Chaos(**settings))
    def call():
        return "fine"

    registry.start_chaos(60.0)
    try:
        outcome = call()
    except OSError as error:
        outcome = str(error)

    assert outcome in ("chaos", "spoilt")


def test_priorities_that_call_themselves_false_are_priorities_all_the_same(registry):
    with pytest.raises(ValueError, match="priorities of an adaptive limit"):
        command(registry=registry, timeout=1.0, adaptive_limit=AdaptiveLimit(priorities=CallsItselfFalse(1)))(lambda: None)
