"""Waits for a connection of the client's own pool, told by where a call was when it ended.

Clients say by an exception that their own timeout ended such a wait. If the timeout of a guard is shorter, it cancels
the call, and nothing but the place where the call was at that moment says what it waited for. It needs no import of a
client: it goes by the names of modules and functions.
"""

from __future__ import annotations

import asyncio
import traceback

from ..core.exception_copy import traceback_of
from ..core.exception_groups import is_a


def passed_through(error: BaseException, *functions: str) -> bool:
    """Whether *error* came out of one of these functions.

    Args:
        error: What was raised.
        *functions: As "module:name".
    """
    return any(f"{frame.f_globals.get('__name__')}:{frame.f_code.co_name}" in functions
               for frame, _ in traceback.walk_tb(traceback_of(error)))


def was_cancelled_in(error: BaseException, *functions: str) -> bool:
    """Whether *error* is a cancellation of a call that was in one of these functions.

    Args:
        error: What was raised.
        *functions: As "module:name".
    """
    return is_a(error, asyncio.CancelledError) and passed_through(error, *functions)
