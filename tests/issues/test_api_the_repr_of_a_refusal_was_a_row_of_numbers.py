"""asyncio shows a task's exception by its repr, as logs and lists of gathered results do. That of a refusal was its arguments:
"CircuitOpenError('stock', 4.99, ('open', 88400.2, '1 call failed', -inf), ('OSError', 'x', 88400.2, 1), 88400.2)".
"""

import contextlib
import pickle

import pytest

from resilience import (
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    NoTimeLeftError,
    RateLimitedError,
    Registry,
    RejectedError,
    ThreadPoolFullError,
    command,
)
from resilience.testing import ManualClock


def test_the_repr_of_a_refusal_says_what_its_message_says():
    @command(key="stock", registry=Registry(clock=ManualClock()), timeout=None,
             breaker=CircuitBreaker(consecutive=1, failure_rate=None))
    def stock():
        raise OSError("no route")

    with contextlib.suppress(OSError):
        stock()
    with pytest.raises(CircuitOpenError) as refused:
        stock()
    said = ("CircuitOpenError(\"stock: the circuit is open, opened 0 s ago: 1 call failed, last OSError('no route') 0 s ago; "
            "retry in 5 s\")")
    assert said == repr(refused.value) == repr(pickle.loads(pickle.dumps(refused.value)))


@pytest.mark.parametrize(("error", "shown"), [
    (BulkheadFullError("stock", None, 2, 0, 2, 0), "BulkheadFullError('stock: the bulkhead is full: calls of its own hold all 2 slots')"),
    (ThreadPoolFullError("stock", None, "shop", 1, 0, (("price", 1),)), None),
    (RateLimitedError("stock", 2.0), "RateLimitedError('stock: the rate limit is reached; retry in 2 s')"),
    (NoTimeLeftError("stock"), None), (RejectedError(), "RejectedError()"), (CircuitOpenError(), "CircuitOpenError()")])
def test_each_kind_of_refusal(error, shown):
    assert (shown or f"{type(error).__name__}({str(error)!r})") == repr(error)
