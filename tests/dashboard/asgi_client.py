"""Calls an ASGI application directly: one request, its whole answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Application = Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def request(
    application: Application,
    path: str,
    *,
    method: str = "GET",
    root_path: str = "",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> Answer:
    """Send a request and wait for the end of the answer; the client never disconnects."""
    sent: list[dict[str, Any]] = []
    received = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if received:
            return received.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application(scope(path, method, root_path, headers), receive, send)
    start, *bodies = sent
    assert start["type"] == "http.response.start"
    assert [body["more_body"] for body in bodies] == [True] * (len(bodies) - 1) + [False]
    return Answer(
        status=start["status"],
        headers=dict(start["headers"]),
        body=b"".join(body["body"] for body in bodies),
    )


def scope(
    path: str, method: str = "GET", root_path: str = "", headers: Sequence[tuple[bytes, bytes]] = ()
) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": root_path,
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
