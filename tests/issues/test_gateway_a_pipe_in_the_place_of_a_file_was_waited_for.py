"""A reload waited for ever if a pipe stood in the place of the gateway's file, and so did the end of the gateway.

A file of API keys or of a key set is looked at on the event loop, which a pipe there stopped.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from resilience.config import ConfigFileError
from resilience.gateway.filters.watched_file import WatchedFile
from resilience.gateway.supervision.configuration_file import ConfigurationFile


def _ends(work: Callable[[], object]) -> object:
    """What *work* returns, or the message of what it raises; it must come to an end."""
    told: list[object] = []

    def run() -> None:
        try:
            told.append(work())
        except ConfigFileError as error:
            told.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10.0)
    assert told, "it waits"
    return told[0]


def test_a_reload_says_that_it_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("a = 1\n")
    file = ConfigurationFile(path)
    assert file.read().data == {"a": 1}
    path.unlink()
    os.mkfifo(path)
    assert str(_ends(file.read)).endswith("cannot be read: it is no regular file")
    path.unlink()
    path.write_text("a = 2\n")
    assert file.read().data == {"a": 2}


def test_what_a_watched_file_has_said_stays(tmp_path: Path) -> None:
    path, now = tmp_path / "keys.toml", [0.0]
    path.write_bytes(b"one")
    file = WatchedFile(str(path), bytes, clock=lambda: now[0])
    path.unlink()
    os.mkfifo(path)
    for _ in range(3):
        now[0] += 2.0
        assert _ends(file.current) == b"one"
    path.unlink()
    path.write_bytes(b"two")
    now[0] += 2.0
    assert file.current() == b"two"
