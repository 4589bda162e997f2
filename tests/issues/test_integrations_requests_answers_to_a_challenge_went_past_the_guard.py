"""The second request of digest authentication, which is sent by the connection of the first one's response, went past
the guard; and a session with a guarded adapter could be neither copied nor pickled.
"""

import copy
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth

from resilience import CircuitBreaker, CircuitOpenError, Registry
from resilience.integrations.requests import ResilienceAdapter


class Challenging(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        if self.path == "/302":
            self.answer(302, ("Location", "/500"))
        elif self.path == "/500" or "Digest" in self.headers.get("Authorization", ""):
            self.answer(500)
        else:
            self.answer(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'))

    def answer(self, status, *headers):
        self.send_response(status)
        for header in (*headers, ("Content-Length", "0")):
            self.send_header(*header)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Challenging)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def session_with(adapter):
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", adapter)
    return session


def counts(adapter):
    (handle,) = adapter.resilience
    return {name: handle.snapshot().counts[name] for name in ("success", "failure")}


def test_the_answer_to_a_digest_challenge_is_a_call_of_its_own(url):
    adapter = ResilienceAdapter(registry=Registry(), breaker=CircuitBreaker(consecutive=2), max_concurrent=1)
    with session_with(adapter) as session:
        assert session.get(f"{url}/", auth=HTTPDigestAuth("u", "p")).status_code == 500

    assert counts(adapter) == {"success": 1, "failure": 1}


def test_each_hop_and_the_next_request_of_a_response_are_calls(url):
    adapter = ResilienceAdapter(registry=Registry(), breaker=None, max_concurrent=1)
    with session_with(adapter) as session:
        session.get(f"{url}/302")
        response = session.get(f"{url}/302", allow_redirects=False)
        session.send(response.next)
        for hop in session.resolve_redirects(response, response.request):
            assert hop.connection is adapter

    assert counts(adapter) == {"success": 2, "failure": 3}


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_copy_of_a_session_has_the_same_commands(url, copied):
    adapter = ResilienceAdapter(HTTPAdapter(pool_maxsize=3), registry=Registry(), breaker=CircuitBreaker(min_calls=2))
    with session_with(adapter) as session, copied(session) as twin:
        for each in (session, twin):
            each.get(f"{url}/500")
        for each in (session, twin):
            with pytest.raises(CircuitOpenError):
                each.get(f"{url}/500")


def test_a_pickled_session_is_guarded_with_the_same_settings(url):
    adapter = ResilienceAdapter(HTTPAdapter(pool_maxsize=3), registry=Registry(), breaker=CircuitBreaker(min_calls=2))
    with session_with(adapter) as session, pickle.loads(pickle.dumps(session)) as twin:
        for _ in range(2):
            twin.get(f"{url}/500")
        with pytest.raises(CircuitOpenError):
            twin.get(f"{url}/500")
        assert session.get(f"{url}/500").status_code == 500
