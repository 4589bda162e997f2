"""A coroutine with a timeout or a hedge that was driven without an event loop, by send() or another library's loop, ended with "no
running event loop" before the function ran, and counted as a failure of its target. It is the caller's mistake.
"""

import pytest

from resilience import BadRequestError, Hedge, StreamTimeout, command
from tests.issues.hostile import ended


@pytest.mark.parametrize(("limit", "is_stream", "policy"), [
    ({"timeout": 1.0}, False, "timeout"), ({"timeout": 1.0}, True, "timeout"),
    ({"stream_timeout": StreamTimeout(first_item=1.0)}, True, "timeout"),
    ({"timeout": None, "hedge": Hedge(delay=0.1, idempotent=True)}, False, "hedge"),
    ({"timeout": None, "hedge": Hedge(delay=0.1, idempotent=True)}, True, "hedge")], ids=str)
def test_a_call_that_no_task_runs_is_a_bad_request_and_says_why(registry, limit, is_stream, policy):
    ran = []

    async def once():
        ran.append(1)

    async def stream():
        ran.append(1)
        yield

    guarded = command(key="k", registry=registry, **limit)(stream if is_stream else once)
    for _ in range(50):
        error = ended(lambda: (guarded().__anext__() if is_stream else guarded()).send(None))

        assert f"k: a {policy} needs an asyncio task to cancel" == str(error)
        assert isinstance(error, BadRequestError)
        assert isinstance(error, RuntimeError)  # as which it was known before
    counts = guarded.resilience.snapshot().counts
    assert (50, 0, "closed") == (counts["bad_request"], counts["failure"], guarded.resilience.state.value)
    assert [] == ran
