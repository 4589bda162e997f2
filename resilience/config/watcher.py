"""Watcher: a thread that notices when a file has changed, whoever changed it and however.

It looks at what the path leads to, so that an editor that replaces the file by another,
and Kubernetes, which turns a link to a new directory, show as another inode. The content
is read when the file's status is new: modification time, size, inode, device or change
time. The change time is what a program that writes in place cannot set back, as it can
the modification time (``os.utime``, ``cp -p``, ``rsync -t``). The content is also read for
some looks after such a change, since two writes within one tick of the file system's
clock leave the same status, and every ten seconds whatever the status says, since a
memory map or a network file system may change a file without a trace in it.

A content counts when it was the same for two looks in a row: a file that is still being
written, or away while it is replaced, is nobody's configuration. Neither is a pipe in its
place. The very bytes that were looked at are handed on and not read again, because the
next write may have begun meanwhile. Whoever reads the file in between, such as reload(),
tells the watcher by take(): what is in force is what further looks are compared with.

The thread is a daemon that waits on an event, so that it holds up no exit, and
holds its configuration weakly between looks. A forked child starts its own.
"""

from __future__ import annotations

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

#: Looks, at most, from one reading of the content to the next, whatever the file's status: ten seconds.
_LOOKS_BETWEEN_READINGS: Final = 50

#: See signature_of().
Signature = tuple[int, int, int, int, int]
#: What a look finds: the file's bytes, or why it has none.
Content = bytes | OSError


def is_endless(path: Path) -> bool:
    """Whether reading it may never end, as of a pipe that nobody writes to: then nothing may be read to look at it."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def signature_of(path: str | os.PathLike[str]) -> Signature | None:
    """What tells, without reading a file, that it has changed; None: it is away.

    Not what was written since it was last read within one tick of the file system's clock; see above.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev, found.st_ctime_ns


class Watched(Protocol):
    """An object that the watcher tells of a change."""

    def changed(self) -> None:
        """The content of the file has changed; the watcher holds the new content."""


class WatchedFileState:
    """The state of a watched file as of the last look at it. It does not know the time.

    Attributes:
        found: What the last look found; of a pipe, what was there before it.
        is_due: Whether a change was found and nobody has been told so far.
    """

    def __init__(self, path: Path, *, seen: Content | None = None) -> None:
        self._path = path
        self.found: Content = b"" if seen is None else seen
        self.found = self._content() if seen is None else seen
        self._known = self._last = _identity(self.found)  # what was last taken; what the last look found
        self._signature = signature_of(self._path)
        self._hot, self._idle = _LOOKS_AFTER_CHANGE, 0
        self.is_due = False

    def take(self, content: Content) -> None:
        """Compare further looks with this *content*: somebody has read it, and brought it into force or refused it."""
        self._known, self._hot = _identity(content), _LOOKS_AFTER_CHANGE

    def differs(self) -> bool:
        """Look once; whether there is a new content, seen twice. True once for each."""
        signature = signature_of(self._path)
        if signature != self._signature:
            self._signature, self._hot = signature, _LOOKS_AFTER_CHANGE
        elif self._hot:
            self._hot -= 1
        else:
            self._idle += 1
            if self._idle < _LOOKS_BETWEEN_READINGS:
                return False
        self._idle = 0
        self.found = self._content()
        found = _identity(self.found)
        settled, self._last = found == self._last, found
        if not settled:
            self._hot = _LOOKS_AFTER_CHANGE
        if not settled or found == self._known:
            return False
        self.is_due = True  # first: a child that is forked between these two lines must hear of the change
        self._known = found
        return True

    def _content(self) -> Content:
        if is_endless(self._path):
            return self.found
        try:
            return self._path.read_bytes()
        except OSError as error:
            return error


def _identity(content: Content) -> tuple[bytes, int | None]:
    """What tells two contents apart: the bytes, or the number of the error that reading them raised."""
    return (b"", content.errno) if isinstance(content, OSError) else (content, None)


class Watcher:
    """Tells *watched* of every new content of a file, from a thread of its own.

    Args:
        path: The file; it need not be there.
        watched: Told in the watcher's thread; kept weakly.
        seen: What was read of the file before; None: what is there now counts as known.
        wait: Waits so many seconds, and returns whether to end; None: a real wait, which close() ends.
    """

    def __init__(self, path: Path, watched: Watched, *, seen: Content | None = None,
                 wait: Callable[[float], bool] | None = None) -> None:
        self._path, self._watched, self._given_wait = path, weakref.ref(watched), wait
        self._ended = threading.Event()
        self._file = WatchedFileState(path, seen=seen)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=_watch, name=f"resilience watches {self._path}", daemon=True,
                                        args=(self._file, self._given_wait or self._ended.wait, self._watched))
        self._thread.start()

    def close(self) -> None:
        """Tell the thread to end, and do not wait until it does."""
        self._ended.set()

    @property
    def found(self) -> Content:
        """What the last look at the file found."""
        return self._file.found

    def take(self, content: Content) -> None:
        """Compare further looks with this *content*, which somebody else has read."""
        self._file.take(content)

    def renew(self) -> None:
        """Start another thread, in a forked child, which has not inherited this one."""
        if not self._ended.is_set():
            self._ended = threading.Event()
            self.start()


def _watch(state: WatchedFileState, wait: Callable[[float], bool], watched: weakref.ref[Watched]) -> None:
    while not wait(INTERVAL_S):
        told = watched()
        if told is None:
            return
        if state.is_due or state.differs():
            told.changed()
            state.is_due = False
        del told
