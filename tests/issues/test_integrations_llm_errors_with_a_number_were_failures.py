"""Services that speak OpenAI's language send an error event whose code is the status that it would have had. Too many
requests were a failure there, and so was a wrong request. A body that is nothing but such an error, with status 200, was
a success.
"""

import json

import openai
import pytest

from resilience import CircuitBreaker, Ending, Registry, command
from resilience.integrations.llm import FAILURES, judge
from tests.integrations.llm_service import llm_service

NEVER = CircuitBreaker(min_calls=1000)
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
ERRORS = [({"code": 429, "message": "m"}, "busy"), ({"code": 529, "message": "m"}, "busy"),
          ({"code": 502, "message": "m"}, "failure"), ({"code": 408, "message": "m"}, "failure"),
          ({"code": 400, "type": "BadRequestError", "message": "m"}, "bad_request"),
          ({"code": 7, "type": "rate_limit_error", "message": "m"}, "busy"), ({"code": 7, "message": "m"}, "failure"),
          ({"code": 429, "type": "insufficient_quota", "message": "m"}, "bad_request")]


@pytest.fixture
def service():
    """A server that answers with its ``error``, as an event after a chunk if it is asked for a stream."""
    with llm_service(lambda server: {"error": server.error},
                     lambda error: "".join(f"data: {json.dumps(each)}\n\n" for each in (CHUNK, error))) as server:
        yield server


@pytest.mark.parametrize("is_streamed", [True, False])
@pytest.mark.parametrize(("error", "counted"), ERRORS, ids=str)
def test_an_error_is_judged_by_the_status_that_it_says(service, error, counted, is_streamed):
    registry = Registry()
    service.error = error
    with openai.OpenAI(base_url=f"http://127.0.0.1:{service.server_port}", api_key="k", max_retries=0) as client:

        @command(key="ask", failures=FAILURES, breaker=NEVER, timeout=None, registry=registry)
        def ask():
            return client.chat.completions.create(model="m", messages=[])

        @command(key="ask", failures=FAILURES, breaker=NEVER, timeout=None, registry=registry)
        def stream():
            with client.chat.completions.create(model="m", messages=[], stream=True) as chunks:
                yield from chunks

        if is_streamed:
            with pytest.raises(openai.APIError):
                list(stream())
        else:
            assert ask().choices is None
    counts = registry["ask"].snapshot().counts
    assert {counted: 1} == {name: counts[name] for name in ("success", "failure", "busy", "bad_request") if counts[name]}
    registry.close()


@pytest.mark.parametrize("result", [None, "text", {"error": None}, {"error": ""}, {"error": 0.3}, {"message": "m"},
                                    {"choices": [], "error": None}, object()])
def test_a_result_that_is_no_error_has_no_verdict(result):
    assert judge(Ending(result=result)) is None
