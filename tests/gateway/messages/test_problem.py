"""What clients are told."""

from __future__ import annotations

import json

import pytest

from resilience import BulkheadFullError, CallTimeoutError, CircuitOpenError, RateLimitedError
from resilience.gateway.messages.exchange import UpstreamError, UpstreamUnreachableError
from resilience.gateway.messages.problem import Problem, problem_of


@pytest.mark.parametrize(("error", "status", "retry_after"), [
    (CircuitOpenError("s", 4.2), 503, b"5"), (CircuitOpenError("s", 0.001), 503, b"1"),
    (CircuitOpenError("s", None), 503, b"1"), (BulkheadFullError("s"), 503, b"1"), (RateLimitedError("s", 2.0), 429, b"2"),
    (CallTimeoutError("s", 0.5), 504, None), (UpstreamUnreachableError("secret"), 502, None),
    (UpstreamError("secret"), 502, None), (RuntimeError("secret"), 500, None)])
def test_each_failure_has_its_status(error: Exception, status: int, retry_after: bytes | None) -> None:
    problem = problem_of(error, "inventory")
    headers, body = problem.response()
    assert (problem.status, dict(headers).get(b"retry-after")) == (status, retry_after)
    assert (json.loads(body)["status"], b"secret" in body) == (status, False)


def test_a_problem_is_rfc_9457_json_of_the_length_it_says() -> None:
    headers, body = Problem(404, 'no "route"', headers=[(b"x-a", b"1")], close=True).response()
    assert json.loads(body) == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": 'no "route"'}
    assert headers == [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body)),
                       (b"x-a", b"1"), (b"connection", b"close")]
