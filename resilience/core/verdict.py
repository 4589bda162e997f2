"""Verdict: what one call says about its target, and Ending, what a verdict is given about.

A call of a command has one verdict. Breaker, throttle, limits, retry, hedge, fallback, cache and statistics all act on it:

| verdict | breaker | retry | limits | counted as |
|---|---|---|---|---|
| good | good | - | good | success |
| failed | bad | may repeat it | bad | failure |
| busy | says nothing | waits as told, may repeat it | bad: they shrink | busy |
| the caller's fault | says nothing | - | good | bad_request |

How a call was refused, cancelled or cut short is not for anybody to judge: the library knows it.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import attrs

from .outcome import BUSY, FAILURE, IGNORED, SUCCESS


class Verdict(enum.Enum):
    """What a call says about its target.

    Attributes:
        GOOD: It worked.
        FAILED: The target is ill.
        BUSY: The target is well, and refuses for now, as with HTTP status 429.
        CALLER_FAULT: The call was wrong, and would be so again: a bad request, an unknown name.
    """

    GOOD = "good"
    FAILED = "failed"
    BUSY = "busy"
    CALLER_FAULT = "caller_fault"


#: What the gates are told.
OUTCOME_OF: Final = {Verdict.GOOD: SUCCESS, Verdict.FAILED: FAILURE, Verdict.BUSY: BUSY, Verdict.CALLER_FAULT: IGNORED}


@attrs.frozen
class Ending:
    """How a call ended. Immutable.

    Attributes:
        result: What it returned; of a stream the item that it yielded. None if it raised.
        error: What it raised; None if it returned or yielded.
        is_item: Whether ``result`` is an item of a stream.
    """

    result: Any = None
    error: Exception | None = None
    is_item: bool = False
