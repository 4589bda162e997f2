"""An error with a status that has no name, such as 599, was told as "the gateway failed" where the gateway itself worded the
answer: that of a composition, and of a filter that refuses.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from resilience.core.http_problem import problem_body
from resilience.gateway import FilterContext, inbound_filter

from .gateway_parts import asked, configured, served, upstream


@inbound_filter
def calm(context: FilterContext) -> None:
    """Refuse with a status that no registry has."""
    context.refuse(420, "enhance your calm")


async def unnamed(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 599 Whatever\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(("path", "status"), [("/composed", 599), ("/refused", 420)])
async def test_it_is_the_status_that_the_client_gets(path: str, status: int) -> None:
    async with upstream(unnamed) as url:
        config = configured(
            {"endpoints": [url]}, compositions={"one": {"parts": {"up": {"service": "up", "path": "/"}}}},
            filters={"calm": {"use": f"{__name__}:calm"}},
            routes=[{"path": "/composed", "compose": "one"}, {"path": "/refused", "service": "up", "filters": ["calm"]}])
        async with served(config) as (_, front):
            head, _, body = (await front.ask(asked(path))).partition(b"\r\n\r\n")
    assert f"HTTP/1.1 {status}".encode() == head[:12]
    assert status == json.loads(body)["status"]
    assert "title" not in json.loads(body)


def test_a_status_with_a_name_has_it() -> None:
    assert b'"title": "Bad Gateway"' in problem_body(502, "no")
