"""The clocks of gRPC's streams: with a real server, in grpc and grpc.aio; and the races of an alarm, by literal times."""

from __future__ import annotations

import asyncio
import gc
import threading

import grpc
import pytest

from resilience import (
    CircuitBreaker,
    Registry,
    StreamTimeout,
    StreamTimeoutError,
    ThreadUnavailableError,
    Timeout,
    explain,
)
from resilience.errors import ConfigError
from resilience.integrations import grpc_clocks
from resilience.integrations.grpc import GuardInterceptor
from resilience.integrations.grpc_aio import aio_interceptors
from resilience.integrations.grpc_clocks import TimedMessages
from tests.integrations.rpc import Server, Stub

NEVER = CircuitBreaker(min_calls=1000)
#: What the server is asked for, the clocks, what comes, and which of them runs out.
CASES = {
    "the first item": (b"hang", {"first_item": 0.05, "between_items": 0.02}, [], "first_item"),
    "the next item": (b"one two hang", {"first_item": 30.0, "between_items": 0.05}, [b"one", b"two"], "between_items"),
    "the whole": (b"one hang", {"total": 0.05}, [b"one"], "total"),
    "the rate": (b"one hang", {"min_rate": 1000.0, "window": 0.05}, [b"one"], "min_rate"),
    "progress": (b"ping ping hang", {"between_items": 0.05, "progress": lambda message: message != b"ping"},
                 [b"ping", b"ping"], "first_item"),
    "nothing": (b"one two", {"first_item": 30.0, "between_items": 30.0, "total": 30.0}, [b"one", b"two"], None),
}


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


async def read(flavour, server, registry, words, clocks, kind):
    """Read a stream to its end: the messages, and the error."""
    settings = {"breaker": NEVER, "registry": registry, "stream_timeout": StreamTimeout(**clocks)}
    got = []
    if flavour == "sync":
        return await asyncio.to_thread(read_sync, server, settings, words, kind)
    async with grpc.aio.insecure_channel(server.target, interceptors=aio_interceptors(**settings)) as channel:
        stub = Stub(channel)
        try:
            async for message in stub.List(words) if kind == "List" else stub.Chat(iter(words.split())):
                got.append(message)
        except Exception as error:
            return got, error
    return got, None


def read_sync(server, settings, words, kind):
    got = []
    with grpc.intercept_channel(grpc.insecure_channel(server.target), GuardInterceptor(**settings)) as channel:
        stub = Stub(channel)
        try:
            for message in stub.List(words) if kind == "List" else stub.Chat(iter(words.split())):
                got.append(message)
        except Exception as error:
            return got, error
    return got, None


@pytest.mark.parametrize("kind", ["List", "Chat"])
@pytest.mark.parametrize("flavour", ["sync", "aio"])
@pytest.mark.parametrize("case", list(CASES))
async def test_each_clock_ends_a_stream_and_its_rpc(server, flavour, case, kind):
    words, clocks, expected, clock = CASES[case]
    registry = Registry()
    got, error = await read(flavour, server, registry, words, clocks, kind)
    assert expected == got
    snapshot = registry[f"shop.Stock/{kind}"].snapshot()
    if clock is None:
        assert error is None
        assert snapshot.counts["timeout"] == 0
    else:
        assert isinstance(error, StreamTimeoutError)
        assert isinstance(error, grpc.aio.AioRpcError if flavour == "aio" else grpc.RpcError)
        assert (f"shop.Stock/{kind}", clock, len(expected)) == (error.key, error.clock, error.items)
        assert grpc.StatusCode.DEADLINE_EXCEEDED is error.code()
        assert 0 == snapshot.counts["success"] + snapshot.counts["failure"] + snapshot.counts["cancelled"]
        assert await asyncio.to_thread(server.ended.acquire, timeout=30)  # the server was told
    assert 0 == snapshot.in_flight


@pytest.mark.parametrize("flavour", ["sync", "aio"])
async def test_a_mistake_in_progress_is_the_callers_and_ends_the_rpc(server, flavour):
    registry = Registry()
    clocks = {"total": 30.0, "progress": lambda message: message["size"]}
    got, error = await read(flavour, server, registry, b"one hang", clocks, "List")
    assert ([], TypeError) == (got, type(error))
    counts = registry["shop.Stock/List"].snapshot().counts
    assert 0 == counts["failure"]
    assert counts["bad_request"]
    assert await asyncio.to_thread(server.ended.acquire, timeout=30)


def test_a_stream_with_clocks_that_is_dropped_ends_its_rpc_and_its_alarm(server):
    registry = Registry()
    guard = GuardInterceptor(registry=registry, breaker=NEVER, stream_timeout=StreamTimeout(between_items=3600.0))
    with grpc.intercept_channel(grpc.insecure_channel(server.target), guard) as channel:
        stream = Stub(channel).List(b"one hang")
        assert b"one" == next(stream)
        del stream
        gc.collect()
        assert server.ended.acquire(timeout=30)
        assert 0 == registry["shop.Stock/List"].snapshot().in_flight


class Below(grpc.UnaryStreamClientInterceptor):
    """As that of OpenTelemetry: what it returns for a stream is a generator, which no other thread can end."""

    def intercept_unary_stream(self, continuation, client_call_details, request):
        yield from continuation(client_call_details, request)


def test_below_an_interceptor_that_hides_the_call_the_clocks_are_looked_at_when_a_message_comes(server):
    registry = Registry()
    guard = GuardInterceptor(registry=registry, breaker=NEVER, stream_timeout=StreamTimeout(between_items=0.01))
    channel = grpc.intercept_channel(grpc.intercept_channel(grpc.insecure_channel(server.target), Below()), guard)
    threading.Thread(target=lambda: (server.hanging.acquire(), server.go.wait(0.05), server.go.set())).start()
    stream = Stub(channel).List(b"one hang two")
    assert b"one" == next(stream)
    with pytest.raises(StreamTimeoutError):
        next(stream)
    channel.close()


@pytest.mark.parametrize("make", [GuardInterceptor, aio_interceptors])
def test_clocks_that_cannot_be_are_refused(make):
    with pytest.raises(ConfigError, match="must be a StreamTimeout, or None, not 5.0"):
        make(stream_timeout=5.0)


@pytest.mark.parametrize("timeout", [5.0, Timeout(5.0)])
def test_a_timeout_beside_the_clocks_is_refused(timeout):
    with pytest.raises(ConfigError, match="use between_items in the place of timeout"):
        aio_interceptors(timeout=timeout, stream_timeout=StreamTimeout(first_item=1.0))


def test_explain_shows_the_clocks(server):
    registry = Registry()
    guard = GuardInterceptor(registry=registry, stream_timeout=StreamTimeout(first_item=7.0))
    with grpc.intercept_channel(grpc.insecure_channel(server.target), guard) as channel:
        assert [b"one"] == list(Stub(channel).List(b"one"))
    explanation = explain("shop.Stock/List", registry=registry)
    assert (7.0, "its adapter") == next((each.value, str(each.place)) for each in explanation.settings
                                        if each.name == "stream_timeout.first_item")
    assert "StreamTimeout (the adapter's)" in str(explanation)


# -- by literal times

class World:
    """A clock, and alarms on it.

    Attributes:
        now: What the clock says.
        alarms: Those that were set, the latest last.
    """

    def __init__(self):
        self.now, self.alarms = 100.0, []

    def set(self, due, ring):
        self.alarms.append(grpc_clocks.Alarm(due, ring))
        return self.alarms[-1]

    def ring(self, late=0.0):
        """The latest alarm rings."""
        alarm = self.alarms.pop()
        self.now = alarm.due + late
        if alarm.ring is not None:
            alarm.ring(late)


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(grpc_clocks, "waited_clock", lambda: world.now)
    monkeypatch.setattr(grpc_clocks, "alarms", world)
    monkeypatch.setattr(grpc_clocks, "came_late", lambda seconds: seconds >= 0.1)
    return world


class Cancelled(grpc.RpcError):
    """What a cancelled RPC raises."""


class Call:
    """An RPC; each message is a function that is called while somebody waits for it."""

    def __init__(self, *messages):
        self.messages, self.is_cancelled = iter(messages), False

    def __iter__(self):
        return self

    def __next__(self):
        message = next(self.messages)()
        if self.is_cancelled and message is None:
            raise Cancelled
        return message

    def cancel(self):
        self.is_cancelled = True


def messages(world, *steps, **clocks):
    call = Call(*steps)
    return call, TimedMessages(call, "key", StreamTimeout(**clocks), call.cancel)


def after(world, seconds, message="message"):
    def step():
        world.now += seconds
        return message

    return step


def test_messages_in_time_set_one_alarm_which_sets_itself_anew(world):
    call, timed = messages(world, *[after(world, 0.4)] * 3, lambda: world.ring() or "last", between_items=1.0)
    for _ in range(3):
        next(timed)
        world.now += 50.0  # with the consumer
    assert [101.0] == [alarm.due for alarm in world.alarms]
    world.alarms.clear()
    timed._alarm = None  # it has rung while the consumer had a message
    timed._ring(0.0)
    with pytest.raises(StreamTimeoutError) as caught:
        next(timed)  # and rings in this wait, before the message
    assert ("between_items", 3, True) == (caught.value.clock, caught.value.items, call.is_cancelled)


def test_an_alarm_between_two_messages_ends_nothing(world):
    call, timed = messages(world, after(world, 0.4), after(world, 0.4), between_items=1.0)
    next(timed)
    world.ring()
    assert not call.is_cancelled
    assert "message" == next(timed)
    assert [world.now - 0.4 + 1.0] == [alarm.due for alarm in world.alarms]


def test_an_alarm_that_comes_too_soon_is_set_for_the_end_of_the_wait(world):
    call, timed = messages(world, after(world, 0.9), lambda: world.ring(), between_items=1.0)
    next(timed)
    world.alarms[0].due = 101.0
    world.now = 100.95
    assert next(timed) is None  # the first alarm, for 101, rings in the wait that began at 100.95
    assert not call.is_cancelled
    assert [101.95] == [alarm.due for alarm in world.alarms]


def test_an_alarm_that_rings_late_gives_what_has_arrived_a_moment(world):
    call, timed = messages(world, lambda: world.ring(late=5.0) or "arrived", lambda: world.ring() or world.ring(),
                           between_items=1.0)
    assert "arrived" == next(timed)
    assert not call.is_cancelled
    assert [world.now + grpc_clocks._GRACE_S] == [alarm.due for alarm in world.alarms]
    with pytest.raises(StreamTimeoutError):
        next(timed)


def test_the_end_of_a_stream_at_the_last_moment_is_its_end(world):
    def end():
        world.ring()
        raise StopIteration

    call, timed = messages(world, end, total=1.0)
    with pytest.raises(StopIteration):
        next(timed)


def test_an_interrupt_in_a_wait_stays_one(world):
    def interrupt():
        world.ring()
        raise KeyboardInterrupt

    call, timed = messages(world, interrupt, total=1.0)
    with pytest.raises(KeyboardInterrupt):
        next(timed)
    timed.end()


def test_a_system_without_threads_refuses_the_stream(world, monkeypatch):
    def none(due, ring):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(world, "set", none)
    call, timed = messages(world, after(world, 0.1), total=1.0)
    with pytest.raises(ThreadUnavailableError, match="can't start new thread"):
        next(timed)
