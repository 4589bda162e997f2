"""What decides by a header looked at one spelling of its name, and a service at another.

To WSGI and CGI, ``X_Token`` is ``X-Token``: beside a good token a forged one passed, or alone where tokens are optional,
and headers that a route, a signature or an OpenAPI document is about were not looked at. So it was with ``Bearer`` and a
tab: to the gateway it was no bearer token, and no credentials; to a service that splits by white space it was one.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from resilience.config import Document
from resilience.gateway.config import read
from tests.gateway.filters.test_hmac import COVERED, Guard, Sent
from tests.gateway.harness import Upstream, parsed, shared_upstream

from .gateway_parts import asked, served

SECRET = "s" * 32
TOKENS = {"use": "jwt", "issuer": False, "audience": False, "algorithms": ["HS256"], "secret": "env:GATEWAY_TOKENS"}
MODE = {"name": "X-Mode", "in": "header", "schema": {"enum": ["safe"]}}

upstream = shared_upstream()
auth = shared_upstream()


def config(url: str, asking: str, folder: Path) -> dict[str, Any]:
    (folder / "openapi.json").write_text(json.dumps({
        "openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/openapi": {"get": {
            "parameters": [MODE], "responses": {"200": {"description": "ok"}}}}}}))
    key = {"id": "a", "sha256": "0" * 64, "consumer": "c"}
    filters = {
        "token": {**TOKENS, "header": "X-Token"}, "optional": {**TOKENS, "header": "X-Token", "optional": True},
        "bearer": {**TOKENS, "optional": True}, "key": {"use": "api_keys", "keys": [key], "optional": True},
        "key-bearer": {"use": "api_keys", "keys": [key], "optional": True, "header": "Authorization"},
        "ask": {"use": "forward_auth", "service": "auth", "send_headers": ["Authorization", "X-Session"]},
        "openapi": {"use": "openapi", "document": str(folder / "openapi.json")}}
    return {"services": {"up": {"endpoints": [url]}, "auth": {"endpoints": [asking]}}, "filters": filters,
            "routes": [*({"path": f"/{name}", "service": "up", "filters": [name]} for name in filters),
                       {"path": "/plain", "service": "up", "headers": {"X-Beta": False}},
                       {"path": "/mode", "service": "up", "headers": {"X-Mode": "safe"}}]}


@pytest.fixture
def statuses(upstream: Upstream, auth: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GATEWAY_TOKENS", SECRET)

    def of(target: str, *requests: tuple[str, ...]) -> list[int]:
        async def main() -> list[int]:
            async with served(read(Document.of(config(upstream.url, auth.url, tmp_path), "test"))) as (_, front):
                return [parsed(await front.ask(asked(target, *lines)))[0] for lines in requests]

        return asyncio.run(main())

    return of


def token() -> str:
    return jwt.encode({"sub": "ada", "exp": int(time.time()) + 600}, SECRET, "HS256")


def test_a_forged_token_passes_neither_beside_a_good_one_nor_alone(statuses: Any) -> None:
    good, forged = f"X-Token: {token()}", "X_Token: forged"
    assert statuses("/token", (good,), (good, forged), (forged, good), (forged,)) == [200, 400, 400, 401]
    assert statuses("/optional", (good,), (), (good, forged), (forged,), ("X.Token: forged",)) == [200, 200, 400, 401, 401]


def test_a_good_token_is_one_in_every_spelling(statuses: Any) -> None:
    assert statuses("/token", (f"X_Token: {token()}",)) == [200]


def test_a_key_is_looked_at_in_every_spelling(statuses: Any) -> None:
    assert statuses("/key", (), ("X_Api_Key: a.b",), ("X-Api.Key: a.b",)) == [200, 401, 401]


@pytest.mark.parametrize("route", ["/bearer", "/key-bearer"])
def test_what_some_read_as_a_bearer_token_is_judged_as_one(statuses: Any, route: str) -> None:
    tokens = [f"Authorization: {each}" for each in (
        "Bearer forged", "bearer\tforged", "Bearer\xa0forged", "Bearer", "BEARER,forged", "Bearer  forged")]
    assert statuses(route, *((each,) for each in tokens)) == [401] * len(tokens)
    assert statuses(route, ("Authorization: Basic YTpi",), ("Authorization: Bearer2 x",), ()) == [200] * 3


def test_who_is_asked_and_the_service_see_the_same_credentials(statuses: Any, upstream: Upstream, auth: Upstream) -> None:
    auth.on("/", lambda call: call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    twice = ("Authorization: Bearer mine", "Authorization: Bearer theirs")
    assert statuses("/ask", ("X-Session: mine", "X_Session: theirs"), twice) == [200, 400]
    seen = upstream.called("/ask")
    assert (seen.header(b"x-session"), seen.header(b"x_session")) == ([b"mine"], [])


def test_headers_of_a_document_and_of_a_route_are_looked_at_in_every_spelling(statuses: Any) -> None:
    safe, unsafe = "X-Mode: safe", "X_Mode: unsafe"
    assert statuses("/openapi", (), (safe,), (unsafe,), (safe, unsafe), ("X_Mode: safe",)) == [200, 200, 422, 422, 200]
    assert statuses("/mode", (safe,), (safe, unsafe), ("X_Mode: safe",)) == [200, 404, 200]
    assert statuses("/plain", (), ("X-Beta: 1",), ("X_Beta: 1",), ("XxBeta: 1",)) == [200, 404, 404, 200]


async def test_no_other_spelling_stands_beside_a_header_that_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(monkeypatch)

    def sent(nonce: str) -> Sent:
        return Sent(headers={"X-User": "ada"}).sign(covered=(*COVERED, "x-user"), nonce=nonce)

    assert await guard.status(sent("1")) == 200
    assert await guard.status(sent("2"), more=[(b"x_user", b"root")]) == 401
    assert await guard.status(sent("3"), more=[(b"x_other", b"root")]) == 200
