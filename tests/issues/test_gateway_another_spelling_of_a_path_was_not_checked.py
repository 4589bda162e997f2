"""The filter ``openapi`` compared paths as they were spelt, and routes and services do not.

With ``unknown = "pass"``, ``/users%3Abatch`` was no path of a document that has ``/users:batch``, and reached the service
without a check; so did ``//users:batch`` and ``/users:batch;x``, which many services take for the same.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from resilience.config import Document
from resilience.errors import ConfigError
from resilience.gateway.config import read
from resilience.gateway.format.path_templates import PathTemplates
from tests.gateway.harness import Upstream, parsed, shared_upstream

from .gateway_parts import served

upstream = shared_upstream()

NUMBER = {"required": True, "content": {"application/json": {"schema": {
    "type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "maximum": 10}}}}}}
ANSWER = {"responses": {"200": {"description": "ok"}}}
KEY = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[a-z]+$"}}


def statuses(upstream: Upstream, folder: Path, paths: list[str], body: bytes, *, base: str = "/api", unknown: str = "pass") -> list[int]:
    """What POST requests with a body get, one after the other."""
    (folder / "openapi.json").write_text(json.dumps({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {
        "/users:batch": {"post": {"requestBody": NUMBER, **ANSWER}},
        "/café/{id}:move": {"post": {"parameters": [KEY], "requestBody": NUMBER, **ANSWER}},
        "/a%20b": {"post": {"requestBody": NUMBER, **ANSWER}}, "/open": {"post": ANSWER}}}))
    config = read(Document.of({
        "gateway": {"allow_encoded": ["%2f", "%25"]}, "services": {"up": {"endpoints": [upstream.url]}},
        "routes": [{"path": "/*", "service": "up", "filters": ["described"]}],
        "filters": {"described": {"use": "openapi", "document": str(folder / "openapi.json"), "base_path": base,
                                  "unknown": unknown}}}, "test"))
    found = []

    async def main() -> None:
        async with served(config) as (_, front):
            for path in paths:
                upstream.on(path, lambda call: call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(call.body()[:0])))
                found.append(parsed(await front.ask(
                    b"POST %b HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)))[0])

    asyncio.run(main())
    return found


SAME = ["/api/users:batch", "/api/users%3Abatch", "/api/users%3abatch", "/api/%75sers:batch", "/%61pi/users:batch",
        "/api/caf%C3%A9/x:move", "/api/caf%c3%a9/x%3amove", "/api/a%20b"]
DOUBTFUL = ["/api//users:batch", "/api/users:batch;x", "/api;x/users:batch", "/api/users:batch;x=1/", "/api%2Fusers:batch",
            "/api/users%253Abatch", "/api/caf%C3%A9//x:move", "/api/open;/../users:batch"]


def test_a_path_is_checked_in_every_spelling(upstream: Upstream, tmp_path: Path) -> None:
    assert [422] * len(SAME) == statuses(upstream, tmp_path, SAME, b'{"n": 100000}')
    assert [200] * len(SAME) == statuses(upstream, tmp_path, SAME, b'{"n": 1}')


@pytest.mark.parametrize("unknown", ["pass", "refuse"])
def test_a_path_that_some_read_as_that_of_an_operation_is_refused(upstream: Upstream, tmp_path: Path, unknown: str) -> None:
    found = statuses(upstream, tmp_path, DOUBTFUL, b'{"n": 1}', unknown=unknown)
    assert set(found) <= {400, 404, 422}
    assert found[: 3] == [400] * 3
    assert statuses(upstream, tmp_path, ["/api/open/x;y", "/api//x", "/other"], b"", unknown=unknown) \
        == ([200] * 3 if unknown == "pass" else [404] * 3)


def test_the_parameters_of_every_reading_are_checked(upstream: Upstream, tmp_path: Path) -> None:
    """Its last one is what a service takes that decodes twice."""
    paths = ["/api/caf%C3%A9/x:move", "/api/caf%C3%A9/X:move", "/api/caf%C3%A9/%2558:move"]
    assert [200, 422, 422] == statuses(upstream, tmp_path, paths, b'{"n": 1}')


@pytest.mark.parametrize(("one", "other"), [("/a:b", "/a%3Ab"), ("/é", "/%c3%A9"), ("/x/{i}:b", "/x/{j}%3ab")])
def test_two_templates_that_differ_in_spelling_have_the_same_requests(one: str, other: str) -> None:
    templates = PathTemplates[int]()
    templates.add(one, 1)
    with pytest.raises(ConfigError, match="same requests"):
        templates.add(other, 2)
