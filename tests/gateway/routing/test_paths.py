"""Paths in their canonical form; incident class 2 (path split view) of the field's proxies."""

from __future__ import annotations

import random
import re

import pytest

from resilience.gateway.routing.paths import PathError, canonical, query_is_legal


def refused(path: str, *allowed: bytes) -> str | None:
    """Why a path is not to be forwarded; None if it may."""
    try:
        canonical(path.encode("latin-1"), allowed)
    except PathError as error:
        return str(error)
    return None


@pytest.mark.parametrize("path", [
    "/", "/a", "/a/", "/a//b", "/a/b.c", "/a/.well-known/x", "/...", "/a/..b", "/a/b..", "/~!$&'()*+,;=:@-._",
    "/%20", "/%C3%A9", "/a%2Eb", "/a;p=1/b", "/%7b%7D", "/.a"])
def test_plain_paths_are_unambiguous(path: str) -> None:
    assert refused(path) is None


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
    assert refused(path) is not None, incident


@pytest.mark.parametrize(("path", "allowed"), [("/a%2Fb", b"%2f"), ("/50%25", b"%25"), ("/a%5Cb", b"%5c")])
def test_an_encoding_can_be_allowed(path: str, allowed: bytes) -> None:
    assert refused(path, allowed) is None


def test_an_allowed_slash_does_not_let_dot_segments_through() -> None:
    assert refused("/a/..%2fb", b"%2f") is not None
    assert refused("/a%2f../b", b"%2f") is not None
    assert refused("/a%2f..%2fb", b"%2f") is not None
    assert refused("/%2fadmin", b"%2f") is not None


def test_checking_a_long_path_takes_linear_time() -> None:
    assert refused("/a." * 20_000 + "\\") is not None
    assert refused("/" * 60_000) is not None
    assert refused("/a" + "/" * 60_000) is None


@pytest.mark.parametrize(("query", "legal"), [
    (b"", True), (b"a=b&c=%41", True), (b"q=it's", True), (b"a[]=1|2", True), (b"x=/?:@", True), (b"%zz%", True),
    (b"a b", False), (b"a\r\nb", False), (b"\xc3\xa9", False), (b"\0", False), (b"a#b", False)])
def test_queries_are_forwarded_as_they_are_unless_they_could_not_be_in_a_request_line(query: bytes, legal: bool) -> None:
    assert legal == query_is_legal(query)


@pytest.mark.parametrize(("path", "raw", "name"), [
    ("/%69nternal/%78", "/internal/x", "/internal/x"), ("/a%2Db%5f%7E%2e", "/a-b_~.", "/a-b_~."),
    ("/caf%c3%a9", "/caf%C3%A9", "/caf\xc3\xa9"), ("/e[1]", "/e[1]", "/e[1]"), ("/e%5b1%5D", "/e%5B1%5D", "/e[1]"),
    ("/|^{}\"<>`", "/|^{}\"<>`", "/|^{}\"<>`"), ("/me%40example.com", "/me%40example.com", "/me@example.com"),
    ("/a%20b+c", "/a%20b+c", "/a b+c"), ("/!$&'()*,=:@", "/!$&'()*,=:@", "/!$&'()*,=:@"), ("/a%3bb", "/a%3Bb", "/a%3Bb"),
    ("/a;v=%31", "/a;v=1", "/a;v=1"), ("/%3f%23", "/%3F%23", "/?#")])
def test_a_path_has_one_canonical_form_and_one_name_that_routes_compare(path: str, raw: str, name: str) -> None:
    found = canonical(path.encode())
    assert (raw.encode(), name.encode("latin-1")) == (found.raw, found.name)
    again = canonical(found.raw)
    assert (found.raw, found.name) == (again.raw, again.name)


@pytest.mark.parametrize(("path", "allowed", "readings"), [
    ("/a/b", (), []), ("/a%20b/%C3%A9", (), []), ("/internal;v=1/x", (), ["/internal/x", "/internal"]),
    ("/a/b;jsessionid=1", (), ["/a/b"]), ("/a//b///c", (), ["/a/b/c"]), ("/internal%3Bv=1/x", (), ["/internal/x", "/internal"]),
    ("/a;/b;c/d", (), ["/a/b/d", "/a"]), ("/;a/b", (), ["/b", "/"]), ("/a%2Fb", (b"%2f",), ["/a/b"]),
    ("/a%5Cb", (b"%5c",), ["/a/b"]), ("/%2569nternal", (b"%25",), ["/internal"]), ("/50%25", (b"%25",), ["/50%"])])
def test_what_eager_upstreams_could_read_is_known(path: str, allowed: tuple[bytes, ...], readings: list[str]) -> None:
    assert [each.encode() for each in readings] == canonical(path.encode(), allowed).readings()


@pytest.mark.parametrize("path", [
    "/a/%c0%af/b", "/a/%C0%AE%C0%AE/b", "/%e0%80%af", "/%f0%80%80%af", "/a%c1%9cb"])
def test_an_overlong_encoding_is_refused(path: str) -> None:
    assert "overlong" in str(refused(path))


def test_what_hides_under_several_encodings_is_refused_even_where_encoded_percent_signs_are_allowed() -> None:
    assert "dot segment" in str(refused("/a/%252e%252e/b", b"%25"))
    assert "control" in str(refused("/a%2500", b"%25"))
    assert "two slashes" in str(refused("/%252fa", b"%25"))
    assert "too many times" in str(refused("/%" + "25" * 20_000, b"%25"))


def test_random_spellings_of_one_path_have_one_form_and_name() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        path = "/" + "".join(rng.choice("abz09-._~/") for _ in range(rng.randrange(12)))
        path = re.sub("/{2,}", "/", path)
        if refused(path) is not None:
            continue
        spelt = "".join(rng.choice([c, f"%{ord(c):02x}", f"%{ord(c):02X}"]) if c != "/" else c for c in path)
        assert (path.encode(), path.encode()) == (canonical(spelt.encode()).raw, canonical(spelt.encode()).name)
