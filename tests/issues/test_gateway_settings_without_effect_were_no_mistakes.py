"""Settings that have no effect, or take each other back, were fine to ``check``, and some of them opened what they should close.

``access`` with scopes and ``anonymous = true`` let everybody pass, and so did client certificates that are "required"
without an authority that they are verified by.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resilience.config import ConfigFileError, Document
from resilience.gateway.config import GatewayConfig, read

HERE = Path(__file__).parents[1] / "gateway" / "elsewhere.pem"
URL = "http://127.0.0.1:1"


def tables(service: dict[str, Any] | None = None, **more: Any) -> GatewayConfig:
    return read(Document.of({"services": {"up": {"endpoints": [URL], **(service or {})}},
                             "routes": [{"path": "/*", "service": "up"}], **more}, "test"))


def with_filter(use: str, **said: Any) -> dict[str, Any]:
    return {"filters": {"one": {"use": use, **said}}}


SECRET = {"issuer": "i", "audience": "a", "secret": "env:RESILIENCE_TEST_SECRET", "algorithms": ["HS256"]}
ASKING = {"url": "http://127.0.0.1:1/ask"}
SHED = {"route_priority": {"/*": 1}}

#: Tables, the key that means nothing in them, and what is said of it.
MEANINGLESS: list[tuple[dict[str, Any], str, str]] = [
    *((with_filter("access", anonymous=True, **{key: ["x"]}), key, "everybody may pass")
      for key in ("scopes", "roles", "consumers", "tenants")),
    *(({"gateway": {"tls": {"certificates": [{"certificate_file": str(HERE)}], "client_certificates": each}}},
       "client_certificates", "without client_ca_file") for each in ("required", "optional")),
    ({"shedding": {"route_priority": {"typo": 0}}}, "typo", "unknown route"),
    (with_filter("shed", route_priority={"typo": 0}), "typo", "unknown route"),
    ({"shedding": {"priority": ["header:X-P"]}}, "priority", "trusted_proxies names none"),
    (with_filter("shed", priority=["header:X-P"]), "priority", "trusted_proxies names none"),
    ({"shedding": {**SHED, "priority": ["header:X-P"]}, "gateway": {"trusted_proxies": ["10.0.0.1"]}},
     "route_priority", 'unless priority has "route"'),
    ({"shedding": {"adaptive": False, "lag": False}}, "lag", "nothing is ever shed"),
    (with_filter("shed", adaptive=False, lag=False), "lag", "nothing is ever shed"),
    *(({"shedding": {"adaptive": False, **said}}, next(iter(said)), "with adaptive = false")
      for said in ({"algorithm": "aimd"}, {"initial": 5}, {"min_limit": 2}, {"max_limit": 99}, {"tolerance": 2.0},
                   {"reserved": 0.2}, {"max_queue": 5}, {"max_queue_for": 0.1})),
    (with_filter("client_certificate", header="Client-Cert"), "header", "trusted_proxies names none"),
    *((with_filter("forward_auth", **ASKING, **{key: "X-Y"}), key, "without consumer_header")
      for key in ("scopes_header", "roles_header", "tenant_header")),
    (with_filter("forward_auth", **ASKING, path="/auth"), "path", "with a url"),
    (with_filter("forward_auth", service="up", ca_file="x.pem"), "ca_file", "with a service"),
    (with_filter("forward_auth", service="up", timeout=0.5), "timeout", "with a service"),
    *(({"service": {"fallback": {"stale": 1.0, **said}}}, next(iter(said)), "without body")
      for said in ({"status": 503}, {"headers": {"X-A": "b"}})),
    ({"service": {"fallback": {"body": "x", "status": 204}}}, "body", "has no body"),
    ({"service": {"balancing": {"load_factor": 2.0}}}, "load_factor", "with the balancer round_robin"),
    ({"service": {"balancing": {"load_factor": False}}}, "load_factor", "with the balancer round_robin"),
    ({"gateway": {"client_burst": 5}}, "client_burst", "without client_rate"),
    (with_filter("rate_limit", rate=5, max_waiting=10), "max_waiting", "without wait"),
    *((with_filter("jwt", **SECRET, **said), next(iter(said)), "with secret")
      for said in ({"refresh": 5.0}, {"min_interval": 5.0}, {"keep_for": 5.0}, {"fetch_timeout": 1.0}, {"ca_file": "x.pem"})),
]

#: What has an effect, or is what is so anyway.
MEANT: list[dict[str, Any]] = [
    with_filter("access", anonymous=True, addresses=["10.0.0.0/8"]), with_filter("access", scopes=["x"]),
    {"gateway": {"tls": {"certificates": [{"certificate_file": str(HERE)}], "client_ca_file": str(HERE),
                         "client_certificates": "required"}}},
    {"shedding": SHED}, with_filter("shed", **SHED),
    {"shedding": {"priority": ["header:X-P"]}, "gateway": {"trusted_proxies": ["10.0.0.1"]}},
    {"gateway": {"trusted_proxies": ["10.0.0.1"]}, **with_filter("client_certificate", header="Client-Cert")},
    with_filter("forward_auth", **ASKING, consumer_header="X-C", scopes_header="X-S", timeout=0.5),
    with_filter("forward_auth", service="up", path="/auth", timeout=1.0),
    {"service": {"fallback": {"body": "x", "status": 503, "headers": {"X-A": "b"}}}},
    {"service": {"fallback": {"body": "", "status": 204}}}, {"service": {"fallback": {"stale": 1.0, "status": 200}}},
    {"service": {"balancer": "maglev", "balancing": {"hash_by": "path", "load_factor": False}}},
    {"service": {"balancing": {"load_factor": 1.25}}},
    {"gateway": {"client_burst": 5, "client_rate": 1.0}}, {"gateway": {"client_burst": 100}},
    with_filter("rate_limit", rate=5, max_waiting=10, wait=1.0), with_filter("rate_limit", rate=5, max_waiting=1000),
    with_filter("jwt", issuer="i", audience="a", jwks="https://a.example/keys", refresh=5.0),
    with_filter("jwt", **SECRET, refresh=300.0),
]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESILIENCE_TEST_SECRET", "s" * 40)


@pytest.mark.parametrize(("said", "key", "why"), MEANINGLESS)
def test_what_means_nothing_is_a_mistake_that_says_why(said: dict[str, Any], key: str, why: str) -> None:
    with pytest.raises(ConfigFileError) as caught:
        tables(**said)
    (mistake,) = f"{caught.value}".splitlines()
    assert key in mistake
    assert why in mistake


@pytest.mark.parametrize("said", MEANT)
def test_what_means_something_or_is_so_anyway_is_fine(said: dict[str, Any]) -> None:
    tables(**said)


BAD_HEADERS = [{"Bad Name": "y"}, {"A:b": "c"}, {"": "x"}, {"Content-Length": "500"}, {"X-Tab": "a\x01b"}, {"X-A": "a\nb"},
               {"X-A": "a\x7fb"}, {"Transfer-Encoding": "chunked"}, {"X-A": 1}]


@pytest.mark.parametrize("headers", BAD_HEADERS)
@pytest.mark.parametrize("where", ["fallback", "endpoint", "request", "response", "add"])
def test_a_header_of_the_file_that_no_message_may_have_is_a_mistake(where: str, headers: dict[str, Any]) -> None:
    said: dict[str, Any] = {
        "fallback": {"service": {"fallback": {"body": "x", "headers": headers}}},
        "endpoint": {"service": {"endpoints": [{"url": URL, "headers": headers}]}},
        "request": with_filter("headers", request={"set": headers}),
        "response": with_filter("headers", response={"set": headers}),
        "add": with_filter("headers", response={"add": headers})}[where]
    with pytest.raises(ConfigFileError):
        tables(**said)


@pytest.mark.parametrize("use", [
    {"use": "api_keys", "keys": [{"id": "a", "sha256": "0" * 64, "consumer": "c"}], "header": "X Key"},
    {"use": "jwt", **SECRET, "header": "X:Key"}, {"use": "forward_auth", **ASKING, "consumer_header": "X Who"},
    {"use": "forward_auth", **ASKING, "consumer_header": "X-Who", "roles_header": "X\nRoles"}])
def test_the_name_of_a_header_that_a_filter_reads_can_be_one(use: dict[str, Any]) -> None:
    with pytest.raises(ConfigFileError, match="must be the name of a header"):
        tables(filters={"one": use})
