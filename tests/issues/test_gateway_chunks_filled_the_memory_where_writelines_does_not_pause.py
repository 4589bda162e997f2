"""asyncio's writelines() tells nobody that a transport is full, in Python 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1 (CVE-2024-12254).

A chunked body that comes faster than its reader takes it was held in memory, all of it, wherever the gateway runs on asyncio's own
event loop: 22 GB in some seconds.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.gateway.front.asgi_bridge import AsgiBridge
from resilience.gateway.messages import chunks
from tests.gateway.front.serving import eventually, serving

PIECES = 200


class Written(asyncio.WriteTransport):
    """A transport whose writelines() is not to be trusted."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []

    def write(self, data: Any) -> None:
        self.calls.append(("write", bytes(data)))

    def writelines(self, list_of_data: Any) -> None:
        self.calls.append(("writelines", b"".join(list_of_data)))


@pytest.mark.parametrize(("may", "size", "by"), [
    (True, chunks.COPIED, "write"), (True, chunks.COPIED + 1, "writelines"), (False, chunks.COPIED + 1, "write")])
def test_a_chunk_is_the_same_in_one_write_and_by_lines(may: bool, size: int, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_MAY_WRITE_LINES", may)
    transport, piece = Written(), bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    chunks.write_chunk(transport, memoryview(piece), b"head\r\n", chunks.LAST_CHUNK)
    assert [(by, b"head\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, piece))] == transport.calls


def test_the_versions_that_are_known_to_pause() -> None:
    versions = [(3, 11, 7), (3, 12, 0), (3, 12, 8), (3, 12, 9), (3, 12, 12), (3, 13, 0), (3, 13, 1), (3, 13, 2), (3, 14, 0)]
    assert [True, False, False, True, True, False, False, True, True] == [*map(chunks.pauses_after_lines, versions)]


async def test_who_sends_more_than_its_reader_takes_waits() -> None:
    sent = []

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(PIECES):
            await send({"type": "http.response.body", "body": bytes(1_000_000), "more_body": True})
            sent.append(number)

    async with serving(AsgiBridge(flood).serve, client_timeout=0.05) as front:
        client = await front.client(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n", limit=1024)
        await client.until(b"\r\n\r\n")
        await eventually(lambda: front.front.connections == 0, "the connection cut")
    assert len(sent) < PIECES
