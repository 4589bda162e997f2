"""Where a request comes from, behind any chain of proxies, against a slow reading of the same list."""

import random

import pytest

from resilience import Registry
from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.config import FilterConfig
from resilience.gateway.filters import FilterHost
from resilience.gateway.filters.access import Access
from resilience.gateway.filters.chain import chain_of
from resilience.gateway.filters.step import step_of
from tests.gateway.filters.chains import Bench
from tests.seeds import over_seeds

_ADDRESSES = [f"192.0.2.{number}" for number in range(7)]


@over_seeds(300)
def test_a_client_is_where_the_last_trusted_proxy_says_it_is(seed):
    chance = random.Random(seed)
    trusted = {each for each in _ADDRESSES[:5] if chance.random() < 0.5}
    hops = [chance.choice(_ADDRESSES) for _ in range(chance.randrange(5))]
    peer = chance.choice(_ADDRESSES)

    line = [*hops, peer]  # from the client to the peer
    while len(line) > 1 and line[-1] in trusted:
        line.pop()

    found = ClientAddresses(trusted.__contains__).address_stated(peer, ", ".join([*hops, peer]))
    assert str(found) == line[-1]


@pytest.mark.parametrize(("forwarded", "peer", "status"), [
    ("10.1.2.3", "192.0.2.1", 200), ("203.0.113.5", "192.0.2.1", 403), ("10.1.2.3, 203.0.113.5", "192.0.2.1", 403),
    ("203.0.113.5, 10.1.2.3", "192.0.2.1", 200), ("10.1.2.3", "203.0.113.9", 403), ("10.0.0.66", "192.0.2.1", 403),
    ("nonsense", "192.0.2.1", 403), ("", "192.0.2.1", 403), ("::ffff:10.1.2.3", "192.0.2.1", 200), ("10.1.2.3:80", "192.0.2.1", 200),
    ("unknown", "192.0.2.1", 403)])
async def test_an_acl_believes_trusted_proxies_and_fails_closed_for_what_is_no_address(forwarded, peer, status):
    settings = Access(addresses=("10.0.0.0/8",), denied_addresses=("10.0.0.66",), anonymous=True)
    host = FilterHost(name="acl", services={}, registry=Registry(), client=None, service=None, addresses=ClientAddresses(lambda each: each == "192.0.2.1"))
    bench = Bench()
    bench.chain = chain_of([step_of(FilterConfig.of(settings), settings.bind(host), bench.registry)])
    believed = f"{forwarded}, {peer}" if forwarded and peer == "192.0.2.1" else peer

    assert (await bench.get(headers=[(b"x-forwarded-for", believed.encode())], peer=peer)).status == status
