"""A failover without a circuit breaker sent every stream to a target at which each of them failed in mid-stream.

So did one whose probe failed there: it counted as lost, so that the next call was a probe at once. And a stream that
passed an event on that was judged failed counted as a probe that had passed.
"""

import asyncio
import inspect

import pytest

from resilience import CircuitBreaker, Failover, FailureRules, Registry, StreamTimeout, command
from resilience.testing import ManualClock


class Busy(Exception):
    retry_after = 5.0


class Streams:
    """A generator or an async generator over two targets, of which "eu" yields an item and then does as it is told."""

    def __init__(self, is_async, **settings):
        self.clock, self.does = ManualClock(), None
        guard = command(key="rows", failover=Failover(("eu", "us")), registry=Registry(clock=self.clock),
                        **{"timeout": None, "breaker": None, **settings})
        self.fn = guard(self._rows_async if is_async else self._rows)

    def _rows(self, *, target="eu"):
        yield target
        if target == "eu" and self.does is not None:
            yield from self.does()

    async def _rows_async(self, *, target="eu"):
        yield target
        if target == "eu" and self.does is not None:
            for item in self.does():
                yield item

    def read(self):
        """The items, and the class of the exception that came instead of the end."""
        items = []

        async def read_async():
            async for item in self.fn():
                items.append(item)

        try:
            if inspect.isasyncgenfunction(self.fn):
                asyncio.run(read_async())
            else:
                for item in self.fn():
                    items.append(item)
        except Exception as error:
            items.append(type(error))
        return items


def breaks():
    raise ConnectionResetError
    yield


def is_busy():
    raise Busy
    yield


def says_so():
    yield "error"


@pytest.fixture(params=[False, True], ids=["generator", "async generator"])
def streams(request):
    return lambda **settings: Streams(request.param, **settings)


def test_without_a_circuit_one_stream_that_breaks_off_makes_its_target_rest(streams):
    rows = streams()
    rows.does = breaks
    assert [["eu", ConnectionResetError], ["us"], ["us"]] == [rows.read() for _ in range(3)]
    rows.does = None
    rows.clock.advance(30.0)
    assert ["eu"] == rows.read()


def test_a_probe_that_breaks_off_begins_another_rest(streams):
    rows = streams()
    rows.does = breaks
    rows.read()
    rows.clock.advance(30.0)
    assert [["eu", ConnectionResetError], ["us"]] == [rows.read() for _ in range(2)]
    rows.clock.advance(29.0)
    assert ["us"] == rows.read()
    rows.clock.advance(1.0)
    assert ["eu", ConnectionResetError] == rows.read()


def test_a_stream_that_opens_its_circuit_in_the_middle_makes_its_target_rest_at_once(streams):
    rows = streams(breaker=CircuitBreaker(consecutive=1, open_for=1.0))
    rows.does = breaks
    rows.read()
    rows.clock.advance(2.0)  # the circuit would admit a call
    assert ["us"] == rows.read()


def test_a_target_that_gets_busy_in_mid_stream_is_left_alone_for_as_long_as_it_asks(streams):
    rows = streams(failures=FailureRules(busy=Busy))
    rows.does = is_busy
    rows.read()
    rows.does = None
    assert ["us"] == rows.read()
    rows.clock.advance(5.0)
    assert ["eu"] == rows.read()


def test_a_probe_whose_stream_has_an_item_that_is_judged_failed_has_not_passed(streams):
    rows = streams(failures=FailureRules(items=lambda item: item == "error"))
    rows.does = breaks
    rows.read()
    rows.does = says_so
    rows.clock.advance(30.0)
    assert ["eu", "error"] == rows.read()
    assert ["us"] == rows.read()


def test_a_stream_that_began_before_the_probe_decides_nothing():
    rows = Streams(is_async=False)

    def breaks_late():
        rows.does = breaks
        rows.read()
        rows.does = None
        rows.clock.advance(30.0)
        probes.append(rows.fn())
        yield next(probes[0])
        raise ConnectionResetError

    probes, rows.does = [], breaks_late
    assert ["eu", "eu", ConnectionResetError] == rows.read()
    assert [] == list(probes[0])
    assert ["eu"] == rows.read()


async def test_a_stall_in_mid_stream_is_one_of_these():
    @command(key="rows", failover=Failover(("eu", "us")), breaker=None, registry=Registry(),
             stream_timeout=StreamTimeout(first_item=60.0, between_items=0.01))
    async def rows(*, target="eu"):
        yield target
        if target == "eu":
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        _ = [item async for item in rows()]
    assert ["us"] == [item async for item in rows()]
