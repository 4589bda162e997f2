"""An outbound filter that adds to bodies made a HEAD request's Content-Length that of its addition alone.

One that rewrites errors made it 0.
"""

from __future__ import annotations

import asyncio

import pytest

from resilience import Registry
from resilience.gateway import Gateway, outbound_filter
from resilience.gateway.filters import FilterContext
from tests.gateway.front.serving import serving

from .gateway_parts import asked, configured, served, upstream


@outbound_filter(body=1000)
def sign_off(context: FilterContext) -> None:
    assert context.response is not None
    context.response.body = (context.response.body or b"") + b", bye"


@pytest.mark.parametrize(("method", "length"), [("HEAD", None), ("GET", 10)])
def test_an_answer_to_head_says_no_length_when_a_filter_changes_bodies(method: str, length: int | None) -> None:
    async def main() -> None:
        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + (b"" if method == "HEAD" else b"hello"))

        async with upstream(script) as url:
            gateway = Gateway(configured({"endpoints": [url]}), registry=Registry(), filters=[sign_off])
            async with serving(gateway.serve) as front:
                head, _, body = (await front.ask(asked(method=method))).partition(b"\r\n\r\n")
            gateway.close()
        assert body == (b"" if length is None else b"hello, bye")
        assert (b"content-length: %d" % (length or 0) in head) is (length is not None)
        assert (b"content-length" in head) is (length is not None)

    asyncio.run(main())


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_an_answer_to_head_does_not_say_that_a_rewritten_error_has_no_body(method: str) -> None:
    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\n" + (b"" if method == "HEAD" else b"hello"))

    async with upstream(script) as url:
        config = configured({"endpoints": [url]}, filters={"errors": {"use": "errors"}}, gateway={"filters": ["errors"]})
        async with served(config) as (_, front):
            head, _, body = (await front.ask(asked(method=method))).lower().partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert (b"content-length: %d\r\n" % len(body) in head) is (method == "GET")
    assert (b"content-length" in head) is (method == "GET")
