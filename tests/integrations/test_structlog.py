"""structlog itself, with its own capture of what is logged."""

import os
import random
import threading

import pytest
import structlog
from structlog.testing import capture_logs

from resilience import CircuitBreaker, CircuitOpenError, ConfigError, Registry, Retry, command, configure
from resilience.integrations.structlog import log_events
from resilience.testing import ManualClock
from tests.forked import forked
from tests.seeds import over_seeds


@pytest.fixture
def lines(registry):
    with capture_logs() as lines:
        end = log_events(registry)
        yield lines
        end()


def failing(registry, **settings):
    @command(key="stock", group="shop", registry=registry, timeout=None, **settings)
    def stock():
        raise ConnectionError("down")

    return stock


def test_a_circuit_that_opens_is_a_warning_and_one_that_closes_is_not(registry, lines):
    handle = failing(registry).resilience
    handle.force_open()
    handle.release()
    assert [
        {"event": "circuit_state_changed", "log_level": "warning", "command": "stock", "group": "shop", "old": "closed",
         "new": "forced_open", "trigger": "forced_open", "term": lines[0]["term"], "reason": lines[0]["reason"], "last_failure": None},
        {"event": "circuit_state_changed", "log_level": "info", "command": "stock", "group": "shop", "old": "forced_open",
         "new": "closed", "trigger": "released", "term": lines[1]["term"], "reason": lines[1]["reason"], "last_failure": None},
    ] == lines
    assert lines[0]["term"] < lines[1]["term"]


def test_an_outage_is_a_few_lines_however_many_calls_are_refused(registry, clock, lines):
    stock = failing(registry, breaker=CircuitBreaker(min_calls=3, open_for=60.0))
    for _ in range(1000):
        with pytest.raises((ConnectionError, CircuitOpenError)):
            stock()
    assert [("call_failed", 1), ("circuit_state_changed", None), ("call_rejected", 1)] == [
        (line["event"], line.get("count")) for line in lines]
    assert lines[1]["last_failure"] == "ConnectionError('down')"
    clock.advance(10.0)
    with pytest.raises(CircuitOpenError):
        stock()
    assert (lines[-1]["event"], lines[-1]["log_level"], lines[-1]["count"]) == ("call_rejected", "warning", 997)
    assert lines[-1]["error"].startswith("stock: the circuit is open, opened 10 s ago")


def test_retries_and_fallbacks_are_told_as_information(registry, lines):
    stock = failing(registry, retry=Retry(attempts=3, base=0.5, jitter="none", budget=None), fallback=lambda: 0, breaker=None)
    stock()
    assert [("call_retried", "info", 1), ("call_failed", "warning", 1), ("call_fell_back", "info", 1)] == [
        (line["event"], line["log_level"], line["count"]) for line in lines]
    assert {"attempt": 1, "delay": 0.5, "error": "ConnectionError", "event_counted": "failure"}.items() <= lines[0].items()


def test_what_is_configured_is_told_and_what_is_refused_too(registry, lines, tmp_path):
    stock = failing(registry)
    stock.resilience.configure(max_concurrent=3)
    assert {"event": "command_configured", "log_level": "info", "command": "stock", "group": "shop", "changes": ["max_concurrent"]} == lines[-1]
    file = tmp_path / "resilience.toml"
    file.write_text("[commands.stock]\nmax_concurrent = 5\n")
    configuration = configure(file, registry=registry)
    assert ("configuration_applied", ["stock"]) == (lines[-1]["event"], lines[-1]["changed"])
    file.write_text("[commands.stock]\nmax_concurrent = 'five'\n")
    with pytest.raises(ConfigError):
        configuration.reload()
    configuration.close()
    [refused] = [line for line in lines if line["event"] == "configuration_rejected"]
    assert refused["log_level"] == "error"
    assert "max_concurrent" in refused["mistakes"][0]


def test_a_logger_of_ones_own_is_used_and_an_ended_listener_logs_nothing(registry):
    stock = failing(registry)
    with capture_logs() as lines:
        end = log_events(registry, structlog.get_logger().bind(service="shop"))
        stock.resilience.force_open()
        end()
        stock.resilience.release()
    assert ["shop"] == [line["service"] for line in lines]


@over_seeds(100)
def test_every_event_is_counted_in_some_line_or_still_to_be_told_and_lines_are_ten_seconds_apart(seed):
    rng, clock = random.Random(seed), ManualClock()
    registry = Registry(clock=clock)
    stock = failing(registry, breaker=None)
    due, pending, expected = 0.0, 0, []  # the plain model
    with capture_logs() as lines:
        end = log_events(registry)
        due = clock()
        for _ in range(200):
            clock.advance(rng.choice([0.0, 0.25, 3.0, 10.0, 25.0]))
            with pytest.raises(ConnectionError):
                stock()
            pending += 1
            if clock() >= due:
                expected.append(pending)
                due, pending = clock() + 10.0, 0
        end()
    assert expected == [line["count"] for line in lines]
    assert sum(expected) + pending == 200


def test_failures_of_many_threads_are_all_counted(registry, clock):
    stock = failing(registry, breaker=None, max_concurrent=None)

    def fail():
        for _ in range(100):
            with pytest.raises(ConnectionError):
                stock()

    with capture_logs() as lines:
        log_events(registry)
        threads = [threading.Thread(target=fail) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        clock.advance(10.0)
        with pytest.raises(ConnectionError):
            stock()
    assert [1, 800] == [line["count"] for line in lines]


def test_a_command_that_goes_is_forgotten(registry):
    with capture_logs() as lines:
        log_events(registry)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                failing(registry)()
            registry.remove("stock")
    assert [1, 1] == [line["count"] for line in lines]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_counts_for_itself_although_another_thread_held_the_lock(registry):
    from resilience.integrations import structlog as module

    sparse = module._Sparse()
    sparse.due("k", ("call_failed", ""), 0.0)
    held, go_on = threading.Event(), threading.Event()

    def hold():
        with sparse._lock:
            held.set()
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()


    def work():
        assert sparse.due("k", ("call_failed", ""), 1.0) == 1

    try:
        assert forked(work) == 0
    finally:
        go_on.set()
        thread.join()
