"""What a stream tells a new listener of the last two minutes, against a plain list of what happened."""

import json
import random

import pytest

from resilience import CircuitBreaker, Registry, command
from resilience.asgi import telemetry
from resilience.metrics.history import STEP_SLICES, STEPS, RateHistory
from resilience.metrics.stream import Encoder
from resilience.testing import ManualClock
from tests.metrics.test_asgi import Connection


@pytest.fixture
def clock():
    return ManualClock(50.0)


@pytest.fixture
def registry(clock):
    return Registry(clock=clock)


def opening(registry):
    return [json.loads(text) for text in Encoder().opening(registry, 1_700_000_000_123)]


def test_random_histories_are_what_a_list_of_all_slices_says():
    for seed in range(200):
        rng = random.Random(seed)
        history, slices, requests, errors = RateHistory(), [], 0, 0
        for _ in range(rng.randrange(300)):
            fresh = rng.choice((0, 0, 1, 7, 1000))
            bad = rng.randint(0, fresh)
            over = rng.choice((1, 1, 1, 2, 9, 200))
            requests, errors = requests + fresh, errors + bad
            history.close(requests, errors, over)
            slices += [(fresh, bad), *[(0, 0)] * (over - 1)]
        whole = len(slices) // STEP_SLICES
        steps = [slices[i * STEP_SLICES:(i + 1) * STEP_SLICES] for i in range(whole)][-STEPS:]
        expected = [tuple(map(sum, zip(*step, strict=True))) for step in steps]
        past = history.read()
        found = list(zip(past.requests, past.errors, strict=True))
        if not any(fresh for fresh, _ in expected):
            assert not found, seed
        else:
            assert expected[-len(found):] == found, seed
            assert not any(fresh for fresh, _ in expected[:-len(found)]), seed
            assert len(slices) % STEP_SLICES == past.age, seed


def test_a_listener_is_told_how_the_outage_began(registry, clock):
    ill = False

    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1000, sustained_failures=None), max_concurrent=2)
    def call():
        if ill:
            raise OSError

    for second in range(60):
        ill = second >= 40
        for _ in range(4):
            try:
                call()
            except OSError:
                pass
        clock.advance(1.0)
    (message,) = opening(registry)

    assert "ResilienceCommand" == message["type"]
    assert {"step_s": 5.0, "age_s": 0.0, "requests": [20] * 12, "errors": [0] * 8 + [20] * 4} == message["history"]


def test_every_kind_of_error_counts_and_what_is_none_does_not(registry, clock):
    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1000))
    def call():
        return 1

    recorder = registry["k"]._runtime.recorder
    snapshot = registry["k"].snapshot()
    for name in snapshot.counts:
        recorder.count((list(snapshot.counts).index(name),), clock(), 3)
    counted = registry["k"].snapshot()
    clock.advance(5.0)
    (message,) = opening(registry)

    assert [counted.requests] == message["history"]["requests"]
    assert [counted.errors] == message["history"]["errors"]


def test_a_command_without_a_call_in_two_minutes_brings_no_history_and_neither_does_a_tick(registry, clock):
    @command(key="k", registry=registry, timeout=None)
    def call():
        return 1

    assert "history" not in opening(registry)[0]
    call()
    clock.advance(6.0)
    assert [1] == opening(registry)[0]["history"]["requests"]
    assert "history" not in json.loads(next(Encoder().messages(registry, 1)))
    clock.advance(125.0)
    assert 1 == sum(opening(registry)[0]["history"]["requests"])
    clock.advance(10.0)
    assert "history" not in opening(registry)[0]


def test_the_first_message_says_all_that_a_tick_says(registry, clock):
    @command(key="k", registry=registry, timeout=None, fallback=lambda: 1)
    def call():
        return 1

    call()
    clock.advance(6.0)
    first, tick = opening(registry)[0], json.loads(next(Encoder().messages(registry, 1_700_000_000_123)))

    assert {**tick, "history": first["history"]} == first
    assert tick["has_fallback"] is True


def test_a_fallback_that_comes_with_a_second_function_is_told(registry):
    command(key="k", registry=registry, timeout=None)(lambda: 1)
    encoder = Encoder()
    assert json.loads(next(encoder.messages(registry, 1)))["has_fallback"] is False
    command(key="k", registry=registry, timeout=None, fallback=lambda: 2)(lambda: 1)
    assert json.loads(next(encoder.messages(registry, 1)))["has_fallback"] is True


def test_policies_in_shadow_mode_are_told_while_they_are(registry):
    @command(key="k", registry=registry, timeout=None, shadow=["max_concurrent", "breaker"])
    def call():
        return 1

    encoder = Encoder()
    assert json.loads(next(encoder.messages(registry, 1)))["shadow"] == ["breaker", "max_concurrent"]
    call.resilience.configure(shadow=False)
    assert "shadow" not in json.loads(next(encoder.messages(registry, 1)))


async def test_a_listener_need_not_wait_for_a_tick_and_is_told_the_past_once(registry, clock):
    @command(key="k", registry=registry, timeout=None)
    def call():
        return 1

    call()
    clock.advance(6.0)
    app = telemetry(registry, interval=0.001)
    for _ in range(2):
        stream = Connection(app, "/resilience.stream")
        await stream.begin()
        first, _ = await stream.message()
        second, _ = await stream.message()
        await stream.hang_up()
        assert ["history" in message for message in (*first, *second)] == [True, False]


async def test_a_listener_that_leaves_at_once_leaves_nothing_behind(registry):
    for n in range(200):
        command(key=f"k{n}", registry=registry, timeout=None)(lambda: 1)
    app = telemetry(registry, interval=1000.0, max_streams=1)
    for _ in range(5):
        stream = Connection(app, "/resilience.stream")
        assert 200 == (await stream.begin())[0]
        await stream.hang_up()
