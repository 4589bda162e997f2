"""Malformed requests on the wire: 400 (or a closed connection), and the upstream never sees them.

Incident classes 1 (framing), 2 (path split view), 3 (trust headers) of the field's proxies.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from .conftest import CONFIG
from .harness import Embedded, Gateway, Upstream, free_port, parsed

pytestmark = pytest.mark.process

NUMBERS = itertools.count()
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: gw\r\n\r\n"


#: What granian itself reads, as RFC 9112 6.1 and RFC 9110 8.6 allow, in one way only.
READ_BY_GRANIAN = ("CL and TE", "CL twice")


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Embedded]:
    made = Embedded(tmp_path_factory.mktemp("embedded"), CONFIG.format(url=upstream.url, dead=free_port(), wait=600.0).replace(
        "client_timeout", "[gateway]\nclient_timeout", 1))
    yield made
    made.close()


@pytest.fixture(params=["front", "asgi"])
def either(request: pytest.FixtureRequest) -> Gateway | Embedded:
    """The gateway on its own front, and as an ASGI application on another server."""
    found: Gateway | Embedded = request.getfixturevalue({"front": "gateway", "asgi": "embedded"}[request.param])
    return found


def post(path: str, headers: bytes, body: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST %b HTTP/%b\r\nHost: gw\r\n%b\r\n%b" % (path.encode(), version, headers, body)


@pytest.mark.parametrize(("what", "request_bytes"), [
    ("CL and TE", post("/bad", b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    ("CL twice", post("/bad", b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc" + SMUGGLED)),
    ("TE ,chunked", post("/bad", b"Transfer-Encoding: ,chunked\r\n", b"0\r\n\r\n" + SMUGGLED)),
    ("TE xchunked", post("/bad", b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + SMUGGLED)),
    ("TE chunked twice", post("/bad", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    ("TE chunked, chunked", post("/bad", b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n" + SMUGGLED)),
    ("TE gzip", post("/bad", b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + SMUGGLED)),
    ("TE on HTTP/1.0", post("/bad", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED, b"1.0")),
    ("duplicate differing CL", post("/bad", b"Content-Length: 3\r\nContent-Length: 5\r\n", b"abcde")),
    ("CL list", post("/bad", b"Content-Length: 3, 3\r\n", b"abc" + SMUGGLED)),
    ("CL with a plus and an underscore", post("/bad", b"Content-Length: +1_0\r\n", b"abcdefghij")),
    ("CL empty", post("/bad", b"Content-Length: \r\n", SMUGGLED)),
    ("CL hexadecimal", post("/bad", b"Content-Length: 0x3\r\n", b"abc")),
    ("space before the colon", post("/bad", b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + SMUGGLED)),
    ("obs-fold", post("/bad", b"X-A: 1\r\n Transfer-Encoding: chunked\r\n", b"")),
    ("NUL in a header", post("/bad", b"X-A: 1\0\r\n", b"")),
    ("bare CR in a header", post("/bad", b"X-A: 1\rContent-Length: 5\r\n", b"abcde")),
    ("two Hosts", post("/bad", b"Host: other\r\n", b"")),
    ("empty Host", b"GET /bad HTTP/1.1\r\nHost: \r\n\r\n"),
    ("no Host", b"GET /bad HTTP/1.1\r\n\r\n"),
    ("Host with a path", b"GET /bad HTTP/1.1\r\nHost: gw/x\r\n\r\n"),
    ("GET *", b"GET * HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("path parameters before what is routed by", b"GET /strip;v=1/bad HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("encoded path parameters", b"GET /strip%3Bv=1/bad HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("overlong encoding", b"GET /strip/%c0%ae%c0%ae/bad HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("CVE-2025-66490: encoded slash", b"GET /bad%2fadmin HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("encoded backslash", b"GET /bad%5cadmin HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("encoded NUL", b"GET /bad%00 HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("double encoding", b"GET /bad%252e HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("CVE-2026-48020: /api../ under a stripped prefix", b"GET /strip/../bad HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("encoded dot segment", b"GET /strip/%2e%2e/bad HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("..; segment", b"GET /strip/..;/bad HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("CVE-2026-26205: //admin", b"GET //bad/x HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("CVE-2026-40912: // after stripping", b"GET /strip//bad HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("backslash", b"GET /bad\\x HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("space in the target", b"GET /bad x HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ("raw non-ASCII", b"GET /bad\xe9 HTTP/1.1\r\nHost: gw\r\n\r\n"),
])
def test_a_malformed_request_is_400_and_closed_and_never_forwarded(
        either: Gateway | Embedded, upstream: Upstream, what: str, request_bytes: bytes) -> None:
    if isinstance(either, Embedded) and what in READ_BY_GRANIAN:
        return
    mark = f"marked-{next(NUMBERS)}"  # of this request, and what it smuggles: late calls of other tests are not its own
    request_bytes = request_bytes.replace(b"bad", mark.encode()).replace(b"smuggled", mark.encode())
    reply = either.raw(request_bytes)  # reads until the gateway closes
    assert reply == b"" or parsed(reply)[0] in (400, 501, 505), what
    assert reply.count(b"HTTP/1.1 ") <= 1, "what followed was taken for a request"
    assert 200 == either.get(f"/fence/{mark}")[0]
    assert [f"/fence/{mark}"] == [call.target for call in upstream.calls if mark.encode() in call.head]
    assert 0 == upstream.count("*")


def test_options_for_the_whole_server_is_answered_and_not_forwarded(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.raw(b"OPTIONS * HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
    assert (200, b"", 0) == (*parsed(reply)[::2], upstream.count("*"))


def test_a_tunnel_is_not_implemented(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.raw(b"CONNECT tunnel:80 HTTP/1.1\r\nHost: tunnel:80\r\n\r\n" + SMUGGLED)
    assert (501, 1) == (parsed(reply)[0], reply.count(b"HTTP/1.1 "))
    assert 0 == upstream.count("tunnel:80") == upstream.count("/smuggled")


def test_http_1_0_without_a_host_is_served(gateway: Gateway, upstream: Upstream) -> None:
    """What HAProxy's check sends."""
    assert 200 == parsed(gateway.raw(b"OPTIONS /check HTTP/1.0\r\n\r\n"))[0]
    assert [] == upstream.called("/check").header(b"x-forwarded-host")


@pytest.mark.parametrize("method", ["PROPFIND", "QUERY", "PURGE", "REPORT", "MKCOL", "M-SEARCH"])
def test_any_method_is_forwarded(gateway: Gateway, upstream: Upstream, method: str) -> None:
    assert 200 == gateway.get(f"/method/{method}", method=method)[0]
    assert upstream.called(f"/method/{method}").head.startswith(method.encode())


def test_a_body_that_is_a_request_stays_a_body(gateway: Gateway, upstream: Upstream) -> None:
    """What python-pyproxy forwarded as a second request (facts/gateway.md 6)."""
    seen: list[bytes] = []

    def script(call):  # type: ignore[no-untyped-def]
        seen.append(call.body())
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.on("/body", script)
    size = b"%x" % len(SMUGGLED)
    reply = gateway.raw(post("/body", b"Transfer-Encoding: chunked\r\nConnection: close\r\n",
                             size + b"\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"))
    assert 200 == parsed(reply)[0]
    assert [size + b"\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"] == seen
    assert 0 == upstream.count("/smuggled")


@pytest.mark.parametrize(("what", "body"), [
    ("CVE-2025-43859: chunk tail", b"3\r\nabcXX0\r\n\r\n"), ("chunk size 0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
    ("chunk size +", b"+3\r\nabc\r\n0\r\n\r\n"), ("chunk size _", b"1_0\r\nabcdefghijabcdef\r\n0\r\n\r\n"),
    ("chunk size too large", b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    ("chunk ended by a bare LF", b"3\r\nabc\n0\n\n")])
def test_a_malformed_chunk_is_400_and_closed_and_never_ends_a_request_cleanly(
        gateway: Gateway, upstream: Upstream, what: str, body: bytes) -> None:
    complete: list[bytes] = []
    path = f"/chunk-{next(NUMBERS)}"
    upstream.on(path, lambda call: complete.append(call.body()))
    reply = gateway.raw(post(path, b"Transfer-Encoding: chunked\r\nConnection: close\r\n", body + SMUGGLED))
    assert (400, "close") == (parsed(reply)[0], parsed(reply)[1].get("connection")), what
    assert ([], 0) == (complete, upstream.count("/smuggled"))


def test_cve_2026_22815_trailers_cannot_carry_a_length(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.raw(post("/trailer", b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\nConnection: close\r\n",
                             b"3\r\nabc\r\n0\r\nContent-Length: 99\r\nX-T: 1\r\n\r\n"))
    assert 400 == parsed(reply)[0]
    assert 0 == upstream.count("/trailer") or b"0\r\n\r\n" not in upstream.called("/trailer").rest


def test_cve_2026_49975_too_many_headers_are_refused(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.raw(b"GET /many HTTP/1.1\r\nHost: gw\r\n" + b"X: y\r\n" * 20_000 + b"\r\n")
    assert reply == b"" or parsed(reply)[0] in (400, 431)
    assert 0 == upstream.count("/many")


def test_a_header_as_large_as_a_head_may_be_is_forwarded_and_a_larger_one_refused(
        gateway: Gateway, upstream: Upstream) -> None:
    assert 200 == gateway.get("/large", headers="X: " + "y" * 30_000 + "\r\n")[0]
    reply = gateway.raw(b"GET /larger HTTP/1.1\r\nHost: gw\r\nX: " + b"y" * 500_000 + b"\r\n\r\n")
    assert reply == b"" or parsed(reply)[0] in (400, 431)
    assert (1, 0) == (upstream.count("/large"), upstream.count("/larger"))


def test_a_stranger_cannot_spoof_where_a_request_comes_from(gateway: Gateway, upstream: Upstream) -> None:
    """GHSA-5m6w-wvh7-57vm, GHSA-6384-m2mw-rf54, CVE-2022-24112."""
    gateway.get("/spoof", headers="X-Forwarded-For: 10.0.0.1\r\nX_Forwarded_For: 10.0.0.2\r\nX-Real-IP: 10.0.0.3\r\n"
                                  "X-Forwarded-Proto: https\r\nForwarded: for=10.0.0.4\r\n"
                                  "Connection: close, X-Forwarded-For\r\n")
    call = upstream.called("/spoof")
    assert ([b"127.0.0.1"], [b"http"]) == (call.header(b"x-forwarded-for"), call.header(b"x-forwarded-proto"))
    assert b"10.0.0." not in call.head


def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    reply = gateway.raw(b"GET /one HTTP/1.1\r\nHost: gw\r\n\r\nGET /two HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
    assert 2 == reply.count(b"HTTP/1.1 200 OK")
