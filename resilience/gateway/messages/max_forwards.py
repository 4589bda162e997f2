"""Max-Forwards: how far a request may go that asks what is on its way (RFC 9110, 7.6.2). Pure.

For OPTIONS and TRACE each intermediary counts it down, and answers at 0 itself. For other methods it says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .exchange import Header
from .problem import Problem, ServerOptions

#: Methods that are bounded by it.
BOUNDED: Final = ("OPTIONS", "TRACE")
_NAME: Final = b"max-forwards"
#: What is sent on for more than that, as each recipient may choose for itself.
_MOST: Final = 1_000_000


def counted_down(method: str, headers: Sequence[Header]) -> list[Header]:
    """The *headers* of a request that is sent on, with Max-Forwards counted down if they have it.

    Args:
        method: One of BOUNDED.
        headers: Names in lower case.

    Raises:
        Problem: The answer: the request goes no further, or says nonsense about it.
    """
    told = [value for name, value in headers if name == _NAME]
    if not told:
        return list(headers)
    if len(told) > 1 or not told[0].isdigit():  # bytes.isdigit knows ASCII digits only
        raise Problem(400, "the request has a Max-Forwards that is no number")
    digits = told[0].lstrip(b"0")
    if not digits:
        raise _answer(method)
    left = _MOST if len(digits) > len(f"{_MOST}") else min(_MOST, int(digits) - 1)
    return [*(header for header in headers if header[0] != _NAME), (_NAME, b"%d" % left)]


def _answer(method: str) -> Problem:
    """What the gateway says in the place of whom it would have asked."""
    if method == "OPTIONS":
        return ServerOptions()
    # To repeat what came would show scripts the credentials that their browser keeps from them.
    return Problem(405, "the gateway repeats no request", headers=[(b"allow", b"OPTIONS")])
