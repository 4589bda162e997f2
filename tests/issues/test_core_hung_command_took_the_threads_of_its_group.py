"""Ten hung calls of one plain function had its neighbours refused: a group's pool was as wide as its widest command.

Nested calls refused each other for the same reason (Netflix/Hystrix#1812, #1011).
"""

import asyncio
import gc
import sys
import threading
import types

import pytest

from resilience import (
    AdaptiveLimit,
    BulkheadFullError,
    CallTimeoutError,
    ConfigError,
    Registry,
    ThreadPool,
    ThreadPoolFullError,
    command,
)
from resilience.config import configure
from tests.drivers.until import until

FOREVER = 30.0


def at_once(calls, function, *args):
    """Results and errors of so many *calls* of *function*, all begun together."""
    barrier, ends = threading.Barrier(calls), []

    def call():
        barrier.wait()
        try:
            ends.append(function(*args))
        except Exception as error:  # noqa: BLE001 - looked at
            ends.append(error)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(FOREVER)
    return ends


class Hanging:
    """Hung calls of a command, let go at the end of the block."""

    def __init__(self, registry, calls, **settings):
        self.go, self._calls = threading.Event(), calls
        self.command = command(key="hangs", group="g", registry=registry, timeout=FOREVER, **settings)(self._hang)

    def _hang(self):
        self.go.wait(FOREVER)

    def __enter__(self):
        self.threads = [threading.Thread(target=self._try, daemon=True) for _ in range(self._calls)]
        for thread in self.threads:
            thread.start()
        until(lambda: self.command.resilience.in_flight == self._calls)
        return self.command

    def _try(self):
        self.command()

    def __exit__(self, *_):
        self.go.set()
        for thread in self.threads:
            thread.join(FOREVER)


def test_a_command_whose_calls_all_hang_leaves_the_others_of_its_group_their_slots(registry):
    well = command(key="well", group="g", registry=registry, timeout=FOREVER, max_concurrent=3)(threading.Barrier(3).wait)

    with Hanging(registry, 10) as hangs:
        assert [0, 1, 2] == sorted(at_once(3, well))
        with pytest.raises(BulkheadFullError):
            hangs()


def test_a_command_without_a_limit_takes_no_threads_of_others(registry):
    well = command(key="well", group="g", registry=registry, timeout=FOREVER)(lambda: "well")

    with Hanging(registry, 40, max_concurrent=None) as hangs:
        assert ["well"] * 10 == at_once(10, well)
        with pytest.raises(ThreadPoolFullError, match="hangs: all 40 threads .* without max_concurrent") as caught:
            hangs()
    assert (None, 40, {"hangs": 40}) == (caught.value.pool, caught.value.limit, caught.value.holders)


def test_slots_that_an_adaptive_limit_finds_are_backed_by_threads(registry):
    with Hanging(registry, 60, adaptive_limit=AdaptiveLimit(initial=60)) as hangs:
        until(lambda: hangs.resilience.pool.threads == 60)


def test_a_bulkhead_in_shadow_mode_lets_more_calls_run_on_threads_than_it_would(registry):
    barrier = threading.Barrier(25)
    shadowed = command(key="k", registry=registry, timeout=FOREVER, max_concurrent=2,
                       shadow=["max_concurrent"])(barrier.wait)

    assert list(range(25)) == sorted(at_once(25, shadowed))


@pytest.mark.parametrize("isolation", ["auto", "thread"])
@pytest.mark.parametrize("groups", [("a", "a", "a", "a"), ("a", "b", "a", "b")])
def test_calls_within_calls_refuse_nobody_however_deep(registry, isolation, groups):
    """Four levels of as many callers as are allowed, in one group, and in two that call each other."""
    def level(n):
        inner = level(n - 1) if n else threading.Barrier(10).wait
        return command(key=f"level{n}", group=groups[n], registry=registry, isolation=isolation,
                       timeout=FOREVER)(lambda: inner() * 1)

    assert list(range(10)) == sorted(at_once(10, level(3)))


def test_coroutines_that_call_isolated_functions_are_not_refused(registry):
    inner = command(key="inner", group="g", registry=registry, timeout=FOREVER)(lambda: "answer")

    @command(key="between", group="g", registry=registry, timeout=FOREVER)
    async def between():
        return inner()

    outer = command(key="outer", group="g", registry=registry, timeout=FOREVER)(lambda: asyncio.run(between()))

    assert ["answer"] * 10 == at_once(10, outer)


def test_a_limit_raised_live_is_backed_by_threads_at_once_and_one_lowered_bounds(registry):
    with Hanging(registry, 4, max_concurrent=4) as hangs:
        hangs.resilience.configure(max_concurrent=7)
        assert 7 == hangs.resilience.pool.size
        more = [threading.Thread(target=hangs, daemon=True) for _ in range(3)]
        for thread in more:
            thread.start()
        until(lambda: hangs.resilience.pool.threads == 7)
        hangs.resilience.configure(max_concurrent=2)
        assert (2, 7) == (hangs.resilience.pool.size, hangs.resilience.pool.admitted)
        with pytest.raises(BulkheadFullError):
            hangs()
    for thread in more:
        thread.join(FOREVER)
    until(lambda: not hangs.resilience.pool.admitted)
    barrier = threading.Barrier(2)
    hangs.resilience.configure(max_concurrent=None, timeout=FOREVER)
    assert 40 == hangs.resilience.pool.size
    two = command(key="two", group="g", registry=registry, timeout=FOREVER, max_concurrent=2)(barrier.wait)
    assert [0, 1] == sorted(at_once(2, two))


def test_what_a_command_could_run_goes_from_its_group_when_the_command_does():
    registry = Registry()

    @command(key=str, group="g", registry=registry, timeout=FOREVER, max_concurrent=3, max_keys=2)
    def keyed(host):
        return host

    for host in "abcdef":
        keyed(host)
    until(lambda: not registry.pools()["g"].admitted)
    gc.collect()

    assert registry.pools()["g"].size <= 9  # two keys, and the overflow's
    assert 6 <= registry.pools()["g"].size


def test_a_pool_that_is_stated_is_shared_by_its_group(registry):
    pool = ThreadPool(size=2)
    with Hanging(registry, 2, pool=pool):
        well = command(key="well", group="g", registry=registry, timeout=FOREVER, pool=pool)(lambda: 1)
        with pytest.raises(ThreadPoolFullError):
            well()


def test_the_slot_of_a_hung_call_stays_taken_when_its_caller_has_left(registry):
    go = threading.Event()
    hangs = command(key="k", registry=registry, timeout=0.001, max_concurrent=2)(lambda: go.wait(FOREVER))
    try:
        while hangs.resilience.snapshot().abandoned < 2:  # what no thread began in time is not abandoned
            with pytest.raises(CallTimeoutError):
                hangs()
        with pytest.raises(BulkheadFullError, match="hold all 2 slots; of 2 of them the callers have given up") as caught:
            hangs()
        assert (2, 2) == (caught.value.limit, caught.value.abandoned)
    finally:
        go.set()


def test_a_shared_pool_takes_the_size_that_its_only_command_says_anew_and_no_other_one(registry):
    cell = {"__name__": "notebook", "command": command, "registry": registry, "ThreadPool": ThreadPool}
    text = "@command(group='g', registry=registry, timeout=30.0, pool=ThreadPool(size={size}, max_queue=1))\ndef work(): ..."
    exec(text.format(size=2), cell)
    exec(text.format(size=5), cell)
    assert (5, 1) == (registry.pools()["g"].size, registry.pools()["g"].max_queue)
    cell["work"]()

    command(key="other", group="g", registry=registry, timeout=FOREVER, pool=ThreadPool(size=5, max_queue=1))(lambda: 1)
    with pytest.raises(ConfigError, match="group 'g' has ThreadPool.size=5"):
        exec(text.format(size=7), cell)


def test_a_guard_of_a_file_changes_the_size_of_its_pool_live(registry, monkeypatch, tmp_path):
    module = types.ModuleType("shop_with_a_pool")
    module.stock = lambda: 1
    monkeypatch.setitem(sys.modules, "shop_with_a_pool", module)
    file = tmp_path / "resilience.toml"
    text = '[guards."shop_with_a_pool:stock"]\ngroup = "g"\ntimeout = 30.0\npool = {{ size = {}, max_queue = 3 }}\n'
    file.write_text(text.format(2))
    configuration = configure(file, registry=registry, environ={})
    assert (1, 2) == (module.stock(), registry.pools()["g"].size)
    file.write_text(text.format(16))
    configuration.reload()

    assert (1, 16, 3) == (module.stock(), registry.pools()["g"].size, registry.pools()["g"].max_queue)
    assert () == configuration.mistakes
    configuration.close()
