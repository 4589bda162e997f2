"""Active checks: when an endpoint counts as healthy, by what its checks have found. Pure.

It becomes unhealthy after so many checks in a row that failed, and healthy after so many that passed. What does not
answer its checks gets no requests, unless that is true of nearly all (the panic share of ejection.py): then the checks
themselves may be what is wrong.
"""

from __future__ import annotations

from typing import Any

import attrs

from ...core.checks import number
from ...core.http_status import as_codes, codes_checked, codes_of
from ...errors import ConfigError
from .endpoint_state import EndpointState


def _path(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or not value.startswith("/") or not value.isascii() or any(
            ord(char) <= 32 for char in value):
        raise ConfigError(f"{attribute.name} must be a path and perhaps a query, such as /health, not {value!r}",
                          attribute.name)


@attrs.frozen(kw_only=True)
class HealthChecks:
    """The ``[services.NAME.checks]`` table: requests of the gateway's own that find out which endpoints are healthy.

    Attributes:
        path: What is asked for, with GET, below the base path of the endpoint.
        interval: Seconds between two checks of an endpoint.
        timeout: Longest wait for the head of the answer, connecting included, seconds.
        statuses: Of answers that pass.
        unhealthy: Checks in a row that must fail.
        healthy: Checks in a row that must pass.
    """

    path: str = attrs.field(default="/health", validator=_path)
    interval: float = attrs.field(default=5.0, validator=number(above=0, most=86_400))
    timeout: float = attrs.field(default=1.0, validator=number(above=0, most=3600))
    statuses: tuple[int | str, ...] = attrs.field(default=("2xx",), converter=as_codes, validator=codes_checked)
    unhealthy: int = attrs.field(default=3, validator=number(least=1, most=1000, whole=True))
    healthy: int = attrs.field(default=2, validator=number(least=1, most=1000, whole=True))

    @property
    def codes(self) -> frozenset[int]:
        """The statuses as numbers."""
        return codes_of("statuses", self.statuses)


class Health:
    """What the checks of one endpoint have found."""

    __slots__ = ("_config", "_streak", "state")

    def __init__(self, config: HealthChecks, state: EndpointState) -> None:
        self._config, self.state = config, state
        self._streak = 0

    def found(self, is_well: bool) -> bool:
        """A check has passed or failed; whether the endpoint has become healthy or unhealthy by it."""
        if is_well is self.state.is_healthy:
            self._streak = 0
            return False
        self._streak += 1
        if self._streak < (self._config.healthy if is_well else self._config.unhealthy):
            return False
        self._streak = 0
        self.state.is_healthy = is_well
        return True
