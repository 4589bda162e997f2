"""Whole answers: read to their end, up to a size, whenever their pieces come."""

from __future__ import annotations

import functools

import pytest

from resilience.gateway.config.endpoints import EndpointConfig
from resilience.gateway.messages.exchange import Endpoint, Request, UpstreamTooLargeError
from resilience.gateway.services.served_endpoint import ServedEndpoint
from resilience.gateway.services.whole_answer import whole_answer
from resilience.gateway.upstream.http1 import Http1Client

from ..harness import Call, Upstream


def _send(pieces: list[bytes], call: Call) -> None:
    for each in pieces:
        call.send(each)


async def test_an_answer_is_as_large_as_it_may_be_however_it_comes(upstream: Upstream) -> None:
    client, place = Http1Client(), ServedEndpoint(EndpointConfig(url=upstream.url), Endpoint.parse(upstream.url))
    request = Request(method="GET", target=b"/whole", host=None, headers=[])
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"
    for pieces in ([head + b"x" * 3000], [head, b"x" * 1000, b"x" * 2000]):
        upstream.on("/whole", functools.partial(_send, pieces))
        found = await whole_answer(client, place, request, connect_timeout=60.0, most=3000)
        assert (200, b"x" * 3000) == found
        with pytest.raises(UpstreamTooLargeError, match="larger than 2999 bytes"):
            await whole_answer(client, place, request, connect_timeout=60.0, most=2999)
    client.close()
