"""The watch: however a file is changed it is noticed, once, and only when it is whole."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import traceback
import weakref

import pytest

from resilience import Registry, command
from resilience.config import ConfigurationApplied, ConfigurationRejected, configure
from resilience.config.watcher import INTERVAL_S, WatchedFileState, Watcher
from tests.drivers.until import until


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "resilience.toml"
    path.write_text("[defaults]\ntimeout = 2.0\n")
    return path


@pytest.fixture
def handle(registry):
    @command(key="k", registry=registry)
    async def function(): ...

    return function.resilience


def looked(state, times=3):
    return [state.differs() for _ in range(times)]


def test_a_new_content_is_told_once_when_it_was_seen_twice(file):
    state = WatchedFileState(file)
    assert [False] * 3 == looked(state)
    file.write_text("x = 1\n")
    assert [False, True, False] == looked(state)


def test_a_file_that_is_still_being_written_is_not_told(file):
    state, found = WatchedFileState(file), []
    for size in range(5):
        file.write_text("x" * size)
        found += looked(state, 1)
    assert [False] * 5 == found
    assert [True, False] == looked(state, 2)


def test_a_file_put_back_as_it_was_is_not_told(file):
    state, text = WatchedFileState(file), file.read_text()
    file.write_text("x = 1\n")
    looked(state, 1)
    file.write_text(text)
    assert [False] * 3 == looked(state)


def test_a_change_that_leaves_size_and_time_as_they_were_is_told(file):
    state, before = WatchedFileState(file), file.stat()
    file.write_text(file.read_text().replace("2.0", "3.0"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (before.st_mtime_ns, before.st_size, before.st_ino) == (
        file.stat().st_mtime_ns, file.stat().st_size, file.stat().st_ino)
    assert [False, True, False] == looked(state)


def test_a_file_long_unchanged_is_not_read_any_more(file, monkeypatch):
    state, reads = WatchedFileState(file), []
    looked(state, 20)
    content = WatchedFileState._content
    monkeypatch.setattr(WatchedFileState, "_content", lambda self: reads.append(1) or content(self))
    looked(state, 20)
    assert [] == reads
    file.write_text("x = 1\n")
    assert [False, True, False] == looked(state)


def test_an_editor_that_replaces_the_file_is_noticed(file, tmp_path):
    state = WatchedFileState(file)
    (tmp_path / "new").write_text("x = 1\n")
    os.replace(tmp_path / "new", file)
    assert [False, True, False] == looked(state)


def test_the_links_of_kubernetes_are_followed(tmp_path):
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "resilience.toml").write_text(f"# {version}\n")
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "resilience.toml").symlink_to("..data/resilience.toml")
    state = WatchedFileState(tmp_path / "resilience.toml")
    assert [False] * 2 == looked(state, 2)
    (tmp_path / "..data_tmp").symlink_to("v2")
    os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
    assert [False, True, False] == looked(state)


def test_a_file_that_is_away_for_a_moment_is_not_missed_and_one_that_stays_away_is(file):
    state, text = WatchedFileState(file), file.read_text()
    file.unlink()
    assert [False] == looked(state, 1)
    file.write_text(text)
    assert [False] * 3 == looked(state)
    file.unlink()
    assert [False, True, False] == looked(state)
    file.write_text(text)
    assert [False, True, False] == looked(state)


def test_the_watcher_looks_as_often_as_its_wait_returns_and_ends_when_it_says_so(file):
    class Watched:
        told = 0

        def changed(self):
            self.told += 1

    waits, watched = [], Watched()

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            file.write_text("x = 1\n")
        return len(waits) > 6

    watcher = Watcher(file, watched, wait=wait)
    watcher.start()
    watcher._thread.join(10)
    assert ([INTERVAL_S] * 7, 1) == (waits, watched.told)


def test_a_changed_file_is_in_force_within_a_second(file, registry, handle):
    configuration = configure(file, registry=registry, watch=True, environ={})
    applied, took = threading.Event(), []
    registry.subscribe(ConfigurationApplied, lambda event: applied.set())
    for timeout in (3.0, 4.0, 5.0, 6.0):
        applied.clear()
        file.write_text(f"[defaults]\ntimeout = {timeout}\n")
        before = time.monotonic()
        assert applied.wait(60)
        took.append(time.monotonic() - before)
        assert timeout == handle.settings.timeout
        if took[-1] < 1.0:
            break
    assert min(took) < 1.0, took
    configuration.close()


def test_a_file_that_becomes_bad_is_reported_once_and_its_repair_is_applied(file, registry, handle):
    rejected, applied = [], []
    configuration = configure(file, registry=registry, watch=True, environ={})
    registry.subscribe(ConfigurationRejected, rejected.append)
    registry.subscribe(ConfigurationApplied, applied.append)
    file.write_text("[defaults]\ntimeout = 3.0\nmax_concurrent = 'many'\n")
    until(lambda: rejected)
    assert [(str(file), 3, "defaults.max_concurrent", "must be a whole number, or false, not 'many'")] == [
        tuple(mistake) for mistake in configuration.mistakes]
    assert (2.0, 10) == (handle.settings.timeout, handle.settings.max_concurrent)
    file.write_text("[defaults]\ntimeout = 4.0\n")
    until(lambda: applied)
    assert (4.0, (), 1) == (handle.settings.timeout, configuration.mistakes, len(rejected))
    configuration.close()


def watchers(file):
    return [thread for thread in threading.enumerate() if str(file) in thread.name]


def test_only_a_watched_configuration_has_a_thread_and_close_ends_it(file, registry):
    configure(file, registry=registry, environ={})
    assert [] == watchers(file)
    watched = configure(file, registry=registry, watch=True, environ={})
    assert [True] == [thread.daemon for thread in watchers(file)]
    watched.close()
    until(lambda: not watchers(file))


def test_the_next_configuration_ends_the_watch_of_the_first(file, registry):
    configure(file, registry=registry, watch=True, environ={})
    configure({}, registry=registry, environ={})
    until(lambda: not watchers(file))


def test_a_forgotten_registry_ends_the_watch(file):
    registry = Registry()
    alive = weakref.ref(configure(file, registry=registry, watch=True, environ={}))
    del registry
    gc.collect()
    until(lambda: gc.collect() is not None and alive() is None and not watchers(file))


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_watches_on(file, registry, handle):
    configuration = configure(file, registry=registry, watch=True, environ={})
    with configuration._applied._overlay._busy:  # held for ever, in the child
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                file.write_text("[defaults]\ntimeout = 3.0\n")
                until(lambda: handle.settings.timeout == 3.0)
                configuration.close()
                until(lambda: handle.settings.timeout == 1.0)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    until(lambda: handle.settings.timeout == 3.0)
    configuration.close()


def test_the_interpreter_exits_at_once_while_it_watches(file):
    program = f"from resilience.config import configure; configure({str(file)!r}, watch=True, environ={{}}); print('end')"
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=30)
    assert (0, "end\n", "") == (run.returncode, run.stdout, run.stderr)


def test_a_signal_handler_may_reload_whatever_the_thread_holds(file, registry, handle):
    configuration = configure(file, registry=registry, environ={})
    file.write_text("[defaults]\ntimeout = 3.0\n")
    with registry._table.lock:  # as if the handler met its own thread while it decorates
        configuration.reload()
    assert 3.0 == handle.settings.timeout
    file.write_text("[defaults]\ntimeout = 4.0\n")
    with configuration._applied._overlay._busy:  # or while it, or another thread, is reloading
        configuration.reload()
        assert 3.0 == handle.settings.timeout
    configuration.reload()
    assert 4.0 == handle.settings.timeout
