"""Via named HTTP/1.1 for answers that had come over HTTP/1.0 (RFC 9110, 7.6.3: the received protocol)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .gateway_parts import asked, configured, served, upstream


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("how", [
    {}, {"retry": {"statuses": [500]}}, {"fallback": {"stale": 9.0}},
    {"rules": [{"status": [200], "json": {"/error": "busy"}, "then": "next"}]}])
def test_via_names_the_version_in_which_the_answer_came(version: str, how: dict[str, Any]) -> None:
    status = 500 if "retry" in how else 200

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/%b %d X\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}' % (version.encode(), status))

    async def main() -> None:
        async with upstream(answer) as url, served(configured({"endpoints": [url], **how})) as (_, front):
            said = await front.ask(asked())
            assert b"HTTP/1.1 %d" % status == said[:12]
            assert b"\r\nvia: %b resilience\r\n" % version.encode() in said.lower()

    asyncio.run(main())
