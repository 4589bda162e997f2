"""A FailedResultError that a command had raised held who judged it, and could be neither copied nor pickled.

A worker of a process pool that raised one broke its job with "a FailureJudge belongs to one process"; so did a listener that
sent the error of CallFailed to another process. The errors of tests are made by hand, and never held anything.
"""

import asyncio
import copy
import pickle
import statistics

import httpx
import pytest

from resilience import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    FailedResultError,
    FailureRules,
    RateLimit,
    RateLimitedError,
    Registry,
    StreamTimeout,
    StreamTimeoutError,
    Verdict,
    command,
    http_status,
)
from resilience.config import configure
from resilience.core.vendor_errors import as_vendor_error
from resilience.events import CallFailed
from resilience.testing import ManualClock
from tests.issues.every_flavour import FLAVOURS, guarded

FAILED = FailureRules(results=lambda result: result == 503, items=lambda item: item == 503, raise_failures=True)


def copies_of(error):
    yield copy.copy(error)
    yield copy.deepcopy(error)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(error, protocol))


def assert_can_be_sent(error):
    for twin in copies_of(error):
        assert type(error) is type(twin)
        assert (error.args, str(error)) == (twin.args, str(twin))


def raised_by(run, *args):
    with pytest.raises(Exception) as caught:
        run(*args)
    return caught.value


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_failed_result_that_a_command_raised_can_be_copied_and_pickled(registry, flavour):
    isolation = "thread" if flavour == "thread" else "semaphore"
    heard = []
    registry.subscribe(CallFailed, heard.append)
    settings = {"key": "stock", "registry": registry, "timeout": None, "failures": FAILED, "isolation": isolation}
    error = raised_by(guarded(flavour, command(**settings), lambda: 503)[1])

    assert FailedResultError is type(error)
    assert_can_be_sent(error)
    assert_can_be_sent(heard[0].error)
    assert 503 == next(copies_of(error)).result


def test_so_can_one_that_another_librarys_code_caught(registry):
    error = raised_by(command(key="stock", registry=registry, timeout=None, failures=FAILED)(lambda: 503))
    twin = as_vendor_error(error, httpx.ConnectError)
    twin.request = httpx.Request("POST", "http://localhost/", content=iter([b"read once"]))

    for other in (copy.copy(twin), pickle.loads(pickle.dumps(twin))):
        assert isinstance(other, httpx.ConnectError)
        assert (FailedResultError, 503, None) == (type(other).__bases__[0], other.result, other._request)


def test_a_copy_is_judged_as_any_error_is_where_it_is_raised_again(registry):
    call = command(key="stock", registry=registry, timeout=None, failures=http_status())(lambda answer: answer())
    error = pickle.loads(pickle.dumps(FailedResultError("stock", 503, Verdict.BUSY, "HTTP status 503")))

    def answer():
        raise error

    assert error is raised_by(call, answer)
    counts = call.resilience.snapshot().counts
    assert (1, 0) == (counts["failure"], counts["busy"])


def _refusing(clock):
    """Functions that raise what a command raises of its own accord, by the class of the error."""
    registry = Registry(clock=clock)

    def guard(body, **settings):
        return command(key=f"k{len(registry)}", registry=registry, **{"timeout": None, **settings})(body)

    opened = guard(lambda: 1 / 0, breaker=CircuitBreaker(min_calls=1))
    raised_by(opened)
    limited = guard(lambda: 1, rate_limit=RateLimit(1, per=1.0))
    limited()
    full = guard(lambda: full(), max_concurrent=1)

    def late():
        yield 1
        clock.advance(9.0)
        yield 2

    stream = guard(late, stream_timeout=StreamTimeout(total=2.0))
    return {CircuitOpenError: opened, RateLimitedError: limited, BulkheadFullError: full,
            StreamTimeoutError: lambda: [*stream()]}


def test_every_error_that_a_command_raises_can_be_sent():
    for kind, run in _refusing(ManualClock()).items():
        error = raised_by(run)
        assert kind is type(error)
        assert_can_be_sent(error)


async def test_a_timeout_can_be_sent(registry):
    @command(key="k", registry=registry, timeout=0.01)
    async def hang():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(CallTimeoutError) as caught:
        await hang()
    assert_can_be_sent(caught.value)


def test_what_a_guard_of_a_file_raises_can_be_sent(registry):
    configuration = configure({"guards": {"statistics:median": {
        "breaker": {"min_calls": 1}, "raise_as": "builtins:KeyError"}}}, registry=registry, environ={})
    raised_by(statistics.median, [])
    error = raised_by(statistics.median, [1])
    configuration.close()

    assert isinstance(error, (CircuitOpenError, KeyError))
    assert_can_be_sent(error)
