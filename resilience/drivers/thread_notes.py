"""Thread notes: errors that an isolated call raises because it does not run in its caller's thread.

Connections, sessions, transactions and thread-locals belong to a thread, and what
they say when another one uses them does not name the decorator that moved the
call. Such an error gets a note (PEP 678) that does, if it takes one.

Only what the error was made of is looked at, never its ``str()``: that is the
user's code, and may be slow or raise.
"""

from __future__ import annotations

import re
from typing import Final

NOTE: Final = ("resilience ran this call on a worker thread, because its command has a timeout or isolation='thread'. "
               "What belongs to its caller's thread (a connection, a session, a transaction, a thread-local) is not "
               "there. timeout=None or isolation='semaphore' keeps the call in its caller's thread; see the page "
               "'Guard a database'.")

_COMPLAINT: Final = re.compile("|".join([
    r"created in a thread can only be used in that same thread",  # sqlite3, Django's database wrappers
    r"database table is locked: ",  # sqlite3: another connection to one in-memory database, as Django's tests have it
    r"_thread\._local' object has no attribute",  # threading.local
    r"current event loop in thread",  # asyncio.get_event_loop()
    r"signal only works in main thread",
    r"main thread is not in main loop",  # tkinter
    r"cannot switch to a different thread",  # greenlet, and so gevent and SQLAlchemy's asyncio
    r"release un-acquired lock|release un-owned lock",  # a threading.RLock that the caller holds
    r"concurrent operations are not permitted|can't be called here; method",  # SQLAlchemy: two threads in one Session
    r"[Ww]orking outside of (application|request) context",  # Flask before 2.2
]))
_LOOKED_AT: Final = 500  # characters of a message


def annotate(error: BaseException) -> None:
    """Add the note to *error* if it complains of the thread, once; never raises."""
    try:
        said = error.args[0] if error.args else None
        if type(said) is str and _COMPLAINT.search(said, 0, _LOOKED_AT) and (
                NOTE not in getattr(error, "__notes__", ())):
            error.add_note(NOTE)
    except Exception:  # noqa: BLE001, S110 - an error that cannot be looked at or changed reaches its caller as it is
        pass
