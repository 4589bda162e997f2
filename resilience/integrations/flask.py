"""Flask: refusals that a view raises, as HTTP answers.

    answer_refusals(app)

Flask answers the exceptions of views itself, so what is wrapped around ``app.wsgi_app`` does not see them, and error
handlers do. Deadlines and the door are for what is wrapped around: the middleware of integrations.wsgi.
"""

from __future__ import annotations

from flask import Flask, Response

from ..core.http_problem import http_problem
from ..errors import CallTimeoutError, RejectedError
from .request_guard import problem_headers

__all__ = ["answer_refusals"]


def answer_refusals(app: Flask, *, show_command: bool = False) -> None:
    """Register error handlers that answer refusals with status 429, 503 or 504.

    An exception group that holds anything else is raised again, and Flask answers it with status 500.

    Args:
        app: The application.
        show_command: Whether a body says, as ``command``, which command refused.
    """

    def answer(error: Exception) -> Response:
        problem = http_problem(error)
        if problem is None:
            raise error
        body = problem.body(show_command=show_command)
        return Response(body, problem.status, problem_headers(problem, len(body)))

    for kind in (RejectedError, CallTimeoutError, ExceptionGroup):
        app.register_error_handler(kind, answer)
