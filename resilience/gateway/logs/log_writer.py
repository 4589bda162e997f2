"""Log writer: lines go to a file or a stream from a thread of their own, so that nobody waits for them.

Whoever logs puts a record into a queue of bounded length and goes on; a record that finds no room is dropped and
counted. The thread formats and writes what is there, and then sleeps for a moment, so that a busy gateway wakes it a
few times a second rather than once a request. It is started by a record, and ends when there was none for a while:
what is left of a gateway that a changed file has replaced is gone soon, also if nobody has closed it.

A full disk, a pipe that nobody reads, a descriptor that is closed: the thread waits or fails, the queue fills, records
are dropped. What went wrong is told once, by the logger ``resilience``, and once more when it is over, with the number
of lines that are missing. A thread that waits tells nothing; so whoever finds no room does.

Several processes write to one pipe. It takes PIPE_BUF bytes in one piece, and what is longer may have the lines of
others within it; so each write to what is no file is of whole lines, and no longer, if there are any.

A disk that fills up takes a part of a line. What is written next, by whichever process, begins a line of its own.

A file is opened anew when it was moved or removed, as logrotate does.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import select
import selectors
import stat
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from .lost_lines import LostLines

#: Records that may wait to be written.
MAX_QUEUE: Final = 10_000
#: Seconds between two looks into the queue, while there is traffic.
PAUSE_S: Final = 0.05
#: Seconds without a record, after which the thread ends.
IDLE_S: Final = 10.0
#: Records of one write: as little as half a megabyte.
_BATCH: Final = 1000
#: Bytes that a pipe takes in one piece.
_PIECE: Final[int] = getattr(select, "PIPE_BUF", 512)
#: Seconds after which a failed sink is tried again, and within which a moved file is noticed.
LOOK_S: Final = 1.0
_log = logging.getLogger("resilience")


class Sink(Protocol):
    """Where lines go. Of one thread."""

    def write(self, data: bytes) -> None:
        """Write all of *data*; raises OSError if it cannot."""

    def rest(self) -> None:
        """Nothing will be written for a while."""


class CutShortError(OSError):
    """A write has failed.

    Attributes:
        written: Bytes that were written before.
    """

    def __init__(self, error: OSError, written: int) -> None:
        super().__init__(error.errno, error.strerror)
        self.written = written


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of *data*, also to a descriptor that does not block.

    Raises:
        CutShortError: It cannot be written.
    """
    view, written = memoryview(data), 0
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    while written < len(data):
        end = len(data) if is_file else _end_of_lines(data, written)
        try:
            written += os.write(descriptor, view[written:end])
        except BlockingIOError:
            with selectors.DefaultSelector() as selector:  # select() knows the first 1024 descriptors only
                selector.register(descriptor, selectors.EVENT_WRITE)
                selector.select(LOOK_S)
        except OSError as error:
            raise CutShortError(error, written) from error


def _end_of_lines(data: bytes, begin: int) -> int:
    """Where the last line ends that begins at *begin* or later and goes out in one piece; of a longer one, its end."""
    end = data.rfind(b"\n", begin, begin + _PIECE) + 1 or data.find(b"\n", begin + _PIECE) + 1
    return end or len(data)


def _ends_within_a_line(path: str | os.PathLike[str]) -> bool:
    """Whether the last line of a file has no end. Of what is no file, or cannot be read, nobody knows."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except (OSError, ValueError):  # it is empty, say
        return False


def path_trouble(path: str | os.PathLike[str]) -> str | None:
    """Why no line can be written to the file of this *path*, which need not be there; None: it seems that one can."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return folder_trouble(os.path.dirname(os.path.realpath(path)))  # a link may lead into another folder
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}"
    if stat.S_ISDIR(mode):
        return f"{path} is a folder, and no file"
    return None if os.access(path, os.W_OK) else f"{path} cannot be written by this user"


def folder_trouble(folder: str | os.PathLike[str]) -> str | None:
    """Why no file can be made in a *folder*; None: it seems that one can."""
    if not os.path.isdir(folder):
        return f"there is no folder {folder}"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"this user can make no file in {folder}"


class StreamSink:
    """A descriptor that is open already, such as standard error; a copy of it is kept."""

    def __init__(self, descriptor: int) -> None:
        self._own: int | None = None
        self._missing: OSError | None = None
        self._has_failed = False
        try:
            self._own = os.dup(descriptor)  # or, once it is closed, its number could be that of a client's connection
        except OSError as error:
            self._missing = error
        else:
            weakref.finalize(self, os.close, self._own).atexit = False

    def write(self, data: bytes) -> None:
        """See Sink."""
        if self._own is None:
            raise self._missing or OSError("closed")
        is_torn = self._has_failed and _ends_within_a_line(f"/dev/fd/{self._own}")
        self._has_failed = True
        write_all(self._own, b"\n" + data if is_torn else data)
        self._has_failed = False

    def rest(self) -> None:
        """See Sink."""


class FileSink:
    """A file, to which every process appends. It is opened when the first line is written."""

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = Path(path), clock
        self._descriptor: int | None = None
        self._looked_at = 0.0

    def write(self, data: bytes) -> None:
        """See Sink."""
        now = self._clock()
        if self._descriptor is not None and now - self._looked_at >= LOOK_S:
            self._looked_at = now
            if self._was_moved(self._descriptor):
                self.rest()
        if self._descriptor is None:
            self._descriptor = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o640)
            self._looked_at = now
            if _ends_within_a_line(self._path):
                data = b"\n" + data
        try:
            write_all(self._descriptor, data)
        except OSError:
            self.rest()
            raise

    def reopen(self) -> None:
        """Look at the next write whether the file was moved."""
        self._looked_at = -LOOK_S

    def rest(self) -> None:
        """See Sink."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _was_moved(self, descriptor: int) -> bool:
        try:
            there, ours = self._path.stat(), os.fstat(descriptor)
        except OSError:
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)


class LogWriter:
    """Writes records from a thread of its own. put() may be called from any thread.

    Attributes:
        written: Lines that were handed to the sink.
        lost: Those that were not, or that the sink did not take.
    """

    def __init__(self, line: Callable[[Any], str], sink: Sink, *, max_queue: int = MAX_QUEUE,
                 pause: Callable[[float], object] = time.sleep, idle_s: float = IDLE_S,
                 name: str = "the access log") -> None:
        """Start nothing yet.

        Args:
            line: Makes the line of a record; it is called in the thread.
            sink: Where the lines go.
            max_queue: Records that may wait.
            pause: Passes the time between two looks into the queue.
            idle_s: Seconds without a record after which the thread ends.
            name: Of the log, for messages.
        """
        self._name = name
        self._line, self._sink, self._most, self._pause, self._idle_s = line, sink, max_queue, pause, idle_s
        self._queue: deque[Any] = deque()
        self.written, self.lost = 0, LostLines()
        self._told = 0  # lines missing when it was last said
        self._trouble: str | None = None
        self._renew()
        _writers.add(self)

    def put(self, record: Any) -> None:
        """Let *record* be written, if there is room."""
        queue = self._queue
        if len(queue) >= self._most:
            self.lost.dropped += 1
            if self._trouble is None:  # the thread may be held up by the sink
                self._told_of("its lines come faster than they are taken, or nobody takes them")
        else:
            queue.append(record)
        if self._idle:
            self._wake()

    def reopen(self) -> None:
        """Look for the file that has the log's name now, if it is one."""
        if isinstance(self._sink, FileSink):
            self._sink.reopen()

    def finish(self) -> threading.Thread | None:
        """Have the thread write what waits, and end; return the thread, if there is one.

        What comes later is written, too. Nobody waits.
        """
        thread = self._thread
        if thread is not None:
            self._closing = True
            self._woken.set()
        return thread

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, for so many seconds at most. What comes later is written, too."""
        thread = self.finish()
        if thread is not None:
            thread.join(timeout)

    def drain(self) -> bool:
        """Write what waits, up to a batch; for the thread. Return whether there was anything."""
        queue = self._queue
        lines: list[str] = []
        with contextlib.suppress(IndexError):
            while len(lines) < _BATCH:
                lines.append(self._line_of(queue.popleft()))
        if not lines:
            return False
        data = "".join(lines).encode("utf-8", "backslashreplace")
        try:
            self._sink.write(data)
        except (OSError, ValueError) as error:
            whole = data.count(b"\n", 0, error.written) if isinstance(error, CutShortError) else 0
            self.written += whole
            self.lost.failed += len(lines) - whole
            self._tell(error)
            if not self._closing:
                self._pause(LOOK_S)
        else:
            self.written += len(lines)
            self._recover()
        return True

    def _line_of(self, record: Any) -> str:
        try:
            return self._line(record)
        except Exception:  # noqa: BLE001 - one entry must not end the log
            _log.exception("an entry of the access log could not be written out")
            return ""

    def _tell(self, error: Exception) -> None:
        self._told_of(getattr(error, "strerror", None) or str(error))

    def _told_of(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            _log.error("%s cannot be written: %s; its lines are dropped until it can be", self._name, trouble)

    def _recover(self) -> None:
        if len(self._queue) > self._most // 2:  # what waits is still more than what is taken
            return
        missing = self.lost.dropped + self.lost.failed
        if self._trouble is not None or missing > self._told:
            lost = missing - self._told
            self._trouble, self._told = None, missing
            _log.warning("%d lines are missing in %s", lost, self._name)

    def _renew(self) -> None:
        """Have no thread, as in a forked child."""
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._starting = threading.Lock()
        self._idle, self._closing = True, False

    def _wake(self) -> None:
        self._idle, trouble = False, None
        with self._starting:
            if self._thread is None:
                trouble = self._start()
            self._woken.set()
        if trouble is not None:  # told without the lock, since the messages may be what this writer writes
            self._tell(trouble)

    def _start(self) -> RuntimeError | None:
        thread = threading.Thread(target=self._run, name=f"resilience writes {self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # there are too many; the next record tries again
            self._idle = True
            return error
        self._thread = thread
        return None

    def _run(self) -> None:
        """Write; whatever ends the thread, the next record starts another one."""
        try:
            self._write()
        finally:
            with self._starting:
                if self._thread is threading.current_thread():
                    self._thread, self._idle = None, True

    def _write(self) -> None:
        while self._is_woken():
            while self.drain():
                if not self._closing and len(self._queue) < _BATCH:
                    self._pause(PAUSE_S)
            self._idle = True
            if self._queue:  # one that came before the line above
                self._idle = False
                self._woken.set()

    def _is_woken(self) -> bool:
        """Wait for a record; false: the thread is to end."""
        if not self._closing and self._woken.wait(self._idle_s):
            self._woken.clear()
            return True
        self._sink.rest()  # not under the lock, for which whoever logs may wait
        with self._starting:
            if self._queue or (self._woken.is_set() and not self._closing):
                self._woken.clear()
                return True
            self._woken.clear()
            self._thread, self._idle, self._closing = None, True, False
            return False


_writers: weakref.WeakSet[LogWriter] = weakref.WeakSet()


def _after_fork() -> None:
    for writer in list(_writers):
        writer._queue.clear()  # the parent writes them
        writer._renew()


def _at_exit() -> None:
    until = time.monotonic() + 1.0  # for all of them: who has started this process may not wait for long
    for thread in [writer.finish() for writer in list(_writers)]:
        if thread is not None:
            thread.join(max(0.0, until - time.monotonic()))


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
