"""A shared pool waited for itself, for ever, when the wait was by way of a batch, or of somebody else's cached call.

What waits for a thread of a pool was known only of calls that come from one of its threads themselves: neither that a
thread waits for an equal call, or for a batch, nor, within those, which threads wait for them.
"""

import random
import threading

import pytest

from resilience import BulkheadFullError, Cache, Registry, ThreadPool, ThreadPoolFullError, collapse, command
from tests.drivers.until import until
from tests.engine.collapsed import LONG, Clock, batches_of, waiting
from tests.seeds import over_seeds


def isolated(registry, key, function, *, group="shop", size=1, max_queue=5, **policies):
    return command(key=key, group=group, registry=registry, timeout=None, isolation="thread", max_concurrent=100,
                   breaker=None, pool=ThreadPool(size=size, max_queue=max_queue), **policies)(function)


def told(begun, function):
    """The *function*, which says by an event that it has its thread: a call is in flight before that."""
    def calling(*args):
        begun.set()
        return function(*args)
    return calling


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
        thread.join(30.0)
    assert len(ends) == len(functions), "a call waits for ever"
    return [ends[n] for n in range(len(functions))]


def is_ring(end):
    return isinstance(end, ThreadPoolFullError) and end.waits_for_itself


def nothing_left(registry):
    for pool in registry.pools().values():
        until(lambda pool=pool: not pool.admitted)
        assert 0 == pool.waiting


def test_a_thread_that_runs_a_batch_which_needs_the_same_thread_is_refused(registry):
    price = collapse(window=0)(isolated(registry, "price", lambda skus: dict.fromkeys(skus, 7)))
    total = isolated(registry, "total", lambda: price("a") + 1)

    [end] = ended(total)

    assert is_ring(end)
    nothing_left(registry)
    assert 7 == price("a")


def test_a_thread_that_waits_for_a_batch_which_needs_the_same_thread_is_refused():
    clock = Clock()
    registry, begun, entered = Registry(clock=clock), threading.Event(), threading.Event()
    price = collapse(window=LONG)(isolated(registry, "price", lambda skus: dict.fromkeys(skus, 7)))
    clock.ready = lambda: waiting(price) == 2
    total = isolated(registry, "total", told(begun, lambda: entered.wait(30) and price("a") + 1))

    def other():
        begun.wait(30)
        threading.Thread(target=lambda: until(lambda: waiting(price) == 1) or entered.set(), daemon=True).start()
        return price("b")

    first, second = ended(total, other)

    assert is_ring(first)
    assert is_ring(second)
    nothing_left(registry)


def test_a_thread_that_would_follow_a_cached_call_that_waits_for_this_thread_is_refused(registry):
    begun = threading.Event()
    price = isolated(registry, "price", lambda sku: 7, cache=Cache())
    total = isolated(registry, "total",
                     told(begun, lambda: until(lambda: registry.pools()["shop"].waiting) or price("a") + 1))

    def other():
        begun.wait(30)
        return price("a")

    first, second = ended(total, other)

    assert is_ring(first)
    assert 7 == second
    nothing_left(registry)


def test_a_cached_call_that_would_wait_for_a_thread_which_follows_it_is_refused(registry):
    """The follower comes first: its leader has not got as far as the pool yet."""
    begun, inside, follows = threading.Event(), threading.Event(), threading.Event()

    def cached_price(sku):
        inside.set()
        assert follows.wait(30)
        return slow()

    slow = isolated(registry, "slow", lambda: 7)
    price = command(key="price", registry=registry, timeout=None, cache=Cache())(cached_price)
    total = isolated(registry, "total", told(begun, lambda: inside.wait(30) and price("a") + 1))
    flights = next(iter(price.resilience._runtime.named("cache")))._shared.flights

    def let_go():
        until(lambda: (leading := flights._leading.get(("a",))) and leading.followers and leading.followers.gates)
        follows.set()

    def other():
        begun.wait(30)
        return price("a")

    first, second, _ = ended(total, other, let_go)

    assert is_ring(first)
    assert is_ring(second)
    nothing_left(registry)


def test_a_thread_follows_a_call_that_waits_for_the_pool_if_another_thread_can_end(registry):
    go, both = threading.Event(), threading.Barrier(3)
    busy = isolated(registry, "busy", lambda: (both.wait(30), go.wait(30)), size=2)
    price = isolated(registry, "price", lambda sku: 7, size=2, cache=Cache())

    def waits_and_calls():
        both.wait(30)
        until(lambda: registry.pools()["shop"].waiting)
        return price("a") + 1

    total = isolated(registry, "total", waits_and_calls, size=2)
    flights = next(iter(price.resilience._runtime.named("cache")))._shared.flights

    def other():
        both.wait(30)  # each thread of the pool has its call
        return price("a")

    def let_go():
        until(lambda: (leading := flights._leading.get(("a",))) and leading.followers and leading.followers.gates)
        go.set()

    assert [8, 7, None] == ended(busy, total, other, let_go)[1:]
    nothing_left(registry)


@pytest.mark.parametrize("through", ["a cache", "a batch"])
def test_two_pools_whose_threads_wait_for_each_other_through_shared_calls_do_not_wait_in_a_ring(registry, through):
    policies = {"cache": Cache()} if through == "a cache" else {}
    both = threading.Barrier(2)

    def shared(call):
        return call if through == "a cache" else collapse(window=0)(call)

    def made(group):
        return shared(isolated(registry, f"in {group}", (lambda sku: 1) if policies else lambda skus: [1] * len(skus),
                               group=group, **policies))

    in_a, in_b = made("a"), made("b")
    from_a = isolated(registry, "from a", lambda: both.wait(30) * 0 or in_b("x"), group="a")
    from_b = isolated(registry, "from b", lambda: both.wait(30) * 0 or in_a("x"), group="b")

    ends = ended(from_a, from_b)

    assert any(map(is_ring, ends))
    assert all(end == 1 or is_ring(end) for end in ends)
    nothing_left(registry)


@over_seeds(25)
def test_random_trees_of_cached_and_collapsed_calls_over_small_pools_all_end(seed):
    """Whatever calls whatever: nobody waits for ever, nothing is left behind, and who is alone and fits is served."""
    dice, registry = random.Random(seed), Registry()
    groups = {group: dice.randint(1, 2) for group in "abc"}
    queue = dice.choice([1, 5])
    calls = []
    for n in range(6):
        callees = dice.sample(calls, min(len(calls), dice.randint(0, 2)))
        kind = dice.choice(("plain", "cache", "collapse"))

        def one(item, callees=callees):
            return 1 + sum(callee(item) for callee in callees)

        def many(items, one=one):
            return {item: one(item) for item in items}

        group = dice.choice([*groups, None])
        function = many if kind == "collapse" else one
        policies = {"cache": Cache(ttl=None)} if kind == "cache" else {}
        if group is None:
            call = command(key=f"c{n}", registry=registry, timeout=None, breaker=None, **policies)(function)
        else:
            call = isolated(registry, f"c{n}", function, group=group, size=groups[group], max_queue=queue, **policies)
        calls.append(collapse(window=0.0005)(call) if kind == "collapse" else call)

    ends = ended(*(lambda call=dice.choice(calls), item=dice.randrange(2): call(item) for _ in range(12)))

    assert all(isinstance(end, (int, BulkheadFullError)) for end in ends), (seed, ends)
    nothing_left(registry)
    assert 1 == calls[0](9)
    for call in calls:
        if hasattr(call, "__resilience_batched__"):
            assert not batches_of(call).batcher.open
