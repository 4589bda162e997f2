"""Notes: what a retry or a failover writes on the exception that it gives up with (PEP 678).

The exception is the caller's. Its class may forbid every assignment, or have ``__notes__`` mean something else: then
there is no note, and nothing else changes. And it may be raised again by the next call, or by others at this
moment, as one that a module makes once is. So what a retry wrote before is replaced and not added to, and of what
other commands' retries wrote a few are kept: those of retries around each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_OURS: Final = re.compile(
    r": (attempt \d+ of at most \d+, |the caller's deadline leaves no time |the target asks for a wait of "
    r"|time_limit \(.*\) leaves no time for |the time_limit that the other settings give "
    r"|the retry budget of the group |left to the retry of "
    r"|targets tried: |its budget allows no other target"
    r"|max_wait \(.*\) is too short to wait for )")
_MOST: Final = 8  # of ours on one exception, before those of the retry that gives up now


def add_notes(error: BaseException, key: str, bounds: Sequence[str], attempts: str) -> None:
    """Have *error* say what bounds ended the retries of the command *key*, and after how many *attempts*."""
    try:
        former: object = getattr(error, "__notes__", [])
        if not isinstance(former, list):
            return
        others = [note for note in former if not _is_ours(note, key)]
        stale = [note for note in others if _is_ours(note)][:-_MOST]
        kept = [note for note in others if not any(note is each for each in stale)]
        error.__notes__ = [*kept, *(f"{key}: {each}" for each in (*bounds, attempts))]
    except Exception:  # noqa: BLE001, S110 - of its class, which allows no notes
        pass


def _is_ours(note: object, key: str | None = None) -> bool:
    """Whether a retry wrote *note*: of the command *key*; None: of any."""
    if type(note) is not str:
        return False
    if key is None:
        return _OURS.search(note) is not None
    return note.startswith(key) and _OURS.match(note, len(key)) is not None
