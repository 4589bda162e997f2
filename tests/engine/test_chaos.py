"""Chaos: harms what it says, when the registry says so, and looks like the target's own doing."""

import asyncio
import logging
import pickle
import random
import threading

import pytest

from resilience import (
    CallTimeoutError,
    Chaos,
    ChaosError,
    CircuitBreaker,
    ConfigError,
    Pipeline,
    Registry,
    Timeout,
    chaos,
    command,
    configure,
)
from resilience.events import ChaosInjected
from resilience.testing import ManualClock, assert_counts, virtual_time
from tests.forked import forked

KINDS = ["def", "async def", "generator", "async generator", "thread"]


def guarded_as(kind, policy, registry, **settings):
    """A function of this kind that returns, or yields once, what it is given; a plain way to call it."""
    settings = {"registry": registry, "timeout": None, "max_concurrent": None, "key": "k", "chaos": policy, **settings}

    def plain(x):
        return x

    async def coroutine(x):
        return x

    def generator(x):
        yield x

    async def async_generator(x):
        yield x

    async def first(items):
        return [item async for item in items][0]

    if kind == "thread":
        settings["isolation"] = "thread"
    function = {"def": plain, "thread": plain, "async def": coroutine, "generator": generator,
                "async generator": async_generator}[kind]
    guarded = command(**settings)(function)
    calls = {"def": guarded, "thread": guarded, "async def": lambda x: asyncio.run(guarded(x)),
             "generator": lambda x: next(iter([*guarded(x)])),
             "async generator": lambda x: asyncio.run(first(guarded(x)))}
    return guarded, calls[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_random_histories_go_as_a_plain_model_says(kind):
    total = 0
    for seed in range(6):
        rng, dice = random.Random(seed), random.Random(100 + seed)
        draws = []
        clock = ManualClock()

        def draw(dice=dice, draws=draws):
            draws.append(dice.random())
            return draws[-1]

        registry = Registry(clock=clock, random=draw)
        wrong = None if "generator" in kind else str
        policy = Chaos(latency_rate=0.4, latency=2.0, error_rate=0.3, error=OSError, result=wrong,
                       result_rate=0.5 if wrong else 0.0)
        _, call = guarded_as(kind, policy, registry, breaker=None)
        ends, harmed, heard = {}, 0, []
        registry.subscribe(ChaosInjected, heard.append)
        for n in range(60):
            clock.advance(rng.choice([0.0, 1.0, 5.0]))
            if rng.random() < 0.1:
                seconds, keys = rng.choice([3.0, 30.0]), rng.choice([(), ("k",)])
                registry.start_chaos(seconds, *keys)
                ends[keys] = clock() + seconds
                if rng.random() < 0.2:
                    registry.stop_chaos()
                    ends = {}
            draws.clear()
            before, result = clock(), None
            try:
                result = call(n)
            except OSError as error:
                result = type(error)
            if all(before >= end for end in ends.values()):
                expected, delay = n, 0.0
                assert [] == draws
            else:
                u, v, w = draws
                delay = 2.0 if u < 0.4 else 0.0
                expected = OSError if v < 0.3 else str(n) if wrong and w < 0.5 else n
                harmed += bool(delay or expected != n)
            assert (expected, delay) == (result, clock() - before)
        assert harmed == len(heard)
        total += harmed
        registry.close()
    assert 50 < total  # else it has shown nothing


def test_declaring_it_harms_nobody_and_no_file_can_start_it(registry):
    @command(registry=registry, key="k", timeout=None, chaos=Chaos(error_rate=1.0))
    def work():
        return 7

    configuration = configure({"commands": {"k": {"chaos": {"error_rate": 1.0, "latency": 3.0}}}}, registry=registry)
    assert [7] * 50 == [work() for _ in range(50)]
    assert 3.0 == work.resilience.settings.chaos.latency
    registry.start_chaos(1.0)
    with pytest.raises(ChaosError):
        work()
    configuration.close()
    with pytest.raises(ConfigError, match=r"commands.k.chaos.start"):
        configure({"commands": {"k": {"chaos": {"start": True}}}}, registry=registry)


def test_it_ends_by_itself_and_is_logged(registry, clock, caplog):
    @chaos(registry=registry, key="k", error_rate=1.0)
    def work():
        return 7

    with caplog.at_level(logging.WARNING, "resilience"):
        registry.start_chaos(60, "k")
        with pytest.raises(ChaosError):
            work()
        clock.advance(60)
        assert 7 == work()
        registry.stop_chaos()
        registry.stop_chaos()
    assert ["chaos for 60 s, for k", "chaos has ended"] == [record.getMessage() for record in caplog.records]


def test_only_the_named_commands_suffer(registry):
    first, second = (chaos(registry=registry, key=key, error_rate=1.0)(lambda: 7) for key in "ab")
    registry.start_chaos(60, "b")
    assert 7 == first()
    with pytest.raises(ChaosError):
        second()


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_whose_arguments_do_not_fit_is_still_its_callers_fault(registry, kind):
    guarded, _ = guarded_as(kind, Chaos(latency_rate=1.0, latency=1.0), registry)
    for _ in range(2):
        with pytest.raises(TypeError):
            {"def": lambda: guarded(), "thread": lambda: guarded(), "async def": lambda: asyncio.run(guarded()),
             "generator": lambda: [*guarded()],
             "async generator": lambda: asyncio.run(anext(guarded()))}[kind]()
        registry.start_chaos(60)
    assert_counts(guarded, bad_request=2, chaos=guarded.resilience.snapshot().counts["chaos"])
    registry.close()


def test_policies_take_its_faults_for_the_targets(registry):
    @command(registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=4), chaos=Chaos(error_rate=1.0),
             fallback=lambda: "spare")
    def work():
        return 7

    registry.start_chaos(60)
    assert ["spare"] * 5 == [work() for _ in range(5)]
    counts = work.resilience.snapshot().counts
    assert ("open", 4, 4) == (work.resilience.state, counts["failure"], counts["chaos"])


def test_a_delay_longer_than_the_timeout_is_a_timeout():
    async def main():
        registry = Registry(clock=asyncio.get_running_loop().time)

        @command(registry=registry, timeout=1.0, chaos=Chaos(latency_rate=1.0, latency=60.0))
        async def work():
            return 7

        registry.start_chaos(3600)
        with pytest.raises(CallTimeoutError):
            await work()
        return work.resilience.snapshot().counts["timeout"]

    assert 1 == virtual_time(main())


def test_an_async_generator_under_chaos_takes_what_is_sent_and_thrown_and_is_closed(registry):
    closed = []

    @command(registry=registry, timeout=None, chaos=Chaos(latency_rate=1.0, latency=1.0))
    async def items():
        try:
            got = yield 1
            try:
                yield got
            except KeyError:
                yield "caught"
        finally:
            closed.append(True)

    async def main():
        source = items()
        seen = [await anext(source), await source.asend("sent"), await source.athrow(KeyError)]
        await source.aclose()
        return seen

    registry.start_chaos(60)
    assert [1, "sent", "caught"] == asyncio.run(main())
    assert [True] == closed


def test_a_forked_child_begins_without_it(registry):
    @chaos(registry=registry, error_rate=1.0)
    def work():
        return 7

    def child():
        assert 7 == work()

    registry.start_chaos(60)
    assert 0 == forked(child)
    with pytest.raises(ChaosError):
        work()


def test_it_can_be_changed_live_from_another_thread(registry):
    @chaos(registry=registry, error_rate=0.0)
    def work():
        return 7

    registry.start_chaos(60)
    assert 7 == work()
    thread = threading.Thread(target=work.resilience.configure, kwargs={"chaos": Chaos(error_rate=1.0)})
    thread.start()
    thread.join()
    with pytest.raises(ChaosError):
        work()


@pytest.mark.parametrize(("settings", "words"), [
    ({"error_rate": 1.1}, "error_rate must be a number at least 0 and at most 1"),
    ({"latency": -1}, "latency must be"),
    ({"latency_rate": 0.5}, "latency_rate means nothing without latency"),
    ({"result_rate": 0.5}, "result_rate means nothing without result"),
    ({"result": 3}, "result must be callable"),
    ({"error": 3}, "error must be an Exception class"),
    ({"error": KeyboardInterrupt}, "error must be an Exception class"),
    ({"eror_rate": 1}, "did you mean error_rate"),
])
def test_what_makes_no_sense_is_refused_by_name(settings, words):
    with pytest.raises(ConfigError, match=words):
        Chaos(**settings)


@pytest.mark.parametrize("seconds", [0, -1, 86_401, True, "60", float("nan"), float("inf"), None])
def test_it_cannot_be_started_for_ever(registry, seconds):
    with pytest.raises(ConfigError, match="seconds must be a number above 0 and at most 86400"):
        registry.start_chaos(seconds)


def test_it_cannot_be_started_for_who_has_none(registry):
    command(registry=registry, key="k")(len)
    for key in ("k", "x"):
        with pytest.raises(ConfigError, match=f"no command '{key}' with a Chaos"):
            registry.start_chaos(60, key)


def test_its_place_is_the_lowest_and_a_generator_has_nothing_to_spoil(registry):
    with pytest.raises(ConfigError, match="Timeout must stand above Chaos"):
        Pipeline(Chaos(), Timeout(1.0))
    with pytest.raises(ConfigError, match="result"):
        @chaos(registry=registry, result=str)
        def items():
            yield 1


def test_its_error_pickles():
    error = pickle.loads(pickle.dumps(ChaosError("why")))
    assert ("why",) == error.args
