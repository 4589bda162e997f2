"""Open files: each connection is one, be it to a client or to an upstream. A process may have so many at once.

Many systems begin with a limit of 1024, for the sake of programs that wait by select(), and let a process raise it up
to another one, the hard limit. A gateway that is at its limit can ask no service anything: so clients, who may open as
many connections as they like, get three quarters of it, and the rest is for connections to services, and for files.
Each listener of a process gets an equal part of that, so that none takes what clients of another need.
"""

from __future__ import annotations

import logging
import weakref
from typing import Final, Protocol

#: More are of no use, and some programs count up to their limit.
_MOST: Final = 1 << 20
#: What a process opens of its own, and connections to a few services.
_LEAST_RESERVE: Final = 64
_logger = logging.getLogger("resilience.gateway")


class Sharing(Protocol):
    """Whoever takes connections in, and shares the open files with all others that do."""

    def find_room(self) -> None:
        """Ask room_for() anew."""


#: Those of this process.
_LISTENING: Final = weakref.WeakSet[Sharing]()


def share_open_files(who: Sharing, *, listens: bool) -> None:
    """Say whether *who* takes connections in from now on; all that do are asked to find out how much room there is."""
    (_LISTENING.add if listens else _LISTENING.discard)(who)
    for each in list(_LISTENING):
        each.find_room()


def room_for(connections: int, listeners: int = 0) -> int:
    """How many connections of clients a listener may have at once, of as many as its settings allow.

    Args:
        connections: As the settings say.
        listeners: How many share the open files; 0: those that there are now.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return connections
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return connections
    room = limit - max(_LEAST_RESERVE, limit // 4)
    return min(connections, max(1, room // max(1, listeners or len(_LISTENING))))


def allow_open_files(connections: int, listeners: int = 1) -> None:
    """Let this process, and those that it starts, have as many open files as they may; say so if these are too few.

    Args:
        connections: How many of clients one listener may have.
        listeners: How many listeners a process has.
    """
    try:
        import resource
    except ImportError:
        return
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if resource.RLIM_INFINITY != limit < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            limit = wanted
        except (OSError, ValueError):  # macOS has a lower limit that it does not tell
            _logger.debug("the limit of open files stays at %d", limit)
    if resource.RLIM_INFINITY != limit < connections:
        _logger.warning(
            "a process may have %d open files at once, and a part of them is for connections to services: clients can "
            "have %d connections%s, fewer than max_connections (%d); more are closed. Raise the limit (ulimit -n, "
            "LimitNOFILE of systemd), or lower max_connections", limit, room_for(connections, listeners),
            " at each listener" if listeners > 1 else "", connections)
