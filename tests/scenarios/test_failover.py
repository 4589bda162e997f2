"""Two servers, of which one dies and comes back: calls move and return. With a real client."""

import contextlib
import http.server
import threading

import pytest
import requests

from resilience import CircuitBreaker, Failover, Registry, command, http_status
from resilience.testing import ManualClock


class Server:
    """A server that can be stopped and started again, on whichever port is free."""

    def __init__(self, name):
        self.name, self.status, self.requests = name, 200, 0
        own = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                own.requests += 1
                body = own.name.encode()
                self.send_response(own.status)
                if own.status == 503:
                    self.send_header("Retry-After", "20")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.handler = Handler
        self.start()

    def start(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def took(self):
        number, self.requests = self.requests, 0
        return number


@pytest.fixture
def servers():
    with contextlib.ExitStack() as stack:
        found = {}
        for name in ("primary", "replica"):
            found[name] = Server(name)
            stack.callback(found[name].stop)
        yield found


def test_calls_leave_a_server_that_died_and_return_to_it_when_it_is_back(servers):
    clock = ManualClock()

    @command(key="read", timeout=None, breaker=CircuitBreaker(min_calls=3, open_for=5.0), failures=http_status(),
             failover=Failover(("primary", "replica"), grace=30.0), registry=Registry(clock=clock))
    def read(*, target="primary"):
        return requests.get(f"http://127.0.0.1:{servers[target].port}/", timeout=60)

    assert [read().text for _ in range(2)] == ["primary"] * 2
    servers["primary"].stop()
    try:
        assert [read().text for _ in range(10)] == ["replica"] * 10, "no caller sees an error"
        clock.advance(29.0)
        assert read().text == "replica"
    finally:
        servers["primary"].start()
    assert read().text == "replica", "it has been back for long enough only after the grace time"
    clock.advance(1.0)
    assert [read().text for _ in range(3)] == ["primary"] * 3
    assert all(handle.in_flight == 0 for handle in read.resilience)


def test_a_server_that_answers_503_with_retry_after_is_left_alone_for_that_time(servers):
    clock = ManualClock()

    @command(key="read", timeout=None, failures=http_status(), failover=Failover(("primary", "replica")),
             registry=Registry(clock=clock))
    def read(*, target="primary"):
        return requests.get(f"http://127.0.0.1:{servers[target].port}/", timeout=60)

    servers["primary"].status = 503
    assert [read().text for _ in range(5)] == ["replica"] * 5
    assert servers["primary"].took() == 1
    clock.advance(20.0)
    servers["primary"].status = 200
    assert read().text == "primary"


def test_the_caller_gets_the_503_of_the_last_server_if_no_other_is_left(servers):
    @command(key="read", timeout=None, failures=http_status(), failover=Failover(("primary", "replica")),
             registry=Registry())
    def read(*, target="primary"):
        return requests.get(f"http://127.0.0.1:{servers[target].port}/", timeout=60)

    for server in servers.values():
        server.status = 500
    response = read()
    assert (response.status_code, response.text) == (500, "replica")
