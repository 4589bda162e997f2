"""What aiohttp says when its own connection pool had no room; entries of ``[guards]`` ask this, too.

aiohttp has no class of its own for that: a timeout says that no connection was there in time, be it that the server did
not answer, or that the limit of the connector was reached. Where the exception comes from tells them
apart, and so it does if the timeout of a guard, which was the shorter one, has cancelled the call. It needs no import
of aiohttp: it goes by the names.
"""

from __future__ import annotations

import asyncio

from .. import Ending, Verdict
from ..core.exception_groups import is_a
from .pool_waits import passed_through


def waited_for_pool(error: BaseException) -> bool:
    """Whether a timeout ended the wait for the connector's own limit.

    Args:
        error: What aiohttp raised, or what cancelled it.
    """
    if not is_a(error, (TimeoutError, asyncio.CancelledError)):
        return False
    cause: BaseException | None = error
    while cause is not None:
        if passed_through(cause, "aiohttp.connector:_wait_for_available_connection"):
            return True
        cause = cause.__cause__ or cause.__context__  # asyncio.timeout() names no cause before Python 3.11.3
    return False


def judge(ending: Ending) -> Verdict | None:
    """Return what a call of aiohttp amounts to; a judge for ``failures``, beside ``http_status()``.

    Args:
        ending: How the call ended.

    Returns:
        Refused for a wait for the client's own pool; None for all else: the other rules decide.
    """
    return Verdict.REFUSED if ending.error is not None and waited_for_pool(ending.error) else None
