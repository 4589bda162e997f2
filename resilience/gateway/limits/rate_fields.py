"""RateLimit fields: what clients are told of a limit before they run into it.

As draft-ietf-httpapi-ratelimit-headers-11 (May 2026) has them: lists of structured fields (RFC 9651), whose items are
names of policies.

    RateLimit-Policy: "per-user";q=100;w=60     so many units in so many seconds
    RateLimit: "per-user";r=42;t=35             so many are left; in t seconds there are all of them, or, if none is
                                                left, the next one

A limit here refills all the time, not at the end of a window; so t is rather long than short.
"""

from __future__ import annotations

import math
from typing import Final

from ..messages.exchange import Header

POLICY: Final = b"ratelimit-policy"
LIMIT: Final = b"ratelimit"
_MOST: Final = 999_999_999_999_999  # RFC 9651, 3.3.1


def policy_field(name: str, quota: int, window_s: float, unit: str | None = None) -> Header:
    """The field that describes a limit.

    Args:
        name: Of the policy; printable ASCII.
        quota: Units that there are at most.
        window_s: Seconds in which so many come back.
        unit: What is counted; None: requests.
    """
    more = "" if unit is None else f";qu={_string(unit)}"
    return POLICY, f"{_string(name)};q={min(quota, _MOST)}{more};w={max(1, math.ceil(window_s))}".encode()


def left_of(units: float, used: float, interval_s: float) -> tuple[float, float]:
    """Units that are left, and seconds until all are, or, if none is, until the next one is.

    Args:
        units: That there are at most.
        used: Of them, or more, on credit.
        interval_s: In which one comes back.
    """
    left = units - used + 1e-6
    return left, interval_s * (used if left >= 1.0 else used - units + 1.0)


def limit_field(name: str, left: float, wait_s: float) -> Header:
    """The field that says what is *left* of a limit; see above for *wait_s*."""
    return LIMIT, f"{_string(name)};r={max(0, min(math.floor(left), _MOST))};t={max(0, math.ceil(wait_s))}".encode()


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
