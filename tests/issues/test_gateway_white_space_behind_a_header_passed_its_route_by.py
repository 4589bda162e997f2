"""White space behind the value of a header was part of it under uvicorn, which leaves it there with httptools.

A route that wants the value did not take the request, and another one did; the service takes the white space off, as
RFC 9110 (5.5) says, and reads the value. The gateway's own front takes it off, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resilience import Registry
from resilience.gateway import Gateway, GatewayConfig
from resilience.gateway.config import RouteConfig, ServiceConfig
from tests.gateway.harness import Upstream
from tests.gateway.test_asgi import ask


@pytest.fixture(name="upstream")
def _upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


@pytest.mark.parametrize("value", [b"b", b"b ", b"b\t", b" b \t "])
async def test_a_header_is_its_value(upstream: Upstream, value: bytes) -> None:
    app = Gateway(GatewayConfig(
        services={"up": ServiceConfig(endpoints=(upstream.url,))},
        routes=(RouteConfig(path="/*", service="up"),
                RouteConfig(path="/*", service="up", headers={"X-Mode": "b"}, rewrite="/wanted"))), registry=Registry())
    assert 200 == (await ask(app, path="/any", headers=[(b"host", b"gw"), (b"x-mode", value)]))[0]
    assert [b"b"] == upstream.called("/wanted").header(b"x-mode")
