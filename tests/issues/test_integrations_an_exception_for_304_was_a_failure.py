"""Clients that raise an exception for "304 Not Modified", or for a redirect that they do not follow, had a failure of
the service where it had answered as it should. Conditional requests to a healthy store opened its circuit.
"""

import http.server
import threading
import urllib.error
import urllib.request

import botocore.session
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from resilience import Registry, command, http_status
from resilience.integrations.botocore import guard_client


class Unchanged(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Unchanged)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Staying(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def by_urllib(url):
    with urllib.request.build_opener(urllib.request.ProxyHandler({}), Staying).open(url) as response:
        return response.read()


def by_httpx(url):
    with httpx.Client(trust_env=False) as client:
        client.get(url).raise_for_status()


def counts(registry):
    (handle,) = registry
    found = handle.snapshot().counts
    return {name: found[name] for name in ("success", "bad_request", "failure") if found[name]}


@pytest.mark.parametrize(("fetch", "status", "error", "counted"), [
    (by_urllib, 304, urllib.error.HTTPError, "bad_request"), (by_urllib, 301, urllib.error.HTTPError, "bad_request"),
    (by_httpx, 304, httpx.HTTPStatusError, "bad_request"), (by_httpx, 302, httpx.HTTPStatusError, "bad_request"),
    (by_urllib, 500, urllib.error.HTTPError, "failure"), (by_httpx, 500, httpx.HTTPStatusError, "failure")])
def test_an_exception_for_an_answer_of_3xx_is_no_failure(fetch, status, error, counted, url, registry):
    guarded = command(key="fetch", failures=http_status(), registry=registry)(fetch)
    with pytest.raises(error):
        guarded(f"{url}/{status}")
    assert counts(registry) == {counted: 1}


def test_3xx_can_be_a_failure_for_those_who_say_so(url, registry):
    guarded = command(key="fetch", failures=http_status(failed=("5xx", "3xx")), registry=registry)(by_httpx)
    with pytest.raises(httpx.HTTPStatusError):
        guarded(f"{url}/302")
    assert counts(registry) == {"failure": 1}


def test_a_conditional_request_of_botocore_is_no_failure(url):
    registry = Registry()
    client = guard_client(botocore.session.get_session().create_client(
        "s3", region_name="eu-west-1", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, proxies={}, s3={"addressing_style": "path"})),
        registry=registry)
    with pytest.raises(ClientError, match="304"):
        client.get_object(Bucket="stock", Key="304", IfNoneMatch='"known"')
    assert counts(registry) == {"bad_request": 1}
    client.close()
    registry.close()
