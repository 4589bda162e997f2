"""A wait that began after the request's deadline raised another error than one during which it passed, and a traceback followed."""

from __future__ import annotations

import asyncio
import time

import pytest

from resilience import Registry
from resilience.gateway import Gateway, outbound_filter
from resilience.gateway.filters import FilterContext
from tests.gateway.front.serving import serving

from .gateway_parts import asked, configured, upstream


@outbound_filter(order=1)
def dawdle(context: FilterContext) -> None:
    end = time.monotonic() + 0.15
    while time.monotonic() < end:
        pass


@outbound_filter(order=2, body=1000)
def read(context: FilterContext) -> None:
    """Wants the body."""


def test_a_deadline_that_passes_while_a_filter_works_is_a_504_and_no_error_of_the_gateway(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12")
            await asyncio.Event().wait()

        async with upstream(script) as url:
            gateway = Gateway(configured({"endpoints": [url], "deadline": 0.1}), registry=Registry(), filters=[dawdle, read])
            async with serving(gateway.serve) as front:
                assert (await front.ask(asked()))[9:12] in (b"502", b"504")
            gateway.close()

    asyncio.run(main())
    assert "failed in the gateway" not in caplog.text
