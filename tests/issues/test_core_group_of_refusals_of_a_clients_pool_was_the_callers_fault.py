"""A group of exceptions that failure rules call "refused" was counted as a bad request; each of them alone is counted
as a refusal. A group is what its leaves are.
"""

import asyncio

import pytest

from resilience import FailureRules, Registry, command

RULES = FailureRules(refused=TimeoutError)
GROUPS = [ExceptionGroup("pool", [TimeoutError()]), ExceptionGroup("outer", [ExceptionGroup("pool", [TimeoutError()])])]


def counts(function):
    return {name: n for name, n in function.resilience.snapshot().counts.items() if n}


@pytest.mark.parametrize("error", [TimeoutError(), *GROUPS], ids=["alone", "in a group", "in a nested group"])
def test_what_is_judged_refused_counts_as_a_refusal_alone_and_in_groups(error):
    def fails():
        raise error

    async def fails_async():
        fails()

    async def stream():
        fails()
        yield

    async def consume(source):
        async for _ in source:
            pass

    one, other, third = (command(timeout=None, failures=RULES, registry=Registry())(each)
                         for each in (fails, fails_async, stream))
    for function, run in ((one, one), (other, lambda: asyncio.run(other())), (third, lambda: asyncio.run(consume(third())))):
        with pytest.raises(type(error)):
            run()
        assert {"semaphore_rejected": 1, "fallback_missing": 1, "exceptions_thrown": 1} == counts(function)


def test_a_group_with_a_failure_beside_a_refusal_is_a_failure():
    @command(timeout=None, failures=RULES, registry=Registry())
    def fails():
        raise ExceptionGroup("both", [TimeoutError(), OSError()])

    with pytest.raises(ExceptionGroup):
        fails()

    assert 1 == counts(fails)["failure"]
