"""Trace context: which trace a request belongs to (W3C Trace Context, level 2). Pure.

    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
                 version, trace id, id of the caller's span, flags

A valid context that is trusted is continued: the trace id and the flags stay, the gateway's own span takes the caller's
place, and ``tracestate`` passes as it came. Otherwise a trace is started. Headers that are malformed, or come twice,
count as none (section 3.2.3.1); a version above 00 is read as far as 00 goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from ..messages.exchange import Header

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
#: Members of a tracestate, and its bytes, that are passed on (section 3.3.1.5 asks for 512 at least).
MAX_MEMBERS: Final = 32
MAX_STATE_BYTES: Final = 4096
_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?", re.ASCII)
_MEMBER: Final = re.compile(
    rb"[ \t]*(?:[a-z0-9][a-z0-9_*/@-]{0,255})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e][ \t]*")
_SAMPLED: Final = 0x01
_RANDOM: Final = 0x02
_KNOWN: Final = _SAMPLED | _RANDOM


class Trace:
    """The trace of one request. Not to be changed.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: Of the gateway's own span, 16 digits.
        parent_id: Of the caller's span; None: the trace begins here.
        flags: Whether it is sampled, and its id random.
        state: The value of ``tracestate``; empty: none.
    """

    __slots__ = ("flags", "parent_id", "span_id", "state", "trace_id")

    def __init__(self, trace_id: str, span_id: str, parent_id: str | None, flags: int, state: bytes) -> None:
        self.trace_id, self.span_id, self.parent_id = trace_id, span_id, parent_id
        self.flags, self.state = flags, state

    @property
    def sampled(self) -> bool:
        """Whether the caller, or whoever began the trace, records it."""
        return bool(self.flags & _SAMPLED)

    def headers(self) -> list[Header]:
        """What an upstream is told."""
        told = [(TRACEPARENT, f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}".encode())]
        if self.state:
            told.append((TRACESTATE, self.state))
        return told


def parent_of(value: bytes) -> tuple[str, str, int] | None:
    """Trace id, span id and flags of a ``traceparent``; None if it is not valid."""
    found = _PARENT.fullmatch(value)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return trace_id.decode(), span_id.decode(), int(flags, 16) & _KNOWN


def state_of(values: Sequence[bytes]) -> bytes:
    """What to pass on of the ``tracestate`` headers of one request; empty if they are malformed or too long."""
    joined = b",".join(values)
    if len(joined) > MAX_STATE_BYTES:
        return b""
    members = [member for member in joined.split(b",") if member.strip(b" \t")]
    if len(members) > MAX_MEMBERS or not all(_MEMBER.fullmatch(member) for member in members):
        return b""
    keys = [member.strip(b" \t").partition(b"=")[0] for member in members]
    return b",".join(members) if len(set(keys)) == len(keys) else b""


def continued(parents: Sequence[bytes], states: Sequence[bytes], bits: Callable[[int], int]) -> Trace | None:
    """The trace that a request's headers name, with a span of our own; None if they name none.

    Args:
        parents: The values of ``traceparent``.
        states: The values of ``tracestate``.
        bits: Returns a random number of so many bits.
    """
    parent = parent_of(parents[0]) if len(parents) == 1 else None
    if parent is None:
        return None
    trace_id, span_id, flags = parent
    return Trace(trace_id, _digits(bits, 16), span_id, flags, state_of(states) if states else b"")


def begun(bits: Callable[[int], int], *, sampled: bool) -> Trace:
    """A trace that begins here; see continued()."""
    return Trace(_digits(bits, 32), _digits(bits, 16), None, _RANDOM | (_SAMPLED if sampled else 0), b"")


def _digits(bits: Callable[[int], int], length: int) -> str:
    return f"{bits(4 * length) or 1:0{length}x}"  # all zeros is no id
