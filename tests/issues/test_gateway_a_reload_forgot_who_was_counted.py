"""What bounds how much goes on at a time was made anew by a reload, and what went on already was not counted any more.

After ten reloads a mirror with at most five copies in flight had fifty. Slow uploads, which may take half of the slots
of a service, took the other half after a reload.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.config import Document
from resilience.gateway.config import GatewayConfig, read
from tests.gateway.front.serving import serving

from .gateway_parts import OK, asked, configured, served, upstream


async def _good(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


@pytest.mark.parametrize("is_private", [False, True])
def test_copies_in_flight_count_after_a_reload(is_private: bool) -> None:
    async def main() -> None:
        copies, ends = list[bytes](), asyncio.Event()

        async def slow(head: bytes, writer: asyncio.StreamWriter) -> None:
            copies.append(head)
            await ends.wait()
            writer.write(OK)

        async with upstream(_good) as url, upstream(slow) as shadow:
            def config(most: int, idle: float) -> GatewayConfig:
                mirrored: dict[str, Any] = {
                    "path": "/*", "service": "up", "mirror": {"service": "shadow", "max_concurrent": most}}
                plain: dict[str, Any] = {"path": "/*", "service": "up"}
                tables: dict[str, Any] = {"routes": [plain], "private": {
                    "bind": "127.0.0.1:1", "routes": [mirrored]}} if is_private else {"routes": [mirrored]}
                return read(Document.of({"services": {
                    "up": {"endpoints": [url]}, "shadow": {
                        "endpoints": [shadow], "idle_timeout": idle, "command": {"timeout": 60.0}}}, **tables}, "test"))

            async with served(config(2, 30.0)) as (gateway, _):
                async def ask() -> None:
                    async with serving(gateway.serve_private if is_private else gateway.serve) as front:
                        assert (await front.ask(asked())).startswith(b"HTTP/1.1 200 ")

                async def ask_until(number: int) -> None:
                    for _ in range(3):
                        await ask()
                    while len(copies) < number:
                        await asyncio.sleep(0)

                await ask_until(2)
                for most, idle in ((2, 31.0), (1, 32.0), (3, 33.0)):
                    gateway.reload(config(most, idle))
                    await ask_until(max(2, most))
                    assert max(2, most) == len(copies)
                ends.set()
                while gateway.registry["shadow"].snapshot().in_flight:
                    await asyncio.sleep(0)
                await ask_until(6)

    asyncio.run(main())


def test_uploads_under_way_count_after_a_reload() -> None:
    async def main() -> None:
        def service(url: str, idle: float) -> GatewayConfig:
            return configured({"endpoints": [url], "idle_timeout": idle, "retry": {"replay_body": 0},
                               "command": {"max_concurrent": 4, "timeout": 60.0}})

        heads = list[bytes]()

        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            heads.append(head)
            await asyncio.get_running_loop().create_future()

        slow = asked("/x", "Content-Length: 200000", method="POST") + b"x" * 70_000
        async with upstream(script) as url, served(service(url, 30.0)) as (gateway, front):
            for number in (1, 2):
                await front.client(slow)
                while len(heads) < number:
                    await asyncio.sleep(0)
            gateway.reload(service(url, 31.0))
            assert gateway.services["up"].uploads.are_full
            await front.client(slow)
            for _ in range(100):
                await asyncio.sleep(0)
            assert 2 == len(heads)

    asyncio.run(main())
