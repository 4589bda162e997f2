"""What the decorator says means the same for every key of a function, and was worked out for each: 0.6 ms, not 0.3."""

import sys

from resilience import CircuitBreaker, Retry, command


def python_calls(work):
    """How many Python functions *work* calls."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_a_new_key_does_not_work_out_again_what_is_the_same_for_all(registry):
    @command(key=lambda key: key, registry=registry, retry=Retry(), breaker=CircuitBreaker(), max_concurrent=5)
    def guarded(key):
        return key

    guarded("warm")
    assert python_calls(lambda: guarded("a")) < 500  # 1000 when all of it was worked out
    assert guarded.resilience["a"].settings is guarded.resilience["warm"].settings


def test_a_change_of_one_key_stays_its_own(registry):
    @command(key=lambda key: key, registry=registry, max_concurrent=5)
    def guarded(key):
        return key

    guarded("a"), guarded("b")
    guarded.resilience["a"].configure(max_concurrent=7)
    guarded("c")
    assert [guarded.resilience[key].settings.max_concurrent for key in "abc"] == [7, 5, 5]
