"""Why an exchange with an upstream failed, in a few words for the log. Never for the client: it has addresses in it."""

from __future__ import annotations

from ..errors import CallTimeoutError
from .upstream import UpstreamStatusError


def reason_of(error: BaseException) -> str:
    """The reason, with what is behind it."""
    if isinstance(error, UpstreamStatusError):
        return f"HTTP status {error.status}"
    if isinstance(error, CallTimeoutError):
        return f"no answer within {error.timeout:g} s"
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return "no connection in time"
    return f"{cause or ''}" or f"{error}" or type(error).__name__
