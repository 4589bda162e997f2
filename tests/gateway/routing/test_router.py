"""Routing, by tables and against a plain search."""

from __future__ import annotations

import random

import pytest

from resilience.gateway.config import RouteConfig
from resilience.gateway.config.routes import conflicts
from resilience.gateway.routing.paths import canonical
from resilience.gateway.routing.patterns import Pattern
from resilience.gateway.routing.predicates import Predicates, address_of
from resilience.gateway.routing.router import Entry, MethodNotAllowedError, NoRouteError, Router

from .. import route_oracle as oracle


def router(*routes: RouteConfig) -> Router[RouteConfig]:
    made: Router[RouteConfig] = Router()
    for route in routes:
        asked = route.predicates
        checks = asked.checks(lambda head: None if head.client is None else address_of(head.client[0]))
        made.add(Pattern.parse(route.path), Entry(route, asked.methods, checks, route.priority, asked.count), route.host)
    return made


def found(made: Router[RouteConfig], head: object, host: str, name: bytes) -> RouteConfig | str:
    try:
        return made.find(name, host.encode(), head)  # type: ignore[arg-type]
    except MethodNotAllowedError as error:
        return f"405 {', '.join(error.allow)}"
    except NoRouteError:
        return "404"


def route(path: str, methods: str = "", host: str | None = None, **more: object) -> RouteConfig:
    return RouteConfig(path=path, methods=tuple(methods.split()) or None, host=host, service="s", **more)  # type: ignore[arg-type]


ROUTES = [
    route("/", "GET"), route("/inventory/*", "GET POST"), route("/inventory/special", "GET"), route("/inventory/special/*", "DELETE"),
    route("/inventory/special/deep/*", "GET"), route("/a/*", "GET", "shop.example"), route("/orders/{id:int}", "GET"),
    route("/orders/{id}", "GET"), route("/orders/{id}/items/*"), route("/orders/new", "GET"), route("/orders/{id}/items/first", "GET"),
    route("/w/*", host="*.example.com"), route("/w/*", host="*.eu.example.com"), route("/w/*", host="one.eu.example.com"), route("/w/*"),
    route("/{x:uuid}"), route("/{x:word}")]
ROUTER = router(*ROUTES)


@pytest.mark.parametrize(("method", "path", "host", "index"), [
    ("GET", "/", "h", 0), ("GET", "/inventory", "h", 1), ("GET", "/inventory/", "h", 1), ("GET", "/inventory/x/y", "h", 1),
    ("GET", "/inventory/special", "h", 2), ("POST", "/inventory/special", "h", 1), ("DELETE", "/inventory/special", "h", 3),
    ("DELETE", "/inventory/special/deep/er", "h", 3), ("GET", "/inventory/special/deep/er", "h", 4),
    ("GET", "/inventory/special/deeper", "h", 1), ("HEAD", "/inventory/special", "h", 2), ("GET", "/a/b", "shop.example", 5),
    ("GET", "/inventory/x", "shop.example", 1), ("GET", "/orders/7", "h", 6), ("GET", "/orders/x", "h", 7),
    ("GET", "/orders/new", "h", 9), ("GET", "/orders/7/items", "h", 8), ("GET", "/orders/7/items/first", "h", 10),
    ("PUT", "/orders/7/items/first", "h", 8), ("PROPFIND", "/orders/7/items/a/b", "h", 8), ("GET", "/w/x", "h", 14),
    ("GET", "/w/x", "example.com", 14), ("GET", "/w/x", "a.example.com", 11), ("GET", "/w/x", "a.b.example.com", 11),
    ("GET", "/w/x", "eu.example.com", 11), ("GET", "/w/x", "two.eu.example.com", 12), ("GET", "/w/x", "one.eu.example.com", 13),
    ("GET", "/w/x", "notexample.com", 14), ("GET", "/0a0b0c0d-0000-4000-8000-0123456789ab", "h", 15), ("GET", "/0a0b", "h", 16)])
def test_the_most_specific_route_with_the_method_wins(method: str, path: str, host: str, index: int) -> None:
    head = oracle.request(method, host, path)
    assert found(ROUTER, head, host, path.encode()) is ROUTES[index] is oracle.search(ROUTES, head, host, path.encode())


@pytest.mark.parametrize(("path", "host"), [
    ("/inventory.x", "h"), ("/a/b", "other.example"), ("/Inventory/x", "h"), ("//inventory/x", "h"), ("/orders/", "h"),
    ("/orders//items", "h"), ("/orders/7;v=1/items", "h"), ("/orders/a%2Fb/items", "h"), ("", "h")])
def test_what_no_route_has_is_not_found(path: str, host: str) -> None:
    assert "404" == found(ROUTER, oracle.request("GET", host, path), host, path.encode())


def test_a_path_without_the_method_says_which_it_has() -> None:
    assert "405 DELETE, GET, HEAD, POST" == found(ROUTER, oracle.request("PUT", "h", ""), "h", b"/inventory/special/deep")


def without_conflicts(routes: list[RouteConfig]) -> list[RouteConfig]:
    """So many of *routes* that none is in conflict with another."""
    while True:
        wrong = {path[1] for path, _ in conflicts(dict(enumerate(routes)), ["s"])}
        if not wrong:
            return routes
        routes = [each for index, each in enumerate(routes) if index not in wrong]


def test_random_tables_agree_with_a_plain_search() -> None:
    rng, taken = random.Random(11), set()
    for _ in range(400):
        routes = without_conflicts([oracle.random_route(rng, "s") for _ in range(rng.randrange(1, 14))])
        made = router(*routes)
        for _ in range(25):
            path = "/" + "/".join(rng.choice(["a", "b", "7", "x.y", "", "c;v=1"]) for _ in range(rng.randrange(5)))
            head, host = oracle.random_request(rng, path)
            right = oracle.search(routes, head, host, path.encode())
            assert right is found(made, head, host, path.encode()) or right == found(made, head, host, path.encode()), (routes, path)
            taken.add(right[:3] if isinstance(right, str) else "found")
    assert {"404", "405", "found"} == taken


def test_tables_without_conflicts_leave_nothing_undecided_and_no_route_out() -> None:
    """Whatever the order in the file, the same route is found; every other table of routes is a mistake."""
    rng = random.Random(12)
    for _ in range(300):
        routes = without_conflicts([oracle.random_route(rng, "s") for _ in range(rng.randrange(2, 10))])
        one, other = router(*routes), router(*reversed(routes))
        for _ in range(25):
            head, host = oracle.random_request(rng, "/" + "/".join(rng.choice(["a", "b", "7"]) for _ in range(rng.randrange(4))))
            right = found(one, head, host, head.path)
            assert right is found(other, head, host, head.path) or right == found(other, head, host, head.path), routes


def test_what_predicates_are_said_to_exclude_or_imply_they_do() -> None:
    rng = random.Random(13)
    for _ in range(1500):
        one, other = oracle.random_route(rng, "s"), oracle.random_route(rng, "s")
        heads = [oracle.random_request(rng, "/")[0] for _ in range(20)]
        takes = [[oracle._asked(each, head) and head.method in oracle._methods(each) for each in (one, other)] for head in heads]
        if one.predicates.excludes(other.predicates):
            assert not any(mine and yours for mine, yours in takes), (one, other)
        if one.predicates.implies(other.predicates):
            assert all(yours for mine, yours in takes if mine), (one, other)


def test_a_name_that_is_there_twice_counts_only_if_every_value_does() -> None:
    """CVE-2026-26308 and 31838: never the first value alone."""
    asked = Predicates.of(headers={"X-Role": ["guest", "user"]}, query={"v": "1"}, cookies={"c": "1"})
    checks = asked.checks(lambda head: None)

    def takes(roles: list[str], query: str = "v=1", cookie: str = "c=1") -> bool:
        head = oracle.request("GET", "h", "/", query, [*(("x-role", role) for role in roles), ("cookie", cookie)])
        return all(check(head) for check in checks)

    assert [True, True] == [takes(["guest"]), takes(["guest", "user"])]
    assert not any((takes(["guest", "admin"]), takes(["admin", "guest"]), takes([]), takes(["guest"], "v=1&v=2"), takes(["guest"], ""),
                    takes(["guest"], "v=1", "c=1; c=2"), takes(["guest"], "v=1", "d=1")))
    assert takes(["guest"], "%76=%31&x=2&v=1", "a=b; c=1")


def test_a_deep_path_costs_no_more_than_the_deepest_route() -> None:
    made = router(*ROUTES)
    assert found(made, oracle.request("GET", "h", ""), "h", b"/inventory" + b"/x" * 30_000) is ROUTES[1]


@pytest.mark.parametrize(("path", "takes"), [
    ("/internal/x;v=1", True), ("/internal;v=1/x", False), ("/x/y;a=1;b=2/z", True), ("/internal//x", True), ("/x//internal", True),
    ("/x;/internal/y", True), ("/;x/internal/y", False), ("/x//y", True), ("/internal%3Bv/x", False), ("/x/a%2Fb", True), ("/x%2F..y/z", True)])
def test_the_readings_of_a_path_lead_to_one_route_or_it_is_seen(path: str, takes: bool) -> None:
    routes = [route("/internal/*"), route("/*")]
    made, seen = router(*routes), canonical(path.encode(), (b"%2f",))
    right = {id(found(made, oracle.request("GET", "h", ""), "h", name)) for name in (seen.name, *seen.readings())}
    assert takes is (len(right) == 1)
