"""Several endpoints of one service, on the wire: one that is dead, black, resets, or answers 503."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Call, Gateway, Upstream, free_port, parsed, problem, running, shared_upstream

pytestmark = pytest.mark.process

CONFIG = """
[services.half]
endpoints = ["{one}", "{dead}"]
[services.dead]
endpoints = ["{dead}", "{other_dead}"]
[services.well]
endpoints = ["{one}", "{two}"]
[[routes]]
path = "/half/*"
service = "half"
[[routes]]
path = "/dead/*"
service = "dead"
[[routes]]
path = "/well/*"
service = "well"
"""


two = shared_upstream()


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, two: Upstream) -> Iterator[Gateway]:
    dead, other = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    config = CONFIG.format(one=upstream.url, two=two.url, dead=dead, other_dead=other)
    with running(tmp_path_factory.mktemp("balanced"), config) as made:
        yield made


def reset(call: Call) -> None:
    call.reset()


def test_a_dead_endpoint_costs_no_client_an_answer_whatever_the_method(balanced: Gateway) -> None:
    assert {200} == {balanced.get("/half/x", method=method)[0] for method in ("GET", "POST", "PATCH", "DELETE") * 5}


def test_a_body_that_is_streamed_goes_to_the_living_endpoint_too(balanced: Gateway) -> None:
    for _ in range(4):
        reply = balanced.raw(b"POST /half/streamed HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n"
                             b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert 200 == parsed(reply)[0]


def test_if_all_endpoints_are_dead_the_client_hears_it_and_later_when_to_ask_again(balanced: Gateway) -> None:
    seen = [balanced.get("/dead/x") for _ in range(30)]
    assert 502 == problem(seen[0])["status"]
    assert {502, 503} >= {reply[0] for reply in seen}
    assert 503 == problem(seen[-1])["status"]
    assert 1 <= int(seen[-1][1]["retry-after"]) <= 10


def test_what_was_sent_is_repeated_only_if_its_method_is_idempotent(
        balanced: Gateway, upstream: Upstream, two: Upstream) -> None:
    upstream.on("/well/reset", reset)
    assert {200} == {balanced.get("/well/reset")[0] for _ in range(4)}
    before = two.count("/well/reset"), upstream.count("/well/reset")
    assert {200, 502} == {balanced.get("/well/reset", method="POST")[0] for _ in range(2)}
    assert (before[0] + 1, before[1] + 1) == (two.count("/well/reset"), upstream.count("/well/reset"))


def test_the_last_answer_of_an_upstream_is_given_and_never_a_worse_one(
        balanced: Gateway, upstream: Upstream, two: Upstream) -> None:
    unavailable = b"HTTP/1.1 503 No\r\nContent-Length: 5\r\nX-Own: yes\r\n\r\nsorry"
    for path, other in (("/well/503", reset), ("/well/both", lambda call: call.send(unavailable))):
        upstream.on(path, lambda call: call.send(unavailable))
        two.on(path, other)
        for _ in range(2):
            status, headers, body = balanced.get(path)
            assert (503, "yes", b"sorry") == (status, headers.get("x-own"), body)


def test_each_endpoint_has_a_command_and_the_services_is_their_sum(balanced: Gateway, upstream: Upstream,
                                                                 two: Upstream) -> None:
    before = balanced.metric("success", "well")
    for _ in range(6):
        assert 200 == balanced.get("/well/sum")[0]
    keys = [f"well@{each.url.removeprefix('http://')}" for each in (upstream, two)]
    assert before + 6 == balanced.metric("success", "well")
    assert balanced.metric("success", "well") == sum(balanced.metric("success", key) for key in keys)


def test_headers_json_values_and_a_base_path_are_set_for_each_endpoint(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    bodies = []

    def script(call: Call) -> None:
        bodies.append(call.body())
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.on("/base/v1/ask", script)
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(running(tmp_path, f"""
[services.up]
[[services.up.endpoints]]
url = "{upstream.url}/base/"
headers = {{ Authorization = "file:{tmp_path}/key", X-Team = "blue" }}
json = {{ "/model" = "small", "/options/seed" = 7 }}
[[routes]]
path = "/*"
service = "up"
"""))
        body = b'{"model": "large", "text": "h\xc3\xa9"}'
        reply = gateway.raw(b"POST /v1/ask HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nAuthorization: mine\r\n"
                            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert 200 == parsed(reply)[0]
    call = upstream.called("/base/v1/ask")
    assert ([b"s3cret"], [b"blue"]) == (call.header(b"authorization"), call.header(b"x-team"))
    assert ['{"model":"small","text":"hé","options":{"seed":7}}'.encode()] == bodies
