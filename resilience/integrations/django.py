"""Django middleware: refusals that a view raises, as HTTP answers.

    MIDDLEWARE = [..., "resilience.integrations.django.RefusalMiddleware"]

Django answers the exceptions of views itself, within its handler, so what is wrapped around the handler does not see
them. This middleware does, for synchronous and asynchronous views, under WSGI and ASGI. Deadlines and the door are of
no concern to a view; in wsgi.py or asgi.py the middleware of integrations.wsgi or integrations.asgi sets them around
the handler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpResponse  # type: ignore[import-untyped]

from ..core.http_problem import http_problem
from .request_guard import problem_headers

__all__ = ["RefusalMiddleware"]


class RefusalMiddleware:
    """Answers a refusal that a view raises with status 429, 503 or 504; every other exception is left to Django.

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
        """The response of the view, or the coroutine that returns it."""
        return self.get_response(request)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """The answer to a view's *exception*; None if that is no refusal.

        Args:
            request: The request.
            exception: What the view raised.
        """
        problem = http_problem(exception)
        if problem is None:
            return None
        body = problem.body(show_command=self.show_command)
        return HttpResponse(body, status=problem.status, headers=dict(problem_headers(problem, len(body))))
