"""Closing a response of httpx in one task or thread while another read it raised RuntimeError or ValueError, and the
read went on; and the error that the reader of urllib3 or requests gets of it counted as a failure of the server.
"""

import asyncio
import contextlib
import threading

import httpx
import pytest

from tests.integrations.http_clients import (
    AsyncHttpx,
    AsyncHttpx2,
    Httpx,
    Httpx2,
    Requests,
    Urllib3,
    counts_of,
    in_flight,
    serving,
)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.mark.parametrize("kind", [AsyncHttpx, AsyncHttpx2])
def test_closing_a_response_that_another_task_reads_ends_the_read(kind, server, registry):
    client = kind(registry=registry, timeout=None)

    async def scenario():
        response = await client.client.send(client.client.build_request("GET", f"{server.url}/200/wait"), stream=True)
        got = asyncio.Event()

        async def read():
            async for _ in response.aiter_raw():
                got.set()

        task = asyncio.create_task(read())
        await got.wait()
        await response.aclose()
        with pytest.raises(client.theirs.ReadError):
            await task
        await response.aclose()

    try:
        client.run(scenario())
        assert counts_of(client) == {"success": 1}
        assert in_flight(client) == 0
    finally:
        client.finish()


class Stuck(httpx.SyncByteStream):
    """A body whose second part does not come, and whose reading ends with an error once it is closed."""

    def __init__(self):
        self.waits, self.closed = threading.Event(), threading.Event()

    def __iter__(self):
        yield b"hello"
        self.waits.set()
        self.closed.wait(60)
        raise httpx.ReadError("the socket is gone")

    def close(self):
        self.closed.set()


def test_closing_a_response_that_another_thread_reads_closes_the_inner_body(registry):
    body = Stuck()
    client = Httpx(inner=httpx.MockTransport(lambda request: httpx.Response(200, stream=body)), registry=registry)
    response = client.open("http://stock.example/")
    raised = []

    def read():
        try:
            response.read()
        except httpx.HTTPError as error:
            raised.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    body.waits.wait(60)
    response.close()
    reader.join(60)

    assert [type(error) for error in raised] == [httpx.ReadError]
    assert counts_of(client) == {"success": 1}
    assert in_flight(client) == 0
    client.finish()


@pytest.mark.parametrize("kind", [Httpx, Httpx2, Requests, Urllib3])
def test_a_body_that_is_closed_while_it_is_read_can_be_closed_with_a_real_server(kind, server, registry):
    client = kind(registry=registry)
    response = client.open(f"{server.url}/200/wait")
    first = threading.Event()

    def read():
        with contextlib.suppress(Exception):  # urllib3 raises whatever a closed file does
            for _ in (response.iter_content(5) if kind is Requests else
                      response.stream(5) if kind is Urllib3 else response.iter_raw()):
                first.set()

    reader = threading.Thread(target=read)
    reader.start()
    first.wait(60)
    closer = threading.Thread(target=response.close)  # that of urllib3 waits for the read
    closer.start()
    if kind in (Httpx, Httpx2):
        closer.join(60)
    server.go.set()
    for thread in (closer, reader):
        thread.join(60)

    assert counts_of(client) == {"success": 1}
    client.finish()
