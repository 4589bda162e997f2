"""``GET https://host/x`` was served on a connection without TLS, as if it were the http resource (RFC 9110, 7.4)."""

from __future__ import annotations

import pytest

from resilience.gateway.messages.inbound import RequestHead
from tests.gateway.test_admission import admission, outcome, route
from tests.issues.gateway_parts import OK, asked, configured, served, upstream


def head(scheme: str, client: str = "192.0.2.1") -> RequestHead:
    return RequestHead("GET", b"https://gw/x", b"", "1.1", scheme, [(b"host", b"gw")], (client, 1), ("192.0.2.9", 80))


@pytest.mark.parametrize(("scheme", "client", "expected"), [
    ("http", "192.0.2.1", 400), ("https", "192.0.2.1", "a"), ("http", "10.0.0.1", "a")])
def test_who_has_no_tls_must_be_a_trusted_proxy(scheme: str, client: str, expected: object) -> None:
    made = admission(route("/*", "a"), trusted_proxies=("10.0.0.0/8",))
    assert expected == outcome(made, head(scheme, client))


async def test_the_service_hears_nothing() -> None:
    heads: list[bytes] = []

    async def answer(head: bytes, writer: object) -> None:
        heads.append(head)
        writer.write(OK)  # type: ignore[attr-defined]

    async with upstream(answer) as url, served(configured({"endpoints": [url]})) as (_, front):
        for target in ("https://gw/x", "HTTPS://gw:443"):
            assert (await front.ask(asked(target))).startswith(b"HTTP/1.1 400 ")
        assert [] == heads
        assert (await front.ask(asked("http://gw/x"))).startswith(b"HTTP/1.1 200 ")
