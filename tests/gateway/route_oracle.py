"""A plain, slow router, as the documentation says it: all routes that take a request, in order; the first of them."""

from __future__ import annotations

import ipaddress
import random
import re
from urllib.parse import parse_qsl, unquote_to_bytes

from resilience.gateway.config import RouteConfig
from resilience.gateway.messages.inbound import RequestHead

SEGMENT = {"int": rb"[0-9]+", "uuid": rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "word": rb"[A-Za-z0-9_-]+",
           "": rb"[^/;%]+"}
RANK = ["literal", "int", "uuid", "word", ""]


def request(method: str, host: str, path: str, query: str = "", headers: list[tuple[str, str]] | None = None,
            client: str = "192.0.2.1") -> RequestHead:
    lines = [("host", host), *(headers or [])] if host else headers or []
    return RequestHead(method, path.encode("latin-1"), query.encode(), "1.1", "http",
                       [(name.encode(), value.encode("latin-1")) for name, value in lines], (client, 1), ("192.0.2.9", 80))


def search(routes: list[RouteConfig], head: RequestHead, host: str, name: bytes) -> RouteConfig | str:
    """The route for a path of this *name*; else "404", or "405 GET, HEAD"."""
    for_path = [route for route in routes if _host_rank(route, host) is not None and _path_of(route).fullmatch(name)
                and _asked(route, head)]
    for_path.sort(key=lambda route: (_host_rank(route, host), _ranks(route), -route.priority, -_asks(route)))
    for route in for_path:
        if head.method in _methods(route):
            return route
    return f"405 {', '.join(sorted({each for route in for_path for each in _methods(route)}))}" if for_path else "404"


class _All:
    def __contains__(self, method: str) -> bool:
        return True


def _methods(route: RouteConfig):  # type: ignore[no-untyped-def]
    return _All() if route.methods is None else {*route.methods, *(["HEAD"] if "GET" in route.methods else [])}


def _host_rank(route: RouteConfig, host: str) -> int | None:
    if route.host is None:
        return 1000
    if route.host.startswith("*."):
        return 500 - len(route.host) if host.endswith(route.host[1:]) and host != route.host[1:] else None
    return 0 if route.host == host else None


def _parts(route: RouteConfig) -> list[str]:
    return route.stem.split("/")[1:]


def _path_of(route: RouteConfig) -> re.Pattern[bytes]:
    text = b""
    for part in _parts(route):
        found = re.fullmatch(r"\{\w+:?(\w*)\}", part)
        text += b"/" + (SEGMENT[found[1]] if found else re.escape(unquote_to_bytes(part)))
    return re.compile(text + (rb"(?:/.*)?" if route.path.endswith("/*") else b""), re.DOTALL)


def _ranks(route: RouteConfig) -> list[int]:
    ranks = []
    for part in _parts(route):
        found = re.fullmatch(r"\{\w+:?(\w*)\}", part)
        ranks.append(RANK.index(found[1]) if found else 0)
    return [*ranks, len(RANK) if route.path.endswith("/*") else -1]


def _asks(route: RouteConfig) -> int:
    return (route.methods is not None) + len(route.headers) + len(route.query) + len(route.cookies) + bool(route.sources)


def _asked(route: RouteConfig, head: RequestHead) -> bool:
    """Whether all predicates hold, but for the method."""
    headers = [(name.decode(), value.decode()) for name, value in head.headers]
    query = parse_qsl(head.query.decode(), keep_blank_values=True)
    cookies = [tuple(pair.strip().split("=", 1)) for name, value in headers if name == "cookie" for pair in value.split(";")]
    for wanted, found in ((route.headers, headers), (route.query, query), (route.cookies, cookies)):
        for name, want in wanted.items():
            values = [value for each, value in found if each.lower() == name.lower()]
            if isinstance(want, bool):
                if bool(values) is not want:
                    return False
            elif not values or any(value not in ([want] if isinstance(want, str) else want) for value in values):
                return False
    address = ipaddress.ip_address(head.client[0]) if head.client else None
    return not route.sources or any(address in ipaddress.ip_network(each) for each in route.sources)


HOSTS = ["h.example", "b.example", "x.b.example", "other"]
PATTERNS = ["/", "/*", "/a", "/a/*", "/a/b", "/a/b/*", "/{x}", "/{x}/*", "/{x:int}/*", "/a/{x}", "/a/{x:int}", "/a/{x:word}/*", "/{x}/b",
            "/{x}/b/*", "/{x:word}/{y}", "/a/{x}/c/*", "/a/{x}/{y:int}", "/a/", "/{x}/"]
VALUES = ["1", "2"]


def random_route(rng: random.Random, service: str) -> RouteConfig:
    def asked(name: str, odds: float) -> dict[str, object]:
        return {name: rng.choice([True, False, "1", "2", ["1", "2"]])} if rng.random() < odds else {}

    return RouteConfig(
        path=rng.choice(PATTERNS), service=service, host=rng.choice([None, None, "h.example", "*.example", "*.b.example"]),
        methods=rng.choice([None, None, ("GET",), ("POST", "PROPFIND")]), headers=asked("x-a", 0.3) | asked("x-b", 0.2),
        query=asked("q", 0.2), cookies=asked("c", 0.2), sources=rng.choice([(), (), (), ("192.0.2.0/25",), ("192.0.2.128/25", "::1")]),
        priority=rng.choice([0, 0, 0, 1]))


def random_request(rng: random.Random, path: str) -> tuple[RequestHead, str]:
    host = rng.choice(HOSTS)
    headers = [(name, rng.choice(VALUES)) for name in rng.choices(["x-a", "x-b"], k=rng.randrange(4))]
    headers += [("cookie", f"c={rng.choice(VALUES)}; d=1")] * rng.randrange(2)
    query = "&".join(f"q={rng.choice(VALUES)}" for _ in range(rng.randrange(3)))
    return request(rng.choice(["GET", "HEAD", "POST", "PROPFIND", "PUT"]), host, path, query, headers,
                   rng.choice(["192.0.2.1", "192.0.2.200", "::1"])), host
