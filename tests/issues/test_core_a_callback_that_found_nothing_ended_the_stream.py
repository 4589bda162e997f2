"""A StopIteration in a callback about an item, as next() of nothing raises it, looked like the end of a generator.

The items from there on were lost without a word, and the call was counted as a success; with items that a retry holds
back, it opened the circuit.
"""

import pytest

from resilience import CircuitBreaker, FailureRules, Registry, Retry, StreamTimeout, command
from tests.issues.every_flavour import guarded


def first_of_none(item):
    return next(iter(()))


CALLBACKS = {
    "items": {"failures": FailureRules(items=first_of_none)},
    "judge": {"failures": FailureRules(judge=first_of_none)},
    "progress": {"stream_timeout": StreamTimeout(total=60.0, progress=first_of_none)},
    "hold_size": {"retry": Retry(hold_bytes=9, hold_size=first_of_none)},
    "items, held back": {"failures": FailureRules(items=first_of_none), "retry": Retry(hold=2)},
}


@pytest.mark.parametrize("flavour", ["generator", "async generator"])
@pytest.mark.parametrize("settings", CALLBACKS.values(), ids=CALLBACKS)
def test_a_callback_that_finds_nothing_is_a_mistake_of_the_callers(flavour, settings):
    decorate = command(key="stream", registry=Registry(), breaker=CircuitBreaker(consecutive=1), **settings)
    function, call = guarded(flavour, decorate, lambda: "item")
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        call()
    assert isinstance(caught.value.__cause__, StopIteration)
    snapshot = function.resilience.snapshot()
    assert ("closed", 1, 0, 0) == (snapshot.state, *map(snapshot.counts.__getitem__, ("bad_request", "success", "failure")))
