"""Notes: what a retry or a failover writes on the exception that it gives up with (PEP 678).

The exception is the caller's. Its class may forbid every assignment, or have ``__notes__`` mean something else: then
there is no note, and nothing else changes. And it may be raised again by the next call, or by others at this
moment, as one that a module makes once is. So what a retry wrote before is replaced and not added to, and of what
other commands' retries wrote a few are kept: those of retries around each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

_MOST: Final = 8  # of ours on one exception, before those of the retry that gives up now


class Note(str):
    """A note of the retry of the command *key*. Copied, or sent to another process, it is mere text."""

    __slots__ = ("key",)
    key: str

    def __new__(cls, key: str, said: str) -> Self:
        note = super().__new__(cls, f"{key}: {said}")
        note.key = key
        return note

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def add_notes(error: BaseException, key: str, bounds: Sequence[str], attempts: str) -> None:
    """Have *error* say what bounds ended the retries of the command *key*, and after how many *attempts*."""
    try:
        former: object = getattr(error, "__notes__", [])
        if not isinstance(former, list):
            return
        others = [note for note in former if not (isinstance(note, Note) and note.key == key)]
        stale = [note for note in others if isinstance(note, Note)][:-_MOST]
        kept = [note for note in others if not any(note is each for each in stale)]
        error.__notes__ = [*kept, *(Note(key, each) for each in (*bounds, attempts))]
    except Exception:  # noqa: BLE001, S110 - of its class, which allows no notes
        pass
