"""What can be decorated, and that it looks and runs as before."""

import asyncio
import copy
import functools
import inspect
import pickle

import pytest

from resilience import (
    Bulkhead,
    CircuitBreaker,
    ConfigError,
    Fallback,
    Pipeline,
    Timeout,
    bulkhead,
    circuit_breaker,
    command,
    fallback,
    timeout,
)


@command(key="pickled function", timeout=None)
def picklable(x):
    return x + 1


class Base:
    def __init__(self, n):
        self.n = n

    @command(timeout=None)
    def method(self, x, *, y=1):
        """Adds."""
        return self.n + x + y

    @command(timeout=None)
    @classmethod
    def class_above(cls, x):
        return cls.__name__, x

    @classmethod
    @command(timeout=None)
    def class_below(cls, x):
        return cls.__name__, x

    @command(timeout=None)
    @staticmethod
    def static_above(x):
        return x

    @staticmethod
    @command(timeout=None)
    def static_below(x):
        return x

    @command
    async def fetch(self):
        return self.n


class Derived(Base):
    @command(timeout=None)
    def method(self, x, *, y=1):
        return -super().method(x, y=y)


class Callable_:
    """A callable object."""

    flag = "mine"

    def __call__(self, x):
        return x * 2


class AsyncCallable:
    async def __call__(self, x):
        return x * 3


def test_methods_bind_as_methods_do():
    base, derived = Base(10), Derived(10)

    assert (13, 13, -13) == (base.method(2), Base.method(base, 2), derived.method(2))
    assert ("Base", 1) == Base.class_above(1) == base.class_below(1)
    assert ("Derived", 1) == Derived.class_above(1) == derived.class_below(1)
    assert 5 == Base.static_above(5) == base.static_above(5) == Base.static_below(5) == base.static_below(5)
    assert 10 == asyncio.run(base.fetch())
    assert Base.method.resilience is base.method.resilience
    assert Base.class_above.resilience.key.endswith("Base.class_above")


def test_callable_objects_partials_and_bound_methods_stay_what_they_are(registry):
    thing = command(registry=registry, timeout=None)(Callable_())
    part = command(registry=registry, timeout=None, key="partial")(functools.partial(int, base=2))
    bound = command(registry=registry, timeout=None, key="bound")(Base(1).method)
    slow = command(registry=registry, key="async callable")(AsyncCallable())

    assert (8, 5, 4) == (thing(4), part("101"), bound(2))
    assert 9 == asyncio.run(slow(3))
    assert isinstance(thing, Callable_)
    assert isinstance(part, functools.partial)
    assert "mine" == thing.flag
    assert (2,) == tuple(part.keywords.values())
    for wrapped in (thing, part, bound, slow):
        assert 1 == wrapped.resilience.snapshot().counts["success"]


def test_builtins_and_lambdas_are_fine(registry):
    assert 3 == command(registry=registry, timeout=None, key="len")(len)("abc")
    assert 4 == command(registry=registry, timeout=None)(lambda x: x + 1)(3)


def plain(a: int, b: str = "x", *, c: float = 1.0) -> bool:
    """Documented."""
    return bool(a)


async def coroutine(a: int) -> bool:
    return bool(a)


def generator(a: int):
    yield a


async def async_generator(a: int):
    yield a


@pytest.mark.parametrize("fn", [plain, coroutine, generator, async_generator])
def test_inspect_sees_what_it_saw_before(fn, registry):
    guarded = command(registry=registry, timeout=None)(fn)

    for question in (inspect.isfunction, inspect.iscoroutinefunction, inspect.isgeneratorfunction,
                     inspect.isasyncgenfunction, inspect.signature, inspect.getdoc, inspect.getmodule, inspect.unwrap,
                     inspect.getsource, inspect.get_annotations):
        if question is inspect.unwrap:
            assert fn is question(guarded)
        else:
            assert question(fn) == question(guarded), question
    assert (fn.__name__, fn.__qualname__, fn.__module__) == (guarded.__name__, guarded.__qualname__, guarded.__module__)


def test_a_module_function_pickles_and_copies():
    assert picklable is pickle.loads(pickle.dumps(picklable))
    assert picklable is copy.deepcopy(picklable) is copy.copy(picklable)


async def test_a_coroutine_can_be_made_a_task(registry):
    @command(registry=registry)
    async def call(x):
        return x

    assert 3 == await asyncio.create_task(call(3))
    assert 4 == await asyncio.wait_for(call(4), 60)


@pytest.mark.parametrize("thing", [5, None, "text", property(plain)])
@pytest.mark.parametrize("decorator", [command, circuit_breaker, bulkhead(3), timeout(1.0), fallback(plain), Pipeline(Timeout(1.0))])
def test_what_is_not_callable_is_a_type_error_that_says_so(decorator, thing):
    with pytest.raises(TypeError, match=r"callable|property"):
        decorator(thing)


def test_a_class_is_refused_with_advice():
    with pytest.raises(TypeError, match="decorate its methods"):
        command(Base)


@pytest.mark.parametrize(("make", "option"), [
    (lambda: command(timeot=1.0), "timeot"), (lambda: circuit_breaker(failure_rte=0.1), "failure_rte"),
    (lambda: bulkhead(3, kee="k"), "kee"), (lambda: Pipeline(Timeout(1.0), kee="k"), "kee"),
    (lambda: command(isolation="process"), "isolation"), (lambda: command(key=""), "key"), (lambda: command(key=3), "key"),
    (lambda: command(breaker=3), "breaker"), (lambda: command(ignore=(KeyboardInterrupt,)), "ignore"),
    (lambda: command(ignore=[KeyError]), "ignore"), (lambda: command(registry={}), "registry"), (lambda: command(pool=5), "pool"),
    (lambda: timeout(0), "timeout"), (lambda: timeout("1"), "timeout"), (lambda: timeout(float("nan")), "timeout"),
    (lambda: bulkhead(0), "max_concurrent"), (lambda: bulkhead(True), "max_concurrent"),
    (lambda: Fallback(plain, on=(BaseException,)), "on"), (lambda: Fallback(plain, max_concurrent=0), "max_concurrent")])
def test_bad_settings_are_config_errors_that_name_the_setting(make, option):
    with pytest.raises(ConfigError) as caught:
        make()

    assert option == caught.value.option
    assert option in str(caught.value)


def test_a_misspelt_setting_comes_with_the_right_spelling():
    with pytest.raises(ConfigError, match="did you mean timeout"):
        command(timeot=1.0)


@pytest.mark.parametrize(("settings", "fn", "option"), [
    ({"isolation": "thread"}, coroutine, "isolation"), ({"isolation": "thread"}, generator, "isolation"),
    ({"timeout": 1.0, "isolation": "semaphore"}, plain, "timeout"), ({"timeout": 1.0}, generator, "timeout"),
    ({"fallback": coroutine, "timeout": None}, plain, "fallback")])
def test_contradictions_are_config_errors_and_leave_no_trace(registry, settings, fn, option):
    with pytest.raises(ConfigError) as caught:
        command(registry=registry, **settings)(fn)

    assert option == caught.value.option
    assert 0 == len(registry)


@pytest.mark.parametrize("wrong", [
    (Timeout(1.0), CircuitBreaker()), (Bulkhead(1), CircuitBreaker()), (Timeout(1.0), Bulkhead(1)),
    (CircuitBreaker(), Fallback(plain)), (Bulkhead(1), Fallback(plain)), (Timeout(1.0), Fallback(plain))])
def test_an_impossible_order_is_refused_with_the_reason_and_the_right_one(wrong, registry):
    with pytest.raises(ConfigError, match="The right order, outermost first") as caught:
        Pipeline(*wrong)
    outer, inner = (type(policy).__name__ for policy in wrong)

    assert f"{inner} must stand above {outer}: " in str(caught.value)
    assert str(caught.value).endswith(f"{inner}, {outer}")


def test_a_wrong_stack_is_refused_at_decoration(registry):
    with pytest.raises(ConfigError, match="must stand above"):
        @timeout(1.0, registry=registry)
        @circuit_breaker(registry=registry)
        async def call(): ...


def test_a_policy_stands_once(registry):
    with pytest.raises(ConfigError, match="twice"):
        bulkhead(1, registry=registry)(bulkhead(2, registry=registry)(plain))


def test_a_stack_becomes_one_wrapper_with_one_command(registry):
    @fallback(lambda a: "instead", registry=registry)
    @circuit_breaker(registry=registry)
    @bulkhead(20, registry=registry)
    @timeout(0.5, registry=registry)
    async def call(a):
        return len(inspect.stack())

    depth = len(inspect.stack())
    assert inspect.iscoroutinefunction(call.__wrapped__)
    assert not hasattr(call.__wrapped__, "__wrapped__")
    assert 1 == len(registry)
    assert asyncio.run(call(1)) < depth + 20


def test_a_third_partys_decorator_in_between_is_not_bypassed(registry):
    """functools.wraps copies our attributes onto it; they must not be mistaken for our wrapper."""
    seen = []

    def third_party(fn):
        @functools.wraps(fn)
        def wrapper(*args):
            seen.append(args)
            return fn(*args)

        return wrapper

    @circuit_breaker(key="outer", registry=registry)
    @third_party
    @bulkhead(3, key="inner", registry=registry)
    def call(x):
        return x

    assert 1 == call(1)
    assert [(1,)] == seen
    assert {"inner", "outer"} == {handle.key for handle in registry}


def test_a_key_given_higher_up_renames_the_stack(registry):
    @circuit_breaker(key="named", registry=registry)
    @bulkhead(3, registry=registry)
    def call(): ...

    assert ["named"] == [handle.key for handle in registry]
    assert "named" == call.resilience.key


def test_pipeline_call_compiles_once_per_function(registry):
    pipeline = Pipeline(CircuitBreaker(), Bulkhead(2), key="p", registry=registry)

    for _ in range(3):
        assert 3 == pipeline.call(len, "abc")
    assert 1 == len(registry["p"]._internals.functions)
