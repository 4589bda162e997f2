"""The telemetry application, driven over the ASGI protocol itself."""

import asyncio
import json

import pytest

from resilience import Registry, command
from resilience.asgi import telemetry
from resilience.testing import ManualClock


class Connection:
    """One request to an ASGI application: what it sends is in ``events``, ``hang_up`` disconnects."""

    def __init__(self, app, path, *, method="GET", headers=(), root_path=""):
        self.events = asyncio.Queue()
        self._inbox = asyncio.Queue()
        self._inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        scope = {"type": "http", "method": method, "path": path, "root_path": root_path, "headers": list(headers)}
        self.task = asyncio.create_task(app(scope, self._inbox.get, self.events.put))

    async def response(self):
        """(status, headers, body) of a complete answer."""
        await self.task
        start = self.events.get_nowait()
        body = b""
        while not self.events.empty():
            body += self.events.get_nowait()["body"]
        return start["status"], dict(start["headers"]), body

    async def begin(self):
        """Status and headers of a stream."""
        start = await self.events.get()
        return start["status"], dict(start["headers"])

    async def message(self):
        """The next ``data:`` object of a stream, and what stood before it."""
        before = b""
        while True:
            chunk = (await self.events.get())["body"]
            if chunk.startswith(b"data: "):
                return [json.loads(line[6:]) for line in chunk.decode().split("\n\n") if line], before
            before += chunk

    async def hang_up(self):
        self._inbox.put_nowait({"type": "http.disconnect"})
        await self.task


@pytest.fixture
def registry():
    registry = Registry(clock=ManualClock())
    command(key="stock", group="inventory", registry=registry, timeout=None)(len)
    return registry


@pytest.fixture
def app(registry):
    return telemetry(registry, interval=0.001, config_interval=0.001)


async def test_hystrix_stream_has_the_headers_and_the_framing_of_hystrix(app):
    stream = Connection(app, "/hystrix.stream")

    status, headers = await stream.begin()
    messages, before = await stream.message()
    await stream.hang_up()

    assert 200 == status
    assert b"text/event-stream;charset=UTF-8" == headers[b"content-type"]
    assert b"no-cache, no-store, max-age=0, must-revalidate" == headers[b"cache-control"]
    assert b"no-cache" == headers[b"pragma"]
    assert b"ping: \n\n" == before[:8]
    assert [("HystrixCommand", "stock")] == [(message["type"], message["name"]) for message in messages]


@pytest.mark.parametrize(("path", "kind"), [("/hystrix/config.stream", "HystrixConfig"),
                                            ("/hystrix/utilization.stream", "HystrixUtilization"),
                                            ("/resilience.stream", "ResilienceCommand")])
async def test_the_other_streams_carry_their_messages(app, path, kind):
    stream = Connection(app, path)

    messages, _ = await stream.message() if await stream.begin() else None
    await stream.hang_up()

    assert [kind] == [message["type"] for message in messages]


async def test_our_stream_says_when_a_command_has_left(app, registry):
    stream = Connection(app, "/resilience.stream")
    await stream.begin()
    await stream.message()
    registry.remove("stock")

    messages, _ = await stream.message()
    while messages[0]["type"] != "ResilienceRemoved":
        messages, _ = await stream.message()
    await stream.hang_up()

    assert "stock" == messages[0]["key"]


async def test_one_connection_too_many_is_turned_away_in_hystrix_words(registry):
    app = telemetry(registry, interval=0.001, max_streams=2)
    streams = [Connection(app, "/hystrix.stream") for _ in range(2)]
    for stream in streams:
        await stream.begin()

    status, _, body = await Connection(app, "/hystrix.stream").response()
    await streams[0].hang_up()
    third = Connection(app, "/hystrix.stream")

    assert (503, b"MaxConcurrentConnections reached: 2; close a page that listens, or raise max_streams") == (status, body)
    assert 200 == (await third.begin())[0]
    await streams[1].hang_up()
    await third.hang_up()


async def test_the_ticker_runs_only_while_somebody_listens(app):
    ticker = app._tickers["/hystrix.stream"]
    assert not ticker._audiences
    stream = Connection(app, "/hystrix.stream")
    await stream.begin()
    assert [1] == [len(audience.listeners) for audience in ticker._audiences.values()]
    await stream.hang_up()

    assert not ticker._audiences


async def test_a_slow_listener_misses_ticks_instead_of_hoarding_them(registry):
    """onBackpressureDrop: a listener's queue holds one tick."""
    app = telemetry(registry, interval=0.001)
    ticker = app._tickers["/hystrix.stream"]
    queue = ticker.join()
    other = Connection(app, "/hystrix.stream")
    await other.begin()
    for _ in range(5):
        await other.message()
    await other.hang_up()

    assert 1 == queue.qsize()
    ticker.part(queue)


async def test_each_tick_is_encoded_once_however_many_listen(registry):
    app = telemetry(registry, interval=0.001)
    ticker = app._tickers["/hystrix.stream"]
    encoded = []
    messages = ticker._messages
    ticker._messages = lambda: encoded.append(1) or messages()
    streams = [Connection(app, "/hystrix.stream") for _ in range(3)]
    for stream in streams:
        await stream.begin()
        await stream.message()
    ticks = len(encoded)
    for stream in streams:
        await stream.hang_up()

    assert ticks < 3 * 2, "three listeners, at most a tick or two"


async def test_a_listener_that_dies_in_the_middle_frees_its_place(registry):
    app = telemetry(registry, interval=0.001, max_streams=1)
    stream = Connection(app, "/hystrix.stream")
    await stream.begin()
    stream.task.cancel()
    await asyncio.gather(stream.task, return_exceptions=True)

    again = Connection(app, "/hystrix.stream")
    assert 200 == (await again.begin())[0]
    await again.hang_up()


async def test_metrics_are_negotiated(app):
    plain = await Connection(app, "/metrics").response()
    openmetrics = await Connection(
        app, "/metrics", headers=[(b"accept", b"application/openmetrics-text; version=1.0.0")]).response()

    assert (200, 200) == (plain[0], openmetrics[0])
    assert plain[1][b"content-type"].startswith(b"text/plain")
    assert openmetrics[1][b"content-type"].startswith(b"application/openmetrics-text")
    assert openmetrics[2].endswith(b"# EOF\n")
    assert b'resilience_circuit_state{command="stock",group="inventory",state="closed"} 1.0' in plain[2]


async def test_health_counts_circuits_by_state(app, registry):
    registry["stock"].force_open()

    status, headers, body = await Connection(app, "/health").response()

    assert 200 == status
    assert b"application/json" == headers[b"content-type"]
    assert {"status": "ok", "circuits": {"forced_open": 1}} == json.loads(body)


async def test_it_can_be_mounted_below_a_path(app):
    status, _, _ = await Connection(app, "/telemetry/health", root_path="/telemetry").response()

    assert 200 == status


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("POST", "/metrics", 405),
                                                        ("POST", "/hystrix.stream", 405), ("HEAD", "/metrics", 200),
                                                        ("HEAD", "/hystrix.stream", 200)])
async def test_what_is_not_served_is_said(app, method, path, status):
    answer, headers, body = await Connection(app, path, method=method).response()

    assert status == answer
    if method == "HEAD":
        assert b"" == body
    if status == 405:
        assert b"GET, HEAD" == headers[b"allow"]


async def test_lifespan_is_answered(app):
    inbox, outbox = asyncio.Queue(), []
    inbox.put_nowait({"type": "lifespan.startup"})
    inbox.put_nowait({"type": "lifespan.shutdown"})

    async def send(message):
        outbox.append(message["type"])

    await app({"type": "lifespan"}, inbox.get, send)

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == outbox
