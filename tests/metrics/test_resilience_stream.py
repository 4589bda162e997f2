"""resilience.stream: a text made by a template, against the snapshot it was made from."""

import json

import pytest

from resilience import CircuitBreaker, Registry, command
from resilience.core.outcome import EVENT_NAMES
from resilience.metrics.stream import Encoder, instance
from resilience.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock(50.0)


@pytest.fixture
def registry(clock):
    return Registry(clock=clock)


def tick(registry, encoder=None):
    return [json.loads(text) for text in (encoder or Encoder()).messages(registry, 1_700_000_000_123)]


def test_a_message_says_what_the_snapshot_says(registry, clock):
    @command(key="k", group="g", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=4, open_for=5))
    def call(fail, seconds=0.02):
        clock.advance(seconds)
        if fail:
            raise OSError

    for fail in (False, True, True, True):
        try:
            call(fail)
        except OSError:
            pass
    for _ in range(3):
        with pytest.raises(Exception, match="circuit is open"):
            call(False)
    clock.advance(1.5)
    (message,) = tick(registry)
    snapshot = call.resilience.snapshot()

    assert ("ResilienceCommand", "k", "g", instance(), 1_700_000_000_123) == tuple(
        message[name] for name in ("type", "key", "group", "instance", "time_ms"))
    assert "open" == message["state"]
    assert pytest.approx(3.5) == message["retry_after_s"]
    assert dict(snapshot.counts) == message["counts"]
    assert list(EVENT_NAMES) == list(message["counts"])
    for name in ("requests", "errors", "refused", "in_flight", "max_in_flight", "max_concurrent", "abandoned"):
        assert getattr(snapshot, name) == message[name], name
    assert pytest.approx(snapshot.error_rate, abs=1e-6) == message["error_rate"]
    assert pytest.approx(snapshot.rate, abs=1e-3) == message["rate"]
    for name, seconds in message["latency_s"].items():
        assert pytest.approx(getattr(snapshot.latency, name), abs=1e-6) == seconds, name
    (change,) = message["transitions"]
    assert {"term": 1, "from": "closed", "to": "open", "trigger": "failure_rate", "age_s": 1.5} == change


def test_of_every_event_the_stream_says_what_the_snapshot_says(registry):
    call = command(key="k", registry=registry, timeout=None)(len)
    for number, name in enumerate(EVENT_NAMES):
        registry["k"].__recorder__.count((number,), registry.clock())
        (message,) = tick(registry)
        snapshot = call.resilience.snapshot()
        told = {each: message[each] for each in ("requests", "errors", "refused")}
        assert {each: getattr(snapshot, each) for each in told} == told, name


def test_what_is_unlimited_is_null(registry):
    command(key="k", registry=registry, timeout=None, max_concurrent=None, breaker=None)(len)

    (message,) = tick(registry)

    assert message["max_concurrent"] is message["timeout_s"] is message["retry_after_s"] is None
    assert "disabled" == message["state"]
    assert [] == message["transitions"]


@pytest.mark.parametrize("name", ['"quotes"', "<script>", "two\nlines", "x" * 500, "100 %d %(x)s {}", "\ud800 lone"])
def test_any_name_survives_on_one_line(registry, name):
    command(key=name, group=name, registry=registry, timeout=None)(len)

    (text,) = Encoder().messages(registry, 0)

    assert text.isascii()
    assert "\n" not in text
    assert name == json.loads(text)["key"] == json.loads(text)["group"]


def test_a_command_that_left_is_told_once(registry):
    encoder = Encoder()
    command(key="k", registry=registry, timeout=None)(len)
    tick(registry, encoder)
    registry.remove("k")

    assert [{"type": "ResilienceRemoved", "key": "k", "instance": instance()}] == tick(registry, encoder)
    assert [] == tick(registry, encoder)
