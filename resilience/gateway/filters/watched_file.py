"""Watched files: what a small file says, read again when it has changed.

The file is looked at when its content is asked for, once a second at most; a look costs a stat(). For some looks after
a change it is read all the same: two writes within one tick of the file system's clock look like one. A content that
cannot be read is logged once for each reason, and the last good one stays: a file is often away while it is replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Final, Generic, TypeVar

from ...config.watcher import is_endless, signature_of

_T = TypeVar("_T")
_LOOK_EVERY_S: Final = 1.0
#: File systems tick at least every two seconds (FAT).
_LOOKS_AFTER_CHANGE: Final = 3
#: Larger than any that people write, and small enough to be read on an event loop.
MAX_BYTES: Final = 4 * 1024 * 1024
_logger = logging.getLogger(__name__)


class WatchedFile(Generic[_T]):
    """A file and what it says. For one event loop."""

    def __init__(self, path: str, read: Callable[[bytes], _T], *, clock: Callable[[], float] = monotonic) -> None:
        """Read the file.

        Args:
            path: Of the file.
            read: Makes something of the content, and raises for a content that is wrong.
            clock: Seconds.

        Raises:
            OSError: It cannot be read.
            ValueError: It is a pipe, or larger than MAX_BYTES; or whatever *read* raises.
        """
        self._path, self._read, self._clock, self._trouble = Path(path), read, clock, ""
        self._signature, self._hot = signature_of(self._path), _LOOKS_AFTER_CHANGE
        content = self._bytes()
        self.content, self._known = read(content), sha256(content).digest()
        self._look_at = clock() + _LOOK_EVERY_S

    def current(self) -> _T:
        """What the file says."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            try:
                self._look()
                trouble = ""
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, what was right stays
                trouble = f"{error}"
            self._tell(trouble)
        return self.content

    def _look(self) -> None:
        signature = signature_of(self._path)
        if signature != self._signature:
            self._signature, self._hot = signature, _LOOKS_AFTER_CHANGE
        if self._hot:
            content = self._bytes()
            known = sha256(content).digest()
            if known != self._known:
                self.content, self._known = self._read(content), known
            self._hot -= 1  # what could not be read is tried again

    def _tell(self, trouble: str) -> None:
        before, self._trouble = self._trouble, trouble
        if trouble and trouble != before:
            _logger.error("%s cannot be read, and what it said before stays: %s", self._path, trouble)
        elif before and not trouble:
            _logger.warning("%s can be read again", self._path)

    def _bytes(self) -> bytes:
        if is_endless(self._path):  # to open a pipe waits for somebody who writes to it
            raise ValueError(f"{self._path} is no regular file")
        with self._path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"{self._path} is larger than {MAX_BYTES} bytes")
        return content
