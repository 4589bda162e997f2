"""Routing, by tables and against a plain oracle."""

from __future__ import annotations

import random

import pytest

from resilience.gateway.routing import (
    MethodNotAllowedError,
    NoRouteError,
    Router,
    ambiguity,
    host_is_legal,
    host_name,
    query_is_legal,
    stripped,
)


def router(*routes: tuple[str, str, str | None]) -> Router[str]:
    made: Router[str] = Router()
    for methods, path, host in routes:
        made.add(path, methods.split(), f"{methods} {path} {host or '*'}", host)
    return made


ROUTER = router(
    ("GET", "/", None), ("GET POST", "/inventory/*", None), ("GET", "/inventory/special", None),
    ("DELETE", "/inventory/special/*", None), ("GET", "/inventory/special/deep/*", None), ("GET", "/a/*", "shop.example"),
)


@pytest.mark.parametrize(("method", "path", "host", "found"), [
    ("GET", "/", "h", "GET / *"),
    ("GET", "/inventory", "h", "GET POST /inventory/* *"),
    ("GET", "/inventory/", "h", "GET POST /inventory/* *"),
    ("GET", "/inventory/x/y", "h", "GET POST /inventory/* *"),
    ("GET", "/inventory/special", "h", "GET /inventory/special *"),
    ("POST", "/inventory/special", "h", "GET POST /inventory/* *"),
    ("DELETE", "/inventory/special", "h", "DELETE /inventory/special/* *"),
    ("DELETE", "/inventory/special/deep/er", "h", "DELETE /inventory/special/* *"),
    ("GET", "/inventory/special/deep/er", "h", "GET /inventory/special/deep/* *"),
    ("GET", "/inventory/special/deeper", "h", "GET POST /inventory/* *"),
    ("GET", "/a/b", "shop.example", "GET /a/* shop.example"),
    ("GET", "/a/b", "SHOP.example:8080", "GET /a/* shop.example"),
    ("GET", "/inventory/x", "shop.example", "GET POST /inventory/* *"),
])
def test_the_most_specific_route_with_the_method_wins(method: str, path: str, host: str, found: str) -> None:
    assert found == ROUTER.find(method, path.encode(), host.encode())


@pytest.mark.parametrize(("path", "host"), [
    ("/inventoryx", "h"), ("/x", "h"), ("/a/b", "other.example"), ("/Inventory/x", "h"), ("//inventory/x", "h")])
def test_what_no_route_has_is_not_found(path: str, host: str) -> None:
    with pytest.raises(NoRouteError):
        ROUTER.find("GET", path.encode(), host.encode())


def test_a_path_without_the_method_says_which_it_has() -> None:
    with pytest.raises(MethodNotAllowedError) as caught:
        ROUTER.find("PUT", b"/inventory/special/deep", b"h")
    assert caught.value.allow == ("DELETE", "GET", "POST")


def test_random_tables_agree_with_a_plain_search() -> None:
    rng = random.Random(11)
    segments = ["a", "b", "ab", "c"]
    for _ in range(300):
        routes = {}
        for _ in range(rng.randrange(1, 8)):
            path = "/" + "/".join(rng.choice(segments) for _ in range(rng.randrange(4)))
            path = path.rstrip("/") + "/*" if rng.random() < 0.6 else path
            routes[path, rng.choice(["GET", "POST"]), rng.choice([None, "h1", "h2"])] = object()
        made: Router[object] = Router()
        for (path, method, host), target in routes.items():
            made.add(path, [method], target, host)
        for _ in range(20):
            path = "/" + "/".join(rng.choice([*segments, ""]) for _ in range(rng.randrange(6)))
            method, host = rng.choice(["GET", "POST"]), rng.choice(["h1", "h2", "h3"])
            assert _search(routes, method, path, host) is _find(made, method, path, host), (routes, method, path, host)


def _search(routes: dict[tuple[str, str, str | None], object], method: str, path: str, host: str) -> object:
    best, target = (-1, -1, -1), None
    for (pattern, wanted, wanted_host), each in routes.items():
        stem = pattern[:-2]
        hit = path == pattern if not pattern.endswith("/*") else path == stem or path.startswith(stem + "/")
        if hit and wanted == method and wanted_host in (None, host):
            rank = (wanted_host is not None, not pattern.endswith("/*"), len(pattern))
            if rank > best:
                best, target = rank, each
    return target


def _find(made: Router[object], method: str, path: str, host: str) -> object:
    try:
        return made.find(method, path.encode(), host.encode())
    except (NoRouteError, MethodNotAllowedError):
        return None


@pytest.mark.parametrize("path", [
    "/", "/a", "/a/", "/a//b", "/a/b.c", "/a/.well-known/x", "/...", "/a/..b", "/a/b..", "/~!$&'()*+,;=:@-._",
    "/%20", "/%C3%A9", "/a%2Eb", "/a;p=1/b", "/%7b%7D", "/.a"])
def test_plain_paths_are_unambiguous(path: str) -> None:
    assert ambiguity(path.encode()) is None


@pytest.mark.parametrize(("incident", "path"), [
    ("CVE-2026-48020: /api../ with a stripped prefix", "/api/../admin"),
    ("dot segments", "/a/./b"), ("dot segments", "/.."), ("dot segments", "/."), ("dot segments", "/a/.."),
    ("encoded dot segments", "/a/%2e%2e/b"), ("encoded dot segments", "/a/.%2E/b"), ("encoded dot segments", "/%2e"),
    ("dot segments with parameters, as Tomcat reads them", "/a/..;/b"), ("the same", "/a/..;x=1/b"),
    ("the same", "/a/%2e.;/b"),
    ("CVE-2025-66490: encoded reserved characters", "/a%2fb"), ("CVE-2025-66490", "/a%2Fb"),
    ("encoded backslash", "/a%5cb"), ("backslash", "/a\\b"), ("NUL", "/a%00b"), ("raw NUL", "/a\0b"),
    ("encoded line break", "/a%0d%0ab"), ("encoded DEL", "/a%7Fb"), ("double encoding", "/a%252e%252e/b"),
    ("CVE-2026-26205: //admin parsed as authority", "//admin"), ("the same", "//"),
    ("no slash", "a"), ("no slash", "*"), ("absolute", "http://h/"), ("empty", ""),
    ("broken encoding", "/a%"), ("broken encoding", "/a%4"), ("broken encoding", "/a%zz"),
    ("raw space", "/a b"), ("raw non-ASCII", "/é"), ("fragment", "/a#b"), ("query", "/a?b"),
    ("CVE-2026-40912: decoded length differs", "/%61pi%2f"),
])
def test_a_path_that_upstreams_could_read_differently_is_refused(incident: str, path: str) -> None:
    assert ambiguity(path.encode()) is not None, incident


@pytest.mark.parametrize(("path", "allowed"), [("/a%2Fb", b"%2f"), ("/50%25", b"%25"), ("/a%5Cb", b"%5c")])
def test_an_encoding_can_be_allowed(path: str, allowed: bytes) -> None:
    assert ambiguity(path.encode(), frozenset({allowed})) is None


def test_an_allowed_slash_does_not_let_dot_segments_through() -> None:
    assert ambiguity(b"/a/..%2fb", frozenset({b"%2f"})) is not None
    assert ambiguity(b"/a%2f../b", frozenset({b"%2f"})) is not None
    assert ambiguity(b"/a%2f..%2fb", frozenset({b"%2f"})) is not None
    assert ambiguity(b"/%2fadmin", frozenset({b"%2f"})) is not None


def test_checking_a_long_path_takes_linear_time() -> None:
    assert ambiguity(b"/a." * 20_000 + b"\\") is not None
    assert ambiguity(b"/" * 60_000) is not None
    assert ambiguity(b"/a" + b"/" * 60_000) is None


@pytest.mark.parametrize(("query", "legal"), [
    (b"", True), (b"a=b&c=%41", True), (b"q=it's", True), (b"a[]=1|2", True), (b"x=/?:@", True), (b"%zz%", True),
    (b"a b", False), (b"a\r\nb", False), (b"\xc3\xa9", False), (b"\0", False), (b"a#b", False)])
def test_queries_are_forwarded_as_they_are_unless_they_could_not_be_in_a_request_line(query: bytes, legal: bool) -> None:
    assert legal == query_is_legal(query)


@pytest.mark.parametrize(("host", "legal"), [
    (b"h", True), (b"h:80", True), (b"[::1]", True), (b"[::1]:80", True), (b"a-b.c_d", True), (b"h:", True),
    (b"", False), (b"h h", False), (b"h/x", False), (b"u@h", False), (b"h:80:80", False), (b"h:x", False),
    (b"a,b", False), (b"h\\x", False), (b"[::1", False), (b"h:999999", False)])
def test_a_host_is_a_name_and_perhaps_a_port(host: bytes, legal: bool) -> None:
    assert legal == host_is_legal(host)


@pytest.mark.parametrize(("host", "name"), [
    (b"H.example:80", b"h.example"), (b"h", b"h"), (b"[::1]:80", b"[::1]"), (b"[::1]", b"[::1]")])
def test_a_host_name_has_no_port(host: bytes, name: bytes) -> None:
    assert name == host_name(host)


@pytest.mark.parametrize(("path", "rest"), [(b"/a/b", b"/b"), (b"/a", b"/"), (b"/a/", b"/"), (b"/a//b", b"//b")])
def test_stripping_leaves_a_path(path: bytes, rest: bytes) -> None:
    assert rest == stripped(path, b"/a")
