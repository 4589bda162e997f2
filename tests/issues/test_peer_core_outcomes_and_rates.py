"""Defects of other breakers in what counts, and against what; each test names the peer."""

import gc
import weakref

import pytest

from resilience import CircuitBreaker, Registry, circuit_breaker, command
from resilience.core.circuit import Circuit
from resilience.core.events import State
from resilience.core.outcome import CANCELLED, FAILURE, REJECTED, SUCCESS
from resilience.errors import CircuitOpenError
from resilience.metrics.recorder import Recorder
from resilience.testing import ManualClock
from tests.core.hammer import hammer


def make(**changes):
    config = CircuitBreaker(**{"min_calls": 4} | changes)
    return Circuit(config, key="k", group="g", now=0.0, emit=lambda _: None, random=lambda: 0.0)


def run(circuit, outcomes, now=0.0):
    for outcome in outcomes:
        circuit.settle(circuit.acquire(now), outcome, now, now)


def test_hystrix_1_3_c_an_error_rate_is_not_cut_to_whole_per_cent():
    """Hystrix reads 1.9 % as 1 %, and stays closed."""
    circuit = make(failure_rate=0.019, min_calls=1000)
    run(circuit, [SUCCESS] * 981 + [FAILURE] * 18)
    assert State.CLOSED is circuit.state
    run(circuit, [FAILURE])

    assert State.OPEN is circuit.state


@pytest.mark.parametrize("peer", ["Hystrix 1.3 e: a full pool opens the circuit", "opossum: capacity is a failure"])
def test_our_own_refusals_are_no_failures_of_the_target(peer):
    circuit = make()
    run(circuit, [REJECTED] * 50)

    assert State.CLOSED is circuit.state, peer


def test_hystrix_1_3_f_a_command_removed_from_its_registry_leaves_nothing_behind():
    registry = Registry(clock=ManualClock())

    def declare():
        @command(key="gone", registry=registry, timeout=None)
        def fn():
            return 1
        fn()
        return weakref.ref(fn.resilience)

    gone = declare()
    assert registry.remove("gone")
    gc.collect()

    assert gone() is None
    assert [] == list(registry)


def test_resilience4j_a_call_that_hangs_is_counted_when_its_caller_gives_up_not_when_it_ends():
    import threading
    registry, never = Registry(), threading.Event()

    @command(registry=registry, timeout=0.01, breaker=CircuitBreaker(min_calls=2))
    def hangs():
        never.wait(10)

    try:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                hangs()
        with pytest.raises(CircuitOpenError):
            hangs()
        assert 0 == hangs.resilience.pool.completed
    finally:
        never.set()
        registry.close()


def test_sentinel_a_rate_exactly_at_the_threshold_opens():
    circuit = make(failure_rate=0.5)
    run(circuit, [SUCCESS, SUCCESS, FAILURE, FAILURE])

    assert State.OPEN is circuit.state


def test_sentinel_failures_astride_two_windows_are_seen_together():
    """A tumbling window of 10 s starts at nothing at t = 10."""
    circuit = make(window=10.0, buckets=10)
    run(circuit, [FAILURE] * 2, now=9.5)
    run(circuit, [FAILURE] * 2, now=10.5)

    assert State.OPEN is circuit.state


def test_opossum_calls_in_flight_and_refused_do_not_dilute_the_error_rate():
    circuit = make()
    for _ in range(100):
        circuit.acquire(0.0)
    run(circuit, [REJECTED] * 100 + [CANCELLED] * 100 + [FAILURE] * 4)

    assert State.OPEN is circuit.state


@pytest.mark.parametrize("peer", ["pybreaker: KeyboardInterrupt trips, an early close() fails",
                                  "purgatory: two cancellations opened it"])
def test_cancellation_is_no_failure(peer):
    circuit = make(min_calls=1)
    run(circuit, [CANCELLED] * 50)

    assert State.CLOSED is circuit.state, peer


@pytest.mark.parametrize("peer", ["circuitbreaker: CancelledError resets the count", "hyx HEAD: counts it as success"])
def test_cancellation_is_no_success_either(peer):
    circuit = make()
    run(circuit, [FAILURE] * 3 + [CANCELLED] * 50 + [FAILURE])

    assert State.OPEN is circuit.state, peer


def test_pybreaker_the_call_that_opens_the_circuit_raises_its_own_error():
    @circuit_breaker(min_calls=1, key="trips", registry=Registry(clock=ManualClock()))
    def fails():
        raise OSError("the cause")

    with pytest.raises(OSError, match="the cause"):
        fails()
    assert State.OPEN is fails.resilience.state


@pytest.mark.parametrize("peer", ["interlock", "circuitbreaker"])
def test_no_failed_call_is_pinned_by_the_breaker(peer):
    """Their last_failure keeps the failed frame's locals alive."""
    class Big:
        pass

    @circuit_breaker(min_calls=1, key="pins", registry=Registry(clock=ManualClock()))
    def fails(big):
        raise OSError

    big = Big()
    ref = weakref.ref(big)
    with pytest.raises(OSError) as caught:
        fails(big)
    del big, caught
    gc.collect()

    assert ref() is None, peer


def test_interlock_2_1_3_a_reading_is_never_torn():
    """Each failure counts two events at once: no reader may see one without the other."""
    recorder, torn = Recorder(now=0.0), []

    def count():
        for _ in range(800):
            recorder.ran((FAILURE, 11), 0.0, 1.0)

    def look():
        for _ in range(800):
            reading = recorder.read(1.0)
            if not reading.counts[FAILURE] == reading.counts[11] == reading.latency.count:
                torn.append(reading)

    hammer(count, look, threads=2)

    assert [] == torn


def test_tenacity_93_statistics_of_calls_at_once_are_not_mixed_up():
    recorder = Recorder(now=0.0)
    hammer(lambda: [recorder.ran((FAILURE,), 0.0, 1.0) for _ in range(500)],
           lambda: [recorder.success(0.0, 1.0) for _ in range(500)], threads=2)

    assert [1000, 1000] == recorder.read(1.0).counts[:2]
