"""A model's stream begins with a small usage and ends with the whole one; a client that left before paid the small one.

So a caller without any tokens left had only to hang up before the last event. And one that was sent an event of more
than 64 KiB, such as an image, did not pay for what stood in later ones.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct

import pytest

from resilience.config import Document
from resilience.gateway.config import read
from resilience.gateway.limits.answer_cost import MAX_EVENT, AnswerCost
from tests.seeds import over_seeds

from .gateway_parts import asked, served, upstream

FIRST = b'data: {"usage": {"input_tokens": 5, "output_tokens": 1}}\n\ndata: {"delta": "x"}\n\n'
LAST = b'data: {"usage": {"output_tokens": 60}}\n\n'


def _left(answer: bytes) -> int:
    found = re.search(rb'(?i)\r\nratelimit: "tokens";r=(\d+)', answer)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize(("end", "cost", "taken"), [
    ("whole", 100.0, 65), ("client", 100.0, 100), ("broken", 100.0, 100), ("client", 2.0, 6), ("broken", 2.0, 6)])
def test_a_stream_without_its_end_costs_the_estimate_at_least(end: str, cost: float, taken: int) -> None:
    async def main() -> None:
        async def model(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"%x\r\n%b\r\n" % (len(FIRST), FIRST))
            if b"/whole" in head:
                writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAST), LAST))
            elif b"/broken" in head:
                writer.transport.abort()

        tokens = {"use": "rate_limit", "rate": 1000, "per": 86400.0, "by": ["address"], "cost": cost,
                  "answer_pointer": ["/usage/input_tokens", "/usage/output_tokens"]}
        async with upstream(model) as url:
            config = read(Document.of({
                "services": {"up": {"endpoints": [url]}}, "filters": {"tokens": tokens},
                "routes": [{"path": "/*", "service": "up", "filters": ["tokens"]}]}, "test"))
            async with served(config) as (gateway, front):
                client = await front.client(asked(f"/{end}"))
                answer = await client.until(b"delta")
                assert 1000 - cost == _left(answer)
                if end == "client":
                    at_once = struct.pack("ii", 1, 0)
                    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                    client.reset()
                else:
                    await client.all()
                while gateway.registry["up"].snapshot().in_flight:
                    await asyncio.sleep(0)
                for _ in range(10):  # the request is over a little later than its call
                    await asyncio.sleep(0)
                assert 1000 - taken - cost == _left(await front.ask(asked("/whole")))

    asyncio.run(main())


@pytest.mark.parametrize("line", [b"data: ", b": comment ", b"event: ", b"data: {\"usage\": {\"a\": 9}} "])
@over_seeds(10)
def test_an_event_that_is_too_large_says_nothing_and_those_behind_it_count(seed: int, line: bytes) -> None:
    dice = random.Random(seed)
    end = dice.choice((b"\n", b"\r\n", b"\r"))
    large = line + b"x" * (MAX_EVENT + dice.randrange(-8, 200_000))
    stream = end.join((b'data: {"usage": {"a": 1}}', b"", large, b"data: y", b"", b'data: {"usage": {"b": 7}}', b"", b": over"))
    cost = AnswerCost(None, ("/usage/a", "/usage/b"))
    cost.head(200, [(b"content-type", b"text/event-stream")])
    while stream:
        size = dice.choice((1, 100, 5_000, 65_536, 1_000_000))
        cost.piece(stream[:size])
        stream = stream[size:]
        assert cost._events is not None
        assert len(cost._events._rest) + len(b"".join(cost._events._data)) <= 3 * MAX_EVENT
    assert 8.0 == cost.units(100.0, is_whole=True)
