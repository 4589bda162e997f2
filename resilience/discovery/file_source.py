"""FileSource: a file that lists the instances, and is looked at again and again.

JSON: a list of URLs and tables; or a table whose ``endpoints`` is such a list. TOML: ``endpoints``, likewise, or
``[[endpoints]]`` tables. What is read is a content that was the same for two looks, as config.watcher has it, so that a
file that is being written is nobody's list; but for the first, which is read at once.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Final

from ..config.watcher import WatchedFileState, is_endless
from .disk import Disk
from .source import Listing

#: Room for MAX_INSTANCES with long names, several times over.
MAX_BYTES: Final = 4 * 1024 * 1024


class FileSource:
    """Lists what a file says; see Source. Every look is made in a thread, since a disk may hang."""

    def __init__(self, path: str, look_every_s: float) -> None:
        """A source; the file need not be there yet.

        Args:
            path: Of the file; its name ends in ``.json`` or ``.toml``.
            look_every_s: For how long a listing is said to hold: half of the time in which a change must show.
        """
        self._path, self._look_every_s, self._disk = Path(path), look_every_s, Disk()
        self._file: WatchedFileState | None = None
        self._listing: Listing | None = None

    def __repr__(self) -> str:
        return f"file {self._path}"

    async def listing(self) -> Listing:
        """What the file lists.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no list, or too large.
        """
        return await self._disk.run(self._look)

    def _look(self) -> Listing:
        if is_endless(self._path):
            raise ValueError("it is no regular file")
        size = self._path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        if self._file is None:
            self._file, is_new = WatchedFileState(self._path), True
        else:
            is_new = self._file.differs()
        if is_new or self._listing is None:
            self._listing = None
            self._listing = listed(self._file.found, self._path.suffix, self._look_every_s)
        return self._listing


def listed(content: bytes | OSError, suffix: str, ttl_s: float) -> Listing:
    """The listing in the *content* of a file whose name ends in *suffix*.

    Raises:
        OSError: There is no content.
        ValueError: It is no list.
    """
    if isinstance(content, OSError):
        raise content
    try:
        text = content.decode("utf-8-sig")
        said: Any = tomllib.loads(text) if suffix == ".toml" else json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"it is no {suffix[1:].upper()}: {error}") from None
    if isinstance(said, dict):
        said = said.get("endpoints")
    if not isinstance(said, list):
        raise ValueError('it must be a list of endpoints, or {"endpoints": [...]}')
    return Listing.of(said, ttl_s)
