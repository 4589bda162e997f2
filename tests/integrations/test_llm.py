"""openai and anthropic against a real server that speaks as theirs do: statuses, error events, quotas, streams."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest

from resilience import CircuitBreaker, Registry, Retry, command
from resilience.integrations.llm import FAILURES

NEVER = CircuitBreaker(min_calls=1000)
VERDICTS = ("success", "failure", "busy", "bad_request", "timeout")
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}


@pytest.fixture
def shared():
    registry = Registry()
    yield registry
    registry.close()


@pytest.fixture
def openai_client(answering, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with openai.OpenAI(api_key="key", base_url=answering.url, max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(answering, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with anthropic.Anthropic(api_key="key", base_url=answering.url, max_retries=0) as client:
        yield client


def complete(client, **more):
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], **more)


def create(client, **more):
    return client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}], **more)


def events(*pairs):
    text = "".join(f"event: {name}\ndata: {data if isinstance(data, str) else json.dumps(data)}\n\n" if name else
                   f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n" for name, data in pairs)
    return 200, {"Content-Type": "text/event-stream"}, text.encode()


def refused(status, error, **headers):
    return status, headers, json.dumps({"type": "error", "error": error}).encode()


def counts(registry):
    found = registry["llm"].snapshot().counts
    return {name: found[name] for name in VERDICTS if found[name]}


@pytest.mark.parametrize(("answer", "verdict"), [
    (refused(429, {"type": "tokens", "code": "rate_limit_exceeded"}), "busy"),
    (refused(429, {"type": "insufficient_quota", "code": "insufficient_quota"}), "bad_request"),
    (refused(529, {"type": "overloaded_error"}), "busy"),
    (refused(503, {"type": "server_error"}), "failure"),
    (refused(503, {"type": "server_error"}, **{"retry-after-ms": "900"}), "busy"),
    (refused(500, {"type": "api_error"}), "failure"),
    (refused(408, {"type": "timeout_error"}), "failure"),
    (refused(400, {"type": "invalid_request_error", "code": "context_length_exceeded"}), "bad_request"),
    (refused(401, {"type": "authentication_error"}), "bad_request"),
    (None, "failure"),
])
@pytest.mark.parametrize("which", ["openai", "anthropic"])
def test_statuses_and_error_codes_have_their_verdicts(
        which, answer, verdict, answering, shared, openai_client, anthropic_client):
    client, call = (openai_client, complete) if which == "openai" else (anthropic_client, create)

    @command(key="llm", failures=FAILURES, breaker=NEVER, registry=shared)
    def ask():
        return call(client)

    answering.answers.append(answer)
    with pytest.raises((openai.OpenAIError, anthropic.AnthropicError)):
        ask()
    assert {verdict: 1} == counts(shared)
    assert 1 == len(answering.requests)


@pytest.mark.parametrize(("which", "error", "verdict"), [
    ("openai", {"message": "x", "type": "server_error", "code": None}, "failure"),
    ("openai", {"message": "x", "type": "tokens", "code": "rate_limit_exceeded"}, "busy"),
    ("openai", {"message": "x", "type": "new_trouble"}, "failure"),
    ("anthropic", {"message": "x", "type": "overloaded_error"}, "busy"),
    ("anthropic", {"message": "x", "type": "api_error"}, "failure"),
    ("anthropic", {"message": "x", "type": "invalid_request_error"}, "bad_request"),
])
def test_an_error_event_in_a_stream_with_status_200_has_its_verdict(
        which, error, verdict, answering, shared, openai_client, anthropic_client):
    @command(key="llm", failures=FAILURES, breaker=NEVER, registry=shared)
    def stream():
        if which == "openai":
            with complete(openai_client, stream=True) as chunks:
                yield from chunks
        else:
            with create(anthropic_client, stream=True) as chunks:
                yield from chunks

    if which == "openai":
        answering.answers.append(events(("", CHUNK), ("", {"error": error})))
    else:
        start = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
        answering.answers.append(events(("content_block_delta", start), ("error", {"type": "error", "error": error})))
    got = []
    with pytest.raises((openai.APIError, anthropic.APIError)):
        got.extend(stream())
    assert {verdict: 1} == counts(shared)


def test_a_stream_that_ends_well_is_a_success(answering, shared, openai_client):
    @command(key="llm", failures=FAILURES, registry=shared)
    def stream():
        with complete(openai_client, stream=True) as chunks:
            yield from chunks

    answering.answers.append(events(("", CHUNK), ("", CHUNK), ("", "[DONE]")))
    assert ["hi", "hi"] == [chunk.choices[0].delta.content for chunk in stream()]
    assert {"success": 1} == counts(shared)


@pytest.mark.parametrize(("event", "verdict"), [
    ({"type": "error", "error": {"type": "overloaded_error"}}, "busy"),
    ({"error": {"message": "x", "code": 502}}, "failure"),
    ({"type": "error", "code": "server_error", "message": "x"}, "failure"),
    ({"type": "response.created"}, "success"),
    ({"type": "response.failed", "response": {"object": "response", "status": "failed", "error": None}}, "failure"),
    ({"type": "response.failed"}, "failure"),
    ({"type": "response.incomplete", "response": {"object": "response", "status": "incomplete"}}, "success"),
    ({"error": None, "choices": []}, "success"),
    ("text", "success"),
])
def test_events_that_are_read_without_a_client_are_judged_as_items(event, verdict, shared):
    @command(key="llm", failures=FAILURES, breaker=NEVER, registry=shared)
    def stream():
        yield event

    assert [event] == list(stream())
    assert {verdict: 1} == counts(shared)


def test_a_retry_waits_as_the_service_asks_and_its_attempts_are_the_only_ones(answering, shared, openai_client):
    retried = Retry(attempts=3, base=0.001, max_delay=0.5)

    @command(key="llm", failures=FAILURES, breaker=NEVER, retry=retried, registry=shared)
    def ask():
        return complete(openai_client)

    answering.answers += [refused(429, {"type": "tokens"}, **{"retry-after-ms": "1"})] * 3
    with pytest.raises(openai.RateLimitError):
        ask()
    answering.answers.append(refused(429, {"type": "tokens"}, **{"retry-after-ms": "60000"}))
    with pytest.raises(openai.RateLimitError):
        ask()
    answering.answers.append(refused(429, {"type": "insufficient_quota", "code": "insufficient_quota"}))
    with pytest.raises(openai.RateLimitError):
        ask()
    assert 5 == len(answering.requests)
