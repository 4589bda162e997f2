"""The paths of routes, and rewrites."""

from __future__ import annotations

import pytest

from resilience.gateway.routing.paths import PathError, canonical
from resilience.gateway.routing.patterns import Parameter, Pattern, Rewrite


def test_a_pattern_has_segments_parameters_and_perhaps_a_wildcard() -> None:
    found = Pattern.parse("/orders/{id:int}/items/{item}/*")
    assert (b"orders", Parameter("int"), b"items", Parameter("")) == found.segments
    assert (True, (("id", 1), ("item", 3)), None) == (found.wildcard, found.names, found.exact)
    assert {"id": "7", "item": "caf\xe9 1"} == found.parameters(canonical(b"/orders/7/items/caf%c3%a9%201/x/y").name)


@pytest.mark.parametrize(("text", "name"), [
    ("/", b"/"), ("/a/b", b"/a/b"), ("/a/", b"/a/"), ("/%69nternal", b"/internal"), ("/caf\xe9", "/caf\xe9".encode()),
    ("/caf%c3%a9", "/caf\xe9".encode()), ("/a b", b"/a b"), ("/@me", b"/@me"), ("/%40me", b"/@me"), ("/%7Bx%7D", b"/{x}")])
def test_a_route_can_be_spelt_as_its_requests_can(text: str, name: bytes) -> None:
    assert name == Pattern.parse(text).exact


def test_parameters_of_other_names_make_no_other_pattern() -> None:
    assert Pattern.parse("/a/{x}") == Pattern.parse("/a/{y}") != Pattern.parse("/a/{x:int}")


@pytest.mark.parametrize(("text", "message"), [
    ("a", "begin with a slash"), (7, "begin with a slash"), ("", "begin with a slash"), ("/*/b", "only as /* at its end"),
    ("/a*", "only as /* at its end"), ("/a/{id", "whole segment"), ("/a{id}", "whole segment"), ("/{id}.json", "whole segment"),
    ("/{}", "whole segment"), ("/{1a}", "whole segment"), ("/{a}/{a}", "two parameters of the name a"), ("/{a:}", "kind"),
    ("/{a:float}", "must be one of int, uuid, word"), ("/{a:[0-9]+}", "whole segment"), ("/a//b", "empty segments"),
    ("/a//*", "empty segments"), ("/a;x", "plain path"), ("/a%3Bx", "plain path"), ("/a%2fb", "plain path"), ("/a%25", "plain path"),
    ("/a/../b", "plain path"), ("/a/%2e%2e/b", "plain path"), ("/a?b", "plain path"), ("/a%", "plain path"), ("/a\\b", "plain path"),
    ("/a%00", "plain path"), ("/a#b", "plain path")])
def test_what_is_no_pattern_is_refused(text: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("*", r"\*").replace("[", r"\[")):
        Pattern.parse(text)


@pytest.mark.parametrize(("pattern", "rewrite", "path", "found"), [
    ("/v1/*", "/v2/*", "/v1/a/b", "/v2/a/b"), ("/v1/*", "/v2/*", "/v1", "/v2"), ("/v1/*", "/v2/*", "/v1/", "/v2/"),
    ("/v1/*", "/*", "/v1/a", "/a"), ("/v1/*", "/*", "/v1", "/"), ("/v1/*", "/fixed", "/v1/a", "/fixed"),
    ("/o/{id}/i/{n}", "/i/{n}/of/{id}", "/o/7/i/8", "/i/8/of/7"), ("/o/{id}", "/o-{id}.json", "/o/7", "/o-7.json"),
    ("/o/{id}/*", "/v2/{id}/*", "/o/caf%c3%a9/x%20y", "/v2/caf%C3%A9/x%20y"), ("/o/{id}", "/{id}", "/o/@7", "/@7"),
    ("/o/{id}/*", "/{id}/{id}/*", "/o/a/b", "/a/a/b"), ("/a", "/caf\xe9", "/a", "/caf%C3%A9"),
    ("/f/*", "/g/*", "/f/a%2Fb", "/g/a%2Fb"), ("/f/*", "/g/*", "/f/a;v=1/b", "/g/a;v=1/b")])
def test_a_path_is_rewritten_in_its_canonical_form(pattern: str, rewrite: str, path: str, found: str) -> None:
    raw = canonical(path.encode(), (b"%2f",)).raw
    assert found.encode() == Rewrite.parse(rewrite, Pattern.parse(pattern)).apply(raw)


@pytest.mark.parametrize(("path", "found"), [
    ("/a/b", "/b"), ("/a", "/"), ("/a/", "/"), ("/a/b//c", "/b//c"), ("/%61/b", "/b"), ("/a/b%20c", "/b%20c")])
def test_a_prefix_is_taken_off_by_whole_segments(path: str, found: str) -> None:
    """CVE-2026-40912: by segments, never by the length that the prefix has when it is decoded."""
    assert found.encode() == Rewrite.stripping("/a").apply(canonical(path.encode()).raw)


@pytest.mark.parametrize(("rewrite", "path"), [
    (Rewrite.stripping("/a"), "/a//b"), (Rewrite.parse("/*", Pattern.parse("/a/*")), "/a//b"),
    (Rewrite.parse("/{y}{x}", Pattern.parse("/{x}/{y}")), "/./.")])
def test_what_a_rewrite_makes_is_looked_at_once_more(rewrite: Rewrite, path: str) -> None:
    """CVE-2026-48020 and CVE-2026-26205: nothing becomes a dot segment, or a host name, on its way."""
    with pytest.raises(PathError):
        rewrite.apply(path.encode())


@pytest.mark.parametrize(("rewrite", "pattern", "message"), [
    ("/v2/{id}", "/a/*", "does not have; it has none"), ("/v2/{ids}", "/a/{id}", "does not have; it has id"), ("/v2/*", "/a", "the path has not"),
    ("v2", "/a", "begin with a slash"), ("/a*b", "/a", "no other"), ("/{id", "/{id}", "no other"), ("/a/../b", "/a", "plain path"),
    ("/a%2fb", "/a", "plain path"), ("//a", "/a", "plain path"), ("/a//b", "/a", "plain path"), ("/a;b", "/a", "plain path"),
    ("/a?b=1", "/a", "plain path"), ("/{id:int}", "/{id:int}", "no other")])
def test_a_rewrite_that_cannot_be_done_is_refused(rewrite: str, pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rewrite.parse(rewrite, Pattern.parse(pattern))
