"""Defects of other retries and rate limits; each test names the peer."""

import asyncio

import pytest

from resilience import RateLimitedError, Registry, Retry, command, rate_limit, retry
from resilience.core.retry import Retry as Policy
from resilience.core.retry import next_delay
from resilience.testing import ManualClock, disabled, virtual_time

LIMITLESS = {"jitter": "none", "budget": None}


def test_tenacity_529_a_cancelled_attempt_is_not_tried_again_whatever_is_excluded():
    """`retry_if_not_exception_type(KeyError)` takes a cancellation for one more exception to try again after."""
    attempts = []

    @retry(attempts=5, base=0.0, unless=KeyError, registry=Registry(), **LIMITLESS)
    async def hangs():
        attempts.append(1)
        await asyncio.Event().wait()

    async def main():
        task = asyncio.ensure_future(hangs())
        while not attempts:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual_time(main())
    assert [1] == attempts


def test_tenacity_93_calls_at_once_do_not_share_their_attempts():
    @retry(attempts=3, base=1.0, registry=Registry(), **LIMITLESS)
    async def fails(name):
        attempts[name] += 1
        await asyncio.sleep(name)
        raise OSError(name)

    attempts = {1: 0, 2: 0, 3: 0}

    async def main():
        return await asyncio.gather(*map(fails, attempts), return_exceptions=True)

    errors = virtual_time(main())
    assert [1, 2, 3] == [error.args[0] for error in errors]
    assert {1: 3, 2: 3, 3: 3} == attempts


def test_stamina_137_the_thousandth_attempt_does_not_overflow():
    policy = Policy(attempts=1000, base=1.0, factor=1000.0, max_delay=60.0, jitter="none")
    assert 60.0 == next_delay(policy, 999, 60.0, 0.0, 0.5)[0]


def test_stamina_115_the_first_pause_is_the_base_and_there_is_one_less_than_attempts():
    policy = Policy(attempts=4, base=1.0, factor=2.0, max_delay=60.0, jitter="none")
    assert [1.0, 2.0, 4.0, None] == [next_delay(policy, made, 0.0, 0.0, 0.5)[0] for made in (1, 2, 3, 4)]


def test_stamina_53_switched_off_a_retry_calls_once_and_hands_results_through():
    answers = []

    @command(retry=Retry(attempts=3, base=0.0, on_result=lambda answer: answer is None, **LIMITLESS), breaker=None,
             timeout=None, registry=Registry())
    def work():
        answers.append(None)

    with disabled(work):
        assert work() is None
    assert [None] == answers


@pytest.mark.parametrize(("burst", "at_once"), [(1, 1), (3, 3), (None, 8)])
def test_aiolimiter_200_no_more_than_the_burst_begin_at_once_and_the_rate_is_kept_from_then_on(burst, at_once):
    """There a limit of 8 a second lets 16 calls begin within the first one."""
    clock = ManualClock()

    @rate_limit(8, burst=burst, registry=Registry(clock=clock))
    def work():
        return True

    def tried():
        try:
            return work()
        except RateLimitedError:
            return False

    assert at_once == sum(tried() for _ in range(30))
    clock.advance(0.125)
    assert 1 == sum(tried() for _ in range(30))


def test_aiolimiter_292_a_limit_is_shared_by_the_loops_of_a_process():
    """Its lock and its waiters belong to the first loop that came."""
    limited = rate_limit(10_000, burst=1, max_wait=60.0, registry=Registry())

    @limited
    async def work():
        return asyncio.get_running_loop().time()

    async def main():
        return await asyncio.gather(work(), work(), work())

    for _ in range(2):
        assert 3 == len(asyncio.run(main()))

