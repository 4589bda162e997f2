"""Django makes a response with status 500 of what a middleware raises, before the next one sees it. So a refusal of a
middleware that uses a guarded function, a session store for example, was a 500, although RefusalMiddleware stood above it.
"""

import asyncio
import types

import django
import pytest
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

from resilience import CircuitOpenError

if not settings.configured:  # another test of this process may use Django too
    settings.configure(SECRET_KEY="test", LOGGING_CONFIG=None, USE_TZ=True)
    django.setup()

from django.test import AsyncClient, Client, override_settings  # noqa: E402

GUARD = "resilience.integrations.django.RefusalMiddleware"


def sync_inner(get_response):
    def middleware(request):
        if request.GET.get("raised") == "before":
            raise ERRORS[request.GET["error"]]
        response = get_response(request)
        if request.GET.get("raised") == "after":
            raise ERRORS[request.GET["error"]]
        return response

    return middleware


class Inner:
    """The same for both kinds of handlers."""

    sync_capable = async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request):
        if iscoroutinefunction(self):
            return self.later(request)
        return sync_inner(self.get_response)(request)

    async def later(self, request):
        response = await self.get_response(request)
        if "raised" in request.GET:
            raise ERRORS[request.GET["error"]]
        return response


ERRORS = {"refusal": CircuitOpenError("sessions", 6.5), "own": LookupError("own")}


def answers(inner, query, debug=False):
    module = types.ModuleType("urls")
    module.urlpatterns = [path("", lambda request: HttpResponse("fine"))]
    with override_settings(ROOT_URLCONF=module, ALLOWED_HOSTS=["*"], DEBUG=debug, MIDDLEWARE=[GUARD, f"{__name__}.{inner}"]):
        yield Client(raise_request_exception=False).get(f"/?{query}")
        yield asyncio.run(AsyncClient(raise_request_exception=False).get(f"/?{query}"))


@pytest.mark.parametrize(("inner", "raised", "debug"), [
    ("sync_inner", "before", False), ("sync_inner", "after", False), ("Inner", "before", False), ("Inner", "after", True)])
def test_a_refusal_of_a_middleware_below_is_answered(inner, raised, debug):
    for answer in answers(inner, f"raised={raised}&error=refusal", debug):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("inner", ["sync_inner", "Inner"])
def test_every_other_exception_of_a_middleware_is_left_to_django(inner):
    for answer in answers(inner, "raised=after&error=own"):
        assert answer.status_code == 500
    for answer in answers(inner, ""):
        assert (answer.status_code, answer.content) == (200, b"fine")
