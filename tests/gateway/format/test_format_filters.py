"""The filters of formats in a gateway of its own process: bodies over raw sockets, checked and changed."""

import gzip
import hashlib
import json
import pickle
import zlib

import pytest

from resilience.config import ConfigFileError
from resilience.gateway.config import load
from tests.gateway.format.test_openapi import SHOP
from tests.gateway.harness import eventually, parsed, problem, running, shared_upstream

ORDER = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "note": {"type": "string"}}}
SECRET = "app.0123456789abcdef"
CONFIG = """
[services.up]
endpoints = ["{url}"]
command = {{ breaker = false, timeout = 5.0 }}

[filters.order]
use = "json_schema"
request = "{folder}/order.json"
response = "{folder}/order.json"
max_body = 2000
[filters.watched]
use = "json_schema"
request = "{folder}/order.json"
response = "{folder}/order.json"
mode = "report"
max_body = 2000
[filters.answers]
use = "json_schema"
response = "{folder}/order.json"
mode = "off"
response_mode = "enforce"
[filters.off]
use = "json_schema"
request = "{folder}/order.json"
mode = "off"
[filters.shop]
use = "openapi"
document = "{folder}/shop.yaml"
base_path = "/api"
[filters.shop-pass]
use = "openapi"
document = "{folder}/shop.yaml"
unknown = "pass"
[filters.app]
use = "api_keys"
optional = true
keys = [{{ id = "app", sha256 = "{digest}", consumer = "ann", tenant = "acme", scopes = ["b", "a"] }}]
[filters.heads]
use = "headers"
request = {{ remove = ["X-Secret"], set = {{ X-Id = "n-{{parameter.id}}", X-User = "{{identity.consumer}}", X-Route = "{{route}}", X-Scope = "{{identity.scopes}}/{{identity.tenant}}" }}, add = {{ Accept-Language = "ko" }} }}
response = {{ remove = ["X-Powered-By"], set = {{ X-Site = "shop {{{{1}}}}" }}, add = {{ Vary = "Origin" }} }}
[filters.bodies]
use = "json_body"
request = {{ remove = ["/secret"], set = {{ "/meta/id" = "{{parameter.id}}", "/meta/by" = "{{identity.consumer}}", "/n" = 3 }} }}
response = {{ remove = ["/internal", "/rows/0/cost"], set = {{ "/site" = {{ name = "shop" }} }} }}
max_body = 5000
[filters.plain-errors]
use = "errors"
[filters.kept-errors]
use = "errors"
detail = "/error/message"
fields = {{ code = "/error/code", trace = "/trace" }}
keep_problems = true

[[routes]]
path = "/order/*"
service = "up"
filters = ["order"]
[[routes]]
path = "/watched/*"
service = "up"
filters = ["watched"]
[[routes]]
path = "/answers/*"
service = "up"
filters = ["answers"]
[[routes]]
path = "/off/*"
service = "up"
filters = ["off"]
[[routes]]
path = "/api/*"
service = "up"
filters = ["shop"]
[[routes]]
path = "/orders/*"
service = "up"
filters = ["shop-pass"]
[[routes]]
path = "/heads/{{id}}"
service = "up"
filters = ["app", "heads"]
[[routes]]
path = "/bodies/{{id}}"
service = "up"
filters = ["app", "bodies"]
[[routes]]
path = "/errors/*"
service = "up"
filters = ["plain-errors"]
[[routes]]
path = "/kept/*"
service = "up"
filters = ["kept-errors"]
"""


upstream = shared_upstream()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream):
    folder = tmp_path_factory.mktemp("formats")
    (folder / "order.json").write_text(json.dumps(ORDER))
    (folder / "shop.yaml").write_text(SHOP)
    with running(folder, CONFIG.format(url=upstream.url, folder=folder, digest=hashlib.sha256(SECRET.encode()).hexdigest())) as made:
        yield made


def send(gateway, path, body=None, *, method="POST", media="application/json", head="", chunked=False):
    body = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    if chunked:
        framing, body = "Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        framing = f"Content-Length: {len(body)}\r\n"
    media = f"Content-Type: {media}\r\n" if media and body else ""
    return parsed(gateway.raw(
        f"{method} {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n{media}{framing}{head}\r\n".encode() + body))


def answer(upstream, path, value, status="200 OK", head="", media="application/json"):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    data = f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body

    def script(call):
        if call.header(b"content-length") or call.header(b"transfer-encoding"):
            call.got = call.body()
        call.send(data)

    upstream.on(path, script)


def failures(gateway, name):
    return gateway.metric("failure", f"filter.{name}")


GOOD, BAD = {"id": 1}, {"id": "x", "note": 5}


def test_the_gateway_checks_the_format_of_requests_and_responses_and_keeps_it_consistent(gateway, upstream):
    answer(upstream, "/order/role", GOOD)
    assert send(gateway, "/order/role", GOOD)[0] == 200
    told = [problem(send(gateway, "/order/role", BAD))]
    answer(upstream, "/order/role", BAD)
    told.append(problem(send(gateway, "/order/role", GOOD)))
    answer(upstream, "/errors/role", b"<h1>Oops</h1>", status="500 No", media="text/html")
    told.append(problem(send(gateway, "/errors/role", method="GET")))
    assert [each["status"] for each in told] == [422, 502, 500]
    assert all({"type", "title", "status", "detail"} <= set(each) for each in told)


# -- json_schema


def test_a_request_that_fits_reaches_the_service_byte_for_byte(gateway, upstream):
    answer(upstream, "/order/good", GOOD)
    text = b' {"id" : 1.0e0, "x":[ ] } '
    for chunked in (False, True):
        assert send(gateway, "/order/good", text, media="application/vnd.x+json; charset=utf-8", chunked=chunked)[0] == 200
        assert upstream.called("/order/good").got == text
        upstream.calls.clear()
    assert send(gateway, "/order/good", gzip.compress(text), head="Content-Encoding: gzip\r\n")[0] == 200
    assert gzip.decompress(upstream.called("/order/good").got) == text


@pytest.mark.parametrize(("body", "head", "media", "status"), [
    (BAD, "", "application/json", 422), (b"{", "", "application/json", 400), (b'{"id":1,"id":2}', "", "application/json", 400),
    (b'{"id":NaN}', "", "application/json", 400), (b'{"id":1e999}', "", "application/json", 400), (b'{"id":"\xff"}', "", "application/json", 400),
    (b'{"id":"\\ud800"}', "", "application/json", 400), (b"[" * 1999, "", "application/json", 400), (b"[" * 65 + b"]" * 65, "", "application/json", 400),
    (b"\xef\xbb\xbf{}", "", "application/json", 400), (b"", "", "", 400), (GOOD, "", "text/plain", 415), (GOOD, "", "", 415),
    (b" " * 2001, "", "application/json", 413), (gzip.compress(b" " * 50_000_000)[:1999], "Content-Encoding: gzip\r\n", "application/json", 413),
    (b"x", "Content-Encoding: br\r\n", "application/json", 415), (b"x", "Content-Encoding: gzip, gzip\r\n", "application/json", 415),
    (b"x", "Content-Encoding: gzip\r\n", "application/json", 400), (gzip.compress(b'{"id":1}')[:-1], "Content-Encoding: gzip\r\n", "application/json", 400),
    (gzip.compress(b'{"id":1}') + b"x", "Content-Encoding: gzip\r\n", "application/json", 400),
    (zlib.compress(b'{"id":"x"}'), "Content-Encoding: deflate\r\n", "application/json", 422),
], ids=range(21))
def test_a_request_that_does_not_fit_is_refused_and_the_service_never_sees_it(gateway, upstream, body, head, media, status):
    before, failed = len(upstream.calls), failures(gateway, "order.request_body")
    for chunked in (False, True) if body else (False,):
        reply = send(gateway, "/order/bad", body, head=head, media=media, chunked=chunked)
        assert problem(reply)["status"] == status
    assert len(upstream.calls) == before
    assert failures(gateway, "order.request_body") == failed  # the client's fault, not ours


def test_the_places_that_do_not_fit_are_listed_without_what_stands_there(gateway):
    found = problem(send(gateway, "/order/bad", BAD))
    assert found["errors"] == [{"pointer": "/id", "detail": "must be of type integer"}, {"pointer": "/note", "detail": "must be of type string"}]
    assert send(gateway, "/order/bad", b"x", head="Content-Encoding: br\r\n")[1]["accept-encoding"] == "gzip, deflate"


def test_a_request_without_body_is_checked_where_one_is_usual(gateway, upstream):
    answer(upstream, "/order/none", GOOD)
    assert send(gateway, "/order/none", method="GET")[0] == 200
    assert send(gateway, "/order/none", method="DELETE")[0] == 200
    assert send(gateway, "/order/none", method="PUT")[0] == 400


@pytest.mark.parametrize(("body", "head", "media"), [
    (BAD, "", "application/json"), (b"{", "", "application/json"), (GOOD, "", "text/html"), (b"x", "Content-Encoding: br\r\n", "application/json"),
    (gzip.compress(b" " * 50_000_000)[:1500], "Content-Encoding: gzip\r\n", "application/json"),
], ids=range(5))
def test_a_response_that_does_not_fit_is_the_services_fault_and_counted(gateway, upstream, body, head, media):
    answer(upstream, "/order/lies", body, head=head, media=media)
    name = "order.response" if media == "text/html" else "order.response_body"
    failed = failures(gateway, name)
    found = problem(send(gateway, "/order/lies", method="GET"))
    assert (found["status"], found["detail"]) == (502, "the answer of up does not have the form that was agreed on")
    assert failures(gateway, name) == failed + 1


def test_errors_empty_answers_and_large_ones_are_passed(gateway, upstream):
    answer(upstream, "/order/error", BAD, status="404 Not Found")
    assert send(gateway, "/order/error", method="GET")[0] == 404
    failed = failures(gateway, "order.response")
    answer(upstream, "/order/large", {"id": "x" * 5000})
    assert len(send(gateway, "/order/large", method="GET")[2]) > 5000
    assert failures(gateway, "order.response") == failed + 1  # it was not checked
    upstream.on("/order/large", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b"[" * 5000)
    assert b"[" * 5000 in send(gateway, "/order/large", method="GET")[2]
    upstream.on("/order/empty", b"HTTP/1.1 204 No Content\r\n\r\n")
    assert send(gateway, "/order/empty", method="GET")[0] == 204
    upstream.on("/order/head", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert send(gateway, "/order/head", method="HEAD")[0] == 200


def test_a_service_is_asked_for_answers_that_can_be_read(gateway, upstream):
    answer(upstream, "/answers/coded", gzip.compress(b'{"id":1}'), head="Content-Encoding: gzip\r\n")
    reply = send(gateway, "/answers/coded", method="GET", head="Accept-Encoding: br, gzip\r\nRange: bytes=0-1\r\n")
    assert (reply[0], gzip.decompress(reply[2])) == (200, b'{"id":1}')
    call = upstream.called("/answers/coded")
    assert (call.header(b"accept-encoding"), call.header(b"range")) == ([b"gzip"], [])


def test_report_passes_everything_and_counts_what_does_not_fit(gateway, upstream):
    answer(upstream, "/watched/x", BAD)
    before = {name: failures(gateway, f"watched.{name}") for name in ("request", "request_body", "response_body")}
    for body, media in ((BAD, "application/json"), (b"{", "application/json"), (b"x", "text/plain"), (b"[" * 9000, "application/json")):
        reply = send(gateway, "/watched/x", body, media=media)
        assert (reply[0], json.loads(reply[2])) == (200, BAD)
        assert upstream.called("/watched/x").got == (body if isinstance(body, bytes) else json.dumps(body).encode())
        upstream.calls.clear()
    assert send(gateway, "/watched/x", GOOD, chunked=True)[0] == 200
    assert {name: failures(gateway, f"watched.{name}") - count for name, count in before.items()} == {
        "request": 1, "request_body": 2, "response_body": 5}


def test_what_is_off_is_not_looked_at(gateway, upstream):
    answer(upstream, "/off/x", BAD)
    assert send(gateway, "/off/x", b"{")[0] == 200
    answer(upstream, "/answers/x", GOOD)
    assert send(gateway, "/answers/x", b"{")[0] == 200
    answer(upstream, "/answers/x", BAD)
    assert send(gateway, "/answers/x", b"{")[0] == 502


# -- openapi


@pytest.mark.parametrize(("method", "path", "body", "head", "status"), [
    ("GET", "/api/orders/7", None, "Cookie: sid=ab\r\n", 200), ("GET", "/api/orders/0", None, "Cookie: sid=ab\r\n", 422),
    ("GET", "/api/orders/7", None, "", 422), ("GET", "/api/orders/7", None, "Cookie: sid=XY\r\n", 422), ("GET", "/api/orders/latest", None, "", 200),
    ("GET", "/api/nothing", None, "", 404), ("DELETE", "/api/orders/7", None, "", 404), ("GET", "/api/orders/%FF", None, "", 400),
    ("POST", "/api/orders", {"id": 1}, "", 201), ("POST", "/api/orders", {"id": "x"}, "", 422), ("POST", "/api/orders", b"{", "", 400),
    ("POST", "/api/orders", None, "", 400),
], ids=range(12))
def test_requests_are_checked_against_their_operation(gateway, upstream, method, path, body, head, status):
    answer(upstream, path, {"id": 1}, status="201 Created" if method == "POST" else "200 OK", head="X-Count: 3\r\n")
    before = len(upstream.calls)
    reply = send(gateway, path, body, method=method, head=head)
    assert reply[0] == status
    assert len(upstream.calls) - before == (status < 300)


def test_a_body_of_another_media_type_is_refused_or_passed_as_the_document_says(gateway, upstream):
    answer(upstream, "/api/orders", b"", status="201 Created")
    assert problem(send(gateway, "/api/orders", b"x", media="image/png"))["detail"] == "the body must be application/json or text/*"
    assert send(gateway, "/api/orders", b"x", media="text/csv")[0] == 201


@pytest.mark.parametrize(("value", "status", "head", "media", "passed"), [
    ({"id": 1}, "200 OK", "X-Count: 3\r\n", "application/json", True), ({"id": "x"}, "200 OK", "X-Count: 3\r\n", "application/json", False),
    ({"id": 1}, "200 OK", "", "application/json", False), ({"id": 1}, "200 OK", "X-Count: x\r\n", "application/json", False),
    ({"id": 1}, "200 OK", "X-Count: 3\r\n", "text/plain", False), ({}, "404 Not Found", "", "application/json", True),
    ({}, "202 Accepted", "", "application/json", False), ({}, "500 No", "", "application/json", True),
], ids=range(8))
def test_responses_are_checked_against_their_operation(gateway, upstream, value, status, head, media, passed):
    answer(upstream, "/api/orders/7", value, status=status, head=head, media=media)
    reply = send(gateway, "/api/orders/7", method="GET", head="Cookie: sid=ab\r\n")
    assert reply[0] == (int(status[:3]) if passed else 502)


def test_what_the_document_does_not_describe_may_be_passed(gateway, upstream):
    answer(upstream, "/orders/7/unknown", b"x", media="text/plain")
    assert send(gateway, "/orders/7/unknown", b"{")[0] == 200
    assert send(gateway, "/orders/7", method="GET")[0] == 422


# -- headers


def test_headers_are_removed_set_and_added_in_both_directions(gateway, upstream):
    answer(upstream, "/heads/7", {}, head="X-Powered-By: x\r\nVary: Accept\r\n")
    reply = send(gateway, "/heads/7", method="GET", head="X-Secret: 1\r\nX-Id: forged\r\nX-User: forged\r\nAccept-Language: en\r\n")
    call = upstream.called("/heads/7")
    assert [call.header(name) for name in (b"x-secret", b"x-id", b"x-user", b"x-route", b"accept-language")] == [
        [], [b"n-7"], [], [b"/heads/{id}"], [b"en", b"ko"]]
    assert ("x-powered-by" in reply[1], reply[1]["x-site"]) == (False, "shop {1}")


def test_what_authentication_found_out_can_stand_in_headers_and_bodies(gateway, upstream):
    answer(upstream, "/heads/8", {})
    answer(upstream, "/bodies/8", {})
    send(gateway, "/heads/8", method="GET", head=f"X-API-Key: {SECRET}\r\n")
    call = upstream.called("/heads/8")
    assert (call.header(b"x-user"), call.header(b"x-scope")) == ([b"ann"], [b"a b/acme"])
    send(gateway, "/bodies/8", {"meta": {"by": "forged"}}, head=f"X-API-Key: {SECRET}\r\n")
    assert json.loads(upstream.called("/bodies/8").got) == {"meta": {"by": "ann", "id": "8"}, "n": 3}


def test_a_parameter_cannot_split_a_header(gateway, upstream):
    for path in ("/heads/a%E2%82%AC", "/heads/%20"):
        answer(upstream, path, {})
        assert send(gateway, path, method="GET", head="X-Id: forged\r\n")[0] == 200
        assert b"forged" not in upstream.called(path).head
    assert send(gateway, "/heads/a%0D%0AX-Evil:1", method="GET")[0] == 400


# -- json_body


def test_bodies_are_changed_in_both_directions(gateway, upstream):
    answer(upstream, "/bodies/7", {"internal": 1, "rows": [{"cost": 1, "é": 12345678901234567890}], "f": 0.1}, head='ETag: "a"\r\n')
    reply = send(gateway, "/bodies/7", gzip.compress(b'{"secret":1,"meta":{"by":"forged"},"k":"\\u00e9"}'), head="Content-Encoding: gzip\r\n", chunked=True)
    call = upstream.called("/bodies/7")
    assert call.got == '{"meta":{"id":"7"},"k":"é","n":3}'.encode()
    assert (call.header(b"content-encoding"), call.header(b"transfer-encoding")) == ([], [])
    assert reply[2] == '{"rows":[{"é":12345678901234567890}],"f":0.1,"site":{"name":"shop"}}'.encode()
    assert "etag" not in reply[1]
    assert reply[1]["content-length"] == str(len(reply[2]))


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b'{"meta":3}', 422), (b"[]", 422), (b'{"a":1,"a":2}', 400), (b"1" * 5001, 413)])
def test_a_request_that_cannot_be_changed_is_refused(gateway, upstream, body, status):
    before = len(upstream.calls)
    assert problem(send(gateway, "/bodies/8", body))["status"] == status
    assert len(upstream.calls) == before


@pytest.mark.parametrize(("body", "head"), [(b"{", ""), (b"[]", ""), (b"x", "Content-Encoding: br\r\n"), (gzip.compress(b" " * 10_000_000)[:4000], "Content-Encoding: gzip\r\n")])
def test_a_response_that_cannot_be_changed_is_not_passed_on_unchanged(gateway, upstream, body, head):
    answer(upstream, "/bodies/9", body, head=head)
    assert problem(send(gateway, "/bodies/9", method="GET"))["status"] == 502


def test_a_response_that_is_too_large_to_be_changed_is_not_passed_on_either(gateway, upstream):
    answer(upstream, "/bodies/10", {"internal": "x" * 6000})
    assert problem(send(gateway, "/bodies/10", method="GET"))["status"] in (500, 502)


def test_bodies_that_are_not_json_and_errors_pass_as_they_are(gateway, upstream):
    answer(upstream, "/bodies/11", b"<internal>", media="text/html")
    assert send(gateway, "/bodies/11", b"secret", media="text/plain")[2] == b"<internal>"
    assert upstream.called("/bodies/11").got == b"secret"
    answer(upstream, "/bodies/11", {"internal": 1}, status="404 Not Found")
    assert json.loads(send(gateway, "/bodies/11", method="GET")[2]) == {"internal": 1}


# -- errors


def test_the_errors_of_all_services_have_one_form(gateway, upstream):
    trace = b"Traceback (most recent call last): password=hunter2"
    for index, (value, status, media) in enumerate([
        (trace, "500 No", "text/html"), ({"error": {"message": "no"}}, "404 Not Found", "application/json"),
        ({"detail": "inside"}, "503 No", "application/problem+json"), (b"", "401 Unauthorized", "text/plain"), (b"x" * 100_000, "599 Odd", "text/plain"),
    ]):
        answer(upstream, f"/errors/{index}", value, status=status, media=media, head='Retry-After: 7\r\nETag: "a"\r\nWWW-Authenticate: Basic\r\n')
        reply = send(gateway, f"/errors/{index}", method="GET")
        found = problem(reply)
        assert (found["status"], found["detail"]) == (int(status[:3]), "up answered with an error")
        assert set(found) <= {"type", "title", "status", "detail"}
        assert (reply[1]["retry-after"], reply[1]["www-authenticate"], "etag" in reply[1]) == ("7", "Basic", False)
    answer(upstream, "/errors/ok", {"a": 1})
    assert send(gateway, "/errors/ok", method="GET")[2] == b'{"a": 1}'


def test_chosen_values_of_a_services_error_are_kept(gateway, upstream):
    answer(upstream, "/kept/1", {"error": {"message": "no such order", "code": "E7", "sql": "SELECT"}, "trace": {"deep": 1}}, status="404 Not Found")
    found = problem(send(gateway, "/kept/1", method="GET"))
    assert found == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "no such order", "code": "E7"}
    answer(upstream, "/kept/2", gzip.compress(b'{"error":{"code":5}}'), status="500 No", head="Content-Encoding: gzip\r\n")
    reply = send(gateway, "/kept/2", method="GET")
    assert (problem(reply)["code"], "content-encoding" in reply[1]) == (5, False)
    answer(upstream, "/kept/3", b"{" * 10, status="500 No")
    assert problem(send(gateway, "/kept/3", method="GET"))["detail"] == "up answered with an error"
    upstream.on("/kept/4", b"HTTP/1.1 500 No\r\nContent-Type: application/json\r\n\r\n" + b" " * 100_000)
    assert problem(send(gateway, "/kept/4", method="GET"))["detail"] == "up answered with an error"
    answer(upstream, "/kept/5", {"status": 409, "detail": "mine", "x": 1}, status="409 Conflict", media="application/problem+json")
    assert problem(send(gateway, "/kept/5", method="GET"))["x"] == 1


def test_an_error_in_answer_to_head_has_no_body(gateway, upstream):
    upstream.on("/errors/head", b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nContent-Type: text/html\r\n\r\n")
    reply = send(gateway, "/errors/head", method="HEAD")
    assert (reply[0], reply[1]["content-type"], reply[2]) == (404, "application/problem+json", b"")


# -- the file

HEAD = """
[services.up]
endpoints = ["http://127.0.0.1:1"]
[[routes]]
path = "/*"
service = "up"
filters = ["f"]
[filters.f]
"""


@pytest.mark.parametrize(("text", "why"), [
    ('use = "json_schema"', "needs a file with a schema"), ('use = "json_schema"\nrequest = "none.json"', "filters.f.request: must be a file with a JSON Schema: none.json cannot be read"),
    ('use = "json_schema"\nrequest = "{folder}/bad.json"', "bad.json#/properties/a/type: "), ('use = "json_schema"\nrequest = "{folder}/remote.json"', "nothing is fetched"),
    ('use = "json_schema"\nrequest = "{folder}/ok.json"\nmode = "on"', "must be one of enforce, report, off"), ('use = "json_schema"\nrequest = 3', "must be a string"),
    ('use = "json_schema"\nrequest = "{folder}/ok.json"\nmax_body = 0', "filters.f.max_body"), ('use = "json_schema"\nreqest = "x"', "did you mean request?"),
    ('use = "openapi"', "filters.f.document: is missing"), ('use = "openapi"\ndocument = "{folder}/ok.json"', "must be an OpenAPI document of version 3.1"),
    ('use = "openapi"\ndocument = "{folder}/ok.json"\nunknown = "drop"', "must be one of refuse, pass"), ('use = "openapi"\ndocument = "x"\nbase_path = "a"', "must begin with a slash"),
    ('use = "headers"', "needs changes"), ('use = "headers"\nrequest = {{ set = {{ "X Y" = "1" }} }}', "is no name of a header"), ('use = "headers"\nrequest = {{ set = {{ Host = "1" }} }}', "the gateway itself writes Host"),
    ('use = "headers"\nrequest = {{ set = {{ X = "{{id}}" }} }}', "must have places such as"), ('use = "headers"\nrequest = {{ sett = {{}} }}', "did you mean set?"),
    ('use = "headers"\nrequest = {{ add = {{ X = "{{identity.password}}" }} }}', "must have places such as"),
    ('use = "json_body"\nrequest = {{ set = {{ "a" = 1 }} }}', "JSON pointer"), ('use = "json_body"\nrequest = {{ set = {{ "" = 1 }} }}', "the whole body"),
    ('use = "json_body"\nrequest = {{ set = {{ "/a" = nan }} }}', "cannot stand in JSON"), ('use = "json_body"\nresponse = {{ remove = [""] }}', "must not be the whole body"),
    ('use = "errors"\ndetail = "x"', "JSON pointer"), ('use = "errors"\nfields = {{ status = "/s" }}', "member of RFC 9457"), ('use = "errors"\nfields = {{ code = "s" }}', "JSON pointer"),
    ('use = "eror"', "did you mean errors?"),
])
def test_a_mistake_in_a_filter_of_formats_is_named_with_its_place(tmp_path, text, why):
    (tmp_path / "ok.json").write_text("{}")
    (tmp_path / "bad.json").write_text('{"properties": {"a": {"type": "strnig"}}}')
    (tmp_path / "remote.json").write_text('{"$ref": "http://127.0.0.1:1/x"}')
    file = tmp_path / "gateway.toml"
    file.write_text(HEAD + text.format(folder=tmp_path) + "\n")
    with pytest.raises(ConfigFileError) as caught:
        load(file)
    assert why in str(caught.value)


def test_a_configuration_with_filters_of_formats_can_be_sent_to_workers(tmp_path):
    (tmp_path / "order.json").write_text(json.dumps(ORDER))
    (tmp_path / "shop.yaml").write_text(SHOP)
    file = tmp_path / "gateway.toml"
    text = CONFIG.format(url="http://127.0.0.1:1", folder=tmp_path, digest="0" * 64)
    file.write_text(f'{text}\n[compositions.page.parts]\na = {{ service = "up", path = "/{{?q}}", required = false }}\n')
    config = load(file)
    assert pickle.loads(pickle.dumps(config)) == config


def test_every_permit_is_back_in_the_end(gateway):
    eventually(lambda: not gateway.busy(), "every permit back")
