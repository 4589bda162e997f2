"""The deadline of a service was kept on plain routes alone: parts of compositions, mirrors and forward_auth had all the time.

Nor did they heed what the client has left, with pass_deadline, or tell the service of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.config import Document
from resilience.gateway.config import read

from .gateway_parts import OK, asked, served, upstream

TOLD = "x-envoy-expected-rq-timeout-ms"


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize(("said", "deadline"), [([], 0.05), ([f"{TOLD}: 50"], 60.0)])
@pytest.mark.parametrize("way", ["part", "copy", "forward_auth"])
def test_what_a_service_is_asked_for_ends_with_its_deadline(
        way: str, said: list[str], deadline: float, begins: bool) -> None:
    async def main() -> None:
        heads, cut = list[bytes](), asyncio.Event()

        async def good(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(OK)

        async def never_ends(head: bytes, writer: asyncio.StreamWriter) -> None:
            heads.append(head)
            if begins:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cut.set()

        async with upstream(never_ends) as slow, upstream(good) as fast:
            route: dict[str, Any] = {"path": "/*"}
            tables: dict[str, Any] = {}
            if way == "part":
                tables["compositions"] = {"page": {"timeout": 60.0, "parts": {"one": {"service": "slow", "path": "/x"}}}}
                route["compose"] = "page"
            elif way == "copy":
                route |= {"service": "fast", "mirror": {"service": "slow"}}
            else:
                tables["filters"] = {"who": {"use": "forward_auth", "service": "slow", "time_limit": 60.0,
                                             "send_headers": [TOLD]}}
                route |= {"service": "fast", "filters": ["who"]}
            config = read(Document.of({"services": {
                "slow": {"endpoints": [slow], "deadline": deadline, "pass_deadline": True,
                         "command": {"timeout": 60.0}, "idle_timeout": 60.0},
                "fast": {"endpoints": [fast]}}, "routes": [route], **tables}, "test"))
            async with served(config) as (gateway, front):
                while not heads:  # on a busy machine the deadline may have passed before anything is sent
                    answer = await front.ask(asked("/x", *said))
                    assert answer.startswith(
                        {"copy": b"HTTP/1.1 200 ", "forward_auth": b"HTTP/1.1 503 "}.get(way, b"HTTP/1.1 50"))
                while gateway.registry["slow"].snapshot().in_flight:
                    await asyncio.sleep(0)
        assert f"{TOLD}: ".encode() in heads[0].lower()
        assert int(heads[0].lower().partition(f"{TOLD}: ".encode())[2].partition(b"\r")[0]) <= 50

    asyncio.run(main())
