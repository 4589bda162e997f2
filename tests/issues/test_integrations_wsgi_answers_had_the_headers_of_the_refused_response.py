"""A refusal that came after the application had started its response, and before the first bytes, was told to the server
as a second start. gunicorn adds the headers of a second start to those of the first. So the answer had two content
types, two lengths, and the cookies of the response that was not sent.
"""

import http.client
import io
import types

import gunicorn.config
import pytest
from gunicorn.http.wsgi import Response

from resilience import Bulkhead, CircuitOpenError
from resilience.integrations.wsgi import ResilienceMiddleware


class Connection:
    """What gunicorn writes to."""

    def __init__(self):
        self.sent = b""

    def sendall(self, data):
        self.sent += data

    def makefile(self, *_):
        return io.BytesIO(self.sent)


def answer_of(app):
    """What a client of gunicorn gets; gunicorn does the same with an application."""
    connection = Connection()
    request = types.SimpleNamespace(method="GET", version=(1, 1), should_close=lambda: True)
    response = Response(request, connection, gunicorn.config.Config())
    body = app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, response.start_response)
    try:
        for chunk in body:
            response.write(chunk)
        response.close()
    finally:
        body.close()
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, [(name.lower(), value) for name, value in answer.getheaders()], answer.read()


@pytest.mark.parametrize("limit", [None, Bulkhead(1)])
@pytest.mark.parametrize("raised_at", ["the call", "the first step"])
def test_a_refused_response_leaves_no_headers_in_the_answer(registry, raised_at, limit):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "1000"), ("Set-Cookie", "a=b")])
        if raised_at == "the call":
            raise CircuitOpenError("k")
        return steps()

    def steps():
        raise CircuitOpenError("k")
        yield

    status, headers, body = answer_of(ResilienceMiddleware(app, limit=limit, registry=registry))

    assert status == 503
    assert [value for name, value in headers if name == "content-type"] == ["application/problem+json"]
    assert [value for name, value in headers if name == "content-length"] == [str(len(body))]
    assert "set-cookie" not in dict(headers)


def test_what_was_started_last_is_sent_with_the_first_chunk_or_at_the_end_of_an_empty_body(registry):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html"), ("X-First", "1")])
        try:
            raise LookupError
        except LookupError as error:
            start_response("500 Oops", [("Content-Type", "text/plain")], (LookupError, error, error.__traceback__))
        return chunks

    for chunks, whole in (([b"one", b"two"], b"onetwo"), ([b"", b"one"], b"one"), ([], b"")):
        status, headers, body = answer_of(ResilienceMiddleware(app, registry=registry))
        assert (status, dict(headers)["content-type"], body) == (500, "text/plain", whole)
        assert "x-first" not in dict(headers)


def test_a_second_start_without_a_reason_is_a_mistake_of_the_application(registry):
    def app(environ, start_response):
        start_response("200 OK", [])
        start_response("201 Created", [])
        return []

    with pytest.raises(AssertionError, match="twice"):
        answer_of(ResilienceMiddleware(app, registry=registry))


def test_what_an_application_writes_is_sent_at_once(registry):
    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"one")
        write(b"two")
        return [b"three"]

    assert answer_of(ResilienceMiddleware(app, registry=registry))[2] == b"onetwothree"
