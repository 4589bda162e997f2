"""A script with 16 threads over a bulkhead of 4 lost 26 of its 40 calls: there was no way to let them wait.

resilience4j has ``maxWaitDuration`` and Polly a queue for it. Refusals said neither what was full nor who filled it,
but in thread isolation.
"""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    BulkheadFullError,
    ConfigError,
    Hedge,
    Pipeline,
    Registry,
    ThreadPool,
    bulkhead,
    command,
    explain,
)
from resilience.config import configure
from resilience.drivers.deadline_context import deadline
from resilience.testing import disabled, restored, virtual_time
from tests.drivers.until import until
from tests.forked import forked
from tests.interrupts import interrupted
from tests.issues.every_flavour import FLAVOURS, guarded, isolation

LONG = 60.0


class Crowd:
    """A body that knows how many run it at once."""

    def __init__(self):
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def __call__(self, n):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            return n
        finally:
            with self.lock:
                self.now -= 1


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_none_of_40_calls_of_16_threads_over_4_slots_is_lost(flavour):
    body = Crowd()
    function, call = guarded(flavour, bulkhead(4, max_wait=LONG, registry=Registry(), **isolation(flavour)), body)
    with ThreadPoolExecutor(16) as pool:
        assert [*range(40)] == [*pool.map(call, range(40))]

    snapshot = function.resilience.snapshot()
    assert (40, 0, 0) == (snapshot.counts["success"], snapshot.refused, snapshot.in_flight)
    assert body.most <= 4
    assert snapshot.max_in_flight <= 4
    assert 0 == snapshot.gauges["max_concurrent.waiting"]


class Held:
    """A command with one slot, which a call holds until go() is called, in whichever flavour."""

    def __init__(self, flavour, registry=None, **options):
        self.release, self.order = threading.Event(), []

        def body(name):
            self.order.append(name)
            if name == "first":
                assert self.release.wait(LONG)
            return name

        options = {"max_wait": LONG, **isolation(flavour), **options}
        self.function, self.call = guarded(
            flavour, bulkhead(1, registry=Registry() if registry is None else registry, **options), body)
        self.handle = self.function.resilience
        self.threads, self.ends = [], {}
        self.start("first")
        until(lambda: self.order)

    def start(self, name):
        def run():
            try:
                self.ends[name] = self.call(name)
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.ends[name] = error

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def wait(self, name):
        before = self.waiting
        self.start(name)
        until(lambda: self.waiting == before + 1)

    @property
    def waiting(self):
        return self.handle.snapshot().gauges["max_concurrent.waiting"]

    def join(self):
        self.release.set()
        for thread in self.threads:
            thread.join(LONG)
        assert 0 == self.handle.in_flight == self.waiting


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_those_who_wait_are_served_in_the_order_in_which_they_came(flavour):
    held = Held(flavour)
    for name in "abcde":
        held.wait(name)
    held.join()

    assert ["first", *"abcde"] == held.order
    assert {name: name for name in held.order} == held.ends


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_one_more_than_may_wait_is_refused_and_told_what_is_full_and_who_fills_it(flavour):
    held = Held(flavour, max_queue=2)
    held.wait("a")
    held.wait("b")
    with pytest.raises(BulkheadFullError, match="calls of its own hold its only slot, and 2 more wait for one") as caught:
        held.call("c")
    error = caught.value
    assert (1, 1, 2, held.handle.key) == (error.limit, error.in_flight, error.waiting, error.key)
    event = "thread_pool_rejected" if flavour == "thread" else "semaphore_rejected"
    assert 1 == held.handle.snapshot().counts[event]
    held.join()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_whose_wait_is_over_is_refused(flavour):
    held = Held(flavour, max_wait=0.01)
    with pytest.raises(BulkheadFullError):
        held.call("a")
    held.join()
    assert ["first"] == held.order


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_nobody_waits_longer_than_until_the_callers_deadline(flavour):
    held = Held(flavour)
    with deadline(0.01), pytest.raises(BulkheadFullError):
        held.call("a")
    held.join()


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("change", [{"max_concurrent": 2}, {"max_concurrent": None},
                                    {"max_concurrent": Bulkhead(2, max_wait=LONG)}])
def test_more_slots_count_at_once_for_those_who_wait(flavour, change):
    held = Held(flavour)
    held.wait("a")
    held.handle.configure(**change)
    until(lambda: held.ends)
    assert {"a": "a"} == held.ends
    held.join()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_shorter_wait_and_none_at_all_count_at_once_for_those_who_wait(flavour):
    for max_wait in (0.001, 0.0):
        held = Held(flavour)
        held.wait("a")
        held.handle.configure(max_concurrent=Bulkhead(1, max_wait=max_wait))
        until(lambda: held.ends)  # noqa: B023 - called at once
        assert [BulkheadFullError] == [type(end) for end in held.ends.values()]
        held.join()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_call_that_fails_leaves_its_slot_to_the_next(flavour):
    registry, gate, entered = Registry(), threading.Event(), threading.Event()

    def body(n):
        if n == 0:
            entered.set()
            assert gate.wait(LONG)
            raise KeyError(n)
        return n

    function, call = guarded(flavour, bulkhead(1, max_wait=LONG, registry=registry, **isolation(flavour)), body)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(call, 0)
        assert entered.wait(LONG)
        second = pool.submit(call, 1)
        until(lambda: function.resilience.snapshot().gauges["max_concurrent.waiting"] == 1)
        gate.set()
        assert 1 == second.result(LONG)
        assert isinstance(first.exception(LONG), KeyError)


def test_four_thousand_tasks_that_give_up_leave_at_once_and_the_next_is_served():
    async def main():
        go = asyncio.Event()

        @bulkhead(1, max_wait=LONG, max_queue=5000, registry=Registry())
        async def work(n):
            await go.wait()
            return n

        tasks = [asyncio.create_task(work(n)) for n in range(4002)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks[1:-1]:
            task.cancel()
        await asyncio.gather(*tasks[1:-1], return_exceptions=True)
        snapshot = work.resilience.snapshot()
        assert (1, 1) == (snapshot.gauges["max_concurrent.waiting"], snapshot.in_flight)
        assert 0 == snapshot.refused
        go.set()
        assert [0, 4001] == await asyncio.gather(tasks[0], tasks[-1])

    virtual_time(main())


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_wait_is_no_part_of_how_long_the_call_took(flavour, clock):
    held = Held(flavour, Registry(clock=clock))
    held.wait("a")
    clock.advance(1.0)
    held.join()

    assert pytest.approx(0.5, rel=0.05) == held.handle.snapshot().latency.mean  # one of 1 s, and one of none


def test_waiting_does_not_use_up_the_timeout():
    async def main():
        @command(timeout=1.5, max_concurrent=Bulkhead(1, max_wait=100.0), registry=Registry())
        async def work(n):
            await asyncio.sleep(1.0)
            return n

        assert [0, 1, 2] == await asyncio.gather(*map(work, range(3)))

    virtual_time(main())


@pytest.mark.parametrize("pool", [None, ThreadPool(size=1, max_queue=1)])
def test_a_caller_who_walks_away_leaves_the_slot_to_those_who_wait_only_when_the_worker_ends(pool):
    release = threading.Event()

    @command(timeout=0.05, max_concurrent=Bulkhead(1, max_wait=LONG), pool=pool, registry=Registry())
    def work(n):
        return n if n else release.wait(LONG)

    with pytest.raises(TimeoutError):
        work(0)
    with ThreadPoolExecutor(1) as callers:
        waits = callers.submit(work, 7)
        until(lambda: work.resilience.snapshot().gauges["max_concurrent.waiting"] == 1)
        assert 1 == work.resilience.snapshot().abandoned
        release.set()
        assert 7 == waits.result(LONG)


def test_a_hedge_overtakes_nobody_who_waits_and_its_slot_goes_to_them():
    async def main():
        began = []

        @command(timeout=None, max_concurrent=Bulkhead(2, max_wait=LONG), hedge=Hedge(delay=0.1, idempotent=True,
                                                                                     budget=None), registry=Registry())
        async def work(n):
            began.append(n)
            await asyncio.sleep(1.0)
            return n

        assert [0, 1, 2] == await asyncio.gather(*map(work, range(3)))
        assert [0, 1, 2, 2] == began
        assert 0 == work.resilience.in_flight

    virtual_time(main())


def test_the_slot_of_a_hedge_that_failed_goes_to_who_waits_while_the_first_attempt_goes_on():
    async def main():
        loop, attempts, began = asyncio.get_running_loop(), [], {}

        @command(timeout=None, max_concurrent=Bulkhead(2, max_wait=LONG), registry=Registry(),
                 hedge=Hedge(delay=0.5, idempotent=True, budget=None))
        async def work(name):
            attempts.append(name)
            began[name] = loop.time() - start
            if attempts.count("a") == 2 and name == "a":
                await asyncio.sleep(0.2)
                raise KeyError(name)
            await asyncio.sleep(10.0 if name == "a" else 0.0)
            return name

        start = loop.time()
        first = asyncio.create_task(work("a"))
        await asyncio.sleep(0.6)
        second = asyncio.create_task(work("b"))
        assert "b" == await second
        assert pytest.approx(0.7) == began["b"]
        assert "a" == await first

    virtual_time(main())


def test_a_waiting_task_whose_loop_was_closed_costs_no_slot():
    registry, release, entered = Registry(), threading.Event(), threading.Event()

    @bulkhead(1, max_wait=LONG, key="k", registry=registry)
    def hold():
        entered.set()
        assert release.wait(LONG)

    @bulkhead(1, max_wait=LONG, key="k", registry=registry)
    async def work():
        raise AssertionError("nobody waits for this")

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(hold)
        assert entered.wait(LONG)
        loop = asyncio.new_event_loop()
        task = loop.create_task(work())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        release.set()
        first.result(LONG)
    assert 0 == hold.resilience.in_flight
    hold()
    task._log_destroy_pending = False


def test_in_shadow_mode_nobody_waits_and_each_call_too_many_is_counted():
    held = Held("sync", shadow=True)
    assert "a" == held.call("a")
    held.join()
    assert 1 == held.handle.snapshot().counts["shadow_rejected"]


def test_a_forked_child_has_all_its_slots_and_nobody_waits():
    held = Held("sync")
    held.wait("a")

    def child():
        assert (0, 0) == (held.waiting, held.handle.in_flight)
        assert "child" == held.call("child")

    assert 0 == forked(child)
    held.join()


@pytest.mark.parametrize("kind", ["semaphore", "thread"])
def test_an_interrupt_anywhere_in_a_call_that_waits_in_vain_loses_no_slot_and_no_place(kind):
    @bulkhead(1, max_wait=0.0005, registry=Registry(), isolation=kind)
    def work(depth):
        if depth:
            try:
                return work(depth - 1)
            except BulkheadFullError:
                return "full"
        return "in"

    for _ in interrupted(lambda: work(1)):
        until(lambda: work.resilience.in_flight == 0)
        assert 0 == work.resilience.snapshot().gauges["max_concurrent.waiting"]
    assert "full" == work(1)


def test_an_adaptive_limit_says_what_is_full_and_who_fills_it():
    @command(timeout=None, registry=Registry(), key="k", adaptive_limit=AdaptiveLimit(initial=2, max_limit=2))
    def nested(depth):
        return nested(depth - 1) if depth else "in"

    with pytest.raises(BulkheadFullError) as caught:
        nested(2)
    error = caught.value
    assert (2, 2, 0) == (error.limit, error.in_flight, error.waiting)
    assert "k: the bulkhead is full: calls of its own hold all 2 slots" == str(error)


@pytest.mark.parametrize("flavour", ["sync", "thread", "generator"])
def test_a_bulkhead_without_a_wait_says_it_too(flavour):
    function, call = guarded(flavour, bulkhead(1, key="k", registry=Registry(), **isolation(flavour)),
                             lambda n: n if n == 0 else call(n - 1))
    with pytest.raises(BulkheadFullError) as caught:
        call(1)
    assert (1, 1, 0) == (caught.value.limit, caught.value.in_flight, caught.value.waiting)
    assert "k: the bulkhead is full: calls of its own hold its only slot" == str(caught.value)


def test_where_nobody_can_wait_a_live_change_that_would_let_them_is_refused_with_what_to_do():
    function = bulkhead(4, key="k", registry=Registry())(lambda: 1)
    with pytest.raises(ConfigError, match=r"k: its functions were declared without max_wait.*Bulkhead\(8, max_wait=2\)"):
        function.resilience.configure(max_concurrent=Bulkhead(8, max_wait=2.0))
    assert 4 == function.resilience.settings.max_concurrent


def test_a_plain_number_changes_the_number_alone():
    function = Pipeline(Bulkhead(4, max_wait=2.0, max_queue=7), registry=Registry())(lambda: 1)
    function.resilience.configure(max_concurrent=8)

    assert Bulkhead(8, max_wait=2.0, max_queue=7) == function.resilience.settings.max_concurrent
    assert 8 == function.resilience.snapshot().max_concurrent


def test_what_tests_switch_off_or_restore_lets_callers_wait_again(registry):
    function = command(max_concurrent=Bulkhead(4, max_wait=2.0), registry=registry)(lambda: 1)
    with restored(registry):
        with disabled(function):
            assert None is function.resilience.settings.max_concurrent
        assert Bulkhead(4, max_wait=2.0) == function.resilience.settings.max_concurrent
        function.resilience.configure(max_concurrent=Bulkhead(1))
    assert Bulkhead(4, max_wait=2.0) == function.resilience.settings.max_concurrent


def test_in_a_file_it_is_a_number_or_a_table_and_each_says_only_what_it_says(registry, tmp_path):
    waits = command(key="waits", max_concurrent=Bulkhead(4, max_wait=2.0), registry=registry)(lambda: 1)
    also = command(key="also", max_concurrent=Bulkhead(4, max_wait=2.0), registry=registry)(lambda: 1)
    plain = command(key="plain", registry=registry)(lambda: 1)
    file = tmp_path / "resilience.toml"
    file.write_text("""
        [commands.waits]
        max_concurrent = 9
        [commands.also]
        max_concurrent = { max_wait = 3.0 }
        [commands.plain]
        max_concurrent = { max_concurrent = 7 }
    """, encoding="utf-8")
    with closing(configure(file, registry=registry)):
        assert Bulkhead(9, max_wait=2.0) == waits.resilience.settings.max_concurrent
        assert Bulkhead(4, max_wait=3.0) == also.resilience.settings.max_concurrent
        assert 7 == plain.resilience.settings.max_concurrent
        said = {each.name: (each.value, each.place.file) for each in explain("also", registry=registry).settings
                if each.name.startswith("max_concurrent")}
        assert {"max_concurrent": (4, "the code"), "max_concurrent.max_wait": (3.0, str(file)),
                "max_concurrent.max_queue": (1000, "the library's default"),
                    "max_concurrent.fair_by": (None, "the library's default")} == said
    assert Bulkhead(4, max_wait=2.0) == waits.resilience.settings.max_concurrent


def test_a_guard_in_a_file_lets_callers_wait_and_a_reload_without_ends_that(registry, tmp_path):
    file = tmp_path / "resilience.toml"
    file.write_text('[guards."textwrap:fill"]\nkey = "fill"\nmax_concurrent = { max_concurrent = 4, max_wait = 2.0 }\n',
                    encoding="utf-8")
    with closing(configure(file, registry=registry)) as configuration:
        assert Bulkhead(4, max_wait=2.0) == registry["fill"].settings.max_concurrent
        file.write_text('[guards."textwrap:fill"]\nkey = "fill"\nmax_concurrent = 5\n', encoding="utf-8")
        configuration.reload()
        assert 5 == registry["fill"].settings.max_concurrent
