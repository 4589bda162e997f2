"""What after_isolated_calls() is to clean up stayed behind on the threads that run the attempts of a hedged generator.

Such as the connection to a database, of which Django and SQLAlchemy keep one for each thread.
"""

import threading

import pytest

from resilience import Hedge, Registry, command


@pytest.mark.parametrize("how", ["read to its end", "closed"])
def test_each_thread_of_a_hedged_generator_is_cleaned_up_when_the_generator_is_closed(how):
    registry, local, left, hung = Registry(), threading.local(), [], threading.Event()
    connections, cleaned = [], threading.Semaphore(0)

    def clean_up():
        left.append((local.connection, local.is_closed))
        cleaned.release()

    registry.after_isolated_calls(clean_up)

    @command(key="rows", timeout=None, hedge=Hedge(idempotent=True, delay=0.001), registry=registry)
    def rows():
        local.connection, local.is_closed = len(connections), False
        connections.append(local.connection)
        try:
            if local.connection == 0:
                hung.wait(20.0)
            yield local.connection
            yield "last"
        finally:
            local.is_closed = True

    stream = rows()
    assert next(stream) == 1
    stream.close() if how == "closed" else list(stream)
    assert left == [(1, True)]
    hung.set()
    assert cleaned.acquire(timeout=20.0)
    assert cleaned.acquire(timeout=20.0)
    assert left == [(1, True), (0, True)]
