"""A batch of one request ran under the deadline of its first caller: when that passed, it failed for all others.

The deadline of whoever decorated the function, while one was in force, would have been that of all batches.
"""

import asyncio

import pytest

from resilience import DeadlineExceededError, collapse, command, deadline, request_context
from resilience.drivers.deadline_context import remaining
from resilience.testing import virtual_time


@pytest.mark.parametrize("scope", ["global", "request"])
def test_the_deadline_of_the_first_caller_ends_that_callers_wait_only(registry, scope):
    lefts = []

    async def many(ids):
        lefts.append(remaining())
        await asyncio.sleep(0.2)
        return {each: f"user {each}" for each in ids}

    async def main():
        with deadline(10.0):
            user = collapse(window=0.01, scope=scope)(command(key="users", registry=registry, timeout=2.0)(many))

        async def hurried():
            with deadline(0.05):
                return await user(1)

        with request_context():
            return await asyncio.gather(hurried(), user(2), return_exceptions=True)

    hurried, other = virtual_time(main())
    assert isinstance(hurried, DeadlineExceededError)
    assert "user 2" == other
    assert len(lefts) == 1
    assert lefts[0] is None or lefts[0] > 1.0  # its command's own timeout


def test_a_batch_of_a_thread_is_not_under_its_leaders_deadline(registry):
    lefts = []

    @collapse(window=0, scope="request")
    @command(key="users", registry=registry, timeout=None)
    def user(ids):
        lefts.append(remaining())
        return dict.fromkeys(ids, "user")

    with request_context(), deadline(20.0):
        assert "user" == user(1)
        assert remaining() > 1.0
    assert [None] == lefts
