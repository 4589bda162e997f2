"""A real server that answers, sends two lines and then nothing: the stream ends, and so does its connection."""

import asyncio

import httpx
import pytest

from resilience import Registry, Retry, StreamTimeout, StreamTimeoutError, command
from resilience.testing import assert_idle

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


async def test_a_stream_that_stalls_is_ended_by_a_timer_and_its_connection_is_closed():
    gone = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b": ping\ndata: 1\n")
        await reader.read()  # until the client leaves
        writer.close()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1")
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    @command(key="events", registry=Registry(), max_concurrent=1,
             stream_timeout=StreamTimeout(first_item=60.0, between_items=0.05,
                                          progress=lambda line: not line.startswith(":")))
    async def events():
        async with httpx.AsyncClient(timeout=None) as client, client.stream("GET", url) as response:  # noqa: S113
            async for line in response.aiter_lines():
                yield line

    seen = []
    with pytest.raises(StreamTimeoutError) as caught:
        async for line in events():
            seen.append(line)
    assert ([": ping", "data: 1"], "between_items", 2) == (seen, caught.value.clock, caught.value.items)
    assert_idle(events)
    await gone.wait()
    server.close()
    await server.wait_closed()


async def test_a_server_that_hangs_up_before_the_first_line_is_asked_again():
    asked = []

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.append(1)
        if len(asked) > 1:
            writer.write(HEAD + b"data: 1\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    @command(key="events", registry=Registry(), stream_timeout=StreamTimeout(first_item=60.0), retry=Retry(base=0.0))
    async def events():
        async with httpx.AsyncClient(timeout=None) as client, client.stream("GET", url) as response:  # noqa: S113
            async for line in response.aiter_lines():
                yield line

    assert ["data: 1"] == [line async for line in events()]
    assert 2 == len(asked)
    server.close()
    await server.wait_closed()
