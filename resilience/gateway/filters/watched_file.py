"""Watched files: what a small file says, read again when it has changed.

The file is looked at when its content is asked for, at most once a second; a look costs one stat(). A content that
cannot be read is logged once for each reason, and the last good one stays: a file is often away while it is replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")
_LOOK_EVERY_S: Final = 1.0
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
            ValueError: It is larger than MAX_BYTES, or whatever *read* raises.
        """
        self._path, self._read, self._clock, self._trouble = Path(path), read, clock, ""
        self._seen = self._signature()
        self.content = read(self._bytes())
        self._look_at = clock() + _LOOK_EVERY_S

    def current(self) -> _T:
        """What the file says."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            try:
                seen = self._signature()
                if seen != self._seen:
                    self.content = self._read(self._bytes())
                    self._seen = seen
                trouble = ""
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, what was right stays
                trouble = f"{error}"
            self._tell(trouble)
        return self.content

    def _tell(self, trouble: str) -> None:
        before, self._trouble = self._trouble, trouble
        if trouble and trouble != before:
            _logger.error("%s cannot be read, and what it said before stays: %s", self._path, trouble)
        elif before and not trouble:
            _logger.warning("%s can be read again", self._path)

    def _signature(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _bytes(self) -> bytes:
        with self._path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"{self._path} is larger than {MAX_BYTES} bytes")
        return content
