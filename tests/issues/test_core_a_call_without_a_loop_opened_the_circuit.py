"""A coroutine with a timeout that was driven without an event loop, by send() or another library's loop, ended with "no
running event loop" before the function ran, and counted as a failure of its target. It is the caller's mistake.
"""

import pytest

from resilience import BadRequestError, StreamTimeout, command
from tests.issues.hostile import ended


@pytest.mark.parametrize("limit", [{"timeout": 1.0}, {"stream_timeout": StreamTimeout(first_item=1.0)}], ids=str)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_call_that_no_task_runs_is_a_bad_request_and_says_why(registry, is_stream, limit):
    if "stream_timeout" in limit and not is_stream:
        return
    ran = []

    async def once():
        ran.append(1)

    async def stream():
        ran.append(1)
        yield

    guarded = command(key="k", registry=registry, **limit)(stream if is_stream else once)
    for _ in range(50):
        error = ended(lambda: (guarded().__anext__() if is_stream else guarded()).send(None))

        assert "k: a timeout needs an asyncio task to cancel" == str(error)
        assert isinstance(error, BadRequestError)
        assert isinstance(error, RuntimeError)  # as which it was known before
    counts = guarded.resilience.snapshot().counts
    assert (50, 0, "closed") == (counts["bad_request"], counts["failure"], guarded.resilience.state.value)
    assert [] == ran
