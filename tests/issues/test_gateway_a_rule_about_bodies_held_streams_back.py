"""A rule about answers with status 200 made the gateway wait for the end of event streams with that status."""

from __future__ import annotations

import asyncio

import pytest

from .gateway_parts import asked, configured, served, upstream

_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
_ABOUT_BODIES = {"status": 200, "json": {"/error": "quota"}}


@pytest.mark.parametrize("rules", [[_ABOUT_BODIES], [_ABOUT_BODIES, {"event": "error"}]])
def test_an_event_stream_passes_at_once_beside_a_rule_about_bodies(rules: list[object]) -> None:
    async def main() -> None:
        seen = asyncio.Event()

        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(_STREAM + b"data: one\n\n")
            await seen.wait()
            writer.write(b"data: two\n\n")
            writer.close()

        async with upstream(script) as url, served(configured({"endpoints": [url], "rules": rules})) as (_, front):
            client = await front.client(asked())
            await client.until(b"data: one")
            seen.set()
            assert b"data: two" in await client.all()

    asyncio.run(main())


def test_the_rule_about_events_still_finds_the_first_event_beside_a_rule_about_bodies() -> None:
    async def main() -> None:
        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            scripts.append(head)
            writer.write(_STREAM + (b"event: error\ndata: x\n\n" if len(scripts) == 1 else b"data: fine\n\n"))
            writer.close()

        scripts = list[bytes]()
        async with upstream(script) as one, upstream(script) as other:
            config = configured({"endpoints": [one, other], "retry": {"attempts": 2},
                                 "rules": [_ABOUT_BODIES, {"event": "error"}]})
            async with served(config) as (_, front):
                assert b"data: fine" in await front.ask(asked())

    asyncio.run(main())
