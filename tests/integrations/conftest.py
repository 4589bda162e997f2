"""The libraries themselves, told the time by the test's clock, and the real servers that real clients talk to."""

import datetime
import http.server
import shutil
import socket
import subprocess
import threading
import weakref

import circuitbreaker
import pybreaker
import pytest

from resilience.integrations.circuitbreaker import CircuitBreakerMonitor
from tests.drivers.until import until


@pytest.fixture
def their_pybreaker(clock, monkeypatch):
    """pybreaker, whose wall clock is the manual one."""

    class Now(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(clock(), tz)

    monkeypatch.setattr(pybreaker, "datetime", Now)
    return pybreaker


@pytest.fixture
def their_circuitbreaker(clock, monkeypatch):
    """circuitbreaker, whose clock is the manual one; both monitors are empty."""
    monkeypatch.setattr(circuitbreaker, "monotonic", clock)
    monkeypatch.setattr(CircuitBreakerMonitor, "circuit_breakers", weakref.WeakValueDictionary())
    monkeypatch.setattr(circuitbreaker.CircuitBreakerMonitor, "circuit_breakers", {})
    return circuitbreaker


@pytest.fixture
def redis_server(tmp_path):
    """A real redis-server on a socket of its own: its path, and its process."""
    path = tmp_path / "redis.sock"
    process = subprocess.Popen(
        [shutil.which("redis-server"), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL)

    def answers():
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(path)) == 0

    until(answers)
    yield path, process
    process.kill()
    process.wait(10)


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers each request as the next of the server's ``answers`` says, or with status 200 and an empty body.

    An answer is (status, headers, body); of None the connection is cut.
    """

    def do_GET(self):
        self.server.requests.append(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        self.server.bodies.append(self.rfile.read(length))
        answer = self.server.answers.pop(0) if self.server.answers else (200, {}, b"{}")
        if answer is None:
            self.close_connection = True
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def answering():
    """A real HTTP server on loopback: ``url``, the ``answers`` that it is to give, the ``requests`` that it got."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    server.answers, server.requests, server.bodies = [], [], []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()
