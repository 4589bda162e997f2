"""The ``progress`` of a stream timeout was given the head of a response, which is no part of its body, so that
``progress=len`` failed each request; and clients that read their bodies themselves took clocks that did nothing.
"""

import pytest

from resilience import ConfigError, StreamTimeout
from tests.integrations.http_clients import (
    Aiohttp,
    AsyncHttpx,
    AsyncHttpx2,
    Httpx,
    Httpx2,
    Requests,
    Urllib3,
    counts_of,
    serving,
)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.mark.parametrize("kind", [Httpx, Httpx2, AsyncHttpx, AsyncHttpx2])
def test_progress_is_asked_of_the_parts_of_a_body_only(kind, server, registry):
    seen = []

    def progress(part):
        seen.append(part)
        return len(part)

    clocks = {"first_item": 60.0, "between_items": 60.0} if kind in (AsyncHttpx, AsyncHttpx2) else {}
    client = kind(registry=registry, stream_timeout=StreamTimeout(total=60.0, min_rate=1.0, progress=progress, **clocks))
    try:
        assert client.request("GET", f"{server.url}/200/chunked") == (200, b"helloworld")
        assert client.request("HEAD", f"{server.url}/200") == (200, b"")
        assert b"".join(seen) == b"helloworld"
        assert counts_of(client) == {"success": 2}
    finally:
        client.finish()


@pytest.mark.parametrize("unseen", [{"between_items": 5.0}, {"total": 5.0}, {"min_rate": 5.0}], ids=str)
@pytest.mark.parametrize("kind", [Requests, Urllib3, Aiohttp])
def test_a_clock_for_a_body_that_the_client_reads_by_itself_is_a_mistake(kind, unseen, registry):
    with pytest.raises(ConfigError, match=next(iter(unseen))):
        kind(registry=registry, stream_timeout=StreamTimeout(**unseen))


def test_the_first_item_of_aiohttp_is_the_head(server, registry):
    client = Aiohttp(registry=registry, stream_timeout=StreamTimeout(first_item=60.0, progress=len))
    try:
        assert client.request("GET", f"{server.url}/200") == (200, b"helloworld")
        assert counts_of(client) == {"success": 1}
    finally:
        client.finish()
