"""Routes, filters and limits read X-Forwarded-For each in its own way, and took one request to come from different addresses."""

from __future__ import annotations

import random

import pytest

from resilience import Registry
from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.config import GatewayConfig
from resilience.gateway.filters.context import FilterRequest
from resilience.gateway.gateway import Gateway
from resilience.gateway.messages.inbound import RequestHead

from .gateway_parts import configured

_TRUSTED = ("10.0.0.0/8", "fd00::/8")
_CONFIG: GatewayConfig = configured({"endpoints": ["http://127.0.0.1:9"]}, gateway={"trusted_proxies": list(_TRUSTED)})
_ELEMENTS = ["9.9.9.9", "9.9.9.9:80", "[2001:db8::1]:80", "2001:DB8::1", "10.0.0.2", "10.0.0.2:443", "::ffff:10.0.0.3", "::ffff:9.9.9.9",
             "fe80::1%eth0", "fd00::1", "unknown", "", " ", "\t", "010.1.1.1", '"[2001:db8::1]"', "é", "1.2.3.4 "]


def _read(gateway: Gateway, peer: str, lines: list[bytes]) -> tuple[str, str, str]:
    """What a route's predicate, an access filter and a limit take for the client; empty: nobody knows."""
    clients = ClientAddresses.behind(_TRUSTED)
    head = RequestHead(method="GET", path=b"/a", query=b"", version="1.1", scheme="http", client=(peer, 1),
                       server=("127.0.0.1", 80), headers=[(b"host", b"h"), *((b"x-forwarded-for", each) for each in lines)])
    admitted = gateway._generation.public.admission.admit(head)
    request = FilterRequest(head, admitted.request, admitted.path, admitted.host, admitted.parameters)
    found = clients.address_of(head)
    stated = clients.address_stated(request.peer, request.headers.get("x-forwarded-for") or "")
    return ("" if found is None else str(found),
            "" if stated is None else str(stated), clients.client_of(head))


def test_a_request_comes_from_the_same_address_for_routes_filters_and_limits() -> None:
    gateway = Gateway(_CONFIG, registry=Registry())
    for seed in range(2000):
        random_ = random.Random(seed)
        lines = [",".join(random_.choices(_ELEMENTS, k=random_.choice([0, 1, 2, 3, 40]))).encode("latin-1")
                 for _ in range(random_.randint(0, 2))]
        route, access, limit = _read(gateway, random_.choice(["10.0.0.1", "::ffff:10.0.0.1", "8.8.8.8"]), lines)
        assert route == access, (seed, lines)
        if route:
            assert route == limit, (seed, lines)
        else:
            assert ClientAddresses.behind(_TRUSTED).is_trusted(limit), (seed, lines)  # a limit counts for the nearest proxy


@pytest.mark.parametrize(("said", "client"), [
    ("9.9.9.9:80, 10.0.0.2:443", "9.9.9.9"), ("9.9.9.9,,10.0.0.2", "9.9.9.9"), ("", "10.0.0.1"), ("1.1.1.1, 9.9.9.9", "9.9.9.9"),
    ("9.9.9.9, unknown, 10.0.0.2", ""), ("[2001:db8::1]:80", "2001:db8::1")])
def test_an_access_filter_reads_ports_and_empty_elements_as_proxies_write_them(said: str, client: str) -> None:
    gateway = Gateway(_CONFIG, registry=Registry())
    assert (client, client) == _read(gateway, "10.0.0.1", [said.encode()])[:2]
