"""The processes of the gateway: the ``[process]`` table."""

from __future__ import annotations

import attrs

from ...core.checks import flag, number


@attrs.frozen(kw_only=True)
class ProcessSettings:
    """The ``[process]`` table.

    Attributes:
        workers: Processes that serve requests; one more supervises them.
        lame_duck: Seconds between the signal to stop and the end of listening. Readiness is off meanwhile, so that load
            balancers look elsewhere, and requests are served as ever.
        watch: Reload the file within a second of a change, as SIGHUP does.
    """

    workers: int = attrs.field(default=1, validator=number(least=1, most=256, whole=True))
    lame_duck: float = attrs.field(default=0.0, validator=number(least=0, most=3600.0))
    watch: bool = attrs.field(default=False, validator=flag)
