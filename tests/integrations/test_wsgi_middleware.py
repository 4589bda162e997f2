"""The WSGI middleware under wsgiref's validator, Flask's own client, and a real server on loopback."""

import contextlib
import gc
import http.client
import json
import random
import socketserver
import threading
import wsgiref.simple_server
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import flask
import pytest

from resilience import (
    AdaptiveLimit,
    BadRequestError,
    Bulkhead,
    CallTimeoutError,
    CircuitOpenError,
    ConfigError,
    NoTimeLeftError,
    RateLimitedError,
    Registry,
    remaining,
)
from resilience.integrations.flask import answer_refusals
from resilience.integrations.wsgi import ResilienceMiddleware
from tests.seeds import over_seeds

ENVOY = "HTTP_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS"
REFUSALS = [(CircuitOpenError("db-7", 6.5), 503, "7"), (RateLimitedError("db-7", 2.0), 429, "2"),
            (CallTimeoutError("db-7", 1.0), 504, None), (ExceptionGroup("both", [CircuitOpenError("db-7")]), 503, None)]
PATIENCE_S = 30.0


class Answer:
    """What a server gets of one request, by the letter of PEP 3333: headers go out with the first bytes."""

    def __init__(self, app, path="/", method="GET", **environ):
        environ = {"PATH_INFO": path, "REQUEST_METHOD": method, **environ}
        setup_testing_defaults(environ)
        self.status, self.headers, self.sent, self.head_is_out = None, {}, b"", False
        self.body = app(environ, self._start)
        self.steps = iter(self.body)

    def _start(self, status, headers, exc_info=None):
        if exc_info is not None and self.head_is_out:
            raise exc_info[1]
        assert self.status is None or exc_info is not None, "started twice"
        self.status, self.headers = int(status.split()[0]), dict(headers)
        return self._write

    def _write(self, data):
        self.head_is_out = self.head_is_out or bool(data)
        self.sent += data

    def step(self):
        self._write(next(self.steps))

    def whole(self):
        try:
            for chunk in self.steps:
                self._write(chunk)
        finally:
            self.close()
        return self

    def close(self):
        if hasattr(self.body, "close"):
            self.body.close()


def text(*chunks):
    """An application that sends *chunks*."""
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return list(chunks)
    return app


# -- refusals


@pytest.mark.parametrize("show", [False, True])
@pytest.mark.parametrize(("error", "status", "retry_after"), REFUSALS, ids=repr)
@pytest.mark.parametrize("when", ["at the call", "at the first step", "after the start"])
def test_a_refusal_before_the_first_bytes_is_answered(when, error, status, retry_after, show, registry):
    def at_the_call(environ, start_response):
        raise error

    def at_the_first_step(environ, start_response):
        raise error
        yield

    def after_the_start(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b""
        raise error

    app = {"at the call": at_the_call, "at the first step": at_the_first_step, "after the start": after_the_start}[when]
    answer = Answer(ResilienceMiddleware(app, show_command=show, registry=registry)).whole()

    assert (answer.status, answer.headers.get("retry-after")) == (status, retry_after)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-length"] == str(len(answer.sent))
    assert json.loads(answer.sent).get("command") == ("db-7" if show else None)


@pytest.mark.parametrize("way", ["yield", "write"])
def test_a_refusal_after_the_first_bytes_is_raised_again(way, registry):
    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        if way == "write":
            write(b"begun")
            yield b""
        else:
            yield b"begun"
        raise CircuitOpenError("k")

    answer = Answer(ResilienceMiddleware(app, limit=Bulkhead(1), registry=registry))
    with pytest.raises(CircuitOpenError):
        answer.whole()
    assert (answer.status, answer.sent, registry["requests"].in_flight) == (200, b"begun", 0)


@pytest.mark.parametrize("error", [LookupError("own"), BadRequestError("own"), ExceptionGroup("mixed", [CircuitOpenError("k"), LookupError()])], ids=repr)
@pytest.mark.parametrize("late", [False, True])
def test_every_other_exception_is_raised_as_it_was(late, error, registry):
    def app(environ, start_response):
        if late:
            yield b""
        raise error

    with pytest.raises(type(error)) as caught:
        Answer(ResilienceMiddleware(app, registry=registry)).whole()
    assert caught.value is error


def test_the_answer_to_head_has_the_headers_and_no_body(registry):
    def app(environ, start_response):
        raise CircuitOpenError("k")

    head = Answer(ResilienceMiddleware(app, registry=registry), method="HEAD").whole()
    assert (head.sent, head.headers["content-length"]) == (b"", str(len(Answer(ResilienceMiddleware(app, registry=registry)).whole().sent)))


@pytest.mark.parametrize("limit", [None, Bulkhead(1)])
@pytest.mark.parametrize("environ", [{}, {ENVOY: "500"}])
def test_it_keeps_the_protocol_on_both_of_its_sides(limit, environ, registry):
    refused = []

    def app(environ, start_response):
        if refused:
            raise CircuitOpenError("k", 1.0)
        return text(b"one", b"two")(environ, start_response)

    whole = validator(ResilienceMiddleware(validator(app), limit=limit, registry=registry))
    assert b"onetwo" == Answer(whole, QUERY_STRING="", SCRIPT_NAME="", **environ).whole().sent
    refused.append(True)
    assert 503 == Answer(whole, QUERY_STRING="", SCRIPT_NAME="", **environ).whole().status


# -- deadlines


def test_the_call_each_step_of_the_body_and_its_close_are_under_the_deadline_and_the_server_is_not(registry, clock):
    seen = []

    class Body:
        def __init__(self):
            self.left = 2

        def __iter__(self):
            return self

        def __next__(self):
            seen.append(remaining())
            if not self.left:
                raise StopIteration
            self.left -= 1
            return b"x"

        def close(self):
            seen.append(remaining())

    def app(environ, start_response):
        seen.append(remaining())
        start_response("200 OK", [])
        return Body()

    answer = Answer(ResilienceMiddleware(app, deadline=8.0, registry=registry), **{ENVOY: "4000"})
    for _ in range(2):
        assert remaining() is None
        clock.advance(1.0)
        answer.step()
    answer.whole()
    assert [4.0, 4.0, 2.0, 2.0, 2.0] == seen  # the first chunk comes with the call


@pytest.mark.parametrize(("environ", "left"), [
    ({}, 5.0), ({ENVOY: "250"}, 0.25), ({ENVOY: "9999"}, 5.0), ({ENVOY: "1.5"}, 5.0), ({"HTTP_GRPC_TIMEOUT": "100m"}, 0.1)], ids=str)
def test_a_header_shortens_the_deadline_and_never_extends_it(environ, left, registry):
    def app(environ, start_response):
        seen.append(remaining())
        return text(b"x")(environ, start_response)

    seen = []
    Answer(ResilienceMiddleware(app, deadline=5.0, registry=registry), **environ).whole()
    assert [pytest.approx(left)] == seen


@pytest.mark.parametrize("settings", [{"deadline": 0}, {"deadline": "5"}, {"limit": 100}])
def test_a_setting_that_makes_no_sense_is_refused(settings, registry):
    with pytest.raises(ConfigError):
        ResilienceMiddleware(text(b"x"), registry=registry, **settings)


# -- the limit


@pytest.mark.parametrize("end", ["whole", "closed", "closed unread", "dropped", "broken off"])
def test_a_slot_is_held_until_the_body_has_ended_however_that_is(end, registry):
    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"one"
        if end == "broken off":
            raise LookupError
        yield b"two"

    guarded = ResilienceMiddleware(app, limit=Bulkhead(1), registry=registry)
    answer = Answer(guarded)
    if end != "closed unread":
        answer.step()
    assert registry["requests"].in_flight == 1
    assert 503 == Answer(guarded).whole().status
    if end == "whole":
        answer.whole()
    elif end.startswith("closed"):
        answer.close()
    elif end == "broken off":
        with pytest.raises(LookupError):
            answer.whole()
    del answer
    gc.collect()
    assert (registry["requests"].in_flight, registry["requests"].snapshot().counts["semaphore_rejected"]) == (0, 1)


def test_a_body_is_closed_once_also_if_the_server_never_asked_for_it(registry):
    closed = []

    class Body(list):
        def close(self):
            closed.append(None)

    def app(environ, start_response):
        start_response("200 OK", [])
        return Body([b"x"])

    for limit in (None, Bulkhead(1)):
        guarded = ResilienceMiddleware(app, limit=limit, registry=registry)
        Answer(guarded).close()
        Answer(guarded).whole()
    assert 4 == len(closed)


def test_an_application_that_fails_by_the_limit_gives_its_slot_back(registry):
    def app(environ, start_response):
        raise LookupError

    guarded = ResilienceMiddleware(app, limit=Bulkhead(1), registry=registry)
    for _ in range(3):
        with pytest.raises(LookupError):
            Answer(guarded)
    assert registry["requests"].in_flight == 0


def test_priorities_and_exemptions_are_told_the_environ(registry):
    guarded = ResilienceMiddleware(
        text(b"x"), registry=registry, exempt=lambda environ: environ["PATH_INFO"] == "/health",
        limit=AdaptiveLimit(initial=2, max_limit=2, reserved=0.5, priorities=lambda environ: 0 if environ["PATH_INFO"] == "/pay" else 5))
    first = Answer(guarded, "/pay")
    assert [503, 200, 200] == [Answer(guarded, path).whole().status for path in ("/browse", "/pay", "/health")]
    first.close()
    assert registry["requests"].in_flight == 0


def test_a_request_without_time_left_is_refused_by_the_limit(registry):
    guarded = ResilienceMiddleware(text(b"x"), limit=Bulkhead(1), registry=registry)
    assert 504 == Answer(guarded, **{ENVOY: "0"}).whole().status


@over_seeds(200)
def test_whatever_becomes_of_responses_the_limit_bounds_them_and_all_slots_come_back(seed):
    rng, registry = random.Random(seed), Registry()
    limit = rng.randint(1, 4)

    def app(environ, start_response):
        start_response("200 OK", [])
        for _ in range(environ["chunks"]):
            yield rng.choice([b"", b"x"])
        if environ["end"] is not None:
            raise environ["end"]

    guarded = ResilienceMiddleware(app, limit=Bulkhead(limit), registry=registry, deadline=rng.choice([None, 60.0]))
    under_way = []  # the plain model: answers that have neither ended nor been closed
    for _ in range(60):
        if rng.random() < 0.5:
            request = {"chunks": rng.randint(0, 3), "end": rng.choice([None, None, LookupError(), NoTimeLeftError("k"), CircuitOpenError("k")])}
            if len(under_way) >= limit:
                assert 503 == Answer(guarded, **request).whole().status
            elif request["chunks"]:
                under_way.append(Answer(guarded, **request))
            else:  # it ends within the call
                with contextlib.suppress(LookupError):
                    Answer(guarded, **request).whole()
        elif under_way:
            answer = rng.choice(under_way)
            if rng.random() < 0.2:
                answer.close()
                under_way.remove(answer)
            else:
                try:
                    answer.step()
                except (StopIteration, LookupError, NoTimeLeftError, CircuitOpenError):
                    under_way.remove(answer)
                else:
                    if answer.status != 200:  # a refusal before the first bytes
                        under_way.remove(answer)
        assert registry["requests"].in_flight == len(under_way) <= limit
    for answer in under_way:
        answer.close()
    assert registry["requests"].in_flight == 0


# -- Flask


@pytest.fixture
def app():
    app = flask.Flask("shop")
    answer_refusals(app)
    return app


@pytest.mark.parametrize(("error", "status", "retry_after"), REFUSALS, ids=repr)
@pytest.mark.parametrize("testing", [False, True])
def test_flask_answers_a_refusal_of_a_view(testing, error, status, retry_after, app):
    app.testing = testing

    @app.get("/")
    def view():
        raise error

    answer = app.test_client().get("/")
    assert (answer.status_code, answer.headers.get("Retry-After"), answer.mimetype) == (status, retry_after, "application/problem+json")
    assert b"db-7" not in answer.data


@pytest.mark.parametrize("error", [LookupError("own"), ExceptionGroup("mixed", [CircuitOpenError("k"), LookupError()])], ids=repr)
def test_flask_is_left_every_other_exception(error, app):
    @app.get("/")
    def view():
        raise error

    assert app.test_client().get("/").status_code == 500
    app.testing = True
    with pytest.raises(type(error)) as caught:
        app.test_client().get("/")
    assert caught.value is error


def test_flask_streams_under_the_deadline_and_under_the_limit(app, registry):
    @app.get("/")
    def view():
        def pieces():
            for _ in range(2):
                yield f"{flask.request.path} {remaining():g} {registry['requests'].in_flight};"
        return flask.Response(flask.stream_with_context(pieces()))

    app.wsgi_app = ResilienceMiddleware(app.wsgi_app, deadline=2.0, limit=Bulkhead(1), registry=registry)
    with app.test_client() as client:
        assert b"/ 2 1;/ 2 1;" == client.get("/").data
    assert registry["requests"].in_flight == 0


def test_a_flask_handler_may_show_the_command(app):
    other = flask.Flask("other")
    answer_refusals(other, show_command=True)

    @other.get("/")
    def view():
        raise CircuitOpenError("stock")

    assert other.test_client().get("/").json["command"] == "stock"


# -- a real server


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = False
    block_on_close = True


class Silent(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(app):
    with wsgiref.simple_server.make_server("127.0.0.1", 0, app, Server, Silent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.process
def test_a_real_server_sheds_load_and_a_client_that_leaves_gives_its_slot_back():
    registry, entered, go_on = Registry(), threading.Event(), threading.Event()

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/fast":
            return [b"x"]
        return slow()

    def slow():
        yield b"begun"
        entered.set()
        assert go_on.wait(PATIENCE_S)
        while True:  # until the server finds that nobody reads
            yield b"x" * 65536

    with serving(ResilienceMiddleware(app, limit=Bulkhead(1), registry=registry)) as port:
        slow_one = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        slow_one.request("GET", "/slow")
        assert entered.wait(PATIENCE_S)
        refused = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        refused.request("GET", "/fast")
        answer = refused.getresponse()
        assert (answer.status, json.loads(answer.read())["detail"]) == (503, "The service has too many requests under way")
        refused.close()
        slow_one.close()
        go_on.set()
    assert registry["requests"].in_flight == 0  # the server has waited for its threads
