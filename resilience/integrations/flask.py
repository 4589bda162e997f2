"""Flask: refusals that a view raises, as HTTP answers.

    answer_refusals(app)

Flask answers the exceptions of views itself, so what is wrapped around ``app.wsgi_app`` does not see them, and error
handlers do. For what a session interface or a function for ``after_request`` raises, Flask looks for no handler of its
class, but has a method that makes status 500 of it. Deadlines and the limit are for what is wrapped around: the
middleware of integrations.wsgi.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from ..core.http_problem import HttpProblem, http_problem
from ..errors import CallTimeoutError, RejectedError
from .request_guard import problem_headers

__all__ = ["answer_refusals"]


def answer_refusals(app: Flask, *, show_command: bool = False) -> None:
    """Let an application answer refusals with status 429, 503 or 504.

    For those of views, error handlers are registered. Those of session interfaces and the like are answered, too. An
    exception group that holds anything else is raised again, and Flask answers it with status 500.

    Args:
        app: The application.
        show_command: Whether a body says, as ``command``, which command refused.
    """

    def response_to(problem: HttpProblem) -> Response:
        body = problem.body(show_command=show_command)
        return Response(body, problem.status, problem_headers(problem, len(body)))

    def answer(error: Exception) -> Response:
        problem = http_problem(error)
        if problem is None:
            raise error
        return response_to(problem)

    flask: Any = app
    unhandled = flask.handle_exception

    def handle_exception(*args: Any) -> Any:
        problem = http_problem(args[-1])
        if problem is None:
            return unhandled(*args)
        return flask.finalize_request(*args[:-1], response_to(problem), from_error_handler=True)

    flask.handle_exception = handle_exception
    for kind in (RejectedError, CallTimeoutError, ExceptionGroup):
        app.register_error_handler(kind, answer)
