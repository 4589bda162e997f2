"""Shedding: the ``[shedding]`` table."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import attrs

from ...core.checks import flag, number, one_of
from ...core.limit_estimator import ALGORITHMS
from ...errors import ConfigError
from ..limits.caller_keys import IDENTITY_WORDS, word_mistake
from ..limits.priorities import source_mistake
from .checks import checked, meaningless

_PRIORITY = number(least=0, most=9, whole=True)


def _levels(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    for name, level in dict(value).items():
        if not _PRIORITY.accepts(level):
            raise ConfigError(f"{attribute.name} must be priorities from 0 to 9, not {level!r} for {name}",
                              attribute.name)


@attrs.frozen(kw_only=True)
class SheddingSettings:
    """The ``[shedding]`` table.

    Attributes:
        knows_identities: Whether it is asked after authentication.
        scope: Whether each "service" has a limit of its own, or all requests of the "gateway" share one.
        adaptive: Whether there is an adaptive limit; without it only the lag decides.
        algorithm: How the limit is estimated; see the adaptive limit.
        initial: Limit to begin with.
        min_limit: Smallest value that the limit may take.
        max_limit: Largest value that the limit may take.
        tolerance: Ratio of the present time of an answer to that of an idle service above which the limit shrinks.
        reserved: Share of the limit that each priority leaves free for more important requests.
        max_queue: Number of requests that may wait for admission by one limit.
        max_queue_for: Longest time that a request may wait there, seconds.
        lag: Lag of the event loop above which requests are shed, seconds; None (``false``): whatever it is.
        priority: Where a request's priority is found, 0 (most important) to 9: "header:NAME" of trusted proxies,
            "claim:NAME" of the identity, "route"; the first that says anything decides.
        route_priority: Priorities by name of the route.
        default_priority: Priority of all other requests.
        tenant: What tells tenants apart, who take turns: "identity", "tenant", "api_key", "address", "route",
            "service", "header:NAME"; empty: nothing.
    """

    knows_identities: ClassVar[bool] = False

    scope: str = attrs.field(default="service", validator=one_of("service", "gateway"))
    adaptive: bool = attrs.field(default=True, validator=flag)
    algorithm: Literal["gradient", "vegas", "aimd"] = attrs.field(default="vegas", validator=one_of(*ALGORITHMS))
    initial: int = attrs.field(default=20, validator=number(least=1, most=1_000_000, whole=True))
    min_limit: int = attrs.field(default=1, validator=number(least=1, most=1_000_000, whole=True))
    max_limit: int = attrs.field(default=1000, validator=number(least=1, most=1_000_000, whole=True))
    tolerance: float = attrs.field(default=1.5, validator=number(above=1, most=100))
    reserved: float = attrs.field(default=0.1, validator=number(least=0, most=0.99))
    max_queue: int = attrs.field(default=20, validator=number(least=0, most=1_000_000, whole=True))
    max_queue_for: float = attrs.field(default=0.075, validator=number(above=0, most=60))
    lag: float | None = attrs.field(default=0.05, validator=number(above=0, most=60, optional=True))
    priority: tuple[str, ...] = attrs.field(default=("route",), validator=checked(source_mistake, each=True))
    route_priority: dict[str, int] = attrs.field(factory=dict, validator=_levels)
    default_priority: int = attrs.field(default=4, validator=_PRIORITY)
    tenant: tuple[str, ...] = attrs.field(default=(), validator=checked(word_mistake, each=True))

    def __attrs_post_init__(self) -> None:
        if not self.min_limit <= self.initial <= self.max_limit:
            raise ConfigError(f"initial must be from min_limit ({self.min_limit}) to max_limit ({self.max_limit}), "
                              f"not {self.initial}", "initial")
        if not self.adaptive and self.lag is None:
            raise ConfigError("lag must be a number of seconds with adaptive = false: else nothing is ever shed", "lag")
        if not self.adaptive:
            meaningless(self, ("algorithm", "initial", "min_limit", "max_limit", "tolerance", "reserved", "max_queue",
                               "max_queue_for"), "with adaptive = false: there is no adaptive limit")
        if "route" not in self.priority:
            meaningless(self, ("route_priority",), 'unless priority has "route"')
        for key, words in (("priority", self.priority), ("tenant", self.tenant)):
            unknown = [word for word in words if word in IDENTITY_WORDS or word.startswith("claim:")]
            if unknown and not self.knows_identities:
                raise ConfigError(f"{unknown[0]} is known after authentication only: use the filter shed "
                                  f'([filters.NAME] use = "shed")', key)

    @property
    def stated_headers(self) -> tuple[str, ...]:
        """Names of headers by which trusted proxies say how important a request is."""
        return tuple(each.partition(":")[2] for each in self.priority if each.startswith("header:"))
