"""Forward authentication: what the other service is asked, what its answers mean, and that its silence lets nobody in."""

import pytest

from resilience.config import ConfigFileError
from tests.gateway.filters.test_filters_in_the_file import SERVICE, load_text
from tests.gateway.harness import eventually, problem, running, shared_upstream

CONFIG = """
[services.up]
endpoints = ["{url}"]
[services.auth]
endpoints = ["{auth}"]
idle_timeout = 0.2
command = {{ timeout = 0.2, breaker = false }}
[filters.ask]
use = "forward_auth"
service = "auth"
path = "/ask"
send_headers = ["Authorization", "X-Wanted"]
copy_headers = ["X-User", "X-Groups"]
consumer_header = "X-User"
scopes_header = "X-User-Scopes"
[filters.ask-url]
use = "forward_auth"
url = "{auth}/ask-url?x=1"
[filters.dead]
use = "forward_auth"
url = "http://127.0.0.1:1/"
[filters.readers]
use = "access"
scopes = ["read"]
[[routes]]
path = "/ask/*"
service = "up"
filters = ["ask", "readers"]
[[routes]]
path = "/url/*"
service = "up"
filters = ["ask-url"]
[[routes]]
path = "/dead/*"
service = "up"
filters = ["dead"]
[[routes]]
path = "/open/*"
service = "up"
"""


auth = shared_upstream()
upstream = shared_upstream()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream, auth):
    with running(tmp_path_factory.mktemp("forward"), CONFIG.format(url=upstream.url, auth=auth.url)) as made:
        yield made


PASS = b"HTTP/1.1 200 OK\r\nX-User: ada\r\nX-Groups: a\r\nX-Groups: b\r\nX-User-Scopes: read write\r\nContent-Length: 0\r\n\r\n"


def test_the_other_service_is_asked_about_the_request_and_its_headers_go_upstream(gateway, upstream, auth):
    auth.on("/ask", lambda call: call.send(PASS))
    forged = "X-User: root\r\nX_User: root\r\nX-Groups: root\r\nX-Forwarded-Uri: /forged\r\nX-Forwarded-Method: GET\r\n"
    body = "Content-Length: 4\r\nX-Wanted: 1\r\nAuthorization: Bearer x\r\nX-Secret: s\r\n"
    reply = gateway.raw(f"POST /ask/a?b=c HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n{forged}{body}\r\nbody".encode())

    assert b"200 OK" in reply
    asked = auth.called("/ask")
    assert asked.head.startswith(b"GET /ask HTTP/1.1")
    for name, value in [(b"authorization", b"Bearer x"), (b"x-wanted", b"1"), (b"x-forwarded-method", b"POST"),
                        (b"x-forwarded-uri", b"/ask/a?b=c"), (b"x-forwarded-host", b"gw"), (b"x-forwarded-proto", b"http"),
                        (b"x-forwarded-for", b"127.0.0.1")]:
        assert asked.header(name) == [value]
    assert asked.header(b"x-secret") == asked.header(b"x-user") == asked.header(b"content-length") == []
    call = upstream.called("/ask/a?b=c")
    assert (call.header(b"x-user"), call.header(b"x-groups"), call.header(b"x-consumer")) == ([b"ada"], [b"a", b"b"], [b"ada"])
    assert b"root" not in call.head


def test_headers_that_the_other_service_gives_are_taken_from_clients_on_every_route(gateway, upstream):
    gateway.get("/open/forged", headers="X-User: root\r\nx_groups: root\r\n")
    assert b"root" not in upstream.called("/open/forged").head


@pytest.mark.parametrize(("answer", "status", "header"), [
    (b"401 Unauthorized\r\nWWW-Authenticate: Basic\r\nX-Internal: 1\r\nContent-Length: 2\r\n\r\nno", 401, ("www-authenticate", "Basic")),
    (b"403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403, ("content-length", "2")),
    (b"302 Found\r\nLocation: https://login.example/\r\nContent-Length: 2\r\n\r\nno", 302, ("location", "https://login.example/"))])
def test_a_refusal_and_a_redirect_are_given_to_the_client(gateway, upstream, auth, answer, status, header):
    auth.on("/ask-url", b"HTTP/1.1 " + answer)
    reply = gateway.get("/url/refused")

    assert (reply[0], reply[1][header[0]], reply[2]) == (status, header[1], b"no")
    assert "x-internal" not in reply[1]
    assert auth.calls[-1].target == "/ask-url?x=1"
    assert upstream.count("/url/refused") == 0


@pytest.mark.parametrize("script", [
    b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n", b"",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000,
    b"HTTP/1.1 200 OK\r\nX-User: \r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-User: a\r\nX-User: b\r\nContent-Length: 0\r\n\r\n",
    lambda call: call.until_closed(),
    lambda call: (call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), call.until_closed())])
def test_whatever_else_the_other_service_does_refuses_the_request(gateway, upstream, auth, script):
    auth.on("/ask", script)
    before = gateway.metric("failure", "filter.ask") + gateway.metric("timeout", "filter.ask")
    reply = gateway.get("/ask/shut")

    assert problem(reply)["status"] == 503
    assert upstream.count("/ask/shut") == 0
    assert gateway.metric("failure", "filter.ask") + gateway.metric("timeout", "filter.ask") == before + 1
    eventually(lambda: not gateway.busy(), "every permit back")


def test_an_address_where_nobody_listens_refuses_the_request(gateway, upstream):
    assert problem(gateway.get("/dead/x"))["status"] == 503
    assert gateway.metric("failure", "filter.dead.call") >= 1
    assert upstream.count("/dead/x") == 0


def test_scopes_of_the_other_service_are_authorised(gateway, upstream, auth):
    auth.on("/ask", lambda call: call.send(PASS.replace(b"read write", b"write")))
    assert problem(gateway.get("/ask/scopes"))["status"] == 403
    assert upstream.count("/ask/scopes") == 0


@pytest.mark.parametrize(("text", "key"), [
    ('service = "nobody"', "service"), ('service = "up"\nurl = "http://x/"', "service"), ("", "service"),
    ('url = "ftp://x/"', "url"), ('url = "http://a:b@x/"', "url"), ('service = "up"\npath = "x"', "path"),
    ('service = "up"\ncopy_headers = ["Host"]', "copy_headers"), ('service = "up"\nsend_headers = ["Connection"]', "send_headers")])
def test_settings_that_could_not_hold_are_mistakes(tmp_path, text, key):
    with pytest.raises(ConfigFileError) as caught:
        load_text(tmp_path, f'[filters.a]\nuse = "forward_auth"\n{text}\n{SERVICE}')
    [mistake] = caught.value.mistakes
    assert mistake.key.startswith(f"filters.a.{key}")
