"""A response of OpenAI's Responses API whose status is "failed" counted as a success, returned or as the last event of a
stream: its HTTP status is 200, and the client raises nothing.
"""

import json

import openai
import pytest

from resilience import CircuitBreaker, Registry, command
from resilience.integrations.llm import FAILURES
from tests.integrations.llm_service import llm_service

NEVER = CircuitBreaker(min_calls=1000)
RESPONSE = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": [], "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": []}


def _events(response):
    sent = [{"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}},
            {"type": f"response.{response['status']}", "response": response}]
    return "".join(f"event: {each['type']}\ndata: {json.dumps({**each, 'sequence_number': number})}\n\n"
                   for number, each in enumerate(sent))


@pytest.fixture
def service():
    """A server that answers each POST with its ``response``, as events if it is asked for these."""
    with llm_service(lambda server: server.response, _events) as server:
        yield server


@pytest.mark.parametrize(("status", "error", "verdict"), [
    ("failed", {"code": "server_error", "message": "x"}, "failure"),
    ("failed", {"code": "rate_limit_exceeded", "message": "x"}, "busy"),
    ("failed", {"code": "invalid_prompt", "message": "x"}, "bad_request"),
    ("failed", {"code": "new_trouble", "message": "x"}, "failure"),
    ("failed", None, "failure"),
    ("incomplete", None, "success"),
    ("completed", None, "success"),
])
@pytest.mark.parametrize("is_stream", [False, True], ids=["returned", "streamed"])
def test_a_response_has_the_verdict_of_its_status_and_error(service, monkeypatch, status, error, verdict, is_stream):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    registry = Registry()
    service.response = {**RESPONSE, "status": status, "error": error}
    url = f"http://127.0.0.1:{service.server_port}"
    with openai.OpenAI(api_key="key", base_url=url, max_retries=0) as client:

        @command(key="ask", failures=FAILURES, breaker=NEVER, timeout=None, registry=registry)
        def ask():
            return client.responses.create(model="m", input="x")

        @command(key="stream", failures=FAILURES, breaker=NEVER, timeout=None, registry=registry)
        def stream():
            with client.responses.create(model="m", input="x", stream=True) as events:
                yield from events

        response = list(stream())[-1].response if is_stream else ask()

    counts = registry["stream" if is_stream else "ask"].snapshot().counts
    assert response.status == status
    assert {name: counts[name] for name in ("success", "failure", "busy", "bad_request") if counts[name]} == {verdict: 1}
