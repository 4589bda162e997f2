"""Fallbacks: the last good answer, another service, or always the same; pure, and on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from resilience import ConfigError
from resilience.config import ConfigFileError
from resilience.gateway.answers.last_answers import MOST_BODY_BYTES, MOST_BYTES, LastAnswers
from resilience.gateway.config import load
from resilience.gateway.config.fallbacks import FallbackConfig
from resilience.gateway.messages.exchange import Header, Request

from ..harness import Call, Gateway, Upstream, free_port, running


def a_request(target: bytes = b"/x", headers: list[Header] | None = None, method: str = "GET") -> Request:
    return Request(method=method, target=target, host=None, headers=headers or [])


@pytest.mark.parametrize(("asked", "status", "headers", "is_kept"), [
    ({}, 200, [], True), ({"method": "POST"}, 200, [], False), ({}, 404, [], False),
    ({"headers": [(b"authorization", b"x")]}, 200, [], False), ({}, 200, [(b"set-cookie", b"a=b")], False),
    ({}, 200, [(b"cache-control", b"Private, max-age=3")], False), ({}, 200, [(b"cache-control", b"no-store")], False),
    ({}, 200, [(b"cache-control", b"max-age=3")], True), ({}, 200, [(b"vary", b"Accept-Encoding")], True),
    ({}, 200, [(b"vary", b"*")], False), ({"headers": [(b"range", b"bytes=0-1")]}, 200, [], False)])
def test_only_what_a_shared_cache_might_keep_is_kept(
        asked: dict[str, object], status: int, headers: list[Header], is_kept: bool) -> None:
    kept, request = LastAnswers(60.0), a_request(**asked)  # type: ignore[arg-type]
    kept.keep(request, status, headers, b"body", 0.0)
    assert is_kept is (kept.find(request, 1.0) is not None)


def test_an_answer_is_given_for_so_long_as_it_may_and_to_the_same_request() -> None:
    kept = LastAnswers(60.0)
    kept.keep(a_request(), 200, [], b"body", 0.0)
    kept.keep(a_request(b"/short"), 200, [(b"cache-control", b"stale-if-error=5")], b"body", 0.0)
    assert kept.find(a_request(b"/y"), 1.0) is None
    assert kept.find(a_request(headers=[(b"accept-encoding", b"gzip")]), 1.0) is None
    assert kept.find(a_request(), 60.0) is not None
    assert kept.find(a_request(), 60.1) is None
    assert kept.find(a_request(b"/short"), 5.1) is None


def test_they_are_bounded_in_bytes_and_what_was_used_last_stays() -> None:
    kept = LastAnswers(60.0)
    body = bytes(MOST_BODY_BYTES)
    kept.keep(a_request(b"/used"), 200, [], body, 0.0)
    for number in range(2 * MOST_BYTES // MOST_BODY_BYTES):
        assert kept.find(a_request(b"/used"), 0.0) is not None
        kept.keep(a_request(b"/%d" % number), 200, [], body, 0.0)
    assert kept.find(a_request(b"/0"), 0.0) is None
    kept.keep(a_request(b"/large"), 200, [], body + b"x", 0.0)
    assert kept.find(a_request(b"/large"), 0.0) is None


def test_a_fallback_of_nothing_is_refused() -> None:
    for wrong in ({}, {"body": "x", "status": 99}, {"body": "x", "headers": {"a": "b\r\nc"}}, {"stale": 0}):
        with pytest.raises(ConfigError):
            FallbackConfig(**wrong)  # type: ignore[arg-type]


def test_a_fallback_to_nobody_and_one_in_a_circle_are_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "g.toml"
    for other, message in (("c", "unknown service 'c'"), ("a", "leads back to a")):
        file.write_text('[services.a]\nendpoints = ["http://h"]\nfallback = { service = "b" }\n'
                        f'[services.b]\nendpoints = ["http://h"]\nfallback = {{ service = "{other}" }}\n'
                        '[[routes]]\npath = "/"\nservice = "a"\n')
        with pytest.raises(ConfigFileError, match=message):
            load(file)


CONFIG = """
[services.stale]
endpoints = ["{one}"]
command = {{ breaker = false }}
fallback = {{ stale = 60.0, body = "none yet" }}
[services.other]
endpoints = ["http://127.0.0.1:{dead}"]
fallback = {{ service = "stale" }}
[services.static]
endpoints = ["{one}"]
command = {{ breaker = false }}
fallback = {{ status = 203, body = "[]", headers = {{ Content-Type = "application/json" }}, on = [500] }}
[[routes]]
path = "/stale/*"
service = "stale"
[[routes]]
path = "/other/*"
service = "other"
[[routes]]
path = "/static/*"
service = "static"
"""


@pytest.fixture(scope="module")
def falling(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    config = CONFIG.format(one=upstream.url, dead=free_port())
    with running(tmp_path_factory.mktemp("falling"), config) as made:
        yield made


def failing(call: Call) -> None:
    call.send(b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno")


@pytest.mark.process
def test_the_last_good_answer_is_given_when_the_service_fails(falling: Gateway, upstream: Upstream) -> None:
    body = b"x" * 200_000
    upstream.on("/stale/a", lambda call: call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\nETag: 7\r\n\r\n" + body))
    assert (200, body) == falling.get("/stale/a")[::2]
    for trouble in (failing, lambda call: call.reset()):
        upstream.on("/stale/a", trouble)
        status, headers, found = falling.get("/stale/a")
        assert (200, body, "7", True) == (status, found, headers["etag"], "age" in headers)
    upstream.on("/stale/never", failing)
    assert (200, b"none yet") == falling.get("/stale/never")[::2]
    assert falling.metric("failure", "stale") >= 2, "a failure counts although nobody sees it"


@pytest.mark.process
def test_another_service_answers_for_one_that_is_dead(falling: Gateway) -> None:
    assert (200, b"ok") == falling.get("/other/x")[::2]
    assert (200, b"ok") == falling.get("/other/x", method="POST", headers="Content-Length: 0\r\n")[::2]


@pytest.mark.process
def test_the_same_answer_is_given_for_the_statuses_that_are_named_and_for_no_answer(
        falling: Gateway, upstream: Upstream) -> None:
    upstream.on("/static/500", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    upstream.on("/static/503", failing)
    upstream.on("/static/reset", lambda call: call.reset())
    status, headers, body = falling.get("/static/500")
    assert (203, "application/json", b"[]") == (status, headers["content-type"], body)
    assert (203, 503) == (falling.get("/static/reset")[0], falling.get("/static/503")[0])
