"""Request mistakes: whether an exception came out of what a caller gave to a client, and not out of sending it.

- *The head*: a header that no server could be sent, or a host that no name server could be asked for. Clients without a
  class for that raise a ValueError or TypeError where they write or look it up.
- *The body*: an iterator or a file of the caller's, made of another response, of a request that is passed on, of a
  database. Clients let through what it raises, as it is or in an exception of their own. The function of the client
  that iterates the body has then called the caller's code, or nothing, and not another part of the client.

Neither says anything of the server, and the traceback alone tells them from the rest. It needs no import of a client:
it goes by the names.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from ..core.exception_copy import args_of, cause_of, traceback_of
from ..core.exception_groups import is_a
from .pool_waits import passed_through

_DEPTH: Final = 4  # of exceptions in exceptions: requests has one of urllib3, which has the original


def _rule(heads: tuple[str, ...], bodies: tuple[str, ...],
          senders: tuple[str, ...]) -> Callable[[BaseException], bool]:
    """A failure rule for a client.

    Args:
        heads: What writes heads, as "module:name".
        bodies: What iterates bodies, a module or a function of one.
        senders: Packages whose calls by that are sending.
    """

    def is_mistake(error: BaseException) -> bool:
        """Whether *error*, or what it was made of, came out of the head or the body of a request."""
        return (is_a(error, (ValueError, TypeError)) and passed_through(error, *heads, "socket:getaddrinfo")) or any(
            _came_out_of(each, bodies, senders) for each in islice(_with_origins(error), _DEPTH))

    return is_mistake


#: Rules for httpx and httpx2; for urllib3, requests and botocore; and for aiohttp.
httpx_mistake: Final = _rule(
    (), tuple(f"{core}._{kind}.{version}:_send_request_body" for core in ("httpcore", "httpcore2")
              for kind in ("sync", "async") for version in ("http11", "http2")), ("httpcore", "httpcore2"))
urllib3_mistake: Final = _rule(
    ("http.client:putheader", "http.client:putrequest"),
    ("urllib3.connection:request", "urllib3.util.request:body_to_chunks", "urllib3.util.request:chunk_readable",
     "botocore.httpchecksum", "botocore.auth:payload"), ("urllib3", "http", "botocore"))
aiohttp_mistake: Final = _rule(
    ("aiohttp.http_writer:write_headers",),
    ("aiohttp.client_reqrep:write_bytes", "aiohttp.payload", "aiohttp.multipart"), ("aiohttp", "asyncio", "uvloop"))


def _with_origins(error: BaseException) -> Iterator[BaseException]:
    """The *error*, and what clients made it of: its cause, or the last exception among its arguments."""
    found: BaseException | None = error
    while found is not None:
        yield found
        inner = (each for each in reversed(args_of(found)) if issubclass(type(each), BaseException))
        found = cause_of(found) or next(inner, None)


def _came_out_of(error: BaseException, bodies: tuple[str, ...], senders: tuple[str, ...]) -> bool:
    """Whether *error* came through one of *bodies*, and not out of a sender that this had called."""
    is_within = False
    for frame, _ in traceback.walk_tb(traceback_of(error)):
        module = str(frame.f_globals.get("__name__"))
        if module in bodies or f"{module}:{frame.f_code.co_name}" in bodies:
            is_within = True
        elif is_within:
            return module.partition(".")[0] not in senders
    return is_within
