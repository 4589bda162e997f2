"""A guarded function that forked: its end gave a slot to the child, which then showed -1 in flight and admitted one more."""

import os

import pytest

from resilience import BulkheadFullError, FallbackRejectedError, command
from resilience.core.fallback import Fallback
from tests.forked import forked


def test_the_childs_calls_and_limit_are_its_own(registry):

    @command(key="forks", registry=registry, timeout=None, max_concurrent=2)
    def forks(depth):
        if depth == "fork":
            return os.fork()
        return forks(depth - 1) if depth else "all in"

    child = forks("fork")
    if child == 0:
        try:
            assert 0 == forks.resilience.snapshot().in_flight
            assert "all in" == forks(1)
            with pytest.raises(BulkheadFullError):
                forks(2)
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert 0 == status
    assert 0 == forks.resilience.snapshot().in_flight

def test_the_childs_fallbacks_are_its_own(registry):
    def answer(work):
        return work()

    @command(registry=registry, timeout=None, fallback=Fallback(answer, max_concurrent=1))
    def fails(work):
        raise OSError

    def nested():
        with pytest.raises(FallbackRejectedError):
            fails(int)

    child = fails(os.fork)
    if child == 0:
        try:
            assert 0 == fails(int)
            fails(nested)
        except BaseException:
            os._exit(1)
        os._exit(0)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 0 == fails(lambda: forked(lambda: fails(int)))
