"""Admission: from the head of a request to what is sent where, or a refusal."""

from __future__ import annotations

import random
import re
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from resilience.gateway.config import GatewayConfig, GatewaySettings, RouteConfig, ServiceConfig
from resilience.gateway.messages.inbound import RequestHead
from resilience.gateway.messages.problem import Problem, ServerOptions
from resilience.gateway.request_mapping import Admission, Admitted
from resilience.gateway.routing.paths import named

from . import route_oracle as oracle

SERVICES = ("a", "b", "c")


def admission(*routes: RouteConfig, draw: Callable[[], float] = random.random, preserve_host: bool = False,
              **gateway: Any) -> Admission:
    config = GatewayConfig(gateway=GatewaySettings(**gateway), routes=routes,
                           services={name: ServiceConfig(endpoints=("http://h",)) for name in SERVICES})
    services = {name: types.SimpleNamespace(name=name, max_body=1000, preserve_host=preserve_host) for name in SERVICES}
    return Admission(config, services, random=draw)  # type: ignore[arg-type]


def route(path: str, service: str | None = "a", **more: Any) -> RouteConfig:
    return RouteConfig(path=path, service=service, **more)


def outcome(made: Admission, head: RequestHead) -> str | int:
    """The service, or the status of the refusal."""
    try:
        return made.admit(head).route.service.name
    except Problem as problem:
        return problem.status


def admitted(made: Admission, path: str, **more: Any) -> Admitted:
    return made.admit(oracle.request(more.pop("method", "GET"), more.pop("host", "gw"), path, **more))


INTERNAL = admission(route("/internal/*", "a"), route("/*", "b"))


@pytest.mark.parametrize("path", [
    "/internal/x", "/%69nternal/x", "/interna%6C/x", "/%69%6e%74%65%72%6E%61%6c/%78"])
def test_every_spelling_of_a_path_takes_the_same_route_and_is_forwarded_in_one_form(path: str) -> None:
    found = admitted(INTERNAL, path)
    assert ("a", b"/internal/x") == (found.route.service.name, found.request.target)


@pytest.mark.parametrize("path", [
    "/internal;v=1/x", "/internal;/x", "/internal%3Bv=1/x", "/;/internal/x", "/;internal/..;/x", "/a;/../internal/x", "/internal%2Fx", "/internal%2fx",
    "/./internal/x", "/x/../internal/x", "/%2e/internal/x", "/x/%2e%2E/internal/x", "/internal%5cx", "/internal\\x", "//internal/x",
    "/%2569nternal/x", "/internal%252fx", "/internal%c0%afx", "/internal%00/x", "/internal%0a/x", "/internal#/x"])
@pytest.mark.parametrize("allowed", [(), ("%2f", "%5c", "%25")])
def test_no_spelling_reaches_another_route(path: str, allowed: tuple[str, ...]) -> None:
    """CVE-2025-66490, CVE-2026-48020, CVE-2026-26205, and their kin."""
    made = admission(route("/internal/*", "a"), route("/*", "b"), allow_encoded=allowed)
    assert outcome(made, oracle.request("GET", "gw", path)) in (400, "a")


def test_two_slashes_in_the_middle_reach_no_other_route() -> None:
    made = admission(route("/v1/internal/*", "a"), route("/v1/*", "b"))
    assert [400, "b", "a"] == [outcome(made, oracle.request("GET", "gw", path)) for path in
                               ("/v1//internal/x", "/v1//public", "/v1/internal//x")]


@pytest.mark.parametrize(("path", "name"), [("/%40me/x", "a"), ("/@me/x", "a"), ("/%C3%A9/x", "b"), ("/%c3%a9/x", "b"), ("/a%20b/x", "c")])
def test_routes_compare_what_upstreams_decode(path: str, name: str) -> None:
    made = admission(route("/@me/*", "a"), route("/\xe9/*", "b"), route("/a b/*", "c"))
    assert name == outcome(made, oracle.request("GET", "gw", path))


@pytest.mark.parametrize("path", [
    "/e[1]", "/a|b", "/^", "/{x}", '/"q"', "/<b>", "/`", "/b//c;d%20e", "/x;jsessionid=1", "/~!$&'()*+,;=:@-._", "/%5B%7B", "/.well-known/x"])
def test_what_is_unusual_but_valid_is_forwarded_byte_for_byte(path: str) -> None:
    assert path.encode() == admitted(INTERNAL, path).request.target
    query = 'a[]=1|2&b={"c":<^`>}&d=it\'s\\'
    assert f"{path}?{query}".encode() == admitted(INTERNAL, path, query=query).request.target


UPSTREAMS: list[Callable[[bytes], bytes]] = [
    lambda path: re.sub(rb";[^/]*", b"", path), lambda path: path.partition(b";")[0] or b"/", lambda path: re.sub(rb"/+", b"/", path),
    lambda path: re.sub(rb";[^/]*\Z", b"", path), lambda path: path.replace(b"%3B", b";"), lambda path: path.replace(b"%2F", b"/"),
    lambda path: path.replace(b"%25", b"%"), lambda path: path.replace(b"%5C", b"/"), lambda path: named(re.sub(rb"%..", lambda m: m[0].upper(), path))]


def test_whatever_an_upstream_makes_of_a_path_that_is_forwarded_leads_to_the_same_route() -> None:
    """Upstreams that decode, cut, merge, in any order and each only so far; random tables of routes."""
    rng, counts = random.Random(14), Counter[str]()
    pieces = ["/", "/", "a", "b", "7", ";", ";v=1", "%3B", "%2F", "%5c", "%25", "%2561", "%61", "%40", "x"]
    for _ in range(150):
        routes = [RouteConfig(path=path, service="a") for path in rng.sample(oracle.PATTERNS, rng.randrange(2, 7))]
        made = admission(*routes, allow_encoded=("%2f", "%5c", "%25"))
        for _ in range(60):
            path = "/" + "".join(rng.choice(pieces) for _ in range(rng.randrange(9)))
            head = oracle.request("GET", "gw", path)
            try:
                found = made.admit(head)
            except Problem as problem:
                counts[str(problem.status)] += 1
                continue
            counts["admitted"] += 1
            view = named(found.request.target)
            for step in [lambda path: path, *rng.choices(UPSTREAMS, k=8)]:
                view = step(view)
                assert oracle.search(routes, head, "gw", view) is found.route.settings, (path, view, routes)
    assert min(counts["admitted"], counts["400"], counts["404"]) > 300, counts


@pytest.mark.parametrize(("target", "host", "expected"), [
    ("http://priv.example/x", "gw", "a"), ("http://PRIV.example./x", "gw", "a"), ("HTTP://priv.example:81/x", "gw", "a"),
    ("https://priv.example/x", "gw", 400), ("http://gw/x", "priv.example", "b"), ("/x", "priv.example", "a"), ("/x", "priv.example.:80", "a"),
    ("/x", "PRIV.Example", "a"), ("http://priv.example", "gw", "a"), ("ftp://gw/x", "gw", 400), ("http://u@priv.example/x", "gw", 400),
    ("http:///x", "gw", 400), ("http://priv.example:99999/x", "gw", 400), ("http:/x", "gw", 400), ("//priv.example/x", "gw", 400),
    ("gw:80", "gw", 400), ("x", "gw", 400), ("", "gw", 400), ("*", "gw", 400), ("http://gw/%69nternal/../x", "gw", 400)])
def test_the_authority_of_the_target_beats_the_host_header(target: str, host: str, expected: str | int) -> None:
    made = admission(route("/*", "a", host="priv.example"), route("/*", "b"))
    assert expected == outcome(made, oracle.request("GET", host, target))


def test_what_is_told_upstream_is_the_host_that_was_routed_by() -> None:
    made = admission(route("/*"), preserve_host=True)
    request = admitted(made, "http://Priv.Example.:8080/x", host="gw").request
    assert (b"priv.example:8080", b"/x") == (request.host, request.target)
    assert (b"x-forwarded-host", b"priv.example:8080") in request.headers


def test_a_path_of_an_absolute_target_may_be_empty() -> None:
    assert b"/?q=1" == admitted(admission(route("/*")), "http://gw", query="q=1").request.target


@pytest.mark.parametrize("target", ["*", "http://gw", "HTTP://gw:8080"])
def test_options_for_the_server_as_a_whole_is_answered_by_the_gateway(target: str) -> None:
    with pytest.raises(ServerOptions) as caught:
        admitted(admission(route("/*")), target, method="OPTIONS")
    assert (200, ([(b"content-length", b"0")], b"")) == (caught.value.status, caught.value.response())


@pytest.mark.parametrize(("method", "expected"), [
    ("PROPFIND", "a"), ("QUERY", "a"), ("M-SEARCH", "a"), ("get", "a"), ("!#$%&'*+-.^_`|~", "a"), ("CONNECT", 501), ("A B", 400), ("", 400),
    ("G\u00c9T", 400), ("GET\x00", 400), ("A(B)", 400)])
def test_a_route_without_methods_takes_any_token(method: str, expected: str | int) -> None:
    made = admission(route("/*"))
    assert [expected] * 2 == [outcome(made, oracle.request(method, "gw", "/x")) for _ in range(2)]


def test_methods_of_a_route_are_case_sensitive_and_any_token() -> None:
    made = admission(route("/*", methods=("PROPFIND", "GET")))
    assert ["a", "a", "a", 405, 405] == [outcome(made, oracle.request(method, "gw", "/")) for method in
                                         ("PROPFIND", "GET", "HEAD", "get", "POST")]


def head_of(version: str, *headers: tuple[bytes, bytes], path: bytes = b"/x") -> RequestHead:
    return RequestHead("GET", path, b"", version, "http", headers, ("192.0.2.1", 1), None)


@pytest.mark.parametrize("version", ["1.0", "1"])
@pytest.mark.parametrize("headers", [[], [(b"host", b"")]])  # the latter is how granian says the same
def test_http_1_0_without_a_host_takes_routes_for_any_host(version: str, headers: list[tuple[bytes, bytes]]) -> None:
    made = admission(route("/*", "b"), route("/*", "a", host="priv.example"), preserve_host=True)
    found = made.admit(head_of(version, *headers))
    assert ("b", None) == (found.route.service.name, found.request.host)
    assert b"x-forwarded-host" not in dict(found.request.headers)
    assert "a" == outcome(made, head_of(version, (b"host", b"priv.example")))


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_later_versions_need_a_host(version: str) -> None:
    assert 400 == outcome(admission(route("/*")), head_of(version))


@pytest.mark.parametrize("version", ["0.9", "2.0", "3.0", "1.2", "", "10"])
def test_other_versions_of_http_are_refused(version: str) -> None:
    assert 505 == outcome(admission(route("/*")), head_of(version, (b"host", b"gw")))


@pytest.mark.parametrize(("name", "status"), [
    (b"content-length ", 400), (b" x", 400), (b"", 400), (b"x:y", 400), (b"transfer-encoding\t", 400), (b"Transfer-Encoding", 400),
    (b"caf\xe9", 400), (b"x\0", 400), (b"x(y)", 400), (b"x!#$%&'*+^`|~.y", "a"), (b"x_y", "a")])
def test_a_server_that_does_not_check_names_of_headers_cannot_smuggle(name: bytes, status: str | int) -> None:
    assert status == outcome(admission(route("/*")), head_of("1.1", (b"host", b"gw"), (name, b"1")))


@pytest.mark.parametrize("host", [b"h/x", b"u@h", b"h h", b"h:x", b"a,b"])
def test_a_host_that_is_none_is_refused(host: bytes) -> None:
    assert 400 == outcome(admission(route("/*")), head_of("1.1", (b"host", host)))


def test_parameters_are_decoded_and_put_into_the_rewritten_path_as_they_came() -> None:
    made = admission(route("/orders/{id:int}/items/{item}/*", rewrite="/v2/{item}/of/{id}/*"), route("/v1/*", rewrite="/v2/*"))
    found = admitted(made, "/orders/7/items/caf%c3%a9%20x/a;v=1", query="q=1&r=[]")
    assert ({"id": "7", "item": "caf\xe9 x"}, b"/v2/caf%C3%A9%20x/of/7/a;v=1?q=1&r=[]") == (found.parameters, found.request.target)
    assert ({}, b"/v2/x") == ((plain := admitted(made, "/v1/x")).parameters, plain.request.target)
    assert [404, 404] == [outcome(made, oracle.request("GET", "gw", path)) for path in ("/orders/x/items/y/z", "/v1;v=1/x")]


@pytest.mark.parametrize("path", ["/strip//bad", "/strip//", "/strip;v=1/x", "/strip/..", "/strip/%2e%2e/x", "/strip/..;/x"])
def test_a_prefix_that_is_taken_off_uncovers_nothing(path: str) -> None:
    made = admission(route("/strip/*", strip_prefix="/strip"), route("/*", "b"))
    assert 400 == outcome(made, oracle.request("GET", "gw", path))


# -- several services


CANARY = {"path": "/*", "service": None, "services": {"a": 9, "b": 1, "c": 0}}


def test_services_take_requests_by_weight() -> None:
    draws = iter([0.0, 0.5, 0.899, 0.9, 0.999])
    made = admission(route(**CANARY), draw=lambda: next(draws))
    assert ["a", "a", "a", "b", "b"] == [outcome(made, oracle.request("GET", "gw", "/")) for _ in range(5)]


@pytest.mark.parametrize("sticky", ["header:X-User", "cookie:sid", "address"])
def test_a_client_stays_with_its_service_and_no_more_move_than_must_when_weights_change(sticky: str) -> None:
    def chosen(**weights: float) -> list[str | int]:
        made = admission(route("/*", None, services=weights, sticky=sticky), draw=lambda: pytest.fail("drawn"))
        return [outcome(made, oracle.request("GET", "gw", "/", client=f"2001:db8::{client:x}", headers=[
            ("x-user", f"u{client}"), ("cookie", f"a=b; sid=s{client}")])) for client in range(400)]

    before, after = chosen(a=9, b=1), chosen(a=8, b=2)
    assert before == chosen(a=9, b=1)
    assert all(now == "b" for was, now in zip(before, after, strict=True) if was == "b")
    assert (True, True) == (20 <= before.count("b") <= 65, 50 <= after.count("b") <= 115)


def test_of_many_services_no_more_clients_move_than_theory_allows_and_each_has_its_share() -> None:
    """The oracle is the probability that two weighted draws agree (Moulton and Jiang, 2018)."""
    rng, clients = random.Random(11), 3000

    def chosen(weights: dict[str, float]) -> list[str | int]:
        names = sorted(weights, key=lambda _: rng.random())  # the order in the file does not matter
        made = admission(route("/*", None, services={name: weights[name] for name in names}, sticky="header:x-user"))
        return [outcome(made, oracle.request("GET", "gw", "/", headers=[("x-user", f"u{client}")])) for client in range(clients)]

    def disagreeing(one: dict[str, float], other: dict[str, float]) -> float:
        one, other = ({name: weight / sum(each.values()) for name, weight in each.items()} for each in (one, other))
        return 1 - sum(1 / sum(max(one[j] / one[i], other[j] / other[i]) for j in one) for i in one if one[i] and other[i])

    for seed in range(6):
        rng = random.Random(seed)
        before = {name: rng.choice([0.5, 1.0, 3.0, 10.0]) for name in ("a", "b", "c")}
        after = {**before, "c": rng.choice([0.0, 0.1, 2.0, 20.0])}
        if seed % 2:
            after["a"] = rng.choice([0.2, 2.0])
        was, now = chosen(before), chosen(after)
        moved = [pair for pair in zip(was, now, strict=True) if pair[0] != pair[1]]
        assert abs(len(moved) / clients - disagreeing(before, after)) < 0.05
        share = {name: weight / sum(after.values()) for name, weight in after.items()}
        assert all(abs(now.count(name) / clients - share[name]) < 0.05 for name in share)
        if not seed % 2:
            assert all(("c" in pair) and pair[after["c"] > before["c"]] == "c" for pair in moved)


def test_a_client_without_a_key_is_drawn_for() -> None:
    made = admission(route(**CANARY, sticky="cookie:sid"), draw=lambda: 0.95)
    assert "b" == outcome(made, oracle.request("GET", "gw", "/"))


def test_a_trusted_proxy_tells_the_clients_address() -> None:
    made = admission(route("/*", "a", sources=("203.0.113.0/24",)), route("/*", "b"), trusted_proxies=("192.0.2.0/24", "10.0.0.0/8"))

    def source(forwarded: list[str], client: str = "192.0.2.1") -> str | int:
        return outcome(made, oracle.request("GET", "gw", "/", headers=[("x-forwarded-for", each) for each in forwarded], client=client))

    assert ["a", "a", "a"] == [source([], "203.0.113.7"), source(["203.0.113.7"]), source(["1.2.3.4, 203.0.113.7", "10.0.0.1"])]
    assert ["b", "b", "b", "b", "b"] == [source([]), source(["203.0.113.7, 1.2.3.4"]), source(["203.0.113.7, unknown"]), source([""]),
                                    source(["203.0.113.7"], "198.51.100.1")]
    assert "a" == source([], "::ffff:203.0.113.7")
    assert ["a", "b", "b"] == [source(["203.0.113.7:5678"]), source(["[2001:db8::1]:80"]), source(["203.0.113.7:1:2"])]


def test_whatever_a_request_says_it_is_admitted_or_refused_in_one_form() -> None:
    """No byte makes admission raise anything else, and what is forwarded fits into one line."""
    rng = random.Random(15)
    made = admission(route("/a/{x}/*", rewrite="/b/{x}/*"), route("/*", "b", sources=("10.0.0.0/8",), priority=1), route("/*", "c"),
                     route("/*", "a", host="*.example"), trusted_proxies=("192.0.2.1",), allow_encoded=("%2f", "%25"))
    bits = [b"/", b"a", b"/a/", b"%", b"%2f", b"%25", b";", b"..", b"http://", b"h.example", b":80", b"?", b"#", b"\r\n", b"\0", b"\xff", b"@", b"[", b"]"]
    statuses = Counter[int]()
    for _ in range(4000):
        def some(most: int) -> bytes:
            return b"".join(rng.choices(bits, k=rng.randrange(most)))

        headers = [(rng.choice([b"host", b"x", b"x-forwarded-for", b"cookie", b"content-length", b"connection"]), some(4)) for _ in range(rng.randrange(3))]
        head = RequestHead(rng.choice(["GET", "OPTIONS", "*", ""]), rng.choice([b"/", b""]) + some(6), some(3), rng.choice(["1.0", "1.1", "1.1"]), "http",
                           [(b"host", rng.choice([b"x.example", some(4)])), *headers], ("192.0.2.1", 1), None)
        try:
            target = made.admit(head).request.target
        except Problem as problem:
            statuses[problem.status] += 1
            continue
        statuses[0] += 1
        assert re.fullmatch(rb"/[!-\"$-~]*", target), target
    assert min(statuses[0], statuses[400]) > 100, statuses


def test_routes_are_named_after_what_they_take_unless_they_have_a_name() -> None:
    made = admission(route("/a/*"), route("/a/*", methods=("GET", "POST")), route("/a/*", "b", headers={"x": "1"}, priority=1), route("/b", name="beta"),
                     route("/c", host="*.h.example"))
    found = [admitted(made, "/a/x", method="PUT"), admitted(made, "/a/x"), admitted(made, "/a/x", method="PUT", headers=[("x", "1")]),
             admitted(made, "/b"), admitted(made, "/c", host="x.h.example")]
    assert ["/a/*", "GET,POST /a/*", "/a/* #2", "beta", "*.h.example/c"] == [each.route.name for each in found]
    assert {None} == {each.route.filters for each in found}
