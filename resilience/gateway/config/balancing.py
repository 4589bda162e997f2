"""What a balancer goes by: the ``[services.NAME.balancing]`` table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from ...core.checks import number
from ...errors import ConfigError
from ..balancing import KEYED, SlowStart
from .checks import checked

_HASH_BY: Final = re.compile(r"(header|cookie|query):[!#$%&'*+.^_`|~0-9A-Za-z-]+|path|client")
_COOKIE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: What only these balancers go by.
_ONLY_WITH: Final[Mapping[str, Sequence[str]]] = {
    "hash_by": sorted(KEYED), "load_factor": sorted(KEYED), "max_in_flight": ("availability_filtering",),
    "zone": ("zone_avoidance",)}


def _hash_by_mistake(value: Any) -> str | None:
    if isinstance(value, str) and _HASH_BY.fullmatch(value):
        return None
    return "must be header:NAME, cookie:NAME, query:NAME, path or client"


def _cookie_mistake(value: Any) -> str | None:
    return None if isinstance(value, str) and _COOKIE.fullmatch(value) else "must be the name of a cookie"


@attrs.frozen(kw_only=True)
class BalancingConfig:
    """The ``[services.NAME.balancing]`` table.

    Attributes:
        hash_by: Of hash balancers: what of a request decides: header:NAME, cookie:NAME, query:NAME, path or client.
        load_factor: Of hash balancers: how many times its share of the requests in flight an endpoint may have;
            None (``false``): however many.
        sticky: Name of a cookie by which clients come back to the endpoint that they were given; None: they do not.
        max_in_flight: Of availability_filtering: requests in flight from which on an endpoint is passed over; None:
            any.
        zone: Of zone_avoidance: where the gateway stands.
        slow_start: How an endpoint that has come back gets its share little by little; None: at once.
        subset: Use only so many of the endpoints, others in each instance of the gateway; None: all.
    """

    hash_by: str | None = attrs.field(default=None, validator=checked(_hash_by_mistake, optional=True))
    load_factor: float | None = attrs.field(default=1.25, validator=number(least=1, most=1000, optional=True))
    sticky: str | None = attrs.field(default=None, validator=checked(_cookie_mistake, optional=True))
    max_in_flight: int | None = attrs.field(
        default=None, validator=number(least=1, most=1_000_000, whole=True, optional=True))
    zone: str = attrs.field(default="", validator=attrs.validators.instance_of(str))
    slow_start: SlowStart | None = None
    subset: int | None = attrs.field(default=None, validator=number(least=1, most=1_000_000, whole=True, optional=True))

    def check_balancer(self, name: str) -> None:
        """See that the balancer of this *name* goes by all that is said here.

        Raises:
            ConfigError: It does not.
        """
        for key, balancers in _ONLY_WITH.items():
            is_said = getattr(self, key) != getattr(attrs.fields(BalancingConfig), key).default
            if is_said and name not in balancers:
                raise ConfigError(f"{key} means nothing with the balancer {name}; it is for {' and '.join(balancers)}",
                                  "balancing")
        if self.sticky is not None and name in KEYED:
            raise ConfigError(f"with sticky the cookie decides, and {name} would go by nothing: take another balancer, "
                              "or leave out sticky", "balancing")
