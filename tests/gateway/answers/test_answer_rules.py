"""Rules for bodies and first events, and the wait for the first item: pure, and on the wire."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resilience import ConfigError
from resilience.gateway.answers.answer_rules import AnswerRule, AnswerRules
from resilience.gateway.messages.event_stream import ServerSentEvent, first_event

from ..harness import Call, Gateway, Upstream, eventually, parsed, running, shared_upstream

QUOTA = b'{"error": {"code": "quota", "tries": [3]}}'


@pytest.mark.parametrize(("text", "found"), [
    (b"data: a\n\n", ("message", b"a")), (b"data: a\n", None), (b"data: a", None), (b": ping\n\n", None),
    (b"event: error\r\ndata: {}\r\n\r\n", ("error", b"{}")), (b"event: ping\n\nevent: x\ndata: 1\rdata:2\n\n", ("x", b"1\n2")),
    (b"\xef\xbb\xbfdata: a\n\n", ("message", b"a")), (b"id: 1\nretry: 5\n\n", None), (b"data\n\n", ("message", b"")),
    (b"event: a\n\ndata: b\n\n", ("message", b"b"))])
def test_the_first_event_with_data_is_found_wherever_the_stream_is_cut(
        text: bytes, found: tuple[str, bytes] | None) -> None:
    assert (None if found is None else ServerSentEvent(*found)) == first_event(text)
    seen = [first_event(text[:cut]) for cut in range(len(text))]
    assert [None] == list(dict.fromkeys(seen)) or found is not None
    for early, late in itertools.pairwise(each for each in seen if each is not None):
        assert early == late


@pytest.mark.parametrize(("rule", "fits"), [
    ({"status": 429}, True), ({"status": ("4xx",)}, True), ({"status": 500}, False),
    ({"status": 429, "json": {"/error/code": "quota"}}, True), ({"status": 429, "json": {"/error/code": "slow"}}, False),
    ({"status": 429, "json": {"/error/tries/0": 3}}, True), ({"status": 429, "json": {"/error/tries/0": True}}, False),
    ({"status": 429, "json": {"/error/tries/9": 3}}, False), ({"status": 429, "event": "error"}, False)])
def test_a_rule_fits_by_status_and_by_values_of_the_body(rule: dict[str, Any], fits: bool) -> None:
    assert fits is (AnswerRules([AnswerRule(**rule)]).of_body(429, QUOTA) is not None)


def test_the_first_rule_that_fits_decides_and_what_is_no_json_has_no_values() -> None:
    rules = AnswerRules([AnswerRule(status=429, json={"/a": 1}, then="answer"), AnswerRule(status=429, then="next")])
    assert ("answer", "next") == (rules.of_body(429, b'{"a": 1}').then, rules.of_body(429, b"<html>").then)  # type: ignore[union-attr]
    assert rules.of_body(429, b"[" * 100_000).then == "next"  # type: ignore[union-attr]


def test_a_rule_about_nothing_is_refused() -> None:
    for wrong in ({}, {"status": ("teapot",)}, {"status": 429, "json": {"error": 1}}):
        with pytest.raises(ConfigError):
            AnswerRule(**wrong)


# -- on the wire

CONFIG = """
[services.up]
endpoints = ["{one}", "{two}"]
balancer = "first"
first_item = 0.3
rules = [
  {{ status = 429, json = {{ "/error/code" = "quota" }}, then = "next", counts = "failure" }},
  {{ status = 418, then = "answer", counts = "ignored" }},
  {{ status = 503, json = {{ "/again" = true }}, then = "same" }},
  {{ event = "error", then = "next", counts = "failure" }},
]
command = {{ timeout = 5.0, breaker = false }}
ejection = false
retry = {{ repeatable = true }}
[services.alone]
endpoints = ["{one}"]
rules = [{{ status = 503, json = {{ "/again" = true }}, then = "same" }}]
command = {{ timeout = 5.0, breaker = false }}
ejection = false
[[routes]]
path = "/*"
service = "up"
[[routes]]
path = "/alone/*"
service = "alone"
"""


two = shared_upstream()


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, two: Upstream) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("ruled"), CONFIG.format(one=upstream.url, two=two.url)) as made:
        yield made


def answers(status: int, body: bytes, kind: str = "application/json") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        status, kind.encode(), len(body), body)


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@pytest.mark.process
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_error_body_that_a_rule_names_goes_to_the_next_endpoint(
        ruled: Gateway, upstream: Upstream, method: str) -> None:
    before = ruled.metric("failure", "up")
    upstream.on("/quota", lambda call: call.send(answers(429, QUOTA)))
    assert (200, b"ok") == ruled.get("/quota", method=method)[::2]
    assert before + 1 == ruled.metric("failure", "up")
    other = b'{"error": {"code": "slow down"}}'
    upstream.on("/slow-down", lambda call: call.send(answers(429, other)))
    assert (429, other) == ruled.get("/slow-down", method=method)[::2]


@pytest.mark.process
@pytest.mark.parametrize("path", ["/warms-up", "/alone/warms-up"])
def test_an_answer_after_which_a_rule_wants_the_same_endpoint_again_is_asked_for_there(
        ruled: Gateway, upstream: Upstream, two: Upstream, path: str) -> None:
    again = iter([b'{"again": true}', b'{"again": true}'])
    upstream.on(path, lambda call: call.send(answers(503, body) if (body := next(again, None)) else answers(200, b"ok")))
    assert (200, b"ok") == ruled.get(path)[::2]
    assert (3, 0) == (upstream.count(path), two.count(path))


@pytest.mark.process
def test_an_answer_that_a_rule_passes_on_counts_as_the_rule_says(ruled: Gateway, upstream: Upstream) -> None:
    before = ruled.metric("bad_request", "up"), ruled.metric("failure", "up")
    upstream.on("/teapot", lambda call: call.send(answers(418, b"{}")))
    assert (418, b"{}") == ruled.get("/teapot")[::2]
    assert (before[0] + 1, before[1]) == (ruled.metric("bad_request", "up"), ruled.metric("failure", "up"))


@pytest.mark.process
def test_a_stream_whose_first_event_is_an_error_begins_anew_at_the_next_endpoint(
        ruled: Gateway, upstream: Upstream, two: Upstream) -> None:
    upstream.on("/events", EVENTS + b": ping\n\nevent: error\ndata: {}\n\n")
    two.on("/events", EVENTS + b"data: 1\n\ndata: 2\n\n")
    status, _, body = ruled.get("/events")
    assert (200, True) == (status, b"data: 1\n\ndata: 2\n\n" in body)


@pytest.mark.process
def test_a_rejected_stream_that_has_ended_is_given_if_the_next_endpoint_fails(
        ruled: Gateway, upstream: Upstream, two: Upstream) -> None:
    error = b": ping\n\nevent: error\ndata: {}\n\n"
    chunked = EVENTS.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    whole = b"%x\r\n%b\r\n0\r\n\r\n" % (len(error), error)
    failures = ruled.metric("failure", "up")
    for number, sent in enumerate((EVENTS + error, chunked + whole)):
        upstream.on(f"/last-{number}", sent)
        two.on(f"/last-{number}", lambda call: call.reset())
        status, headers, body = ruled.get(f"/last-{number}")
        assert (200, "text/event-stream", error) == (status, headers["content-type"], body)
    assert failures + 4 == ruled.metric("failure", "up")
    assert {} == ruled.busy()


@pytest.mark.process
def test_a_rejected_stream_that_ends_while_the_next_endpoint_is_asked_is_given_whole_and_one_that_goes_on_is_cut(
        ruled: Gateway, upstream: Upstream, two: Upstream) -> None:
    def rejected(call: Call) -> None:
        call.send(EVENTS + b"event: error\ndata: {}\n\n")
        if call.target == "/ends-late":
            two.called("/ends-late")
            call.send(b"data: more\n\n")
            call.connection.close()
        else:
            call.until_closed()

    for path in ("/ends-late", "/goes-on"):
        upstream.on(path, rejected)
    two.on("/ends-late", lambda call: (eventually(lambda: upstream.called("/ends-late").connection.fileno() < 0), call.reset()))
    two.on("/goes-on", lambda call: call.reset())
    assert (200, b"event: error\ndata: {}\n\ndata: more\n\n") == ruled.get("/ends-late")[::2]
    assert 502 == ruled.get("/goes-on")[0]
    assert upstream.called("/goes-on").closed.wait(5.0)
    assert {} == ruled.busy()


@pytest.mark.process
def test_silence_after_the_head_and_bare_pings_move_on_and_a_cut_too(
        ruled: Gateway, upstream: Upstream, two: Upstream) -> None:
    def silent(call: Call) -> None:
        call.send(EVENTS)
        call.until_closed()

    def pings(call: Call) -> None:
        call.send(EVENTS + b": ping\n\n")
        call.until_closed()

    cut = EVENTS.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"6\r\ndata: \r\n"
    for number, script in enumerate((silent, pings, cut)):
        upstream.on(f"/silent-{number}", script)
        two.on(f"/silent-{number}", EVENTS + b"data: 1\n\n")
        status, _, body = ruled.get(f"/silent-{number}")
        assert (200, True) == (status, b"data: 1\n\n" in body)


@pytest.mark.process
def test_if_no_endpoint_has_a_first_item_the_client_hears_that_none_came_in_time(
        ruled: Gateway, upstream: Upstream, two: Upstream) -> None:
    for each in (upstream, two):
        each.on("/never", lambda call: (call.send(EVENTS), call.until_closed()))
    assert 504 == ruled.get("/never")[0]


@pytest.mark.process
def test_the_first_item_is_passed_on_at_once(ruled: Gateway, upstream: Upstream) -> None:
    def script(call: Call) -> None:
        call.send(EVENTS + b"data: 1\n\n")
        call.until_closed()

    upstream.on("/at-once", script)
    with ruled.connect() as client:
        client.sendall(b"GET /at-once HTTP/1.1\r\nHost: gw\r\n\r\n")
        data = b""
        while b"data: 1" not in data:
            data += client.recv(65536)
    assert 200 == parsed(data)[0]


@pytest.mark.process
def test_a_mistake_in_a_rule_is_named(tmp_path: Path) -> None:
    from resilience.config import ConfigFileError
    from resilience.gateway.config import load

    file = tmp_path / "g.toml"
    file.write_text('[services.a]\nendpoints = ["http://h"]\nrules = [{ status = 429, then = "nxt" }]\n'
                    '[[routes]]\npath = "/"\nservice = "a"\n')
    with pytest.raises(ConfigFileError, match="next"):
        load(file)
