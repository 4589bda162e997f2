"""File watch: an event loop hears when a file has another content."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from ...config.watcher import Watcher, is_endless


class _Told:
    """What the watcher's thread tells of a change."""

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell

    def changed(self) -> None:
        """The file has another content."""
        self._tell()


@contextlib.contextmanager
def watching(file: str, changed: Callable[[], object]) -> Iterator[None]:
    """Call *changed* in the running event loop meanwhile, each time that *file* has another content.

    Args:
        file: Its path; one that is a pipe is not watched, since reading it may never end.
        changed: Called.
    """
    path, loop = Path(file).absolute(), asyncio.get_running_loop()
    if is_endless(path):
        yield
        return
    told = _Told(lambda: loop.call_soon_threadsafe(changed))  # the watcher keeps it weakly
    watcher = Watcher(path, told)
    watcher.start()
    try:
        yield
    finally:
        watcher.close()
