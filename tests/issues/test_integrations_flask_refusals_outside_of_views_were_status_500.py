"""Flask does not look for the handlers of what a session interface or a function for after_request raises. So a refusal
there, of a guarded client of Redis for example, was a 500.
"""

import flask
import pytest
from flask.sessions import SecureCookieSession, SessionInterface
from werkzeug.exceptions import HTTPException

from resilience import CircuitOpenError
from resilience.integrations.flask import answer_refusals

ERRORS = {"refusal": CircuitOpenError("sessions", 6.5), "own": LookupError("own")}


class Sessions(SessionInterface):
    def open_session(self, app, request):
        if request.args.get("raised") == "open":
            raise ERRORS[request.args["error"]]
        return SecureCookieSession()

    def save_session(self, app, session, response):
        if flask.request.args.get("raised") == "save":
            raise ERRORS[flask.request.args["error"]]


@pytest.fixture
def app():
    app = flask.Flask("shop")
    app.session_interface = Sessions()

    @app.get("/")
    def view():
        if flask.request.args.get("raised") == "aborted":
            flask.abort(500)
        return "fine"

    @app.after_request
    def after(response):
        if flask.request.args.get("raised") == "after":
            raise ERRORS[flask.request.args["error"]]
        return response

    return app


@pytest.mark.parametrize("raised", ["open", "save", "after"])
def test_a_refusal_outside_of_views_is_answered(app, raised):
    answer_refusals(app)
    client = app.test_client()
    answer = client.get(f"/?raised={raised}&error=refusal")
    assert (answer.status_code, answer.headers["Retry-After"], answer.json["status"]) == (503, "7", 503)
    assert client.get(f"/?raised={raised}&error=own").status_code == 500


def test_other_errors_and_the_applications_own_handlers_are_left_alone(app):
    answer_refusals(app)
    app.register_error_handler(HTTPException, lambda error: (f"own {error.code}", error.code))
    client = app.test_client()
    for raised in ("aborted", "open"):
        assert client.get(f"/?raised={raised}&error=own").data == b"own 500"
