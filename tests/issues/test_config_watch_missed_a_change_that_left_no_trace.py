"""A watched file that was written in place, long after the last change, with its old size and modification time, was
never read again: the watch compared these two and the inode, and a program may set the time back. Nor was a change
seen that undid what reload() had read in between, and a file was read once more after it had been found whole.
"""

import errno
import mmap
import os
import threading
import time

import pytest

from resilience import command
from resilience.config import ConfigFileError, ConfigurationApplied, configure, watcher
from resilience.config.watcher import WatchedFileState, Watcher
from tests.forked import forked

OLD, NEW = "[defaults]\ntimeout = 2.0\n", "[defaults]\ntimeout = 3.0\n"


@pytest.fixture(name="file")
def _file(tmp_path):
    path = tmp_path / "resilience.toml"
    path.write_text(OLD)
    return path


@pytest.fixture(name="handle")
def _handle(registry):
    @command(key="k", registry=registry)
    async def function(): ...

    return function.resilience


def looked(state, times=3):
    return [state.differs() for _ in range(times)]


def long_unchanged(path):
    """Looks at a file that is not read at every look any more."""
    state = WatchedFileState(path)
    assert not any(looked(state, 40))
    return state


def in_place_with_the_old_time(path):
    before = path.stat()
    path.write_text(NEW)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def by_another_file_with_the_old_time(path):
    before, other = path.stat(), path.with_name("other")
    other.write_text(NEW)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, path)


def truncated_first(path):
    before = path.stat()
    with path.open("r+b", buffering=0) as file:
        file.truncate()
        file.write(NEW.encode())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("write", [
    in_place_with_the_old_time, by_another_file_with_the_old_time, truncated_first])
def test_a_change_with_the_old_time_and_size_is_seen_however_late_it_comes(file, write):
    state, before = long_unchanged(file), file.stat()
    write(file)
    assert (before.st_mtime_ns, before.st_size) == (file.stat().st_mtime_ns, file.stat().st_size)
    assert [False, True, False] == looked(state)


@pytest.mark.parametrize("link", ["..data", "resilience.toml"])
def test_links_that_are_turned_to_a_file_of_the_same_time_and_size_are_followed_however_late(tmp_path, link):
    for version, text in (("v1", OLD), ("v2", NEW)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "resilience.toml").write_text(text)
        os.utime(tmp_path / version / "resilience.toml", ns=(10**18, 10**18))
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "resilience.toml").symlink_to("..data/resilience.toml")
    state = long_unchanged(tmp_path / "resilience.toml")
    (tmp_path / "new").symlink_to("v2" if link == "..data" else "v2/resilience.toml")
    os.replace(tmp_path / "new", tmp_path / link)
    assert [False, True, False] == looked(state)


def test_a_change_that_leaves_the_status_as_it_was_is_seen_all_the_same_within_ten_seconds(file, monkeypatch):
    first = watcher.signature_of(file)
    monkeypatch.setattr(watcher, "signature_of", lambda _: first)  # as a network file system may have it
    state = long_unchanged(file)
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        mapped[:] = NEW.encode()
    assert 1 == sum(looked(state, 60))


def test_a_change_that_takes_back_what_reload_has_read_is_seen(file, registry, handle):
    configuration = configure(file, registry=registry, environ={})
    configuration._applied._watcher = watcher = Watcher(file, configuration._applied)  # whose looks this test does itself
    file.write_text(NEW)
    configuration.reload()
    file.write_text(OLD)
    assert 3.0 == handle.settings.timeout
    assert any(looked(watcher._file))
    configuration._applied.changed()
    assert 2.0 == handle.settings.timeout


def test_the_repair_of_what_reload_has_refused_is_seen(file, registry, handle):
    configuration = configure(file, registry=registry, environ={})
    configuration._applied._watcher = watcher = Watcher(file, configuration._applied)
    file.write_text("[defaults]\ntimeout = -1\n")
    with pytest.raises(ConfigFileError):
        configuration.reload()
    file.write_text(OLD)
    assert any(looked(watcher._file))
    configuration._applied.changed()
    assert ((), 2.0) == (configuration.mistakes, handle.settings.timeout)


def test_what_reload_has_read_is_not_applied_once_more(file, registry):
    configuration, applied = configure(file, registry=registry, environ={}), []
    configuration._applied._watcher = watcher = Watcher(file, configuration._applied)
    registry.subscribe(ConfigurationApplied, applied.append)
    file.write_text(NEW)
    configuration.reload()
    assert not any(looked(watcher._file, 20))
    assert 1 == len(applied)


def test_what_is_applied_is_what_was_looked_at_though_the_next_write_has_begun(file, registry, handle):
    configuration = configure(file, registry=registry, environ={})
    configuration._applied._watcher = watcher = Watcher(file, configuration._applied)
    file.write_text(NEW)
    assert [False, True] == looked(watcher._file, 2)
    file.write_text("")  # an empty file would take all settings back
    configuration._applied.changed()
    assert 3.0 == handle.settings.timeout
    file.write_text("[defaults]\ntimeout = 4.0\n")
    assert any(looked(watcher._file))
    configuration._applied.changed()
    assert 4.0 == handle.settings.timeout


def test_a_child_forked_between_the_look_and_the_reload_hears_of_the_change_too(file):
    class Watched:
        told = 0

        def changed(self):
            self.told += 1
            os._exit(0)

    watched = Watched()
    watcher = Watcher(file, watched)
    file.write_text(NEW)
    assert [False, True] == looked(watcher._file, 2)  # and here the parent's thread would tell of it

    def child():
        watcher.renew()
        threading.Event().wait(10)
        raise AssertionError("nobody was told")

    assert 0 == forked(child)


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda path: path.unlink(), "cannot be read: No such file or directory"),
    (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory")])
def test_a_file_that_is_gone_or_a_directory_is_told_without_a_line_and_seen_when_it_is_back(
        file, registry, handle, spoil, message):
    configuration = configure(file, registry=registry, environ={})
    configuration._applied._watcher = watcher = Watcher(file, configuration._applied)
    spoil(file)
    assert any(looked(watcher._file))
    configuration._applied.changed()
    assert [f"{file}: {message}"] == [str(mistake) for mistake in configuration.mistakes]
    assert 2.0 == handle.settings.timeout
    if file.exists():
        file.rmdir()
    file.write_text(NEW)
    assert any(looked(watcher._file))
    configuration._applied.changed()
    assert ((), 3.0) == (configuration.mistakes, handle.settings.timeout)


def test_a_lost_permission_is_told_and_seen_when_it_is_back(file, registry, handle, monkeypatch):
    configuration, read = configure(file, registry=registry, environ={}), type(file).read_bytes
    configuration._applied._watcher = watcher = Watcher(file, configuration._applied)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(type(file), "read_bytes", refuse)  # the superuser's permission cannot be taken
    file.chmod(0)
    assert any(looked(watcher._file))
    configuration._applied.changed()
    assert [f"{file}: cannot be read: Permission denied"] == [str(mistake) for mistake in configuration.mistakes]
    monkeypatch.setattr(type(file), "read_bytes", read)
    file.chmod(0o600)
    assert any(looked(watcher._file))
    configuration._applied.changed()
    assert ((), 2.0) == (configuration.mistakes, handle.settings.timeout)


@pytest.mark.parametrize("content", [
    b"\xef\xbb\xbf" + NEW.encode(), NEW.replace("\n", "\r\n").encode()], ids=["byte order mark", "CRLF"])
def test_a_content_as_other_editors_write_it_is_applied(file, registry, handle, content):
    configuration = configure(file, registry=registry, environ={})
    configuration._applied._watcher = watcher = Watcher(file, configuration._applied)
    file.write_bytes(content)
    assert any(looked(watcher._file))
    configuration._applied.changed()
    assert 3.0 == handle.settings.timeout


def test_the_watch_goes_on_while_the_clocks_of_python_stand_still(file, registry, handle, monkeypatch):
    now, applied = time.monotonic(), threading.Event()
    for clock in ("monotonic", "time", "perf_counter"):
        monkeypatch.setattr(time, clock, lambda: now)
    configuration = configure(file, registry=registry, watch=True, environ={})
    registry.subscribe(ConfigurationApplied, lambda _: applied.set())
    file.write_text(NEW)
    assert applied.wait(10)
    assert 3.0 == handle.settings.timeout
    configuration.close()


@pytest.mark.parametrize("watched", [False, True])
def test_a_relative_path_leads_to_the_same_file_after_the_process_has_changed_its_directory(
        file, registry, handle, watched, monkeypatch, tmp_path):
    monkeypatch.chdir(file.parent)
    configuration = configure(file.name, registry=registry, environ={})
    if watched:
        configuration._applied._watcher = watcher = Watcher(configuration._applied._path, configuration._applied)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    file.write_text(NEW)
    if watched:
        assert any(looked(watcher._file))
        configuration._applied.changed()
    else:
        configuration.reload()
    assert 3.0 == handle.settings.timeout
    file.unlink()
    with pytest.raises(ConfigFileError, match="^resilience.toml: cannot be read"):
        configuration.reload()


def test_two_registries_may_watch_one_file(file, registry, handle):
    from resilience import Registry

    other, both = Registry(), [threading.Event(), threading.Event()]
    second = command(key="k", timeout=1.0, registry=other)(len).resilience
    watching = [configure(file, registry=each, watch=True, environ={}) for each in (registry, other)]
    for each, event in zip((registry, other), both, strict=True):
        each.subscribe(ConfigurationApplied, lambda _, event=event: event.set())
    in_place_with_the_old_time(file)
    assert all(event.wait(10) for event in both)
    assert (3.0, 3.0) == (handle.settings.timeout, second.settings.timeout)
    for each in watching:
        each.close()
