"""The recipes of docs/howto/coming-from-tenacity.md beside tenacity itself: the same attempts, delays and ends."""

import asyncio
import random

import pytest
import tenacity

from resilience import Pipeline, Registry, Retry
from resilience.core.retry import next_delay
from resilience.events import CallRetried
from resilience.testing import ManualClock

#: tenacity's settings, and ours.
RECIPES = [
    (dict(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_fixed(2)),
     Retry(attempts=3, base=2.0, factor=1.0, jitter="none", budget=None)),
    (dict(stop=tenacity.stop_after_attempt(7), wait=tenacity.wait_exponential(multiplier=1, max=10)),
     Retry(attempts=7, base=1.0, factor=2.0, max_delay=10.0, jitter="none", budget=None)),
    (dict(stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_fixed(1),
          retry=tenacity.retry_if_exception_type(OSError)),
     Retry(attempts=5, base=1.0, factor=1.0, jitter="none", on=(OSError,), budget=None)),
    (dict(stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_fixed(1),
          retry=tenacity.retry_if_not_exception_type(ValueError)),
     Retry(attempts=5, base=1.0, factor=1.0, jitter="none", unless=(ValueError,), budget=None)),
    (dict(stop=tenacity.stop_after_attempt(4), wait=tenacity.wait_fixed(1),
          retry=tenacity.retry_any(tenacity.retry_if_exception_type(), tenacity.retry_if_result(lambda x: x is None))),
     Retry(attempts=4, base=1.0, factor=1.0, jitter="none", on_result=lambda x: x is None, budget=None)),
]


class Script:
    """Ends its runs as it is written."""

    def __init__(self, ends):
        self.ends, self.runs = ends, 0

    def __call__(self):
        end = self.ends[self.runs]
        self.runs += 1
        if isinstance(end, Exception):
            raise end
        return end


def outcome(call):
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - what it is, is compared
        return type(error), error.args


def scripts():
    rng = random.Random(5)
    kinds = [OSError("a"), ValueError("b"), KeyError("c"), None, "answer"]
    return [[rng.choice(kinds) for _ in range(10)] for _ in range(40)]


@pytest.mark.parametrize("ends", scripts())
@pytest.mark.parametrize(("theirs", "mine"), RECIPES)
def test_a_recipe_does_as_the_idiom_does(theirs, mine, ends):
    their_delays, my_delays = [], []
    one, other = Script(ends), Script(ends)
    retrying = tenacity.Retrying(**theirs, reraise=True, sleep=their_delays.append)
    registry = Registry(clock=ManualClock())
    registry.subscribe(CallRetried, lambda event: my_delays.append(event.delay))
    guarded = Pipeline(mine, registry=registry, key="k")(other.__call__)

    theirs_end, my_end = outcome(lambda: retrying(one)), outcome(guarded)
    if theirs_end == (tenacity.RetryError, ()) or (isinstance(theirs_end, tuple)
                                                   and theirs_end[0] is tenacity.RetryError):
        theirs_end = None  # of a result that is no answer tenacity makes an error; here it is the answer
    assert (theirs_end, one.runs, their_delays) == (my_end, other.runs, my_delays)


def test_full_jitter_is_drawn_from_the_same_range():
    wait = tenacity.wait_random_exponential(multiplier=1, max=10)
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    rng, mine = random.Random(1), Retry(attempts=10, base=1.0, max_delay=10.0)
    for attempt in range(1, 8):
        state.attempt_number = attempt
        most = max(wait(state) for _ in range(4000))
        assert pytest.approx(most, rel=0.02) == max(next_delay(mine, attempt, 0.0, 0.0, rng.random())[0] for _ in range(4000))


def test_no_attempt_begins_after_the_limit_of_time():
    clock, one, other = ManualClock(), Script([OSError()] * 30), Script([OSError()] * 30)

    async def theirs():
        now = 0.0

        async def sleep(seconds):
            nonlocal now
            now += seconds

        retrying = tenacity.AsyncRetrying(stop=lambda state: now >= 10, wait=tenacity.wait_fixed(2), sleep=sleep, reraise=True)

        async def fn():
            return one()

        with pytest.raises(OSError):
            await retrying(fn)

    asyncio.run(theirs())
    policy = Retry(attempts=100, time_limit=10.0, base=2.0, factor=1.0, jitter="none", budget=None)
    with pytest.raises(OSError):
        Pipeline(policy, registry=Registry(clock=clock), key="k")(other.__call__)()
    assert (6, 6, 10.0) == (one.runs, other.runs, clock())
