"""A change between reading the file and the watcher's first look at it was never seen; a pipe in the file's place
stopped the watcher for good, and with it every configure() of the registry.
"""

import os

import pytest

from resilience import ConfigError, command
from resilience.config import configure
from resilience.config.document import Document
from resilience.config.watcher import WatchedFileState
from tests.drivers.until import until


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "resilience.toml"
    path.write_text("[defaults]\ntimeout = 2.0\n")
    return path


def test_a_change_while_the_file_is_read_for_the_first_time_is_seen(registry, file, monkeypatch):
    call, read = command(key="k", registry=registry, timeout=1.0)(len), Document.read.__func__

    def read_and_change(path):
        document = read(Document, path)
        file.write_text("[defaults]\ntimeout = 3.0\n")
        return document

    monkeypatch.setattr(Document, "read", read_and_change)
    configuration = configure(file, registry=registry, watch=True, environ={})
    until(lambda: call.resilience.settings.timeout == 3.0)
    configuration.close()


def test_a_pipe_in_the_place_of_the_file_is_not_read(file):
    state = WatchedFileState(file)
    file.unlink()
    os.mkfifo(file)
    assert [False] * 3 == [state.differs() for _ in range(3)]
    file.unlink()
    file.write_text("[defaults]\ntimeout = 3.0\n")
    assert [False, True, False] == [state.differs() for _ in range(3)]


def test_a_pipe_cannot_be_watched(registry, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe is a pipe or a device, which cannot be watched"):
        configure(tmp_path / "pipe", registry=registry, watch=True, environ={})
