"""A plain function that a live timeout moved to worker threads, or back, knew none of the answers kept so far."""

import threading

from resilience import Cache, command


def test_answers_are_kept_wherever_calls_run(registry):
    ran = []

    @command(registry=registry, cache=Cache(ttl=60.0), fallback=lambda number: -number)
    def call(number):
        ran.append(threading.current_thread())
        if number < 0:
            raise OSError
        return number

    assert 1 == call(1)
    call.resilience.configure(timeout=30.0)
    assert [1, 2, 5] == [call(1), call(2), call(-5)]
    call.resilience.configure(timeout=None)
    assert [1, 2, 5] == [call(1), call(2), call(-5)]

    here = threading.current_thread()
    assert [True, False, False, True] == [thread is here for thread in ran]
    assert 2 == call.resilience.cached
    call.resilience.clear_cache()
    call(1)
    assert 5 == len(ran)
