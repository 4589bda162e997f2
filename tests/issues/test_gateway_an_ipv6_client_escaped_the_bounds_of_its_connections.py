"""``max_connections_per_client`` and ``client_rate`` took each address of an IPv6 client for a client of its own.

Whoever has one IPv6 address has its /64, 2^64 of them. The filter ``rate_limit`` and the registry had counted networks.
"""

from __future__ import annotations

import pytest

from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.front.peers import Peer, Peers

NOBODY_IS_TRUSTED = ClientAddresses.behind([])


def entered(peers: Peers, address: str) -> Peer | None:
    peer = Peer(peers)
    return peer if peer.enter(address, NOBODY_IS_TRUSTED) else None


@pytest.mark.parametrize(("one", "other", "are_one"), [
    ("2001:db8::1", "2001:db8::2:1", True), ("2001:db8::1", "2001:db8:0:1::1", False),
    ("::ffff:192.0.2.1", "192.0.2.1", True), ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ("fe80::1%eth0", "fe80::1%eth1", True), ("192.0.2.1", "192.0.2.2", False), ("", "", True)])
def test_a_network_of_ipv6_is_one_client(one: str, other: str, are_one: bool) -> None:
    peers = Peers(max_connections=1, rate=1.0, burst=1)
    first = entered(peers, one)
    assert first is not None
    assert (entered(peers, other) is None) is are_one
    first.leave()
    second = entered(peers, other if are_one else one)
    assert second is not None

    assert first.refusal(0.0) is None
    if one:  # a client without an address has no rate
        again = second.refusal(0.0)
        assert again is not None
        assert again.status == 429
