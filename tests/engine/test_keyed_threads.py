"""Keyed commands under threads, forks and interrupts: no permit is lost, no key is there twice."""

import random
import threading

import pytest

from resilience import BulkheadFullError, Registry, circuit_breaker, command
from resilience.commands.dispatch import opener
from resilience.commands.keyed_commands import keyspace_of
from resilience.commands.keyspace import MISSING
from resilience.events import CommandAdded, CommandRemoved
from tests.core.hammer import hammer
from tests.drivers.until import until
from tests.forked import forked
from tests.interrupts import interrupted


def host_of(host, *_):
    return host


def pins(fn):
    return sum(len(cell.pins) + len(cell.streams) for cell in fn.resilience._keyspace._cells.values())


def test_first_calls_of_one_key_at_once_make_one_command():
    for _ in range(20):
        registry, added = Registry(), []
        registry.subscribe(CommandAdded, lambda event, added=added: added.append(event.key))
        get = circuit_breaker(key=host_of, registry=registry)(lambda host: host)
        hammer(lambda get=get: get("a"), lambda get=get: get("b"))

        assert ["a", "b"] == sorted(added) == sorted(each.key for each in registry)
        assert {4} == {each.snapshot().counts["success"] for each in registry}
        assert 0 == pins(get)


def test_a_call_of_a_known_key_takes_no_lock():
    registry = Registry()
    get = circuit_breaker(key=host_of, registry=registry)(lambda host: host)
    get("a")
    held, go, answers = threading.Event(), threading.Event(), []

    def hold():
        with registry._table.lock:
            held.set()
            go.wait(10)

    holder, caller = threading.Thread(target=hold), threading.Thread(target=lambda: answers.append(get("a")))
    holder.start()
    assert held.wait(10)
    caller.start()
    caller.join(10)
    try:
        assert ["a"] == answers
    finally:
        go.set()
        holder.join(10)


def test_eviction_beside_calls_loses_no_permit_and_never_admits_one_too_many():
    registry, lock, inside, worst = Registry(), threading.Lock(), dict.fromkeys(range(8), 0), []
    lost, added = [], []
    registry.subscribe(CommandAdded, lambda event: added.append(event.key))

    @command(key=lambda n: f"host {n}", registry=registry, timeout=None, max_concurrent=1, max_keys=6, idle=1e-4)
    def get(n):
        with lock:
            inside[n] += 1
            worst.append(inside[n])
        with lock:
            inside[n] -= 1

    def call():
        chance = random.Random(threading.get_ident())
        for _ in range(300):
            try:
                get(chance.randrange(8))
            except BulkheadFullError:
                lost.append(None)

    def look():
        for _ in range(100):
            list(registry)

    hammer(call, look)

    assert max(worst) <= 1 + (get.resilience.overflow in added)  # whose slots are not those of the key
    assert len(added) > 10
    assert len(worst) + len(lost) == 4 * 300
    assert 0 == pins(get) == sum(each.in_flight for each in registry)
    assert len(get.resilience._keyspace._cells) <= 7  # six and the overflow
    until(lambda: not list(registry))
    assert ({}, [], []) == (get.resilience._keyspace.table, list(get.resilience._keyspace._cells), list(registry._table.keyspaces))


def test_added_and_removed_are_told_in_pairs_whatever_happens_at_once():
    registry, told = Registry(), []
    registry.subscribe(CommandAdded, lambda event: told.append(1))
    registry.subscribe(CommandRemoved, lambda event: told.append(-1))
    get = circuit_breaker(key=str, registry=registry, max_keys=2, idle=1e-5)(lambda n: n)

    def call():
        chance = random.Random(threading.get_ident())
        for _ in range(200):
            get(chance.randrange(6))
            if chance.random() < 0.1:
                registry.remove(str(chance.randrange(6)))
            if chance.random() < 0.05:
                get.resilience.clear()

    hammer(call)
    get.resilience.clear()

    assert (0, []) == (sum(told), list(registry))


def test_a_worker_that_its_caller_has_left_keeps_its_key(clock):
    registry, go, began = Registry(clock=clock), threading.Event(), []

    @command(key=host_of, registry=registry, timeout=0.01, idle=5.0)
    def get(host, wait):
        began.append(host)
        return wait and go.wait(10)

    while not began:  # one that no worker took in time never begins
        with pytest.raises((TimeoutError, BulkheadFullError)):
            get("a", True)
    clock.advance(100.0)

    assert (0, 1) == (pins(get), registry["a"].in_flight)
    assert [1] == [each.snapshot().abandoned for each in registry]
    go.set()
    until(lambda: not registry["a"].in_flight)
    clock.advance(5.0)
    assert [] == list(registry)
    registry.close()


def test_a_forked_child_has_fresh_commands_and_no_pins_of_its_parent(clock):
    registry, go, started = Registry(clock=clock), threading.Event(), threading.Event()

    @command(key=host_of, registry=registry, timeout=None, max_concurrent=1, max_keys=1, idle=5.0)
    def get(host, wait=False):
        if wait:
            started.set()
            go.wait(10)
        return host

    caller = threading.Thread(target=get, args=("a", True))
    caller.start()
    assert started.wait(10)
    get("b")
    assert ["a", get.resilience.overflow] == [each.key for each in registry]

    def child():
        assert (0, 0) == (pins(get), registry["a"].in_flight)
        assert "a" == get("a")
        assert 1 == registry["a"].snapshot().counts["success"]
        assert "c" == get("c")
        assert ["c", get.resilience.overflow] == sorted(each.key for each in registry)
        clock.advance(5.0)
        assert [] == list(registry)

    with registry._table.lock:  # held for ever, in the child
        assert 0 == forked(child)
    go.set()
    caller.join(10)
    assert (0, 1) == (pins(get), registry["a"].snapshot().counts["success"])


async def _coroutine(host):
    return host


async def _streamed(host):
    yield host


def _stepped(awaitable):
    with pytest.raises(StopIteration):
        awaitable.send(None)


async def _collected(items):
    return [item async for item in items]


FLAVOURS = {  # without a loop: asyncio's own code is not what is struck here
    "sync": (lambda host: host, lambda call: call),
    "generator": (lambda host: (yield host), list),
    "async": (_coroutine, _stepped),
    "async generator": (_streamed, lambda items: _stepped(_collected(items))),
    "generator, opened": (lambda host: (yield host), list),
    "async generator, opened": (_streamed, lambda items: _stepped(_collected(items))),
}


class _Opened:
    """A keyed function whose streams are opened."""

    def __init__(self, fn):
        self.resilience, self._fn = fn.resilience, fn
        self._open = opener(keyspace_of(fn.resilience), lambda host: host)

    def __call__(self, host):
        return self._open(host)


@pytest.mark.filterwarnings("ignore:coroutine '_coroutine' was never awaited:RuntimeWarning")  # struck before it is
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_interrupt_at_any_point_leaves_no_pin_and_no_dead_key(flavour, clock):
    function, run = FLAVOURS[flavour]
    registry = Registry(clock=clock)
    get = command(key=host_of, registry=registry, timeout=None, max_keys=2, idle=50.0)(function)
    if flavour.endswith("opened"):
        get = _Opened(get)
    chance = random.Random(1)

    def work():
        clock.advance(1.0)
        host = chance.choice("abc")
        run(get(host))

    for point in interrupted(work):
        assert (0, []) == (pins(get), MISSING.pins), point
    for host in "abcabc":
        clock.advance(1.0)
        run(get(host))
        assert get.resilience[host].in_flight == 0
        assert get.resilience[host] is registry[host]
        clock.advance(50.0)
        list(registry)
        assert [] == list(get.resilience)


@pytest.mark.parametrize("at_once", [False, True])
def test_an_interrupt_in_an_eviction_leaves_every_key_usable(clock, at_once):
    registry = Registry(clock=clock)
    get = command(key=host_of, registry=registry, timeout=None, max_keys=2, idle=5.0)(lambda host: host)

    def have_idle_keys():
        for host in "ab":
            get(host)
        clock.advance(5.0)

    have_idle_keys()
    for point in interrupted(get.resilience.clear if at_once else lambda: list(registry)):
        assert (0, []) == (pins(get), MISSING.pins), point
        for host in "ab":
            assert host == get(host)
            assert get.resilience[host] is registry[host], point
        clock.advance(5.0)
        assert [] == list(registry), point
        have_idle_keys()
    assert point > 50, "the eviction is gone over step by step"


def test_a_signal_handler_may_call_what_its_thread_is_making(registry):
    """As a listener that calls the same key: the inner call finds a cell that is not ready, and makes it so."""
    inner = []

    def again(event):
        if event.key == "a" and not inner:
            inner.append(get("a"))

    registry.subscribe(CommandAdded, again)
    get = circuit_breaker(key=host_of, registry=registry)(lambda host: host)
    assert ("a", ["a"]) == (get("a"), inner)
    assert (["a"], 2) == ([each.key for each in registry], registry["a"].snapshot().counts["success"])
