"""What followed on an interim response that says it has a body stood in front of the body of the final response.

An interim response has none (RFC 9112, 6.3). The parser knows that of the statuses up to 103; of 104, which resumable
uploads use, it took the length at its word.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.harness import parsed

from .gateway_parts import OK, asked, configured, served, upstream

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"


@pytest.mark.parametrize(("interim", "status"), [
    (b"HTTP/1.1 104 Upload Resumption Supported\r\nContent-Length: 2\r\n\r\nno", 502),
    (b"HTTP/1.1 199 Whatever\r\n" + CHUNKED, 502), (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nno", 502),
    (b"HTTP/1.1 104 Upload Resumption Supported\r\nContent-Length: 0\r\n\r\n", 200),
    (b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 7\r\n\r\n" * 3, 200)])
async def test_an_interim_response_has_no_body(interim: bytes, status: int) -> None:
    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(interim + OK)

    async with upstream(script) as url, served(configured({"endpoints": [url], "retry": False})) as (_, front):
        whole = await front.ask(asked())
    final = whole[whole.rindex(b"HTTP/1.1 "):]
    assert parsed(final)[0] == status
    if status == 200:
        assert final.endswith(b"\r\n\r\nok")
