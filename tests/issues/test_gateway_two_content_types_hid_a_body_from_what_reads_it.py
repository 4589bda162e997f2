"""A message with two Content-Types was taken for one that is not JSON, and passed what changes, checks or counts bodies.

Services take the first of them, or the last, and read the JSON: with the header twice, or a list in one line, a client
kept what ``json_body`` removes, chose the model that an endpoint's ``json`` sets, and paid one unit for everything.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from resilience.config import Document
from resilience.gateway.config import read
from resilience.gateway.messages.content import has_several_types, is_json, may_be_json, media_type
from tests.gateway.harness import Call, Upstream, parsed, shared_upstream

from .gateway_parts import served

JSON = "application/json"
SEVERAL = [(JSON, JSON), (JSON, "text/plain"), ("text/plain", JSON), (f"{JSON}, {JSON}",), (f"text/plain,{JSON}",),
           (f"{JSON}; a=1, text/plain",), (f'{JSON}; a="1", text/plain',), (f'{JSON}; a="1, text/plain',),
           (f'text/plain; a="\\"", {JSON}',), (f"{JSON},",)]

upstream = shared_upstream()


def config(url: str, folder: Path) -> dict[str, Any]:
    schema = {"type": "object", "required": ["n"]}
    described = {"content": {"*/*": {"schema": schema}}}
    (folder / "schema.json").write_text(json.dumps(schema))
    (folder / "openapi.json").write_text(json.dumps({
        "openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/openapi": {"post": {
            "requestBody": described, "responses": {"200": {"description": "ok", **described}}}}}}))
    changes = {"remove": ["/admin"], "set": {"/tenant": "acme"}}
    return {
        "services": {"up": {"endpoints": [url]}, "model": {"endpoints": [{"url": url, "json": {"/model": "small"}}]}},
        "filters": {
            "json_body": {"use": "json_body", "request": changes},
            "answers": {"use": "json_body", "response": changes},
            "json_schema": {"use": "json_schema", "request": str(folder / "schema.json")},
            "openapi": {"use": "openapi", "document": str(folder / "openapi.json")},
            "openapi_answers": {"use": "openapi", "document": str(folder / "openapi.json"), "mode": "off",
                                "response_mode": "enforce", "base_path": "/answers"},
            "cost": {"use": "rate_limit", "rate": 100, "per": 3600, "by": ["address"], "cost_pointer": ["/n"]}},
        "routes": [{"path": f"/{name}", "service": "up", "filters": [name]}
                   for name in ("json_body", "answers", "json_schema", "openapi", "cost")]
        + [{"path": "/answers/openapi", "service": "up", "filters": ["openapi_answers"]},
           {"path": "/model", "service": "model"}]}


def post(path: str, types: tuple[str, ...], body: bytes, *, chunked: bool = False) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: gw", "Connection: close", *(f"Content-Type: {each}" for each in types),
             "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + (b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)


def asked(upstream: Upstream, folder: Path, *requests: bytes) -> list[int]:
    """The statuses of requests, one after the other."""
    statuses = []

    async def main() -> None:
        async with served(read(Document.of(config(upstream.url, folder), "test"))) as (_, front):
            statuses.extend([parsed(await front.ask(request))[0] for request in requests])

    asyncio.run(main())
    return statuses


@pytest.mark.parametrize("path", ["/json_body", "/json_schema", "/openapi", "/model", "/cost"])
def test_nothing_that_looks_into_bodies_is_passed_by(upstream: Upstream, tmp_path: Path, path: str) -> None:
    def seen(call: Call) -> None:
        bodies.append(call.body())
        call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"n\": 1}")

    bodies: list[bytes] = []
    upstream.on(path, seen)
    twice = b'{"admin": true, "model": "large", "n": 1, "n": 1000000}' if path == "/cost" else b'{"admin": true}'
    requests = [post(path, types, twice, chunked=chunked) for types in SEVERAL for chunked in (False, True)]
    well = [post(path, (kind,), b'{"n": 1, "model": "large"}') for kind in (JSON, f'{JSON}; a="b,c"')]
    statuses = asked(upstream, tmp_path, *requests, *well)

    assert set(statuses[: len(requests)]) <= {400, 415}
    assert statuses[len(requests):] == [200, 200]
    assert len(bodies) == 2


@pytest.mark.parametrize("path", ["/answers", "/answers/openapi"])
def test_an_answer_with_several_types_does_not_have_the_form_that_was_agreed_on(
        upstream: Upstream, tmp_path: Path, path: str) -> None:
    def answer(call: Call) -> None:
        call.body()
        lines = b"".join(b"Content-Type: %b\r\n" % each.encode() for each in left.pop(0))
        call.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 15\r\n\r\n{\"admin\": true}" % lines)

    left = list(SEVERAL)
    upstream.on(path, answer)
    assert asked(upstream, tmp_path, *[post(path, ("text/plain",), b"x")] * len(SEVERAL)) == [502] * len(SEVERAL)


def test_a_request_without_a_body_may_say_what_it_likes(upstream: Upstream, tmp_path: Path) -> None:
    for path in ("/json_body", "/model"):
        upstream.on(path, lambda call: call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    assert asked(upstream, tmp_path, *(post(path, (JSON, JSON), b"") for path in ("/json_body", "/model"))) == [200, 200]


def test_one_media_type_is_told_from_several() -> None:
    for types in SEVERAL:
        lines = [(b"content-type", each.encode()) for each in types]
        assert has_several_types(lines)
        assert may_be_json(lines)
        assert media_type(lines) is None
    for one in ("text/plain", "", 'multipart/form-data; boundary="a,b"', 'text/plain; a="x,y"; b=z', "a/b; c=d"):
        lines = [(b"content-type", one.encode())]
        assert not has_several_types(lines)
        assert not may_be_json(lines)
    assert not has_several_types([])
    assert is_json(media_type([(b"content-type", b'application/a+json; profile="b,c"')]))
