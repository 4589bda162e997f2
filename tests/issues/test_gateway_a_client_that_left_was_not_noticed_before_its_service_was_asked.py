"""A client of HTTP/1.1 that reset its connection took nothing along unless its request was at a service already.

What it had asked a composition for went on to its end, its turn in a waiting room was kept from those behind it, and so
was its place in the limit.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from resilience.config import Document
from resilience.gateway.config import read
from resilience.gateway.limits.request_limit import _limits

from .gateway_parts import OK, asked, served, upstream

PATIENCE_S = 20.0


def _leave(client: Any) -> None:
    at_once = struct.pack("ii", 1, 0)
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    client.reset()


POST = asked("/x", "Content-Length: 3", method="POST")


@pytest.mark.parametrize(("way", "request_"), [
    ("part", asked()), ("forward_auth", asked()), ("forward_auth", POST + b"abc"), ("forward_auth", POST + b"a")])
def test_what_is_asked_on_behalf_of_a_client_ends_when_it_leaves(way: str, request_: bytes) -> None:
    async def main() -> None:
        came, ended = asyncio.Event(), asyncio.Event()

        async def hangs(head: bytes, writer: asyncio.StreamWriter) -> None:
            came.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()

        async with upstream(hangs) as url:
            tables: dict[str, Any] = {
                "compositions": {"page": {"timeout": 60.0, "parts": {"one": {"service": "slow", "path": "/"}}}},
                "routes": [{"path": "/*", "compose": "page"}]}
            if way == "forward_auth":
                tables = {"filters": {"who": {"use": "forward_auth", "service": "slow", "time_limit": 60.0}},
                          "routes": [{"path": "/*", "service": "slow", "filters": ["who"]}]}
            config = read(Document.of({"services": {"slow": {"endpoints": [url], "command": {"timeout": 60.0}}}, **tables},
                                      "test"))
            async with served(config) as (gateway, front), asyncio.timeout(PATIENCE_S):
                client = await front.client(request_)
                await came.wait()
                _leave(client)
                while gateway.registry["slow"].snapshot().in_flight:
                    await asyncio.sleep(0)
                assert 1 == gateway.registry["slow"].snapshot().as_dict()["counts"]["cancelled"]

    asyncio.run(main())


def test_a_client_that_leaves_gives_its_turn_in_a_waiting_room_to_those_behind_it() -> None:
    async def main() -> None:
        async def good(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(OK)

        limit = {"use": "rate_limit", "rate": 1, "per": 600.0, "wait": 3600.0, "max_waiting": 2, "by": ["address"]}
        async with upstream(good) as url:
            config = read(Document.of({"services": {"up": {"endpoints": [url]}}, "filters": {"turns": limit},
                                       "routes": [{"path": "/*", "service": "up", "filters": ["turns"]}]}, "test"))
            async with served(config) as (gateway, front), asyncio.timeout(PATIENCE_S):
                turns = _limits.of(gateway.registry)["turns"]
                assert (await front.ask(asked())).startswith(b"HTTP/1.1 200 ")
                waiting = [await front.client(asked()) for _ in range(2)]
                while turns.waiting < 2:
                    await asyncio.sleep(0)
                for client in waiting:
                    _leave(client)
                while turns.waiting:
                    await asyncio.sleep(0)

    asyncio.run(main())


def test_a_place_is_free_when_the_client_leaves() -> None:
    async def main() -> None:
        came, ended = asyncio.Event(), asyncio.Event()

        async def hangs(head: bytes, writer: asyncio.StreamWriter) -> None:
            came.set()
            if not ended.is_set():
                await asyncio.get_running_loop().create_future()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

        async with upstream(hangs) as url:
            config = read(Document.of({
                "services": {"slow": {"endpoints": [url], "command": {"timeout": 60.0}}},
                "compositions": {"page": {"timeout": 60.0, "parts": {"one": {"service": "slow", "path": "/"}}}},
                "shedding": {"initial": 1, "min_limit": 1, "max_limit": 1, "reserved": 0.0, "max_queue": 0, "lag": False},
                "routes": [{"path": "/*", "compose": "page"}]}, "test"))
            async with served(config) as (gateway, front), asyncio.timeout(PATIENCE_S):
                client = await front.client(asked())
                await came.wait()
                assert (await front.ask(asked())).startswith(b"HTTP/1.1 503 ")
                ended.set()
                _leave(client)
                while gateway.registry["slow"].snapshot().in_flight:
                    await asyncio.sleep(0)
                assert (await front.ask(asked())).startswith(b"HTTP/1.1 200 ")

    asyncio.run(main())
