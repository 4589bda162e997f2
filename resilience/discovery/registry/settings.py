"""Settings of the registry: the ``[registry]`` table. The defaults are the protocol's own."""

from __future__ import annotations

import ipaddress
from typing import Any

import attrs

from ...core.checks import flag, number
from ...errors import ConfigError


def _networks(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    for each in value:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            raise ConfigError(f"{attribute.name} must be addresses or networks, such as 10.0.0.0/8, not {each!r}",
                              attribute.name) from None


@attrs.frozen(kw_only=True)
class RegistrySettings:
    """The ``[registry]`` table.

    Attributes:
        instance_networks: Networks that instances may claim to be in; empty: any. A loopback or link-local address is
            only taken from the machine of the registry itself, whatever they are.
        max_instances: At a time.
        max_instances_per_application: At a time.
        max_instances_per_address: At a time, registered by one address; of IPv6, by one /64.
        max_characters: Of all instances together, as they describe themselves.
        max_body_bytes: Of a registration.
        max_lease: The longest lease that an instance may ask for, seconds.
        max_clock_ahead: How far ahead of the registry's clock a timestamp of a client may be, seconds.
        eviction_interval: How often leases that have run out are evicted, seconds.
        delta_retention: How long a change stays in the delta, seconds.
        self_preservation: Whether leases are kept while too few are renewed.
        expected_renewal_interval: How often each instance is expected to renew, seconds.
        renewal_threshold: Share of the expected renewals that must come for leases to be evicted; and share of all
            leases that one eviction leaves.
        recount_interval: How often the number of expected instances is set to what is there, seconds.
        expected_instances: How many instances are expected when the registry starts.
        start_wait: How long a registry that has peers waits at its start for one whose list it can take, seconds.
        compare_interval: How often it compares all that it has with each peer, seconds.
        peer_queue: Instances that a peer has not heard of yet, at most; with more, the two are compared instead.
        original_defects: Behave as Netflix's server does where that is a defect: a renewed lease lasts twice as long, a
            registry that expects nobody at its start never evicts, a late registration brings back an instance that
            has left, a timestamp of the future wins for ever, and a status that does not exist is answered with 500.
    """

    instance_networks: tuple[str, ...] = attrs.field(default=(), validator=_networks)
    max_instances: int = attrs.field(default=20_000, validator=number(least=1, most=1_000_000, whole=True))
    max_instances_per_application: int = attrs.field(
        default=20_000, validator=number(least=1, most=1_000_000, whole=True))
    max_instances_per_address: int = attrs.field(default=1000, validator=number(least=1, most=1_000_000, whole=True))
    max_characters: int = attrs.field(default=1 << 26, validator=number(least=1024, most=1 << 32, whole=True))
    max_body_bytes: int = attrs.field(default=65_536, validator=number(least=1024, most=1 << 24, whole=True))
    max_lease: int = attrs.field(default=86_400, validator=number(least=1, most=31_536_000, whole=True))
    max_clock_ahead: float = attrs.field(default=86_400.0, validator=number(least=0, most=1e9))
    eviction_interval: float = attrs.field(default=60.0, validator=number(least=1, most=86_400.0))
    delta_retention: float = attrs.field(default=180.0, validator=number(least=1, most=86_400.0))
    self_preservation: bool = attrs.field(default=True, validator=flag)
    expected_renewal_interval: float = attrs.field(default=30.0, validator=number(least=1, most=86_400.0))
    renewal_threshold: float = attrs.field(default=0.85, validator=number(above=0, most=1))
    recount_interval: float = attrs.field(default=900.0, validator=number(least=1, most=86_400.0))
    expected_instances: int = attrs.field(default=0, validator=number(least=0, most=1_000_000, whole=True))
    start_wait: float = attrs.field(default=30.0, validator=number(least=0, most=3600.0))
    compare_interval: float = attrs.field(default=30.0, validator=number(least=1, most=3600.0))
    peer_queue: int = attrs.field(default=20_000, validator=number(least=1, most=1_000_000, whole=True))
    original_defects: bool = attrs.field(default=False, validator=flag)
