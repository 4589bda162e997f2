"""CachedList: the last list that was good, in a file, so that a restart begins with it although the source is away.

The file is written beside its place and moved there, so that a reader finds a whole one or the one before. When the
list was last heard is the file's modification time: it is set again while the list stays the same, which costs less
than writing it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import time
from typing import Any, Final

from .instance import Instance, table_of
from .source import Listing

MAX_BYTES: Final = 8 * 1024 * 1024
_VERSION: Final = 1
_ADDRESS: Final = re.compile(r" at 0x[0-9A-Fa-f]+")


def name_of(source: object) -> str:
    """The name of a *source* whose list is kept: what it shows itself as.

    The addresses of objects in that, of itself or of a client that it has, are others after a restart, and left out.
    """
    return _ADDRESS.sub("", repr(source))


class CachedList:
    """A file with a list. Its methods may wait for a disk: call them in a thread, one at a time.

    Several processes may keep the same list in one file, since each writes the whole.
    """

    def __init__(self, path: str, source: str) -> None:
        """A file; nothing is read or written yet.

        Args:
            path: Of the file, in a directory that there is.
            source: Names what the list is of. A list of another source is not read.
        """
        self._path, self._source = Path(path), source

    def __repr__(self) -> str:
        return f"{self._path}"

    def read(self) -> tuple[tuple[Instance, ...], float] | None:
        """The list and its age in seconds; None: nothing was kept.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is of another source, or damaged.
        """
        try:
            with self._path.open("rb") as file:
                kept_at, content = os.fstat(file.fileno()).st_mtime, file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(content) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        try:
            said: Any = json.loads(content)
            version, source, entries = said["version"], said["source"], said["instances"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError("it is no list that was kept") from None
        if version != _VERSION or not isinstance(entries, list):
            raise ValueError("it is no list that was kept by this version")
        if source != self._source:
            raise ValueError(f"it is of another source, {source}")
        listing = Listing.of(entries)
        if listing.mistakes:
            raise ValueError(listing.mistakes[0])
        return listing.instances, max(0.0, time() - kept_at)

    def write(self, instances: Iterable[Instance]) -> None:
        """Keep a list.

        Raises:
            OSError: It cannot be written; what was kept before stays.
        """
        text = json.dumps({"version": _VERSION, "source": self._source,
                           "instances": [table_of(each) for each in instances]})
        descriptor, beside = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise

    def touch(self) -> None:
        """The list was heard again, as it was kept.

        Raises:
            OSError: The file is away.
        """
        os.utime(self._path)
