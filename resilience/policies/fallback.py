"""The fallback's kit: what answers instead of an error. It belongs to each function, not to their command."""

from __future__ import annotations

from typing import Final

import attrs

from ..core.fallback import Fallback
from ..engine.kit import Kit, TelemetryItem
from ..engine.worst_case import WorstCase


def _worst_case(fallback: Fallback, below: WorstCase) -> WorstCase:
    return attrs.evolve(below, besides=(*below.besides, "the fallback's own time"))


FALLBACK: Final = Kit(
    name="fallback",
    policy=Fallback,
    about="Answers instead of an error.",
    no_block="a fallback answers in place of the code, and a block that is refused hands nothing on; you may "
             "catch the error around it",
    above={
        "cache": "the cache would keep the fallback's answers",
        "retry": "the retry would see the fallback's answers and never a failure",
        "failover": "the failover would take the fallback's answer for that of a target",
        "breaker": "the breaker would count the fallback's answers and never see a failure",
        "throttle": "the fallback could not answer for what the throttle refuses",
        "rate_limit": "the fallback could not answer for what the rate limit refuses",
        "max_concurrent": "the fallback could not answer for a full bulkhead",
        "adaptive_limit": "the fallback could not answer for what the limit refuses",
        "timeout": "the fallback could not answer for a timeout, and would itself be cut off by it",
        "hedge": "a fallback's answer would win over an attempt that is still out",
    },
    principal="function",
    setting=False,
    live=False,
    worst_case=_worst_case,
    events=(TelemetryItem("fallback_success", "Calls that a fallback answered."),
            TelemetryItem("fallback_failure", "Calls whose fallback failed too."),
            TelemetryItem("fallback_rejection", "Calls that were refused a fallback because too many ran already."),
            TelemetryItem("fallback_missing", "Failed calls that no fallback answered for.")),
)
