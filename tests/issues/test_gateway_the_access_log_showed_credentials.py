"""The access log showed the API keys that the gateway itself checks, and tokens in the URL of the page before.

It knew the usual names of headers and parameters, and not those that the file gives to its own filters; and it redacted
the query of a request, and not the one that stands in Referer. It redacted what follows "#" in Referer, and not in the
target of a request, and passwords that stand before a host in neither.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from resilience.config import ConfigFileError, Document
from resilience.errors import ConfigError
from resilience.gateway.config import GatewayConfig, read
from resilience.gateway.logs.entry import clf_line, combined_line, cut, json_line
from resilience.gateway.logs.redaction import QueryRedactor, redacted_urls
from resilience.gateway.routing.authority import path_of
from tests.gateway.harness import Upstream, parsed, shared_upstream
from tests.gateway.logs.test_entry import over

from .gateway_parts import asked, served

upstream = shared_upstream()

KEY = "billing." + "S" * 43
FILTERS = {
    "keys": {"use": "api_keys", "header": "X-Partner-Key", "query": "partner key",
             "keys": [{"id": "billing", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "consumer": "b"}]},
    "tokens": {"use": "jwt", "issuer": False, "audience": False, "secret": "env:RESILIENCE_TEST_SECRET", "algorithms": ["HS256"],
               "header": "X-Token"},
    "signed": {"use": "hmac", "keys": [{"id": "k", "secret": "env:RESILIENCE_TEST_SECRET", "consumer": "c"}]}}


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESILIENCE_TEST_SECRET", "s" * 40)


def tables(url: str, log: dict[str, Any], filters: dict[str, Any]) -> dict[str, Any]:
    return {"services": {"up": {"endpoints": [url]}}, "filters": filters, "access_log": log,
            "routes": [{"path": "/*", "service": "up", "filters": list(filters)}]}


def logged(upstream: Upstream, to: Path, log: dict[str, Any], *requests: bytes) -> str:
    async def main() -> None:
        config = read(Document.of(tables(upstream.url, {"to": str(to), **log}, {"keys": FILTERS["keys"]}), "test"))
        async with served(config) as (_, front):
            for request in requests:
                assert parsed(await front.ask(request))[0] in (200, 401)

    upstream.on("/x", lambda call: call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    asyncio.run(main())
    return to.read_text()


@pytest.mark.parametrize("spelling", ["partner+key", "partner%20key", "p%61rtner+key", "%70%61rtner%20%6bey"])
def test_a_parameter_that_a_filter_reads_a_key_from_is_redacted(upstream: Upstream, tmp_path: Path, spelling: str) -> None:
    found = logged(upstream, tmp_path / "log", {}, asked(f"/x?a=1&{spelling}={KEY}"), asked(f"/x?{spelling}=wrong-SSS"))

    assert "SSS" not in found
    assert [200, 401] == [json.loads(line)["status"] for line in found.splitlines()]
    assert f"/x?a=1&{spelling}=[redacted]" == json.loads(found.splitlines()[0])["path"]


@pytest.mark.parametrize("name", ["X-Partner-Key", "x-partner-key", "X_Partner_Key", "X-Token", "Signature", "X_Api_Key", "api.key"])
def test_a_header_that_a_filter_reads_credentials_from_cannot_be_logged(name: str) -> None:
    wrong = tables("http://127.0.0.1:1", {"headers": ["User-Agent", name]}, FILTERS)
    with pytest.raises(ConfigFileError, match="never logged"):
        read(Document.of(wrong, "test"))
    config = read(Document.of(tables("http://127.0.0.1:1", {"headers": ["User-Agent"]}, FILTERS), "test"))
    with pytest.raises(ConfigError, match="never logged"):
        GatewayConfig(services=config.services, routes=config.routes, filters=config.filters,
                      access_log=type(config.access_log)(headers=(name,)))


@pytest.mark.parametrize("log", [{"format": "combined"}, {"headers": ["Referer", "X-Original"]}])
def test_the_query_of_a_url_in_a_header_is_redacted(upstream: Upstream, tmp_path: Path, log: dict[str, Any]) -> None:
    url = "https://a/login?page=2&token=TOP&partner%20key=TOP"
    found = logged(upstream, tmp_path / "log", log, asked("/x", f"Referer: {url}", f"X-Original: {url}", f"X-Partner-Key: {KEY}"))

    assert "https://a/login?page=2&token=[redacted]&partner%20key=[redacted]" in found
    assert "TOP" not in found


def test_what_is_redacted_in_urls() -> None:
    redacted = QueryRedactor(["token", "list[x]", "two words"])
    for value, wanted in [(b"/a", b"/a"), (b"/a?b=1", b"/a?b=1"), (b"/a?token=x#token=y", b"/a?token=[redacted]#token=[redacted]"),
                          (b"/a?b?token=x", b"/a?b?token=[redacted]"), (b"?list[x]=1&LIST=2", b"?list[x]=[redacted]&LIST=[redacted]"),
                          (b"?two+words=1;two%20words=2", b"?two+words=[redacted];two%20words=[redacted]")]:
        assert redacted_urls(value, redacted) == wanted


@pytest.mark.parametrize(("target", "wanted"), [
    (b"http://ada:TOP@shop/x", b"http://[redacted]@shop/x"), (b"http://ada:T\xc3\xa0OP@TOP@shop/x?token=TOP", b"http://[redacted]@shop/x?token=[redacted]"),
    (b"/x?a=1#token=TOP", b"/x?a=1#token=[redacted]"), (b"/x?a=1?token=TOP", b"/x?a=1?token=[redacted]"),
    (b"http://" + b"TOP" * 1000 + b"@shop/x", b"http://[redacted]@"), (b"http://shop/x?to=ada@b.c", b"http://shop/x?to=ada@b.c"),
    (b"http://shop?to=ada@b.c", b"http://shop?to=ada@b.c"), (b"/@me://x", b"/@me://x")])
def test_no_password_and_no_token_is_shown_wherever_it_stands_in_a_url(target: bytes, wanted: bytes) -> None:
    path, mark, query = target.partition(b"?")
    observed = over(path=path, query=mark and query, logged=[("referer", cut(target)), ("user-agent", b"-")])
    line = json.loads(json_line(observed, QueryRedactor(["token"])))

    assert line["path"].encode("latin-1") == line["headers"]["referer"].encode("latin-1") == wanted
    for of in (clf_line, combined_line):
        assert "TOP" not in of(observed, QueryRedactor(["token"]))


def test_the_path_of_a_span_is_a_path_in_whichever_form_a_client_sends_it() -> None:
    assert [path_of(target) for target in (b"/x", b"*", b"http://ada:TOP@shop/x", b"ftp://shop", b"/http://x")] == \
        [b"/x", b"*", b"/x", b"/", b"/http://x"]
