"""Window updates were taken for a flood if the other end read in small steps, or took large frames.

Go's net/http opens the windows of a stream and of its connection again for each 4 KiB that its program has read, and
takes frames of up to 1 MiB. A frame of ours allowed three updates whatever its size: an upload of some megabytes to such
a service got 502, and the download of such a client broke off with ENHANCE_YOUR_CALM.
"""

from __future__ import annotations

import contextlib

import pytest
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, StreamEnded
from h2.exceptions import StreamClosedError

from resilience.gateway.http2.allowance import CHEAP_FRAMES
from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import serving
from tests.gateway.front.test_http2 import raw
from tests.gateway.http2.peer import Connection, a_client, a_request, begun, peer, whole

READ = 4096  # what a program reads at a time
LARGE = 1 << 20
BODY = bytes(4 * CHEAP_FRAMES[1] * READ)  # four or eight times the updates that may come for nothing


def read_in_small_steps(h2: H2Connection) -> None:
    """Let *h2* open both windows again for each read."""

    def acknowledge(size: int, number: int) -> None:
        for begin in range(0, size, READ):
            h2.increment_flow_control_window(min(READ, size - begin))
            with contextlib.suppress(StreamClosedError):
                h2.increment_flow_control_window(min(READ, size - begin), number)

    h2.acknowledge_received_data = acknowledge


@pytest.mark.parametrize("frame", [16_384, LARGE])
async def test_a_service_that_reads_in_small_steps_gets_the_whole_body(frame: int) -> None:
    def begin(connection: Connection, _: int) -> None:
        read_in_small_steps(connection.h2)
        connection.h2.max_inbound_frame_size = frame  # which h2 itself learns by an acknowledged change only
        connection.h2.increment_flow_control_window(LARGE)

    async with peer(begin, MAX_FRAME_SIZE=frame, INITIAL_WINDOW_SIZE=LARGE) as there, a_client() as client:
        exchange = await begun(client, there, a_request("POST", None))
        await exchange.write(BODY)
        exchange.end()
        connection = await there.connection()
        await connection.heard(StreamEnded)
        connection.answer(1)
        assert (200, b"ok") == await whole(exchange)
        assert ([], len(BODY)) == (connection.of(ConnectionTerminated), len(connection.body(1)))


async def test_a_client_that_reads_in_small_steps_gets_the_whole_answer() -> None:
    async def give(inbound: Inbound) -> None:
        await inbound.respond(200, [], BODY)

    async with serving(give) as front:
        client = await raw(front, window=LARGE)
        read_in_small_steps(client.h2)
        assert (200, len(BODY)) == ((answer := await client.answer(client.ask()))[0], len(answer[1]))
