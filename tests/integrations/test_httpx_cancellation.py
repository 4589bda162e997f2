"""Cancelled requests cost no connection of the pool, whenever the cancellation comes (httpcore's issue 1093).

Plain httpx is held to the same, so that it shows when the care is not needed any more.
"""

import asyncio
import contextlib

import httpx
import httpx2
import pytest

from resilience import Registry
from resilience.integrations import httpx as our_httpx
from resilience.integrations import httpx2 as our_httpx2
from resilience.integrations import httpx_cancellation

BOTH = pytest.mark.parametrize(("theirs", "ours"), [(httpx, our_httpx), (httpx2, our_httpx2)], ids=["httpx", "httpx2"])
CONNECTIONS = 10


class Server:
    """Answers in the test's own loop: ``/slow`` when it is told to, everything else at once."""

    def __init__(self):
        self.go, self.slow, self.tasks = asyncio.Event(), 0, set()
        self.ten = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serving(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b" /slow" in head:
                    self.slow += 1
                    if self.slow == CONNECTIONS:
                        self.ten.set()
                    await self.go.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        writer.close()


def guarded(theirs, ours, connections, **settings):
    inner = theirs.AsyncHTTPTransport(limits=theirs.Limits(max_connections=connections))
    settings = {"registry": Registry(), "breaker": None, "max_concurrent": None, "timeout": None, **settings}
    transport = ours.AsyncResilienceTransport(inner, **settings)
    return theirs.AsyncClient(transport=transport, trust_env=False, timeout=theirs.Timeout(60.0)), transport


def slots_taken(transport):
    return [handle.snapshot().in_flight for handle in transport.resilience]


@BOTH
async def test_500_calls_that_time_out_under_contention_leave_all_connections_of_the_pool(theirs, ours):
    async with Server().serving() as server:
        client, transport = guarded(theirs, ours, CONNECTIONS, timeout=0.3)
        async with client:
            calls = [client.get(f"{server.url}/slow") for _ in range(500)]
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(each, theirs.TimeoutException) for each in ended)

            for handle in transport.resilience:
                handle.configure(timeout=60.0)
            fast = await asyncio.gather(*(client.get(f"{server.url}/fast") for _ in range(3 * CONNECTIONS)))

            assert {response.status_code for response in fast} == {200}
            assert slots_taken(transport) == [0]


@BOTH
async def test_500_calls_that_are_cancelled_under_contention_leave_all_connections_of_the_pool(theirs, ours):
    async with Server().serving() as server:
        client, transport = guarded(theirs, ours, CONNECTIONS)
        async with client:
            tasks = [asyncio.create_task(client.get(f"{server.url}/slow")) for _ in range(500)]
            await server.ten.wait()
            for task in tasks:
                task.cancel()
            assert {type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)} \
                == {asyncio.CancelledError}

            fast = await asyncio.gather(*(client.get(f"{server.url}/fast") for _ in range(3 * CONNECTIONS)))

            assert {response.status_code for response in fast} == {200}
            assert slots_taken(transport) == [0]


class Stepwise:
    """Awaitable that cancels its own task when the inner one takes its n-th step."""

    def __init__(self, inner, cancel_at):
        self.inner, self.cancel_at, self.steps = inner, cancel_at, 0

    def __await__(self):
        send, error = self.inner.send, None
        while True:
            try:
                awaited = send(None) if error is None else self.inner.throw(error)
            except StopIteration as end:
                return end.value
            error = None
            self.steps += 1
            if self.steps == self.cancel_at:
                asyncio.current_task().cancel()  # it arrives at this very wait
            try:
                yield awaited
            except BaseException as thrown:
                error = thrown


async def steps_that_lose_the_connection(server, make, warm):
    """At which steps of a request its cancellation leaves a pool of one without a connection."""
    lost = []
    for step in range(1, 100):
        client, transport = make()
        async with client:
            if warm:
                await client.get(f"{server.url}/fast")

            async def request(step=step, client=client):
                await Stepwise(client.get(f"{server.url}/fast"), step)

            (ended,) = await asyncio.gather(request(), return_exceptions=True)
            if any(not connection.is_idle() and not connection.is_closed()
                   for connection in transport._pool.connections):
                lost.append(step)
            else:
                assert (await client.get(f"{server.url}/fast")).text == "ok"
        if ended is None:
            return step, lost
    raise AssertionError("a request has no end")


@BOTH
@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "idle connection"])
async def test_a_cancellation_at_any_step_of_a_request_costs_no_connection_and_no_slot(theirs, ours, warm):
    async with Server().serving() as server:

        def make():
            client, transport = guarded(theirs, ours, 1)
            made.append(transport)
            return client, transport._inner

        made = []
        steps, lost = await steps_that_lose_the_connection(server, make, warm)

        assert steps > 2
        assert lost == []
        assert all(slots_taken(transport) == [0] for transport in made)


async def test_plain_httpx_loses_its_connection_when_it_is_cancelled_at_some_steps():
    async with Server().serving() as server:

        def make():
            inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1))
            return httpx.AsyncClient(transport=inner, trust_env=False, timeout=60.0), inner

        lost = [(await steps_that_lose_the_connection(server, make, warm))[1] for warm in (False, True)]

        assert all(lost), "httpcore has mended issue 1093: unbroken() and PoolGate may go"


async def test_the_gate_knows_how_many_connections_a_transport_has():
    """It reads a private attribute, without which it admits everybody."""
    for theirs in (httpx, httpx2):
        async with theirs.AsyncHTTPTransport(limits=theirs.Limits(max_connections=7)) as transport:
            assert httpx_cancellation.connections_of(transport) == 7
        async with theirs.AsyncHTTPTransport(http2=True) as transport:
            assert httpx_cancellation.connections_of(transport) is None
    assert httpx_cancellation.connections_of(httpx.MockTransport(lambda request: httpx.Response(200))) is None


async def test_a_connection_that_is_given_to_a_request_in_the_moment_of_its_cancellation_goes_to_the_next():
    async with httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1)) as transport:
        gate = httpx_cancellation.PoolGate(transport, httpx.PoolTimeout)
        request = httpx.Request("GET", "http://localhost/")
        assert gate.is_passed()
        gone, first, second = (asyncio.create_task(gate.enter(request)) for _ in range(3))
        await asyncio.sleep(0)
        gone.cancel()
        gate.leave()
        first.cancel()
        await second
        assert not gate.is_passed()
        gate.leave()

        assert [True, True] == [task.cancelled() for task in (gone, first)]
        assert [True, False] == [gate.is_passed(), gate.is_passed()]


async def test_a_request_that_waits_for_a_connection_in_vain_leaves_nothing_at_the_gate():
    async with httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1)) as transport:
        gate = httpx_cancellation.PoolGate(transport, httpx.PoolTimeout)
        request = httpx.Request("GET", "http://localhost/", extensions={"timeout": {"pool": 0.0}})
        assert gate.is_passed()
        with pytest.raises(httpx.PoolTimeout):
            await gate.enter(request)

        assert not gate._waiting
        gate.leave()
        assert gate.is_passed()


async def test_a_second_cancellation_is_not_held_back():
    """anyio repeats its own until it is heard; a checkpoint that waits for it must not wait for ever."""

    async def checkpoint():
        while True:
            await asyncio.sleep(0)

    async def run():
        await httpx_cancellation.unbroken(checkpoint(), httpx_cancellation.Held())

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_was_held_back_comes_with_the_next_wait_or_the_end():
    async def two_turns(then):
        await asyncio.sleep(0)
        reached.append("after the turn")
        await then()
        reached.append("after the wait")

    async def run(then):
        held = httpx_cancellation.Held()
        await httpx_cancellation.unbroken(two_turns(then), held)
        held.release()

    async def nothing():
        pass

    reached = []
    for then, expected in ((asyncio.Event().wait, ["after the turn"]), (nothing, ["after the turn", "after the wait"])):
        reached.clear()
        task = asyncio.create_task(run(then))
        await asyncio.sleep(0)
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError)
        assert reached == expected
