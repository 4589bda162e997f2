"""What is told about collapsed functions: against a plain list of batches, and on the wire as Hystrix has it."""

import gc
import json
import random
import sys

import pytest

from resilience import Registry, collapse, command
from resilience.metrics import hystrix
from resilience.metrics.batch_statistics import BatchStatistics
from resilience.testing import ManualClock
from tests.core.hammer import hammer
from tests.seeds import over_seeds


@over_seeds(20)
def test_random_batches_are_reckoned_as_a_plain_list_would(seed):
    chance, now, batches = random.Random(seed), 0.0, []
    collapses = BatchStatistics("f", window=0.005, max_batch=100, now=0.0)
    for _ in range(1500):
        now += chance.choice([0.0, 0.01, 0.3])
        items = chance.randint(1, 40)
        calls = items + chance.choice([0, 0, 3])
        batches.append((now, items, calls))
        collapses.note(items, calls, now)
        if chance.random() < 0.05:
            now += chance.choice([0.0, 1.0, 15.0])
            recent = [each for each in batches if int(each[0]) > int(now) - 10]
            sizes = sorted(each[1] for each in batches if int(each[0] / 10) > int(now / 10) - 6)
            read = collapses.read(now)
            assert (sum(each[1] for each in recent), len(recent), sum(each[2] - each[1] for each in recent)) == (
                read.items, read.batches, read.shared)
            assert len(sizes) == read.sizes.count
            if sizes:
                assert sizes[-(-len(sizes) // 2) - 1] == round(read.sizes.p50)
                assert sizes[-1] == round(read.sizes.p100)
                assert sum(sizes) / len(sizes) == pytest.approx(read.sizes.mean)


def test_no_batch_is_lost_among_threads():
    collapses = BatchStatistics("f", window=0.005, max_batch=100, now=0.0)

    def note():
        for _ in range(1000):
            collapses.note(2, 3, 1.0)

    def read():
        for _ in range(100):
            collapses.read(1.0)

    hammer(note, read)
    read = collapses.read(1.0)

    assert (8000, 4000, 4000, 4000) == (read.items, read.batches, read.shared, read.sizes.count)


def test_who_reads_on_top_of_his_own_thread_at_work_sees_nothing_and_spoils_nothing():
    collapses = BatchStatistics("f", window=0.005, max_batch=100, now=0.0)
    for _ in range(10):
        collapses.note(1, 1, 0.0)
    seen = []

    def interrupting(frame, event, argument):
        if frame.f_code.co_name == "_add":
            sys.setprofile(None)
            seen.append(collapses.read(0.0).batches)
            collapses.note(1, 1, 0.0)

    sys.setprofile(interrupting)
    try:
        first = collapses.read(0.0)
    finally:
        sys.setprofile(None)

    assert [0] == seen
    assert 11 == first.batches == collapses.read(0.0).batches


def test_the_stream_has_a_message_for_each_collapsed_function_after_commands_and_pools():
    registry = Registry(clock=ManualClock())

    @collapse(window=0.005, max_batch=7)
    @command(registry=registry, timeout=None, key="users")
    def user(ids):
        return ids

    for n in range(3):
        user(n)
    *_, message = map(json.loads, hystrix.Encoder().messages(registry, 1_700_000_000_000))

    assert {
        "type": "HystrixCollapser",
        "name": f"{__name__}.{user.__qualname__}",
        "currentTime": 1_700_000_000_000,
        "rollingCountRequestsBatched": 3,
        "rollingCountBatches": 3,
        "rollingCountResponsesFromCache": 0,
        "batchSize_mean": 1,
        "batchSize": dict.fromkeys(["25", "50", "75", "90", "95", "99", "99.5", "100"], 1),
        "propertyValue_requestCacheEnabled": True,
        "propertyValue_maxRequestsInBatch": 7,
        "propertyValue_timerDelayInMilliseconds": 5,
        "reportingHosts": 1,
    } == message
    assert [message["name"]] == list(json.loads(hystrix.config_message(registry))["collapsers"])


def test_a_collapsed_function_that_is_gone_leaves_the_stream():
    registry = Registry(clock=ManualClock())
    user = collapse(command(registry=registry, timeout=None)(lambda ids: ids))
    assert [user.__qualname__] == [each.name.removeprefix(f"{__name__}.") for each in registry.collapsers().values()]

    del user
    gc.collect()

    assert {} == registry.collapsers()


def test_what_is_no_command_is_in_the_default_registry():
    from resilience import default_registry

    single = collapse(lambda ids: ids)

    assert f"{__name__}.{single.__qualname__}" in default_registry.collapsers()
