"""The recipes of docs/howto/coming-from-stamina.md beside stamina itself: the same attempts and ends."""

import asyncio

import pytest
import stamina

from resilience import Registry, retry
from resilience.events import CallRetried
from resilience.testing import ManualClock, disabled


@pytest.fixture(autouse=True)
def their_testing():
    """stamina does not wait, and makes as many attempts as it is told to."""
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


def failing(times, error=ConnectionError):
    runs = []

    def fn():
        runs.append(None)
        if len(runs) <= times:
            raise error(len(runs))
        return "answer"

    return fn, runs


def end_of(call):
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - what it is, is compared
        return type(error), error.args


@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, ValueError])
@pytest.mark.parametrize("attempts", [2, 3, 10])
@pytest.mark.parametrize("times", range(6))
def test_attempts_and_ends_are_the_same(times, attempts, error):
    (one, their_runs), (other, my_runs) = failing(times, error), failing(times, error)
    theirs = stamina.retry(on=(ConnectionError, TimeoutError), attempts=attempts)(one)
    mine = retry(on=(ConnectionError, TimeoutError), attempts=attempts, budget=None,
                 registry=Registry(clock=ManualClock()), key="k")(other)
    assert (end_of(theirs), len(their_runs)) == (end_of(mine), len(my_runs))


def test_coroutine_functions_too():
    (one, their_runs), (other, my_runs) = failing(2), failing(2)

    @stamina.retry(on=ConnectionError, attempts=5)
    async def theirs():
        return one()

    @retry(on=(ConnectionError,), attempts=5, registry=Registry(clock=ManualClock()), key="k")
    async def mine():
        return other()

    assert asyncio.run(theirs()) == asyncio.run(mine()) == "answer"
    assert (3, 3) == (len(their_runs), len(my_runs))


def test_the_delays_grow_to_the_same_end():
    """stamina's are these and up to a second more; ours with jitter="none" are these."""
    delays, registry = [], Registry(clock=ManualClock())
    registry.subscribe(CallRetried, lambda event: delays.append(event.delay))
    mine = retry(attempts=9, base=0.1, max_delay=5.0, jitter="none", budget=None, registry=registry, key="k")(failing(9)[0])
    with pytest.raises(ConnectionError):
        mine()
    assert [pytest.approx(min(5.0, 0.1 * 2**n)) for n in range(8)] == delays


def test_switched_off_there_is_one_attempt():
    (one, their_runs), (other, my_runs) = failing(5), failing(5)
    registry = Registry(clock=ManualClock())
    mine = retry(attempts=5, registry=registry, key="k")(other)
    stamina.set_active(False)
    try:
        with pytest.raises(ConnectionError):
            stamina.retry(on=ConnectionError)(one)()
    finally:
        stamina.set_active(True)
    with disabled(registry), pytest.raises(ConnectionError):
        mine()
    assert (1, 1) == (len(their_runs), len(my_runs))
