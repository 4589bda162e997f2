"""Django middleware: refusals that a view or another middleware raises, as HTTP answers.

    MIDDLEWARE = ["resilience.integrations.django.RefusalMiddleware", ...]

Django answers the exceptions of views itself, within its handler, so what is wrapped around the handler does not see
them. This middleware does, for synchronous and asynchronous views, under WSGI and ASGI. Deadlines and the limit are of
no concern to a view; in wsgi.py or asgi.py the middleware of integrations.wsgi or integrations.asgi sets them around
the handler.

Django has a hook for what a view raises, and none for what a middleware raises: it makes a response with status 500 of
that before the next middleware sees it. A signal tells of the exception, so the response is replaced further out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ClassVar, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.signals import got_request_exception  # type: ignore[import-untyped]
from django.dispatch import receiver  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]

from ..core.http_problem import HttpProblem, http_problem
from .request_guard import problem_headers

__all__ = ["RefusalMiddleware"]

_PROBLEM: Final = "_resilience_problem"  # of a request, whose exception Django has answered with status 500


@receiver(got_request_exception)  # type: ignore[untyped-decorator]
def _note(sender: Any, request: Any = None, **_: Any) -> None:
    """Keep on the *request* what a refusal amounts to that Django is about to answer; Django calls this.

    Others do, too, for jobs that have no request.
    """
    error = sys.exc_info()[1]
    if isinstance(error, Exception) and isinstance(request, HttpRequest):
        setattr(request, _PROBLEM, http_problem(error))


class RefusalMiddleware:
    """Answers a refusal of a view with status 429, 503 or 504; every other exception is left to Django.

    It answers a refusal of a middleware, too, that stands after it in the list. Any thread may use it.

    Args:
        get_response: What Django gives each middleware: the next one, or the view.

    Attributes:
        show_command: Whether a body says, as ``command``, which command refused. Make a subclass to change it.
    """

    sync_capable: ClassVar[bool] = True
    async_capable: ClassVar[bool] = True
    show_command: ClassVar[bool] = False

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        """The response of the view, or a refusal's answer, or the coroutine that returns it."""
        if iscoroutinefunction(self):
            return self._later(request)
        return self._instead_of(self.get_response(request), request)

    async def _later(self, request: Any) -> Any:
        return self._instead_of(await self.get_response(request), request)

    def _instead_of(self, response: Any, request: Any) -> Any:
        """The answer to a refusal that Django has made a *response* of; if there was none, the response."""
        problem = vars(request).pop(_PROBLEM, None)
        return response if problem is None or response.status_code != 500 else self._answer(problem)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """The answer to a view's *exception*; None if that is no refusal.

        Args:
            request: The request.
            exception: What the view raised.
        """
        problem = http_problem(exception)
        return None if problem is None else self._answer(problem)

    def _answer(self, problem: HttpProblem) -> Any:
        body = problem.body(show_command=self.show_command)
        return HttpResponse(body, status=problem.status, headers=dict(problem_headers(problem, len(body))))
