"""The gateway's TOML: what is read, and that every mistake is listed with line and key."""

from __future__ import annotations

import pickle
from pathlib import Path

import attrs
import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    ConfigError,
    Hedge,
    RateLimit,
    Registry,
    Throttle,
)
from resilience.config import ConfigFileError
from resilience.config.commands import GuardTable, settings
from resilience.engine.wrapper_spec import Flavour
from resilience.gateway import Gateway
from resilience.gateway.config import (
    AdminSettings,
    GatewayConfig,
    GatewaySettings,
    RouteConfig,
    ServiceConfig,
    address,
    load,
)
from resilience.gateway.services.service_command import REFUSED, accepted
from resilience.policies.order import setting_kits

GOOD = """\
[gateway]
bind = "127.0.0.1:8080"

[admin]
bind = "127.0.0.1:8090"

[services.inventory]
endpoints = ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]
balancer = "round_robin"

[services.inventory.command]
timeout = 0.5
max_concurrent = 100
breaker = { failure_rate = 0.5, min_calls = 20, open_for = 5.0 }

[[routes]]
path = "/inventory/*"
methods = ["GET", "POST"]
service = "inventory"
strip_prefix = "/inventory"
"""


def loaded(tmp_path: Path, text: str) -> GatewayConfig:
    file = tmp_path / "g.toml"
    file.write_text(text)
    return load(file)


def mistakes(tmp_path: Path, text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigFileError) as caught:
        loaded(tmp_path, text)
    assert {str(tmp_path / "g.toml")} == {each.file for each in caught.value.mistakes}
    return [(each.line, each.key, each.message) for each in caught.value.mistakes]


def test_the_file_of_the_contract_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD) == GatewayConfig(
        gateway=GatewaySettings(bind="127.0.0.1:8080"),
        admin=AdminSettings(bind="127.0.0.1:8090"),
        services={"inventory": ServiceConfig(
            endpoints=("http://127.0.0.1:9001", "http://127.0.0.1:9002"),
            command={"timeout": 0.5, "max_concurrent": 100,
                     "breaker": CircuitBreaker(failure_rate=0.5, min_calls=20, open_for=5.0)})},
        routes=(RouteConfig(path="/inventory/*", methods=("GET", "POST"), service="inventory",
                            strip_prefix="/inventory"),))


def test_false_turns_timeout_bulkhead_and_breaker_off(tmp_path: Path) -> None:
    config = loaded(tmp_path, '[services.a]\nendpoints = ["http://h"]\n'
                              "command = { timeout = false, max_concurrent = false, breaker = false }\n"
                              '[[routes]]\npath = "/*"\nservice = "a"\n')
    assert {"timeout": None, "max_concurrent": None, "breaker": None} == config.services["a"].command
    assert config.admin is None


def test_a_service_may_have_every_policy_that_suits_a_stream(tmp_path: Path) -> None:
    config = loaded(tmp_path, """\
[services.a]
endpoints = ["http://h"]
[services.a.command]
max_concurrent = { max_wait = 0.5 }
rate_limit = { calls = 5, per = 2.0 }
throttle = {}
chaos = { error_rate = 0.5 }
shadow = ["throttle"]
[services.b]
endpoints = ["http://h"]
command.adaptive_limit = { max_limit = 50 }
[[routes]]
path = "/*"
service = "a"
""")
    assert {"max_concurrent": Bulkhead(100, max_wait=0.5), "rate_limit": RateLimit(5, per=2.0), "throttle": Throttle(),
            "chaos": Chaos(error_rate=0.5), "shadow": ("throttle",)} == config.services["a"].command
    assert {"adaptive_limit": AdaptiveLimit(max_limit=50)} == config.services["b"].command
    gateway = Gateway(config, registry=(registry := Registry()))
    assert gateway.config is config
    assert (100, 0.5, ("throttle",)) == (registry["a"].settings.max_concurrent.max_concurrent,
                                         registry["a"].settings.max_concurrent.max_wait, registry["a"].settings.shadow)
    assert config == pickle.loads(pickle.dumps(config))  # for the workers


def test_what_is_refused_is_what_suits_no_exchange_and_what_an_entry_of_guards_says_beyond_a_command() -> None:
    made = {"hedge": Hedge(idempotent=True), "cache": Cache(ttl=1.0)}
    unsuited = {"retry", "failover", "hedge", "stream_timeout"}  # of streams; the gateway has one item, for a body that is sent once
    for kit in setting_kits():
        if kit.suits is not None and kit.name not in unsuited:
            try:
                kit.suits(made.get(kit.name) or kit.policy(), None, Flavour.ASYNC_GENERATOR, "key")
            except ConfigError:
                unsuited.add(kit.name)
    assert set(REFUSED) == unsuited | {field.name for field in attrs.fields(GuardTable)}
    assert {*settings()} == {*accepted()} | unsuited


def test_what_suits_no_service_is_refused_with_the_reason_and_with_every_other_mistake(tmp_path: Path) -> None:
    found = mistakes(tmp_path, """\
[services.a]
endpoints = ["http://h"]
[services.a.command]
rate_limit = { max_wait = 1.0 }
retry = { attempts = 3 }
fallback = "shop:empty"
throtle = {}
breaker = { min_calls = 500, window_calls = 400 }
[services.b]
endpoints = ["http://h"]
command.shadow = ["throttle"]
[services.c]
endpoints = ["http://h"]
command = { max_concurrent = 3, adaptive_limit = {} }
[[routes]]
path = "/*"
service = "a"
""")
    assert [
        (4, "services.a.command.rate_limit", "rate_limit needs calls"),
        (5, "services.a.command.retry",
         "a request is repeated at another endpoint; say how in the table retry of the service"),
        (6, "services.a.command.fallback",
         "the gateway answers for a service with an error response (RFC 9457); there is no function to call"),
        (7, "services.a.command.throtle", "unknown setting; did you mean throttle?"),
        (8, "services.a.command.breaker.min_calls",
         "must be at most window_calls (400), or the circuit could never open; not 500"),
        (11, "services.b.command.shadow", "shadow: there is no Throttle here that could be in shadow mode"),
        (14, "services.c.command.adaptive_limit",
         "Bulkhead and AdaptiveLimit both say how many calls may run at once; keep one of them"),
    ] == found


def test_false_turns_the_limits_of_bodies_off(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[gateway]\nupload_timeout = false\n"
                              '[services.a]\nendpoints = ["http://h"]\nmax_body = false\n'
                              '[[routes]]\npath = "/*"\nservice = "a"\n')
    assert (None, None) == (config.gateway.upload_timeout, config.services["a"].max_body)


def test_a_ca_file_that_is_none_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "text.pem").write_text("hello")
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for name in ("empty.pem", "text.pem", "key.pem", "absent.pem", "."):
        text = (f'[services.a]\nendpoints = ["https://h"]\nca_file = "{tmp_path / name}"\n'
                '[[routes]]\npath = "/*"\nservice = "a"\n')
        [(line, key, message)] = mistakes(tmp_path, text)
        assert (3, "services.a.ca_file") == (line, key)
        assert message.startswith("must be a file of certificates in PEM, which "), message
    with pytest.raises(ConfigError, match="ca_file must be a file of certificates in PEM, not 7"):
        ServiceConfig(endpoints=("https://h",), ca_file=7)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="ca_file"):
        ServiceConfig(endpoints=("https://h",), ca_file="a\0b")


def test_every_kind_of_mistake_in_one_file_is_listed(tmp_path: Path) -> None:
    assert mistakes(tmp_path, """\
[gateway]
bind = "localhost"
bnd = 1
[services.inventory]
endpoints = ["ftp://x", "http://ok:1", "http://h/path"]
[services.inventory.command]
timeout = -1
max_concurrent = "many"
breaker = { failure_rate = 7, min_cals = 2 }
[services.orders]
balancer = "magic"
[[routes]]
path = "/a/*"
service = "inventry"
[[routes]]
path = "b"
service = "inventory"
[[routes]]
path = "/c/*"
methods = ["GET", "FE TCH"]
service = "inventory"
[[routes]]
path = "/d/*"
service = "orders"
strip_prefix = "/e"
[[routes]]
path = "/a/*"
service = "inventory"
[servces]
""") == [
        (2, "gateway.bind", "must be host:port with a port of 1 to 65535, such as 127.0.0.1:8080 or [::1]:8080, "
                            "not 'localhost'"),
        (3, "gateway.bnd", "unknown setting; did you mean bind?"),
        (5, "services.inventory.endpoints",
         "an endpoint must be an http:// or https:// URL of scheme, host and port, not 'ftp://x'"),
        (7, "services.inventory.command.timeout",
         "must be a number above 0 and at most 86400, or false, not -1"),
        (8, "services.inventory.command.max_concurrent", "must be a whole number, or false, not 'many'"),
        (9, "services.inventory.command.breaker.failure_rate",
         "must be a number above 0 and at most 1, or false, not 7; this is a share from 0 to 1: did you mean 0.07?"),
        (9, "services.inventory.command.breaker.min_cals", "unknown setting; did you mean min_calls?"),
        (10, "services.orders.endpoints", "is missing"),
        (11, "services.orders.balancer", "must be one of round_robin, random, first, least_request, peak_ewma, "
         "weighted_response_time, availability_filtering, best_available, zone_avoidance, retry, ring_hash, maglev, "
         "rendezvous, not 'magic'"),
        (14, "routes[0].service", "unknown service 'inventry'; did you mean inventory?"),
        (16, "routes[1].path", "must begin with a slash, not 'b'"),
        (20, "routes[2].methods", "a method must be a token, such as GET or PROPFIND, not 'FE TCH'"),
        (25, "routes[3].strip_prefix", "'/e' is no prefix, by whole segments, of the path '/d/*'"),
        (27, "routes[4].path", "duplicate route: routes[0] has /a/* too, and takes the same requests"),
        (29, "servces", "unknown table; did you mean services?"),
    ]


@pytest.mark.parametrize(("text", "key", "message"), [
    ("", "", "no services"),
    ("services = 3\n", "services", "must be a table"),
    ('routes = "x"\n', "routes", "must be a list of tables"),
    ('gateway = "x"\n', "gateway", "must be a table"),
    ('[gateway]\ntrusted_proxies = ["10.0.0.0/99"]\n', "gateway.trusted_proxies", "must be addresses or networks"),
    ('[gateway]\nallow_encoded = ["%2e"]\n', "gateway.allow_encoded", "an encoding to allow must be one of"),
    ('[gateway]\nbind = "h:1"\n[admin]\nbind = "h:1"\n', "admin.bind", "is what the gateway itself listens on"),
    ("[services.a]\nendpoints = []\n", "services.a.endpoints", "needs at least one"),
    ('[services.a]\nendpoints = ["http://u:p@h"]\n', "services.a.endpoints", "and nothing else"),
    ('[services.a]\nendpoints = ["http://h:99999"]\n', "services.a.endpoints", "URL of scheme, host and port"),
    ('[services.a]\nendpoints = ["http://h"]\ncommand.breaker = { min_calls = 9, window_calls = 3 }\n',
     "services.a.command.breaker.min_calls", "must be at most window_calls (3)"),
    ('[services.a]\nendpoints = ["http://h"]\nbalancing = { hash_by = "path" }\n', "services.a.balancing",
     "hash_by means nothing with the balancer round_robin; it is for maglev and rendezvous and ring_hash"),
    ('[services.a]\nendpoints = ["http://h"]\nbalancer = "random"\nbalancing = { zone = "a" }\n', "services.a.balancing",
     "zone means nothing with the balancer random; it is for zone_avoidance"),
    ('[services.a]\nendpoints = ["http://h"]\nbalancing = { max_in_flight = 9 }\n', "services.a.balancing",
     "it is for availability_filtering"),
    ('[services.a]\nendpoints = ["http://h"]\nbalancer = "maglev"\nbalancing = { hash_by = "path", sticky = "seat" }\n',
     "services.a.balancing", "the cookie decides, and maglev would go by nothing"),
    ('[[routes]]\npath = "/a"\nservice = ""\n', "routes[0].service", "non-empty"),
    ('[[routes]]\npath = "/a%2fb"\nservice = "a"\n', "routes[0].path", "plain path"),
    ('[[routes]]\npath = "/a/../b"\nservice = "a"\n', "routes[0].path", "plain path"),
    ('[[routes]]\npath = "/a"\n', "routes[0].service", "is missing: name one service, or several in services"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nservices = { a = 1 }\n', "routes[0].service", "keep one of them"),
    ('[[routes]]\npath = "/a"\nservices = { a = 0, b = 0.0 }\n', "routes[0].services", "must have a weight above 0"),
    ('[[routes]]\npath = "/a"\nservices = { a = -1 }\n', "routes[0].services", "must be a number from 0"),
    ('[[routes]]\npath = "/a"\nservices = {}\n', "routes[0].services", "services and their weights"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nsticky = "address"\n', "routes[0].sticky", "several services"),
    ('[[routes]]\npath = "/a"\nservices = { a = 1 }\nsticky = "ip"\n', "routes[0].sticky", "must be address, header:NAME"),
    ('[services.a]\nendpoints = ["http://h"]\n[[routes]]\npath = "/a"\nservices = { aa = 1 }\n', "routes[0].services.aa",
     "did you mean a?"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nmirror = { service = "b" }\n', "routes[0].mirror.service", "unknown service 'b'"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nmirror = { servce = "b" }\n', "routes[0].mirror.servce", "did you mean service?"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nmirror = { service = "a", share = 0 }\n', "routes[0].mirror.share", "above 0"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nheader = { x = "1" }\n', "routes[0].header", "did you mean headers?"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nheaders = { x = 1 }\n', "routes[0].headers", "x must be a value, a list"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nheaders = { x = [] }\n', "routes[0].headers", "x must be a value, a list"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nheaders = { "x y" = "1" }\n', "routes[0].headers", "can be no name"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nquery = { "" = "1" }\n', "routes[0].query", "not empty"),
    ('[[routes]]\npath = "/a"\nservice = "a"\ncookies = { "x=y" = true }\n', "routes[0].cookies", "can be no name"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nsources = ["10.0.0.1/8"]\n', "routes[0].sources", "addresses or networks"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nmethods = ["get"]\n', "routes[0].methods", "write GET"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nmethods = ["CONNECT"]\n', "routes[0].methods", "no tunnels"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nhost = "*.*"\n', "routes[0].host", "*. and a domain"),
    ('[[routes]]\npath = "/a/{id"\nservice = "a"\n', "routes[0].path", "whole segment"),
    ('[[routes]]\npath = "/a/{id}"\nservice = "a"\nrewrite = "/b/{ids}"\n', "routes[0].rewrite", "which the path does not have; it has id"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nrewrite = "/b/*"\n', "routes[0].rewrite", "nothing to put there"),
    ('[[routes]]\npath = "/a/*"\nservice = "a"\nrewrite = "/b/*"\nstrip_prefix = "/a"\n', "routes[0].strip_prefix", "beside rewrite"),
    ('[[routes]]\nname = "x"\npath = "/a"\nservice = "a"\n[[routes]]\nname = "x"\npath = "/b"\nservice = "a"\n', "routes[1].name",
     "routes[0] is called 'x' too"),
    ('[[routes]]\npath = "/*/b"\nservice = "a"\n', "routes[0].path", "only as /* at its end"),
    ('[[routes]]\npath = "/a"\nservice = "a"\nhost = "h:80"\n', "routes[0].host", "without a port"),
    ('[[routes]]\npath = "/ab/*"\nstrip_prefix = "/a"\nservice = "a"\n', "routes[0].strip_prefix", "whole segments"),
    ('[[routes]]\npath = "/a/*"\nstrip_prefix = "/a/"\nservice = "a"\n', "routes[0].strip_prefix", "not end with one"),
])
def test_each_mistake_is_named(tmp_path: Path, text: str, key: str, message: str) -> None:
    found = mistakes(tmp_path, text)
    assert [each for each in found if each[1].startswith(key) and message in each[2]], found


def test_cve_2026_22750_a_setting_nobody_reads_is_an_error_and_not_silently_lost(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace("balancer =", "ssl_bundle ="))
    assert [(9, "services.inventory.ssl_bundle")] == [each[:2] for each in found]


@pytest.mark.parametrize(("bind", "found"), [
    ("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:8080", ("::1", 8080)), ("localhost:65535", ("localhost", 65535))])
def test_a_bind_is_host_and_port(bind: str, found: tuple[str, int]) -> None:
    assert found == address(bind)


@pytest.mark.parametrize("bind", ["", ":", ":80", "h", "h:", "h:0", "h:65536", "h:-1", "h:８0", "::1:80", "[h]:80"])
def test_other_binds_are_not(bind: str) -> None:
    with pytest.raises(ValueError):
        address(bind)


def test_a_configuration_made_in_code_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="unknown service 'x'") as caught:
        GatewayConfig(routes=(RouteConfig(path="/", service="x"),))
    assert caught.value.option == "service"


def two_routes(first: str, second: str) -> str:
    return ('[services.a]\nendpoints = ["http://h"]\n' + "".join(
        f'[[routes]]\npath = "/a/{{{name}}}"\nservice = "a"\n{more}\n' for name, more in (("id", first), ("key", second))))


@pytest.mark.parametrize(("first", "second", "key", "message"), [
    ("", "", "routes[1].path", "duplicate route: routes[0] has /a/{id} too, and takes the same requests"),
    ('methods = ["GET"]', 'methods = ["HEAD", "GET"]', "routes[1].path", "takes the same requests"),
    ('methods = ["GET"]', 'methods = ["POST", "GET"]', "routes[1].path", "some requests suit both"),
    ('headers = { x = "1" }', 'query = { y = "1" }', "routes[1].path", "some requests suit both"),
    ('headers = { x = "1" }', 'headers = { x = ["1", "2"] }', "routes[1].path", "some requests suit both"),
    ('headers = { X = true }', 'headers = { x = "1" }', "routes[1].path", "some requests suit both"),
    ('sources = ["10.0.0.0/8"]', 'sources = ["10.1.0.0/16"]', "routes[1].path", "some requests suit both"),
    ('host = "H.example"', 'host = "h.example."', "routes[1].path", "takes the same requests"),
    ("priority = 1", 'methods = ["GET"]', "routes[1].path", "shadowed route: routes[0] takes every request"),
    ('methods = ["GET"]', "priority = 1", "routes[0].path", "shadowed route: routes[1] takes every request"),
    ('sources = ["0.0.0.0/0", "::/0"]\nmethods = ["GET"]', 'sources = ["10.0.0.0/8"]\nmethods = ["GET"]\npriority = -1', "routes[1].path", "shadowed"),
])
def test_routes_that_the_order_cannot_tell_apart_or_never_comes_to_are_mistakes(
        tmp_path: Path, first: str, second: str, key: str, message: str) -> None:
    [found] = mistakes(tmp_path, two_routes(first, second))
    assert (key, True) == (found[1], message in found[2]), found


@pytest.mark.parametrize(("first", "second"), [
    ("", 'methods = ["GET"]'), ('methods = ["GET"]', 'methods = ["POST"]'), ('headers = { x = "1" }', 'headers = { x = "2" }'),
    ('headers = { x = true }', 'headers = { x = false }'), ('headers = { x = "1" }', 'query = { y = "1" }\npriority = 1'),
    ('sources = ["10.0.0.0/8"]', 'sources = ["11.0.0.0/8", "::/0"]'), ('host = "h"', ""), ('host = "*.h.example"', 'host = "h.example"')])
def test_routes_that_the_order_can_tell_apart_are_none(tmp_path: Path, first: str, second: str) -> None:
    assert 2 == len(loaded(tmp_path, two_routes(first, second)).routes)


def test_a_route_may_say_all_that_there_is(tmp_path: Path) -> None:
    config = loaded(tmp_path, """\
[services.a]
endpoints = ["http://h"]
[services.b]
endpoints = ["http://h"]
[[routes]]
name = "items"
host = "*.example.com"
path = "/orders/{id:int}/items/*"
methods = ["GET", "PROPFIND"]
headers = { X-Canary = "1", X-Any = true, X-None = false }
query = { version = ["2", "3"] }
cookies = { beta = "on" }
sources = ["10.0.0.0/8", "::1"]
priority = 5
services = { a = 9, b = 1.5 }
sticky = "cookie:session"
rewrite = "/v2/{id}/*"
mirror = { service = "b", share = 0.1, max_concurrent = 5 }
""")
    [route] = config.routes
    assert {"a": 9.0, "b": 1.5} == route.weights
    assert (0.1, 5) == (route.mirror.share, route.mirror.max_concurrent)
    assert config == pickle.loads(pickle.dumps(config))  # for the workers
