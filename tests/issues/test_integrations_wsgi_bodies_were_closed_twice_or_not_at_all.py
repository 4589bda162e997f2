"""The WSGI middleware closed a body twice if the server closed the response before its end, as when the client has left: what
Flask calls for ``call_on_close`` ran twice. Where the server refused the start of a response, nobody closed the body as long
as somebody had the exception, and the limit's slot was taken.
"""

import pytest

from resilience import Bulkhead
from resilience.integrations.wsgi import ResilienceMiddleware


class Body:
    """An iterator of its own, such as Werkzeug's ClosingIterator."""

    closed = 0

    def __init__(self):
        self._chunks = iter((b"one", b"two"))

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._chunks)

    def close(self):
        self.closed += 1


def guarded(registry, limit):
    def app(environ, start_response):
        start_response("200 OK", [])
        return body

    body = Body()
    return ResilienceMiddleware(app, limit=limit, registry=registry), body


@pytest.mark.parametrize("limit", [None, Bulkhead(1)])
@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_a_body_is_closed_once_however_much_of_it_was_taken(registry, limit, taken):
    app, body = guarded(registry, limit)
    response = app({}, lambda *_: None)
    for _ in range(taken):
        next(iter(response), None)
    response.close()
    assert body.closed == 1


@pytest.mark.parametrize("limit", [None, Bulkhead(1)])
def test_a_body_is_closed_where_the_server_refuses_the_start(registry, limit):
    def start_response(*_):
        raise AssertionError("hop-by-hop header")

    app, body = guarded(registry, limit)
    with pytest.raises(AssertionError) as kept:
        app({}, start_response)
    assert body.closed == 1
    assert all(handle.snapshot().in_flight == 0 for handle in registry)
    assert kept.traceback
