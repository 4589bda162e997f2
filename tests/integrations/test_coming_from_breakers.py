"""The recipes of coming-from-nopanic.md and coming-from-fluxgate.md beside these libraries: circuits open at the same call."""

import random

import fluxgate
import nopanic

from resilience import CircuitBreaker, CircuitOpenError, Registry, command
from resilience.testing import ManualClock
from tests.seeds import over_seeds

CALLS = 60


def opened_at(call, refusal, history):
    """The number of the first call that is refused, or None."""
    for number, fails in enumerate(history):
        try:
            call(fails)
        except refusal:
            return number
        except LookupError:
            pass
    return None


def target(fails):
    if fails:
        raise LookupError


def ours(breaker, clock):
    return command(key="k", registry=Registry(clock=clock), timeout=None, max_concurrent=None, breaker=breaker)(target)


def histories(rng):
    share = rng.choice([0.1, 0.4, 0.5, 0.6, 0.9])
    return [rng.random() < share for _ in range(CALLS)]


@over_seeds(200)
def test_a_circuit_of_nopanic_and_its_translation_open_at_the_same_call_if_that_has_failed(seed):
    rng, clock = random.Random(seed), ManualClock()
    rate, least = rng.choice([0.2, 0.5, 0.8]), rng.randint(1, 20)
    theirs = nopanic.circuit_breaker(failure_threshold=rate, min_calls=least, window=30.0, reset_timeout=30.0, clock=clock)(target)
    mine = ours(CircuitBreaker(failure_rate=rate, min_calls=least, window=30.0, open_for=30.0, sustained_failures=None), clock)
    history = histories(rng)
    first, other = opened_at(mine, CircuitOpenError, history), opened_at(theirs, nopanic.CircuitOpen, history)
    if first is None or history[first - 1]:
        assert other == first
    else:  # theirs looks at the share when a call has failed, ours when any has ended
        assert other is None or other > first


@over_seeds(200)
def test_a_circuit_of_fluxgate_and_its_translation_open_at_the_same_call(seed):
    from fluxgate.trippers import FailureRate, FailureStreak, MinRequests
    from fluxgate.windows import CountWindow

    rng = random.Random(seed)
    rate, least, size, streak = rng.choice([0.2, 0.5, 0.8]), rng.randint(1, 20), rng.randint(20, 40), rng.choice([None, 2, 5])
    tripper = MinRequests(least) & FailureRate(rate)
    theirs = fluxgate.CircuitBreaker(window=CountWindow(size), tripper=tripper if streak is None else tripper | FailureStreak(streak))(target)
    mine = ours(CircuitBreaker(failure_rate=rate, min_calls=least, window_calls=size, consecutive=streak, sustained_failures=None), ManualClock())
    history = histories(rng)
    assert opened_at(theirs, fluxgate.CallNotPermittedError, history) == opened_at(mine, CircuitOpenError, history)
