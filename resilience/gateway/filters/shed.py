"""The filter ``shed``: admission control behind authentication, where identities are known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

import attrs

from ...errors import ConfigError
from ..config.shedding import SheddingSettings
from ..limits.admission_control import SHED, admission_control_of
from .context import FilterContext
from .declare import FilterHost, inbound_filter

#: After authentication (10), before all else.
ORDER: Final = 15


@inbound_filter(name="shed", order=ORDER, time_limit=60.0, fail_closed=True, always=True)
@attrs.frozen(kw_only=True)
class ShedFilter(SheddingSettings):
    """A ``[filters.NAME]`` table with ``use = "shed"``; its other keys are those of ``[shedding]``."""

    knows_identities: ClassVar[bool] = True

    def bind(self, host: FilterHost) -> Callable[[FilterContext], Awaitable[None]]:
        """Make the function that is called for each exchange."""
        control = admission_control_of(host.registry, self, host.addresses, host.once_in_force,
                                       ("filter", host.name))

        async def shed(context: FilterContext) -> None:
            observed = context.observed
            if observed is None:
                raise ConfigError("admission control needs to know where a request comes from")
            observed.identity, observed.service = context.identity, context.service
            answer = await control.admit(observed)
            headers = context.request.headers
            headers.lines = list(control.priorities.cleaned(observed.head, headers.lines))
            if answer is not None:
                context.refuse(answer[0], "there is too much to do; try again later", [("Retry-After", "1")])
                assert context.refusal is not None
                context.refusal.reason = SHED

        return shed
