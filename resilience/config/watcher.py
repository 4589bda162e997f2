"""Watcher: a thread that notices when a file has changed, however it was changed.

It looks at what the path leads to: an editor that replaces the file by another, and
the links that Kubernetes turns to a new directory, show as another inode. The
content is read when size, time or inode are new, and for some looks after that,
since two writes within one tick of the file system's clock look the same. It is
taken for changed when it was the same for two looks in a row: a file that is still
being written, or away while it is replaced, is nobody's configuration. So is a pipe
in its place.

The thread is a daemon that waits on an event, so that it holds up no exit, and
holds its configuration weakly between looks. A forked child starts its own.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

#: Seconds between looks: two equal looks and some delay stay below the second that is promised.
INTERVAL_S: Final = 0.2
#: Looks at the content after the last visible change; file systems tick at least every two seconds (FAT).
_LOOKS_AFTER_CHANGE: Final = 11

_Signature = tuple[int, int, int, int]


def is_endless(path: Path) -> bool:
    """Whether reading it may never end, as of a pipe that nobody writes to: then nothing may be read to look at it."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


class Watched(Protocol):
    """What is told of a change."""

    def changed(self) -> None:
        """The file is another."""


class Looks:
    """What is known of a file from looking at it now and then; knows no clock."""

    def __init__(self, path: Path, *, seen: bytes | None = None) -> None:
        self._path = path
        self._known = seen or b""  # what was last taken
        self._known = self._content() if seen is None else seen
        self._signature = self._stat()
        self._last = self._known
        self._hot = _LOOKS_AFTER_CHANGE

    def differs(self) -> bool:
        """Look once; whether there is a new content, seen twice. True once for each."""
        signature = self._stat()
        if signature != self._signature:
            self._signature, self._hot = signature, _LOOKS_AFTER_CHANGE
        elif not self._hot:
            return False
        self._hot -= 1
        content = self._content()
        settled, self._last = content == self._last, content
        if not settled:
            self._hot = _LOOKS_AFTER_CHANGE
        if not settled or content == self._known:
            return False
        self._known = content
        return True

    def _stat(self) -> _Signature | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev

    def _content(self) -> bytes:
        if is_endless(self._path):
            return self._known
        try:
            return hashlib.sha256(self._path.read_bytes()).digest()
        except OSError as error:
            return f"no file: {error.errno}".encode()


class Watcher:
    """Tells *watched* of every new content of a file, from a thread of its own.

    Args:
        path: The file; it need not be there.
        watched: Told in the watcher's thread; kept weakly.
        wait: Waits so many seconds, and returns whether to end; None: a real wait, which close() ends.
    """

    def __init__(self, path: Path, watched: Watched, *, wait: Callable[[float], bool] | None = None) -> None:
        self._path, self._watched, self._given_wait = path, weakref.ref(watched), wait
        self._ended = threading.Event()
        self._looks = Looks(path)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=_watch, name=f"resilience watches {self._path}", daemon=True,
                                        args=(self._looks, self._given_wait or self._ended.wait, self._watched))
        self._thread.start()

    def close(self) -> None:
        """End, soon; does not wait for it."""
        self._ended.set()

    def renew(self) -> None:
        """Begin anew, in a forked child."""
        if not self._ended.is_set():
            self._ended = threading.Event()
            self.start()


def _watch(looks: Looks, wait: Callable[[float], bool], watched: weakref.ref[Watched]) -> None:
    while not wait(INTERVAL_S):
        told = watched()
        if told is None:
            return
        if looks.differs():
            told.changed()
        del told
