"""Access log, traces and statistics of a gateway in a process of its own."""

import json
import os
import re

import pytest

from resilience.config import ConfigFileError
from resilience.gateway.config import load
from resilience.gateway.logs.trace_context import parent_of
from tests.gateway.harness import eventually, running, shared_upstream

CONFIG = """
trusted_proxies = ["127.0.0.1"]
[access_log]
to = "{log}"
headers = ["User-Agent"]
[tracing]
[shedding]
initial = 2
max_limit = 2
max_queue = 0
route_priority = {{ "/*" = 0 }}
[services.up]
endpoints = ["{url}"]
[services.dead]
endpoints = ["http://127.0.0.1:9"]
[[routes]]
path = "/*"
service = "up"
[[routes]]
path = "/dead"
service = "dead"
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"


upstream = shared_upstream()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def gateway(upstream, directory):
    with running(directory, CONFIG.format(url=upstream.url, log=directory / "access.log")) as made:
        yield made


def logged(directory, path, name="access.log"):
    def find():
        lines = (directory / name).read_text().splitlines() if (directory / name).exists() else []
        return next((entry for entry in map(json.loads, lines) if entry["path"] == path), None)

    return eventually(find, f"a line for {path}")


def test_each_request_has_a_line_with_its_route_service_times_and_trace(gateway, upstream, directory):
    status, headers, _ = gateway.get("/one?a=1&token=abc", headers=(
        f"User-Agent: me\"\\x\r\nX-Forwarded-For: 198.51.100.7\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n"
        "tracestate: v=1\r\nX-Request-ID: id-7\r\nCookie: secret\r\n"))

    entry = logged(directory, "/one?a=1&token=[redacted]")
    assert entry | {"client": "198.51.100.7", "method": "GET", "status": 200, "bytes_out": 2, "bytes_in": 0, "route": "/*", "service": "up",
            "request_id": "id-7", "trace_id": TRACE} == entry
    assert entry["headers"] == {"user-agent": 'me"\\x'}
    assert 0 < entry["upstream"] <= entry["duration"] < 60
    assert (status, headers["x-request-id"]) == (200, "id-7")
    call = upstream.called("/one?a=1&token=abc")
    assert call.header(b"x-request-id") == [b"id-7"]
    assert call.header(b"tracestate") == [b"v=1"]
    parent = parent_of(call.header(b"traceparent")[0])
    assert parent[0] == TRACE
    assert parent[1] != "b7ad6b7169203331"
    assert "secret" not in (directory / "access.log").read_text()


def test_a_refusal_says_why(gateway, directory):
    assert gateway.get("/dead")[0] == 502
    entry = logged(directory, "/dead")
    assert (entry["status"], entry["refused"], "upstream" in entry) == (502, "unreachable", False)
    assert gateway.raw(b"GET /%2e%2e/x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 400")
    entry = logged(directory, "/%2e%2e/x")
    assert (entry["refused"], "route" in entry) == ("bad_request", False)


def test_an_answer_of_the_gateways_own_that_refuses_nothing_is_logged_as_no_refusal(gateway, directory):
    assert gateway.raw(b"OPTIONS * HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
    entry = logged(directory, "*")
    assert (entry["status"], "refused" in entry) == (200, False), entry


def test_what_is_no_request_is_logged_and_counted_too(gateway, directory):
    def refused():
        found = re.findall(r'resilience_gateway_requests_total\{route="none",service="",status="4xx"\} (\d+)',
                           gateway.admin_get("/metrics"))
        return int(found[0]) if found else 0

    before = refused()
    assert gateway.raw(b"GET /no-request HTTP/1.1\r\nHost : gw\r\n\r\n").startswith(b"HTTP/1.1 400")
    entry = logged(directory, "/no-request")
    assert (entry["client"], entry["method"], entry["status"], entry["refused"]) == ("127.0.0.1", "GET", 400, "bad_request")
    eventually(lambda: refused() == before + 1, "the count")


def test_an_answer_that_breaks_off_is_not_complete(gateway, upstream, directory):
    upstream.on("/broken", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
    gateway.raw(b"GET /broken HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
    entry = logged(directory, "/broken")
    assert (entry["status"], entry["complete"], entry["bytes_out"]) == (200, False, 4)


def test_a_client_that_leaves_is_logged_as_such(gateway, upstream, directory):
    upstream.on("/slow", lambda call: call.until_closed())
    with gateway.connect() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: gw\r\n\r\n")
        upstream.called("/slow")
    entry = logged(directory, "/slow")
    assert (entry["status"], entry.get("complete", True)) == (499, False), entry


def test_more_than_the_limit_is_shed_and_the_permits_come_back(gateway, upstream, directory):
    upstream.on("/held", lambda call: call.until_closed())
    clients = [gateway.connect() for _ in range(2)]
    for number, client in enumerate(clients):
        client.sendall(b"GET /held?%d HTTP/1.1\r\nHost: gw\r\n\r\n" % number)
        upstream.called(f"/held?{number}")
    status, headers, body = gateway.get("/more")
    assert (status, headers["retry-after"], json.loads(body)["status"]) == (503, "1", 503)
    assert logged(directory, "/more")["refused"] == "shed"
    assert 'resilience_gateway_shed_total{cause="limit",priority="0",service="up"} 1.0' in gateway.admin_get("/metrics")
    for client in clients:
        client.close()
    eventually(lambda: gateway.get("/again")[0] == 200)
    assert upstream.count("/more") == 0


def test_requests_are_counted_by_route_for_prometheus(gateway):
    gateway.get("/counted")
    text = gateway.admin_get("/metrics")
    assert re.search(r'^resilience_gateway_requests_total{route="/\*",service="up",status="2xx"} [1-9]', text, re.M)
    assert re.search(r'^resilience_gateway_request_duration_seconds_count{route="/\*",service="up"} [1-9]', text, re.M)
    assert "resilience_gateway_loop_lag_seconds" in text


def test_a_log_that_was_moved_goes_on_under_its_name(gateway, directory):
    gateway.get("/before")
    logged(directory, "/before")
    (directory / "access.log").rename(directory / "access.log.1")

    def goes_on():
        gateway.get("/after")
        return (directory / "access.log").exists()

    eventually(goes_on)
    logged(directory, "/after")


def test_a_pipe_that_nobody_reads_holds_up_no_request(upstream, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with running(tmp_path, CONFIG.format(url=upstream.url, log=tmp_path / "pipe")) as gateway:
        assert all(gateway.get(f"/{number}")[0] == 200 for number in range(20))


@pytest.mark.parametrize(("table", "mistake"), [
    ('[access_log]\nheaders = ["Authorization"]', "access_log.headers: must be headers without credentials"),
    ('[access_log]\nformat = "apache"', "access_log.format: must be one of json, clf, combined"),
    ('[access_log]\nformat = "clf"\nheaders = ["Via"]', "access_log.headers: headers are for the format json"),
    ("[access_log]\nsampel = 0.5", "access_log.sampel: unknown setting; did you mean sample?"),
    ('[tracing]\nrequest_id = "a b"', "tracing.request_id: must be the name of a header"),
    ('[tracing]\ntrust = "some"', "tracing.trust: must be one of none, proxies, all"),
    ('[shedding]\npriority = ["cookie:x"]', "shedding.priority: must be route, header:NAME or claim:NAME"),
    ("[shedding]\nroute_priority = { a = 10 }", "shedding.route_priority: must be priorities from 0 to 9, not 10 for a"),
    ('[shedding]\ntenant = ["identity"]', "shedding.tenant: identity is known after authentication only"),
    ("[shedding]\ninitial = 2000", "shedding.initial: must be from min_limit"),
    ('[filters.l]\nuse = "rate_limit"\nrate = 5\nby = ["cookie"]', "filters.l.by: must be identity, tenant"),
    ('[filters.l]\nuse = "rate_limit"\nrate = 5\nby = []', "filters.l.by: by needs at least one"),
    ('[filters.l]\nuse = "rate_limit"', "filters.l.rate: is missing"),
    ('[filters.l]\nuse = "rate_limit"\nrate = 5\nanswer_pointer = ["usage"]', "filters.l.answer_pointer: must be a JSON pointer"),
])
def test_a_mistake_in_the_file_is_named(tmp_path, table, mistake):
    file = tmp_path / "gateway.toml"
    file.write_text(f'{table}\n[services.up]\nendpoints = ["http://127.0.0.1:9"]\n[[routes]]\npath = "/*"\nservice = "up"\n')
    with pytest.raises(ConfigFileError) as caught:
        load(file)
    assert mistake in str(caught.value)
