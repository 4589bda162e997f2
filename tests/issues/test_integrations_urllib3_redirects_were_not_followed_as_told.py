"""ResiliencePoolManager forgot the ``retries`` that it was made with, so that redirects were followed or not against
the settings; its pools did not follow redirects themselves, counted them as failures, and took no positional
arguments; with ``retries=False`` errors came wrapped.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3

from resilience import Registry
from resilience.integrations.urllib3 import ResiliencePoolManager


class Redirecting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, body, self.headers.get("Authorization"),
                                 self.headers.get("X-Twice"), self.headers.get("Content-Type")))
        status, _, target = self.path[1:].partition("/")
        self.send_response(int(status))
        if status[0] == "3":
            self.send_header("Location", target.replace("other", self.server.other) or "/302/")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_PUT = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) for _ in range(2)]
    threads = [threading.Thread(target=each.serve_forever, kwargs={"poll_interval": 0.01}) for each in servers]
    for each, thread in zip(servers, threads, strict=True):
        each.seen, each.daemon_threads = servers[0].__dict__.setdefault("seen", []), True
        each.other = f"http://127.0.0.1:{servers[1].server_port}"
        thread.start()
    servers[0].url = f"http://127.0.0.1:{servers[0].server_port}"
    yield servers[0]
    for each, thread in zip(servers, threads, strict=True):
        each.shutdown()
        thread.join()
        each.server_close()


SETTINGS = [None, False, 0, 1, 4, urllib3.Retry(redirect=0, raise_on_redirect=False), urllib3.Retry(redirect=0),
            urllib3.Retry(redirect=1), urllib3.Retry(10), urllib3.Retry(5, remove_headers_on_redirect=["X-Twice"])]
PATHS = ["/200/", "/404/", "/302//200/", "/303//200/", "/307//302//200/", "/302/", "/302/other/200/", "/503/"]


def outcome(manager, server, way, method, path, options):
    """What the caller gets, and what the server saw."""
    server.seen.clear()
    body = {"body": b"stock"} if method == "POST" else {}
    headers = {"headers": {"Authorization": "secret", "X-Twice": "1", "Content-Type": "text/plain"}}
    try:
        if way == "manager":
            response = manager.request(method, server.url + path, **headers, **body, **options)
        else:
            response = manager.connection_from_url(server.url).request(method, path, **headers, **body, **options)
    except urllib3.exceptions.HTTPError as error:
        return type(error), str(getattr(error, "reason", "")), list(server.seen)
    history = [(each.method, each.status, each.redirect_location) for each in response.retries.history]
    return response.status, response.data, response.geturl(), history, list(server.seen)


@pytest.mark.parametrize("way", ["manager", "pool"])
@pytest.mark.parametrize("where", ["made with", "asked with"])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_redirects_are_followed_as_by_a_manager_without_a_guard(server, way, where, setting):
    made = {"retries": setting} if where == "made with" else {}
    asked = [{"retries": setting}] if where == "asked with" else [{}, {"redirect": False}]
    with urllib3.PoolManager(**made) as plain, ResiliencePoolManager(
            guard={"registry": Registry(), "breaker": None}, **made) as guarded:
        for options in asked:
            for path in PATHS:
                for method in ("GET", "POST"):
                    expected = outcome(plain, server, way, method, path, options)
                    assert outcome(guarded, server, way, method, path, options) == expected, (method, path, options)


@pytest.mark.parametrize("setting", [None, False, 0, 2, urllib3.Retry(2, connect=False), urllib3.Retry(0, read=False)],
                         ids=str)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_error_is_raised_bare_or_wrapped_as_without_a_guard(setting, method):
    raised = []
    for kind, options in ((urllib3.PoolManager, {}), (ResiliencePoolManager, {"guard": {"registry": Registry()}})):
        with kind(**options) as manager, pytest.raises(urllib3.exceptions.HTTPError) as caught:
            manager.request(method, "http://127.0.0.1:1/", retries=setting)
        raised.append((type(caught.value), type(getattr(caught.value, "reason", None))))

    assert raised[0] == raised[1]


def test_a_pool_of_the_manager_takes_its_arguments_by_position(server):
    with ResiliencePoolManager(guard={"registry": Registry()}) as guarded:
        response = guarded.connection_from_url(server.url).urlopen("POST", "/200/", b"stock", {"X-Twice": "2"}, False)

    assert response.status == 200
    assert server.seen[0][:3] == ("POST", "/200/", b"stock")


def test_each_hop_is_a_call_and_none_of_them_a_failure(server):
    with ResiliencePoolManager(guard={"registry": Registry(), "max_concurrent": 1}) as guarded:
        for way in (guarded, guarded.connection_from_url(server.url)):
            prefix = server.url if way is guarded else ""
            assert way.request("GET", f"{prefix}/302//200/").status == 200
        (handle,) = guarded.resilience

    assert {name: handle.snapshot().counts[name] for name in ("success", "failure")} == {"success": 4, "failure": 0}
