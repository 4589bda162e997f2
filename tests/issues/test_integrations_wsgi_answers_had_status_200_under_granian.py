"""The WSGI middleware told the server of a response's start with its first chunk, as PEP 3333 allows. granian asks for
the status as soon as the application has returned, so every response of a guarded application was a 200 without headers.
"""

import pytest
from granian.wsgi import _callback_wrapper

from resilience import Bulkhead, CircuitOpenError
from resilience.integrations.wsgi import ResilienceMiddleware


class Protocol:
    """What granian hands a response to."""

    def response_bytes(self, status, headers, body):
        self.status, self.headers, self.body = status, dict(headers), body

    def response_iter(self, status, headers, body):
        self.status, self.headers, self.body = status, dict(headers), b"".join(iter(body.__next__, None))
        body.close()


class Chunks:
    def __init__(self, *chunks):
        self._chunks = iter(chunks)

    def __iter__(self):
        return self._chunks


def answer_of(app):
    protocol = Protocol()
    _callback_wrapper(app, {})(protocol, {"REQUEST_METHOD": "GET", "PATH_INFO": "/"})
    return protocol


@pytest.mark.parametrize("chunks", [[], [b""], [b"one", b"two"]])
@pytest.mark.parametrize("kind", [list, lambda chunks: Chunks(*chunks)], ids=["list", "iterator"])
@pytest.mark.parametrize("limit", [None, Bulkhead(1)])
def test_granian_is_told_the_status_in_time(registry, limit, kind, chunks):
    def app(environ, start_response):
        start_response("404 Not Found", [("X-Own", "1")])
        return kind(chunks)

    answer = answer_of(ResilienceMiddleware(app, limit=limit, deadline=5.0, registry=registry))
    assert (answer.status, answer.headers, answer.body) == (404, {"X-Own": "1"}, b"".join(chunks))


@pytest.mark.parametrize("raised_at", ["the call", "the first step"])
def test_granian_is_told_of_a_refusal_in_time(registry, raised_at):
    def app(environ, start_response):
        if raised_at == "the call":
            raise CircuitOpenError("k")
        start_response("200 OK", [])
        return steps()

    def steps():
        raise CircuitOpenError("k")
        yield

    answer = answer_of(ResilienceMiddleware(app, registry=registry))
    assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
