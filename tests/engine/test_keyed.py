"""A key that is a callable: one command for each of its results, as many as there is room for."""

import asyncio
import enum
import functools
import inspect
import pickle

import pytest

from resilience import (
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    Fallback,
    KeyedCommands,
    Pipeline,
    Registry,
    Retry,
    State,
    StateChanged,
    Throttle,
    adaptive_limit,
    bulkhead,
    circuit_breaker,
    command,
    fallback,
    retry,
    throttle,
    timeout,
)
from resilience.commands.dispatch import opener
from resilience.commands.keyspace import Keyspace
from resilience.events import CommandAdded, CommandConfigured, CommandRemoved
from resilience.testing import forced_open, restored, virtual_time


def host_of(host, *_, **__):
    return host


def keys(commands):
    return [handle.key for handle in commands]


def keyed(registry, fn=None, **settings):
    settings = {"timeout": None, "breaker": CircuitBreaker(min_calls=2, open_for=5.0), **settings}
    return command(key=host_of, registry=registry, **settings)(fn or (lambda host, answer=None: _answer(answer)))


def _answer(answer):
    if isinstance(answer, Exception):
        raise answer
    return answer


def break_open(fn, host):
    for _ in range(2):
        with pytest.raises(OSError):
            fn(host, OSError())


# -- what it is


def test_each_key_has_a_command_of_its_own(registry):
    get = keyed(registry)
    break_open(get, "a")
    assert 7 == get("b", 7)

    with pytest.raises(CircuitOpenError):
        get("a", 7)
    assert [("a", State.OPEN, 2), ("b", State.CLOSED, 0)] == [
        (handle.key, handle.state, handle.snapshot().counts["failure"]) for handle in registry]


def test_a_full_bulkhead_of_one_key_leaves_the_others_alone(registry):
    def get(host, inner=None):
        return inner and inner()

    get = keyed(registry, get, max_concurrent=1)
    assert get("a", lambda: get("b", lambda: "in")) == "in"
    with pytest.raises(BulkheadFullError):
        get("a", lambda: get("a"))


def test_the_handle_is_one_over_all(registry):
    get = keyed(registry, group="hosts")
    get("a", 1)
    get("b", 1)
    handle = get.resilience

    assert isinstance(handle, KeyedCommands)
    assert (["a", "b"], 2, True, False) == (keys(handle), len(handle), "a" in handle, "c" in handle)
    assert registry["a"] is handle["a"] is handle.get("a")
    assert handle.get("c") is None
    with pytest.raises(KeyError):
        handle["c"]
    assert {"a": 1, "b": 1} == {key: each.counts["success"] for key, each in handle.snapshot().items()}
    assert ("hosts", {"hosts"}) == (handle.group, {each.group for each in handle})
    assert handle.key.endswith("<lambda>")
    assert handle.key in repr(handle)


def test_two_functions_with_one_key_share_its_command(registry):
    guarded = Pipeline(CircuitBreaker(min_calls=2), Bulkhead(3), key=host_of, registry=registry)
    get, put = guarded(lambda host, answer: _answer(answer)), guarded(lambda host: "put")
    break_open(get, "a")

    with pytest.raises(CircuitOpenError):
        put("a")
    assert get.resilience["a"] is put.resilience.get("a")
    assert "put" == guarded.call(lambda host: "put", "b")


def test_functions_that_share_a_key_must_agree_when_it_is_called(registry):
    keyed(registry)("a", 1)
    other = keyed(registry, max_concurrent=3)

    for _ in range(2):
        with pytest.raises(ConfigError, match="Functions with the same key need the same settings"):
            other("a", 1)
    assert [] == keys(other.resilience)
    assert 1 == other("b", 1)


def test_a_function_with_a_fixed_key_may_share_one_of_them(registry, clock):
    get = keyed(registry, idle=10.0)
    get("a", 1)
    fixed = command(key="a", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=2, open_for=5.0))(
        lambda: 2)
    assert get.resilience["a"] is fixed.resilience
    clock.advance(10.0)

    assert ["a"] == keys(registry)  # idle, but the fixed one has it still
    assert [] == keys(get.resilience)
    get("a", 1)
    assert get.resilience["a"] is fixed.resilience


# -- the callable


def test_the_callable_gets_the_calls_arguments_and_self(registry):
    seen = []

    class Client:
        @command(key=lambda self, host, *rest, port=80: seen.append((self, host, rest, port)) or f"{host}:{port}",
                 registry=registry, timeout=None)
        def get(self, host, *rest, port=80):
            return self, port

    client = Client()
    assert (client, 443) == client.get("a", 1, 2, port=443)
    assert [(client, "a", (1, 2), 443)] == seen
    assert ["a:443"] == keys(client.get.resilience)


def test_classmethods_staticmethods_and_callable_objects_are_keyed_too(registry):
    class Client:
        @classmethod
        @command(key=lambda cls, host: f"class {host}", registry=registry, timeout=None)
        def made(cls, host):
            return cls

        @staticmethod
        @command(key=lambda host: f"static {host}", registry=registry, timeout=None)
        def free(host):
            return host

        def __call__(self, host):
            return host

    called = command(key=lambda host: f"object {host}", registry=registry, timeout=None)(Client())
    assert (Client, "b", "c") == (Client.made("a"), Client.free("b"), called("c"))
    assert ["class a", "static b", "object c"] == keys(registry)
    assert isinstance(called, Client)
    assert ["object c"] == keys(called.resilience)


def test_what_the_callable_raises_passes_through_and_is_not_counted(registry):
    get = command(key=lambda host: {}[host], registry=registry, timeout=None, fallback=lambda host: "never")(host_of)

    with pytest.raises(KeyError):
        get("a")
    assert [] == keys(registry)


@pytest.mark.parametrize("key", [None, 7, b"a", ["a"], object()])
def test_a_key_that_is_no_str_is_a_mistake_that_names_the_function(registry, key):
    get = command(key=lambda: key, registry=registry, timeout=None)(lambda: 1)

    with pytest.raises(TypeError, match=r"the key of a call of .*<lambda> must be a str"):
        get()
    assert [] == keys(registry)


def test_an_empty_key_is_a_mistake(registry):
    with pytest.raises(ConfigError, match="key must be a non-empty string"):
        keyed(registry)("", 1)


def test_a_key_of_a_class_of_its_own_is_the_str_that_it_is(registry):
    class Shard(enum.StrEnum):
        EAST = "east"

    get = keyed(registry)
    for shard in (Shard.EAST, "east", Shard.EAST):
        get(shard, 1)

    assert [(str, 3)] == [(type(each.key), each.snapshot().counts["success"]) for each in registry]


@pytest.mark.parametrize("by", [
    lambda: None, str, 5.0,
])
def test_only_a_plain_callable_or_a_str_is_a_key(registry, by):
    async def awaited(host): ...

    async def streamed(host):
        yield host

    def yielded(host):
        yield host

    if by == 5.0:
        for wrong in (by, awaited, streamed, yielded):
            with pytest.raises(ConfigError, match="key must be"):
                command(key=wrong, registry=registry)(host_of)
    else:
        assert command(key=by, registry=registry)(host_of).resilience is not None


# -- what is said at decoration


def test_a_contradiction_is_a_mistake_at_decoration_and_leaves_no_trace(registry):
    with pytest.raises(ConfigError, match="use isolation='thread'"):
        command(key=host_of, registry=registry, timeout=1.0, isolation="semaphore")(host_of)
    with pytest.raises(ConfigError, match="judge its first items"):
        command(key=host_of, registry=registry, retry=Retry(on_result=bool), timeout=None)(_generated)
    with pytest.raises(ConfigError, match="asynchronous"):
        command(key=host_of, registry=registry, fallback=_coroutine)(host_of)
    assert ([], {}) == (keys(registry), registry.pools())


@pytest.mark.parametrize(("setting", "value"), [
    ("max_keys", 0), ("max_keys", 1.5), ("max_keys", 10**7), ("max_keys", True),
    ("idle", 0.0), ("idle", -1.0), ("idle", float("inf")), ("idle", float("nan")), ("idle", 1e9), ("idle", "5"),
])
def test_numbers_out_of_range_are_mistakes_by_name(registry, setting, value):
    with pytest.raises(ConfigError, match=f"{setting} must be a") as caught:
        command(key=host_of, registry=registry, **{setting: value})
    assert setting == caught.value.option


@pytest.mark.parametrize("setting", ["max_keys", "idle"])
def test_what_is_about_many_keys_means_nothing_without(registry, setting):
    with pytest.raises(ConfigError, match="give a key that is a callable") as caught:
        command(key="fixed", registry=registry, **{setting: 5})(host_of)
    assert setting == caught.value.option


@pytest.mark.parametrize("make", [
    lambda **place: circuit_breaker(min_calls=3, **place),
    lambda **place: bulkhead(3, **place),
    lambda **place: timeout(3.0, **place),
    lambda **place: fallback(lambda host: 0, **place),
    lambda **place: retry(attempts=2, **place),
    lambda **place: throttle(k=3.0, **place),
    lambda **place: adaptive_limit(initial=3, **place),
    lambda **place: Pipeline(Fallback(lambda host: 0), Throttle(), **place),
])
def test_every_decorator_takes_a_callable_and_its_bounds(registry, make):
    async def get(host):
        return host

    get = make(key=host_of, max_keys=1, idle=9.0, registry=registry)(get)
    assert ["a", "b"] == [asyncio.run(get(host)) for host in ("a", "b")]
    assert (["b"], 1, 9.0) == (keys(get.resilience), get.resilience.max_keys, get.resilience.idle)


def test_a_stack_becomes_one_wrapper_wherever_the_key_stands(registry):
    top = circuit_breaker(key=host_of, registry=registry)(bulkhead(2, registry=registry)(lambda host: host))
    bottom = circuit_breaker(registry=registry)(bulkhead(2, key=host_of, registry=registry)(lambda host: host))
    assert [] == keys(registry)  # what the lower one of the first made is gone
    for stacked, host in ((top, "a"), (bottom, "b")):
        stacked(host)
        assert (2, State.CLOSED) == (registry[host].settings.max_concurrent, registry[host].state)
        assert stacked.__wrapped__("bare") == "bare"
    with pytest.raises(ConfigError, match="CircuitBreaker must stand above Bulkhead"):
        bulkhead(2, registry=registry)(circuit_breaker(key=host_of, registry=registry)(lambda host: host))


def test_a_stack_that_somebody_elses_decorator_splits_may_not_pass_a_key_twice(registry):
    inner = keyed(registry, host_of)

    @functools.wraps(inner)
    def between(*args):
        return inner(*args)

    with pytest.raises(ConfigError, match="each call would pass it twice"):
        keyed(registry, between)
    assert "a" == circuit_breaker(key=lambda host: f"outer {host}", registry=registry)(between)("a")
    assert ["outer a", "a"] == keys(registry)


def test_a_stack_may_not_have_two_keys(registry):
    with pytest.raises(ConfigError, match="one stack has both"):
        circuit_breaker(key="fixed", registry=registry)(bulkhead(2, key=host_of, registry=registry)(host_of))


def test_the_wrapper_looks_and_pickles_as_the_function():
    assert plain.__wrapped__.__name__ == plain.__name__ == "plain"
    assert "(host: str) -> str" == str(inspect.signature(plain))
    assert plain is pickle.loads(pickle.dumps(plain))
    assert inspect.iscoroutinefunction(_async_keyed)
    assert inspect.isgeneratorfunction(_generated_keyed)
    assert inspect.isasyncgenfunction(_streamed_keyed)


# -- every flavour

LOCAL = Registry()


@command(key=host_of, registry=LOCAL, timeout=None)
def plain(host: str) -> str:
    return host


async def _coroutine(host):
    await asyncio.sleep(0)
    return host


def _generated(host):
    got = []
    for i in range(3):
        try:
            got.append((yield i))
        except LookupError as error:
            got.append(error)
    return got


async def _streamed(host, got):
    for i in range(3):
        try:
            got.append((yield i))
        except LookupError as error:
            got.append(error)


_async_keyed = command(key=host_of, registry=LOCAL)(_coroutine)
_generated_keyed = command(key=host_of, registry=LOCAL)(_generated)
_streamed_keyed = command(key=host_of, registry=LOCAL)(_streamed)


def pins(fn):
    return sum(len(cell.pins) for cell in fn.resilience._keyspace.table.values())


def test_a_generator_takes_what_is_sent_and_thrown_and_is_pinned_to_its_end(registry):
    get = command(key=host_of, registry=registry)(_generated)
    error = LookupError()
    running = get("a")
    assert [] == keys(registry)  # nothing happens before the first item
    assert (0, 1, 2) == (next(running), running.send("sent"), running.throw(error))
    assert 1 == pins(get)
    with pytest.raises(StopIteration) as end:
        running.send(None)
    assert ["sent", error, None] == end.value.value
    assert 0 == pins(get)

    half_way = get("a")
    next(half_way)
    half_way.close()
    dropped = get("a")
    next(dropped)
    del dropped
    assert (0, 0) == (pins(get), registry["a"].in_flight)


async def test_an_async_generator_takes_what_is_sent_and_thrown_and_is_pinned_to_its_end(registry):
    get = command(key=host_of, registry=registry)(_streamed)
    error, got = LookupError(), []
    running = get("a", got)
    assert (0, 1, 2) == (await anext(running), await running.asend("sent"), await running.athrow(error))
    assert 1 == pins(get)
    with pytest.raises(StopAsyncIteration):
        await running.asend(None)
    assert ["sent", error, None] == got
    assert 0 == pins(get)

    half_way = get("a", [])
    await anext(half_way)
    assert 1 == pins(get)
    await half_way.aclose()
    assert (0, 0, 1) == (pins(get), registry["a"].in_flight, registry["a"].snapshot().counts["cancelled"])


def test_an_opened_stream_pins_its_key_while_its_generator_is_alive(registry, clock):
    get = command(key=host_of, registry=registry, max_keys=1, idle=9.0)(_generated)
    keyspace = get.resilience._keyspace
    open_stream = opener(keyspace, lambda host: host)

    ended, closed, dropped = open_stream("a"), open_stream("a"), open_stream("a")
    for stream in (closed, dropped):
        next(stream)
    clock.advance(99.0)
    assert ["a"] == keys(registry)
    open_stream("b")  # there is no room for it
    assert 3 == len(keyspace.table["a"].streams)

    assert [0, 1, 2] == list(ended)
    closed.close()
    del ended, closed, dropped, stream
    assert (False, 0) == (keyspace.table["a"].is_pinned, registry["a"].in_flight)
    clock.advance(9.0)
    assert [] == keys(registry)


def test_a_stream_that_is_opened_just_as_its_key_goes_runs_under_the_next_one(registry):
    class Streams(set):
        """What is between the look into the table and the pin: another thread's turn."""

        def add(self, stream):
            get.resilience.clear()
            super().add(stream)

    get = command(key=host_of, registry=registry)(_generated)
    open_stream = opener(get.resilience._keyspace, lambda host: host)
    list(open_stream("a"))
    gone = get.resilience._keyspace.table["a"]
    gone.streams = Streams()
    stream = open_stream("a")

    assert [0, 1, 2] == list(stream)
    assert (True, set()) == (gone.gone, gone.streams)
    assert gone.commands[0].snapshot().counts["success"] == registry["a"].snapshot().counts["success"] == 1


async def test_a_cancelled_call_is_pinned_no_more(registry):
    @command(key=host_of, registry=registry)
    async def get(host):
        await asyncio.Event().wait()

    call = asyncio.ensure_future(get("a"))
    never_begun = get("a")
    await asyncio.sleep(0)
    assert (1, 1) == (pins(get), registry["a"].in_flight)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    never_begun.close()

    assert (0, 0, 1) == (pins(get), registry["a"].in_flight, registry["a"].snapshot().counts["cancelled"])


def test_a_timeout_is_of_its_key():
    async def main():
        @command(key=host_of, registry=Registry(clock=asyncio.get_running_loop().time), timeout=0.5)
        async def get(host):
            await asyncio.sleep(1.0)

        with pytest.raises(CallTimeoutError) as caught:
            await get("a")
        return caught.value.key

    assert "a" == virtual_time(main())


def test_wrong_arguments_of_the_function_are_the_callers_mistake(registry):
    get = command(key=lambda *args: "a", registry=registry, timeout=None)(lambda host: host)

    with pytest.raises(TypeError):
        get()
    assert {"bad_request": 1} == {name: n for name, n in registry["a"].snapshot().counts.items()
                                  if n and name != "exceptions_thrown"}


# -- bounds


def test_one_key_too_many_takes_the_place_of_the_one_not_called_for_longest(registry, clock):
    get = keyed(registry, max_keys=3)
    for host in ("a", "b", "c", "a"):
        get(host, 1)
        clock.advance(1.0)
    get("d", 1)

    assert ["a", "c", "d"] == sorted(keys(registry)) == sorted(keys(get.resilience))


def test_a_key_that_nobody_calls_leaves_when_it_is_idle_and_begins_anew(registry, clock):
    events = []
    for kind in (CommandAdded, CommandRemoved):
        registry.subscribe(kind, lambda event: events.append((type(event).__name__, event.key)))
    get = keyed(registry, idle=60.0)
    get("a", 1)
    clock.advance(30.0)
    get("b", 1)
    clock.advance(29.9)
    assert ["a", "b"] == keys(registry)
    clock.advance(0.1)

    assert (["b"], ["b"], 1) == (keys(registry), keys(get.resilience), len(registry))
    get("a", 1)
    assert 1 == registry["a"].snapshot().counts["success"]
    assert [("CommandAdded", "a"), ("CommandAdded", "b"), ("CommandRemoved", "a"), ("CommandAdded", "a")] == events


def test_new_keys_let_idle_ones_go_with_nobody_reading(registry, clock):
    get = keyed(registry, idle=60.0)
    for i in range(100):
        get(f"old {i}", 1)
    clock.advance(60.0)
    for i in range(50):
        get(f"new {i}", 1)

    assert {f"new {i}" for i in range(50)} == set(keys(get.resilience))


def test_the_keys_of_functions_that_are_no_more_go_while_others_come(registry, clock):
    def made_anew(host):
        return keyed(registry, idle=60.0)(f"anew {host}", 1)

    for n in range(200):
        clock.advance(10.0)
        made_anew(n)
        assert len(registry._table.commands) <= 14  # with nobody reading; 6 of them are not idle, each looks at 2 others

    assert len(registry._table.living_keyspaces()) <= len(registry._table.commands)


@pytest.mark.parametrize("max_keys", [20, 2000])
def test_a_new_key_looks_at_a_few_cells_however_many_there_are_and_a_known_one_at_none(registry, monkeypatch, max_keys):
    looks, look = [], Keyspace._is_idle
    get = circuit_breaker(key=str, registry=registry, max_keys=max_keys)(lambda n: n)
    monkeypatch.setattr(Keyspace, "_is_idle", lambda self, *args: looks.append(None) or look(self, *args))
    for n in range(max_keys):
        looks.clear()
        get(n)
        get(n)
        assert len(looks) <= 4
    for n in range(max_keys, max_keys + 100):
        looks.clear()
        get(n)
        assert len(looks) <= 18

    assert max_keys == len(get.resilience)


def test_a_key_under_use_stays_whatever_comes(registry, clock):
    def get(host, then=None):
        return then and then()

    get = keyed(registry, get, max_keys=2, idle=10.0)

    def meanwhile():
        clock.advance(100.0)
        for i in range(50):
            get(f"other {i}")
        return keys(registry)

    assert "a" in get("a", meanwhile)
    assert (0, 1) == (registry["a"].in_flight, registry["a"].snapshot().counts["success"])
    assert "a" in keys(registry)  # it was in use until now
    clock.advance(10.0)
    assert [] == keys(registry)


def test_a_call_that_pauses_between_two_attempts_holds_no_slot_but_its_key():
    async def main():
        registry = Registry(clock=asyncio.get_running_loop().time)

        @command(key=host_of, registry=registry, idle=1.0,
                 retry=Retry(attempts=2, base=50.0, max_delay=50.0, jitter="none"))
        async def get(host):
            raise OSError

        call = asyncio.ensure_future(get("a"))
        await asyncio.sleep(25.0)
        found = registry["a"].in_flight, keys(registry)
        with pytest.raises(OSError):
            await call
        return found

    assert (0, ["a"]) == virtual_time(main())


@pytest.mark.parametrize("max_keys", [1, 5])
def test_a_call_that_begins_while_its_key_is_looked_at_keeps_it(registry, clock, monkeypatch, max_keys):
    get = keyed(registry, max_keys=max_keys, idle=9.0)
    get("a", 1)
    cell = get.resilience._keyspace.table["a"]
    monkeypatch.setattr(Keyspace, "_needed_until", lambda self, cell: cell.pins.append(None) or float("-inf"))
    if max_keys == 1:
        get("b", 1)  # for room
    else:
        clock.advance(9.0)  # idle
    list(registry)

    assert (cell, False) == (get.resilience._keyspace.table["a"], cell.gone)


@pytest.mark.parametrize("lets_go", ["clear", "remove", "idle", "room"])
def test_a_call_that_finds_its_key_just_as_it_goes_runs_under_the_next_one(registry, clock, lets_go):
    class Pins(list):
        """What is between the look into the table and the pin: another thread's turn."""

        def __iadd__(self, token):
            if lets_go == "room":
                get("b", 1)
            elif lets_go == "idle":
                clock.advance(9.0)
                list(registry)
            else:
                get.resilience.clear() if lets_go == "clear" else registry.remove("a")
            return super().__iadd__(token)

    get = keyed(registry, max_keys=1, idle=9.0)
    get("a", 1)
    gone = get.resilience._keyspace.table["a"]
    gone.pins = Pins()
    assert 2 == get("a", 2)

    assert (True, []) == (gone.gone, gone.pins)
    assert (1, 1) == (gone.commands[0].snapshot().counts["success"], registry["a"].snapshot().counts["success"])
    assert gone.commands[0] is not registry["a"] is get.resilience["a"]


def test_an_open_circuit_is_kept_until_it_has_rested_and_then_been_idle(registry, clock):
    get = keyed(registry, max_keys=1, idle=3.0)
    break_open(get, "a")  # until 5.0
    clock.advance(7.9)
    get("b", 1)
    assert State.OPEN is registry["a"].state
    assert ["a", get.resilience.overflow] == keys(registry)
    clock.advance(0.1)
    assert [get.resilience.overflow] == keys(registry)


def test_a_half_open_circuit_is_kept(registry, clock):
    get = keyed(registry, max_keys=1, idle=3.0,
                breaker=CircuitBreaker(min_calls=2, open_for=5.0, half_open_calls=2, half_open_for=30.0))
    break_open(get, "a")
    clock.advance(5.0)
    get("a", 1)
    clock.advance(20.0)

    assert [State.HALF_OPEN] == [each.state for each in registry]
    clock.advance(12.9)
    assert [State.HALF_OPEN] == [each.state for each in registry]
    clock.advance(0.1)
    assert [] == keys(registry)


@pytest.mark.parametrize("force", ["force_open", "force_closed"])
def test_a_circuit_that_was_forced_is_kept_until_it_is_released(registry, clock, force):
    get = keyed(registry, max_keys=1, idle=3.0)
    get("a", 1)
    getattr(get.resilience["a"], force)()
    clock.advance(1e6)
    get("b", 1)
    assert ["a", get.resilience.overflow] == keys(registry)
    get.resilience["a"].release()
    assert [get.resilience.overflow] == keys(registry)


def test_when_none_may_go_further_keys_share_the_overflow(registry, clock):
    get = keyed(registry, max_keys=2, idle=60.0)
    break_open(get, "a")
    break_open(get, "b")
    overflow = get.resilience.overflow
    assert overflow == f"{get.resilience.key}[overflow]"
    for host in ("c", "d", "c"):
        get(host, 1)

    assert ["a", "b", overflow] == keys(registry) == keys(get.resilience)
    assert 3 == registry[overflow].snapshot().counts["success"]
    with pytest.raises(OSError):
        get("c", OSError())
    break_open(get, "d")  # 3 of 6, for all of them
    with pytest.raises(CircuitOpenError):
        get("e", 1)
    registry["a"].reset()
    get("e", 1)
    assert ["b", overflow, "e"] == keys(registry)  # in the place of a, which is closed
    clock.advance(65.0)
    assert [] == keys(registry)


def test_a_place_that_is_free_again_is_given_to_the_next_key(registry):
    get = keyed(registry, max_keys=1)
    break_open(get, "a")
    get("b", 1)
    registry["a"].reset()
    get("b", 1)

    assert ["b", get.resilience.overflow] == sorted(keys(registry))


# -- steering all of them


def test_all_keys_are_forced_those_to_come_too(registry, clock):
    get = keyed(registry, max_keys=2)
    get("a", 1)
    get.resilience.force_open()
    for host in ("a", "b", "c"):
        clock.advance(1.0)
        with pytest.raises(CircuitOpenError):
            get(host, 1)
    assert ["b", "c"] == keys(registry)  # what holds for all is no reason to keep one
    get.resilience.release()
    assert [1, 1, 1] == [get(host, 1) for host in ("a", "b", "c")]
    get.resilience.force_closed()
    break_open(get, "d")
    assert 1 == get("d", 1)
    get.resilience.reset()
    assert {State.CLOSED} == {each.state for each in registry}
    assert 1 == get("e", 1)
    assert State.CLOSED is registry["e"].state


def test_what_one_function_forced_it_can_release_although_another_shares_it(registry, clock):
    guarded = Pipeline(CircuitBreaker(), key=host_of, registry=registry, idle=9.0)
    get, put = guarded(lambda host: "get"), guarded(lambda host: "put")
    get("a")
    put("a")
    get.resilience.force_open()
    clock.advance(1e6)
    assert ["a"] == keys(registry)
    get.resilience.release()

    assert "put" == put("a")


def test_nothing_passes_a_key_before_it_is_forced(registry):
    get = keyed(registry)
    get.resilience.force_open()
    inner = []

    def meanwhile(event):
        if not inner:
            inner.append(None)
            with pytest.raises(CircuitOpenError):
                get("a", 1)  # another caller, while the first is still at it
            inner.append(event.key)

    registry.subscribe(CommandAdded, meanwhile)
    with pytest.raises(CircuitOpenError):
        get("a", 1)
    assert [None, "a"] == inner


def test_what_is_said_of_all_keys_while_one_is_made_holds_for_that_one(registry):
    get = keyed(registry)
    get.resilience.configure(max_concurrent=3)
    registry.subscribe(CommandConfigured, lambda event: get.resilience.force_open())

    with pytest.raises(CircuitOpenError):
        get("a", 1)
    assert 3 == registry["a"].settings.max_concurrent


def test_a_key_that_is_forgotten_while_it_is_made_is_made_again(registry):
    told = []

    def forget(event):
        told.append(event.key)
        if len(told) == 1:
            get.resilience.clear()

    registry.subscribe(CommandAdded, forget)
    get = keyed(registry)
    assert 1 == get("a", 1)
    assert ["a", "a"] == told
    assert get.resilience["a"] is registry["a"]
    assert 1 == registry["a"].snapshot().counts["success"]


def test_settings_of_all_keys_are_changed_those_to_come_too(registry):
    get = keyed(registry)
    get("a", 1)
    get.resilience.configure(max_concurrent=3)
    get.resilience.configure(breaker=None)
    get("b", 1)

    assert [(3, State.DISABLED)] * 2 == [(each.settings.max_concurrent, each.state) for each in registry]


def test_a_change_that_cannot_be_changes_nothing(registry):
    get = keyed(registry)
    get("a", 1)
    for wrong, named in (({"max_concurrent": 3, "timeout": 1.0}, "timeout"), ({"max_concurrent": 0}, "max_concurrent"),
                         ({"group": "x"}, "group"), ({"throttle": Throttle()}, "throttle")):
        with pytest.raises(ConfigError) as caught:
            get.resilience.configure(**wrong)
        assert named == caught.value.option
    get("b", 1)
    assert [10, 10] == [each.settings.max_concurrent for each in registry]


def test_what_has_no_breaker_cannot_be_steered(registry):
    get = bulkhead(3, key=host_of, registry=registry)(host_of)
    for steer in (get.resilience.force_open, get.resilience.force_closed, get.resilience.release):
        with pytest.raises(ConfigError, match="no breaker to steer"):
            steer()
    get("a")
    assert ["a"] == keys(registry)


def test_a_removed_key_begins_anew(registry):
    get = keyed(registry)
    break_open(get, "a")
    assert registry.remove("a")

    assert ([], []) == (keys(registry), keys(get.resilience))
    assert 1 == get("a", 1)
    assert get.resilience["a"] is registry["a"]


def test_all_keys_are_forgotten_by_clear(registry):
    gone = []
    registry.subscribe(CommandRemoved, lambda event: gone.append(event.key))

    def get(host, then=None):
        return then and then()

    get = keyed(registry, get)
    get("a")
    get("b", get.resilience.clear)  # under way: it ends as it began

    assert (["a", "b"], [], []) == (gone, keys(registry), list(registry._table.keyspaces))
    get("a")
    assert ["a"] == keys(registry)


def test_a_notebooks_cell_that_runs_again_begins_anew(registry):
    cell = {"__name__": "notebook", "command": command, "registry": registry}
    text = "@command(key=lambda host: host, registry=registry, timeout=None{})\ndef get(host): return host"
    exec(text.format(""), cell)
    cell["get"]("a")
    exec(text.format(", max_concurrent=3"), cell)
    assert [] == keys(registry)
    cell["get"]("a")

    assert 3 == registry["a"].settings.max_concurrent


def test_listeners_hear_of_a_keys_circuit(registry):
    heard = []
    registry.subscribe(StateChanged, lambda event: heard.append((event.key, event.new)))
    break_open(keyed(registry), "a")

    assert [("a", "open")] == heard
    assert [("a", "open")] == [(each.key, each.new) for each in registry["a"].snapshot().transitions]


def test_no_listener_hears_of_it_under_the_registrys_lock(registry, clock):
    owned = []
    for kind in (CommandAdded, CommandRemoved, StateChanged):
        registry.subscribe(kind, lambda event: owned.append(registry._table.lock._is_owned()))
    get = keyed(registry, max_keys=1, idle=1.0)
    get.resilience.force_closed()
    for host in ("a", "b"):
        get(host, 1)
    clock.advance(5.0)
    with registry._table.lock:
        assert 1 == len(list(registry))  # whoever holds the lock reads what there is, and lets nothing go
    assert [] == list(registry)
    get("c", 1)
    get.resilience.clear()

    assert [False] * 9 == owned


def test_a_saved_circuit_is_restored_with_its_keys_first_call():
    old, new = Registry(clock=lambda: 0.0), Registry(clock=lambda: 100.0)
    break_open(keyed(old), "a")
    new.restore(old.save(), elapsed=1.0)

    with pytest.raises(CircuitOpenError):
        keyed(new)("a", 1)


def test_the_testing_kit_knows_them(registry):
    get = keyed(registry, max_keys=1)
    get("before", 1)
    with restored(registry):
        get("a", 1)
        with forced_open(get.resilience["a"]), pytest.raises(CircuitOpenError):
            get("a", 1)

    assert [] == keys(registry)
    assert 1 == get("before", 1)
    with pytest.raises(TypeError, match="has a command for each key; give one of them"), forced_open(get):
        pass


NASTY = ['"', "'", "\\", "\n", "\r\n\r\n", "\0", "{}", "%s %d %(x)s", "{0.__class__}", "</script><b>", "data: x\n\n",
         "\ud800", "a" * 10_000, "[overflow]", "\u2028", " ", "🦆"]


def test_the_testing_kit_forgets_what_was_said_of_all_keys():
    plain("before")
    with restored(LOCAL):
        plain.resilience.force_open()
        plain.resilience.configure(max_concurrent=3)
        with pytest.raises(CircuitOpenError):
            plain("after")
    assert ["before"] == keys(plain.resilience)
    assert "after" == plain("after")
    assert {10} == {each.settings.max_concurrent for each in plain.resilience}
    plain.resilience.clear()


@pytest.mark.parametrize("name", NASTY, ids=lambda name: ascii(name)[:20])
def test_a_name_of_whatever_characters_does_no_harm(registry, name):
    get = keyed(registry, fallback=lambda host, answer: "fallback")
    assert 1 == get(name, 1)
    assert "fallback" == get(name, OSError())

    assert [name] == keys(registry) == list(get.resilience.snapshot())
    get.resilience.force_open()
    assert "fallback" == get(name, 1)
    assert repr(get.resilience[name])
