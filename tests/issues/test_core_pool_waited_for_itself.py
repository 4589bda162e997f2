"""A call on a shared pool that called another one waited for a thread that it held itself, for ever.

As in xorq-labs/xorq#2243, OSGeo/gdal#6389 and python/cpython#141617.
"""

import contextvars
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from resilience import BulkheadFullError, Registry, ThreadPool, ThreadPoolFullError, command
from tests.drivers.until import until

LONG = 30.0


def isolated(registry, key, group, function, *, size=1, max_queue=5, timeout=None):
    return command(key=key, group=group, registry=registry, timeout=timeout, isolation="thread", max_concurrent=100,
                   breaker=None, pool=ThreadPool(size=size, max_queue=max_queue))(function)


def ended(*functions):
    """How calls of *functions* ended, each in a thread of its own: a result or an error."""
    ends = {}

    def call(n, function):
        try:
            ends[n] = function()
        except Exception as error:  # noqa: BLE001 - looked at
            ends[n] = error

    threads = [threading.Thread(target=call, args=each, daemon=True) for each in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len(ends) == len(functions), "a call waits for ever"
    return [ends[n] for n in range(len(functions))]


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_call_that_would_wait_for_the_only_thread_which_it_stands_on_is_refused_with_the_reason(registry, timeout):
    price = isolated(registry, "price", "shop", lambda: 7, timeout=timeout)
    total = isolated(registry, "total", "shop", lambda: price() + 1, timeout=timeout)

    [error] = ended(total)

    assert isinstance(error, ThreadPoolFullError)
    assert ("price", "shop", 1, 5, {"total": 1}, True) == (
        error.key, error.pool, error.limit, error.max_queue, error.holders, error.waits_for_itself)
    assert str(error).startswith("price: the only thread of the pool of group 'shop' is at work (1 of total), and this "
                                 "call comes from one of them")
    until(lambda: not registry.pools()["shop"].admitted)
    assert (0, 0) == (price.resilience.in_flight, total.resilience.in_flight)
    assert 7 == price()
    assert 1 == price.resilience.snapshot().counts["thread_pool_rejected"]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_message_counts_all_calls_of_a_function_that_calls_itself(registry, size):
    down = isolated(registry, "down", "shop", lambda: down(), size=size)
    [error] = ended(down)
    assert {"down": size} == error.holders
    assert f"at work ({size} of down)" in str(error)


def test_a_fallback_answers_for_it(registry):
    price = command(key="price", group="shop", registry=registry, timeout=None, isolation="thread", fallback=lambda: 0,
                    pool=ThreadPool(size=1, max_queue=5))(lambda: 7)
    total = isolated(registry, "total", "shop", lambda: price() + 1)

    assert [1] == ended(total)


def test_a_call_waits_for_another_thread_of_the_pool_that_it_stands_on_if_that_one_can_end(registry):
    go, inside = threading.Event(), threading.Event()

    def work():
        inside.set()
        return go.wait(LONG)

    busy = isolated(registry, "busy", "shop", work, size=2)
    price = isolated(registry, "price", "shop", lambda: 7, size=2)
    total = isolated(registry, "total", "shop", lambda: inside.wait(LONG) and price() + 1, size=2)

    def let_go():
        until(lambda: registry.pools()["shop"].waiting == 1)
        go.set()

    assert [True, 8, None] == ended(busy, total, let_go)


def test_two_groups_that_call_each_other_do_not_wait_in_a_ring(registry):
    last = isolated(registry, "last", "a", lambda: "answer")
    between = isolated(registry, "between", "b", lambda: last())
    first = isolated(registry, "first", "a", lambda: between())

    [error] = ended(first)

    assert isinstance(error, ThreadPoolFullError)
    assert "last" == error.key


def test_two_calls_that_each_hold_what_the_other_needs_do_not_wait_for_each_other(registry):
    barrier = threading.Barrier(2)
    in_a, in_b = (isolated(registry, f"in_{group}", group, lambda: "answer") for group in "ab")
    from_a = isolated(registry, "from_a", "a", lambda: barrier.wait(LONG) * 0 or in_b())
    from_b = isolated(registry, "from_b", "b", lambda: barrier.wait(LONG) * 0 or in_a())

    ends = ended(from_a, from_b)

    assert any(isinstance(end, ThreadPoolFullError) and end.waits_for_itself for end in ends)
    assert all(end == "answer" or isinstance(end, ThreadPoolFullError) for end in ends)


def test_a_pool_that_shrinks_beneath_a_call_that_waits_for_it_does_not_strand_it(registry):
    go, inside = threading.Event(), threading.Event()
    pool = ThreadPool(size=2, max_queue=5)
    busy = command(key="busy", group="g", registry=registry, timeout=None, isolation="thread", pool=pool)(
        lambda: inside.set() or go.wait(LONG))
    price = command(key="price", group="g", registry=registry, timeout=None, isolation="thread")(lambda: 7)
    total = command(key="total", group="g", registry=registry, timeout=None, isolation="thread")(
        lambda: inside.wait(LONG) and price() + 1)

    def shrink():
        until(lambda: registry.pools()["g"].waiting == 1)
        registry.pools()["g"].configure(1, 5)
        go.set()

    assert [True, 8, None] == ended(busy, total, shrink)
    until(lambda: not registry.pools()["g"].admitted)
    assert 7 == price()


def test_what_is_left_running_by_a_call_that_has_ended_is_none_of_its_waits(registry):
    """The context goes on in a task or a thread that outlives the call."""
    begun, go = threading.Event(), threading.Event()
    contexts = []
    leaves = isolated(registry, "leaves", "g", lambda: contexts.append(contextvars.copy_context()))
    busy = isolated(registry, "busy", "g", lambda: begun.set() or go.wait(LONG))
    price = isolated(registry, "price", "g", lambda: 7)
    leaves()

    def let_go():
        until(lambda: registry.pools()["g"].waiting == 1)
        go.set()

    def later():
        begun.wait(LONG)
        return contexts[0].run(price)

    assert [True, 7, None] == ended(busy, later, let_go)


def test_a_context_that_is_handed_to_an_executor_of_the_users_own_is_known(registry):
    price = isolated(registry, "price", "g", lambda: 7)

    def through_an_executor():
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(contextvars.copy_context().run, price).result()

    [error] = ended(isolated(registry, "total", "g", through_an_executor))

    assert isinstance(error, ThreadPoolFullError)


def test_random_trees_of_calls_over_small_pools_all_end():
    """Whatever calls whatever: nobody waits for ever, nothing is left behind, and who is alone and fits is served."""
    for seed in range(25):
        dice, registry = random.Random(seed), Registry()
        groups = {group: ThreadPool(size=dice.randint(1, 2), max_queue=dice.choice([0, 1, 5])) for group in "abc"}
        commands = []
        for n in range(6):
            callees = dice.sample(commands, min(len(commands), dice.randint(0, 2)))
            group = dice.choice([*groups, "own"])

            def work(callees=callees):
                return 1 + sum(callee() for callee in callees)

            commands.append(command(key=f"c{n}", group=group, registry=registry, timeout=None, isolation="thread",
                                    breaker=None, max_concurrent=100, pool=groups.get(group))(work))

        ends = ended(*(dice.choice(commands) for _ in range(12)))

        assert all(isinstance(end, (int, BulkheadFullError)) for end in ends), (seed, ends)
        for pool in registry.pools().values():
            until(lambda pool=pool: not pool.admitted)
            assert 0 == pool.waiting
        assert 1 == commands[0]()


def test_the_slot_and_the_place_of_a_call_that_waits_in_vain_are_free_as_soon_as_its_caller_leaves(registry):
    """They stayed taken until the hung call before it ended, so that a queue was full of calls that nobody waited for."""
    go, inside = threading.Event(), threading.Event()
    pool = ThreadPool(size=1, max_queue=1)
    hangs = command(key="hangs", group="g", registry=registry, timeout=LONG, pool=pool)(
        lambda: inside.set() or go.wait(LONG))
    waits = command(key="waits", group="g", registry=registry, timeout=0.001, max_concurrent=1)(lambda: 1)
    caller = threading.Thread(target=hangs, daemon=True)
    caller.start()
    assert inside.wait(LONG)
    try:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                waits()
            assert (0, 0, 1) == (waits.resilience.in_flight, registry.pools()["g"].waiting,
                                 registry.pools()["g"].admitted)
    finally:
        go.set()
    caller.join(LONG)
