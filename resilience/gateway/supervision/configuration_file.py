"""ConfigurationFile: the file of a gateway, which an event loop hears of when it has another content.

What was read last is what further looks are compared with, whoever has read it: else a change back to what the watcher
had seen before would be none, and a change between the first reading and the first look neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ...config import Document
from ...config.document import content_of
from ...config.watcher import Watcher, is_endless


class _Told:
    """What the watcher's thread tells of a change."""

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell

    def changed(self) -> None:
        """The file has another content."""
        self._tell()


class ConfigurationFile:
    """A file that is read, and may be watched. read() may be called in any thread."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._seen = b""
        self._watcher: Watcher | None = None

    def read(self) -> Document:
        """Read it. A pipe is read once: to open it again would wait for somebody who writes to it.

        Raises:
            ConfigFileError: It cannot be read, or is not TOML.
        """
        is_read = bool(self._seen) and is_endless(Path(self._path))
        content = ValueError("it is no regular file") if is_read else content_of(self._path)
        if isinstance(content, bytes):
            self._seen = content
            if self._watcher is not None:
                self._watcher.take(content)
        return Document.parse(content, self._path)

    @contextlib.contextmanager
    def watched(self, changed: Callable[[], object]) -> Iterator[None]:
        """Call *changed* in the running event loop meanwhile, each time that the file differs from what was read.

        A pipe is not watched, since reading it may never end.
        """
        path, loop = Path(self._path).absolute(), asyncio.get_running_loop()
        if is_endless(path):
            yield
            return
        told = _Told(lambda: loop.call_soon_threadsafe(changed))  # the watcher keeps it weakly
        self._watcher = watcher = Watcher(path, told, seen=self._seen)
        watcher.start()
        try:
            yield
        finally:
            self._watcher = None
            watcher.close()
