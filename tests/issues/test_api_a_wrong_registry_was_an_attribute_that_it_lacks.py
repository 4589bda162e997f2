"""``restored(stock)`` and ``frozen(stock)`` said "'function' object is not iterable", though disabled(stock) takes a function;
explain(), configure(), RecordedEvents, log_events() and add_span_events() spoke of attributes, too, and Collector(), telemetry() and
export_metrics() took anything, and failed when they were scraped. Two more words of that kind: to leave an asynchronous entry of
a block twice was "cannot reuse already awaited coroutine", where a synchronous one changes nothing; and that pools contradict
each other was told without what to do.
"""

import pytest

from resilience import ConfigError, Registry, ThreadPool, block, command, configure, explain
from resilience.asgi import telemetry
from resilience.integrations.opentelemetry import add_span_events, export_metrics
from resilience.integrations.structlog import log_events
from resilience.metrics.prometheus import Collector
from resilience.testing import RecordedEvents, assert_counts, assert_idle, frozen, restored


@pytest.mark.parametrize("take", [
    lambda wrong: restored(wrong).__enter__(), lambda wrong: frozen(wrong).__enter__(), RecordedEvents,
    lambda wrong: explain("stock", registry=wrong), lambda wrong: configure({}, registry=wrong),
    Collector, telemetry, export_metrics, add_span_events, log_events],
    ids=["restored", "frozen", "RecordedEvents", "explain", "configure",
         "Collector", "telemetry", "export_metrics", "add_span_events", "log_events"])
@pytest.mark.parametrize("wrong", [command(key="stock", registry=Registry())(len), "stock", None, Registry],
                         ids=["function", "key", "None", "class"])
def test_what_is_no_registry_is_told_so(take, wrong):
    with pytest.raises(TypeError, match="^registry must be a Registry, not "):
        take(wrong)


async def test_to_leave_an_entry_of_a_block_twice_changes_nothing():
    payments = block("payments", registry=Registry())
    call = payments()
    async with call:
        pass
    for error in (None, OSError()):
        await call.__aexit__(type(error), error, None)
    assert_counts(payments, success=1)
    assert_idle(payments)
    with pytest.raises(RuntimeError, match="never entered"):
        await payments().__aexit__(None, None, None)


def test_pools_that_contradict_each_other():
    registry = Registry()
    kept = command(key="stock", group="shop", registry=registry, timeout=1.0)(len)
    with pytest.raises(ConfigError, match="contradicts; give the function a group of its own, or the same pool$"):
        command(key="price", group="shop", registry=registry, timeout=1.0, pool=ThreadPool(size=2))(len)
    assert [kept.resilience] == list(registry)
