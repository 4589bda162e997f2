"""The Django middleware in a Django of its own, asked by Django's clients: synchronous and asynchronous views."""

import asyncio
import io
import types

import django
import pytest
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from resilience import Bulkhead, CallTimeoutError, CircuitOpenError, RateLimitedError, remaining
from resilience.integrations.asgi import ResilienceMiddleware as Asgi
from resilience.integrations.wsgi import ResilienceMiddleware as Wsgi

if not settings.configured:  # another test of this process may use Django too
    settings.configure(SECRET_KEY="test", LOGGING_CONFIG=None, USE_TZ=True)
    django.setup()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402 - Django must be set up
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.test import AsyncClient, Client, override_settings  # noqa: E402

from resilience.integrations.django import RefusalMiddleware  # noqa: E402

REFUSALS = [(CircuitOpenError("db-7", 6.5), 503, "7"), (RateLimitedError("db-7", 2.0), 429, "2"),
            (CallTimeoutError("db-7", 1.0), 504, None), (ExceptionGroup("both", [CircuitOpenError("db-7")]), 503, None)]


class Showing(RefusalMiddleware):
    show_command = True


def urls(view, middleware="resilience.integrations.django.RefusalMiddleware"):
    """Settings with one view."""
    module = types.ModuleType("urls")
    module.urlpatterns = [path("", view)]
    return override_settings(ROOT_URLCONF=module, ALLOWED_HOSTS=["*"], MIDDLEWARE=["django.middleware.common.CommonMiddleware", middleware])


def raising(error, flavour):
    def view(request):
        raise error

    async def async_view(request):
        raise error

    return view if flavour == "sync" else async_view


@pytest.mark.parametrize(("error", "status", "retry_after"), REFUSALS, ids=repr)
@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_a_refusal_of_a_view_is_answered_with_its_status(flavour, error, status, retry_after):
    with urls(raising(error, flavour)):
        answers = [Client().get("/"), asyncio.run(AsyncClient().get("/"))]
    for answer in answers:
        assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry_after)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "command" not in answer.json()


def test_a_subclass_may_show_the_command():
    with urls(raising(CircuitOpenError("stock"), "sync"), f"{__name__}.Showing"):
        assert Client().get("/").json()["command"] == "stock"


@pytest.mark.parametrize("error", [LookupError("own"), ExceptionGroup("mixed", [CircuitOpenError("k"), LookupError()])], ids=repr)
@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_django_is_left_every_other_exception(flavour, error):
    with urls(raising(error, flavour)):
        with pytest.raises(type(error)) as caught:
            Client().get("/")
        assert Client(raise_request_exception=False).get("/").status_code == 500
    assert caught.value is error


def test_the_handler_stays_asynchronous_from_end_to_end():
    async def view(request):
        return HttpResponse(str(asyncio.current_task() is task))

    async def ask():
        nonlocal task
        task = asyncio.current_task()
        return await AsyncClient().get("/")

    task = None
    with urls(view):
        assert b"True" == asyncio.run(ask()).content


def test_the_wsgi_handler_streams_under_the_deadline_and_under_the_limit(registry):
    def view(request):
        return StreamingHttpResponse(f"{remaining():g} {registry['requests'].in_flight};" for _ in range(2))

    app = Wsgi(WSGIHandler(), deadline=5.0, limit=Bulkhead(1), registry=registry)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "h", "SERVER_PORT": "80", "wsgi.input": io.BytesIO(),
               "wsgi.url_scheme": "http", "HTTP_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS": "2000"}
    started = []
    with urls(view):
        body = app(environ, lambda *start: started.append(start))
        assert b"2 1;2 1;" == b"".join(body)
        body.close()
    assert (started[0][0], registry["requests"].in_flight) == ("200 OK", 0)


def test_the_asgi_handler_runs_a_view_under_the_deadline_and_under_the_limit(registry):
    async def view(request):
        return HttpResponse(f"{remaining():g} {registry['requests'].in_flight}")

    async def ask():
        sent, asked = [], [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            return asked.pop() if asked else await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"grpc-timeout", b"3S")]}
        await Asgi(ASGIHandler(), deadline=5.0, limit=Bulkhead(1), registry=registry)(scope, receive, send)
        return sent

    with urls(view):
        sent = asyncio.run(ask())
    assert (sent[0]["status"], sent[1]["body"], registry["requests"].in_flight) == (200, b"3 1", 0)
