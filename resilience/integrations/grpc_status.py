"""Refusals of ours as gRPC knows errors: each is an RpcError with a status code, and our own error at once.

Code around a stub catches grpc.RpcError and asks for ``code()``; that around a stub of grpc.aio catches AioRpcError. A
refusal is UNAVAILABLE, so that a server that passes the status of its own calls on tells its callers that a later try
may succeed; ``grpc-retry-pushback-ms`` in the trailing metadata says when (gRPC proposal A6). A timeout is
DEADLINE_EXCEEDED.
"""

from __future__ import annotations

import math
import traceback
from typing import Any, Final

import grpc
from grpc.aio import AioRpcError, BaseError, Metadata

from .. import CallTimeoutError, Ending, FailureRules, NoTimeLeftError, Verdict, http_status, remaining
from ..core.exception_copy import traceback_of
from ..core.exception_groups import is_a

__all__ = ["FAILURES"]

_SLACK_S: Final = 0.05  # the timer of the caller's own deadline may be a little early
#: What grpc says, as UNKNOWN or INTERNAL, of requests that the iterator or serializer of the caller did not give it,
#: and of metadata that nobody can be sent.
_NEVER_SENT: Final = ("Exception iterating requests!", "Exception serializing request!", "Invalid metadata")


def judge(ending: Ending) -> Verdict | None:
    """Return what an RPC amounts to that its caller spoiled; a judge for ``failures``, beside ``http_status()``.

    Args:
        ending: How the RPC ended.

    Returns:
        The caller's fault for DEADLINE_EXCEEDED by the caller's own ``deadline()``, and for what was never sent: by a
        channel that is closed, with arguments or metadata that cannot be, or since its requests could not be iterated
        or serialized. A careless caller must not open the circuit for all others. None for all else: the status code
        decides.
    """
    if ending.error is None:
        return None
    if _was_never_sent(ending.error):
        return Verdict.CALLER_FAULT
    left = remaining()
    if left is None or left > _SLACK_S:
        return None
    code = getattr(ending.error, "code", None)
    expired = callable(code) and code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return Verdict.CALLER_FAULT if expired else None


def _was_never_sent(error: Exception) -> bool:
    """Whether gRPC did not send an RPC. It has no status code for most of that, but raises what Python has for it."""
    details = getattr(error, "details", None)
    if callable(details):
        return details() in _NEVER_SENT
    if not is_a(error, (ValueError, TypeError, AttributeError, LookupError, BaseError)):
        return False
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(traceback_of(error))]
    return modules[-1].startswith("grpc.") if modules else False


#: Failure rules for RPCs by status code: UNAVAILABLE, INTERNAL, UNKNOWN, DATA_LOSS and DEADLINE_EXCEEDED are failures,
#: RESOURCE_EXHAUSTED, and UNAVAILABLE with ``grpc-retry-pushback-ms``, are busy, and all others are the caller's fault.
FAILURES: Final = FailureRules(judge, status=http_status(caller_fault=501))


class GuardRpcError(grpc.RpcError):  # type: ignore[misc,unused-ignore]
    """An error of ours as an RpcError: the other base class of what a guarded stub raises of its own accord."""

    def code(self) -> grpc.StatusCode:
        """DEADLINE_EXCEEDED for a timeout, or a deadline that has passed; else UNAVAILABLE."""
        return grpc.StatusCode.DEADLINE_EXCEEDED if isinstance(self, (CallTimeoutError, NoTimeLeftError)) \
            else grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        """The message."""
        return str(self)

    def debug_error_string(self) -> str:
        """The message; no RPC was made that could say more."""
        return str(self)

    def initial_metadata(self) -> Any:
        """Empty: nothing was received."""
        return ()

    def trailing_metadata(self) -> Any:
        """``grpc-retry-pushback-ms``, if the refusal says when to try again."""
        return _pushback(self)


class AioGuardRpcError(GuardRpcError, AioRpcError):  # type: ignore[misc,unused-ignore]
    """An error of ours as an AioRpcError."""

    def __init__(self, message: str) -> None:
        AioRpcError.__init__(self, grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), message)

    def initial_metadata(self) -> Any:
        """Empty: nothing was received."""
        return Metadata()

    def trailing_metadata(self) -> Any:
        """``grpc-retry-pushback-ms``, if the refusal says when to try again."""
        return Metadata(*_pushback(self))


def _pushback(error: Any) -> tuple[tuple[str, str], ...]:
    wait = getattr(error, "retry_after", None)
    return () if wait is None else (("grpc-retry-pushback-ms", str(math.ceil(wait * 1000))),)
