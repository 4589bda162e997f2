"""Fallbacks of a service: the ``[services.NAME.fallback]`` table."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ...core.checks import number
from ...core.http_status import as_codes, codes_checked, codes_of
from ...errors import ConfigError
from ..messages.framing import EMPTY
from .checks import meaningless
from .header_values import plain_headers_given


@attrs.frozen(kw_only=True)
class FallbackConfig:
    """What clients get in the place of a failure: the last good answer, that of another service, or always the same.

    Attributes:
        stale: How old a good answer may be that is given again, seconds; None: none is kept.
        service: Name of another service that is asked then.
        status: Of the answer that is always the same.
        headers: Of that answer.
        body: Of that answer; None: there is none of the kind.
        on: Statuses of answers that are as good as a failure.
    """

    stale: float | None = attrs.field(default=None, validator=number(above=0, most=86_400 * 365, optional=True))
    service: str | None = None
    status: int = attrs.field(default=200, validator=number(least=200, most=599, whole=True))
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=plain_headers_given)
    body: str | None = None
    on: tuple[int | str, ...] = attrs.field(default=(500, 502, 503, 504), converter=as_codes, validator=codes_checked)

    def __attrs_post_init__(self) -> None:
        if self.stale is None and self.service is None and self.body is None:
            raise ConfigError("a fallback needs stale, service or body", "fallback")
        if self.body is None:
            meaningless(self, ("status", "headers"), "without body: it is of the answer that is always the same")
        elif self.body and self.status in EMPTY:
            raise ConfigError(f"an answer with status {self.status} has no body: let it be empty", "body")

    @property
    def codes(self) -> frozenset[int]:
        """The statuses as numbers."""
        return codes_of("on", self.on)
