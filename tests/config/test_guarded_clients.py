"""Clients that nobody here wrote, guarded by a file: requests and redis against real servers."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading

import pytest

from resilience import CallTimeoutError, CircuitOpenError, Registry
from resilience.config import configure

SEND = "requests.sessions:Session.send"
EXECUTE = "redis.client:Redis.execute_command"


@pytest.fixture
def shared():
    """A registry on the real clock, whose threads end."""
    registry = Registry()
    yield registry
    registry.close()


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers /fine, is silent at /hang until it is let go, and cuts the line at /cut."""

    def do_GET(self):
        if self.path == "/hang":
            self.server.go.wait(20)
        if self.path != "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"fine")

    def log_message(self, *_):
        pass


@pytest.fixture
def upstream():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.go = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.go.set()
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_requests_is_guarded_and_left_as_it_was(upstream, shared, tmp_path):
    import requests

    before = vars(requests.Session)["send"]
    file = tmp_path / "resilience.toml"
    file.write_text(f'[guards]\n"{SEND}" = {{ group = "http", timeout = 5.0, breaker = {{ min_calls = 3 }} }}\n')
    configuration = configure(file, registry=shared, environ={})
    with requests.Session() as session:
        session.trust_env = False
        assert "fine" == session.get(f"{upstream}/fine").text
        shared[SEND].configure(timeout=0.2)
        with pytest.raises(CallTimeoutError):
            session.get(f"{upstream}/hang")
        with pytest.raises(requests.ConnectionError):
            session.get(f"{upstream}/cut")
        with pytest.raises(CircuitOpenError):
            session.get(f"{upstream}/fine")
        counts = shared[SEND].snapshot().counts
        assert (1, 1, 1, 1) == (counts["success"], counts["timeout"], counts["failure"], counts["short_circuited"])
        assert "http" == shared[SEND].group
        file.write_text("")
        configuration.reload()
        assert before is vars(requests.Session)["send"]
        assert "fine" == session.get(f"{upstream}/fine").text
    assert SEND not in shared
    configuration.close()


def test_redis_is_guarded_and_left_as_it_was(redis_server, shared):
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    path, process = redis_server
    before = vars(redis.Redis)["execute_command"]
    configuration = configure({"guards": {EXECUTE: {
        "group": "redis", "timeout": 5.0, "breaker": {"min_calls": 4}}}}, registry=shared, environ={})
    client = redis.Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0))
    assert (True, b"7") == (client.set("stock", 7), client.get("stock"))
    assert {EXECUTE: 2} == {handle.key: handle.snapshot().counts["success"] for handle in shared}
    process.kill()
    process.wait(10)
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.get("stock")
    with pytest.raises(CircuitOpenError):
        client.get("stock")
    configuration.close()
    assert before is vars(redis.Redis)["execute_command"]
    with pytest.raises(redis.ConnectionError):
        client.get("stock")
    client.close()


def test_a_client_imported_after_the_configuration_is_guarded_in_a_program_of_its_own(tmp_path):
    file = tmp_path / "resilience.toml"
    file.write_text(f'[guards]\n"{SEND}" = {{ timeout = false }}\n')
    program = f"""
import sys
from resilience import default_registry
from resilience.config import configure
configure({str(file)!r}, environ={{}})
assert "requests" not in sys.modules
from requests import Session, get
print(Session.send.resilience.key)
try:
    get("http://127.0.0.1:1/")
except OSError:
    print(default_registry[{SEND!r}].snapshot().counts["failure"])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (f"{SEND}\n1\n", "") == (run.stdout, run.stderr)
