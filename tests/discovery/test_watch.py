"""Watching a source: when it is asked, what it cannot break, and what is kept over a restart; in virtual time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from resilience.discovery import Instance, Listing
from resilience.discovery.cached_list import CachedList
from resilience.discovery.watch import Watch
from resilience.testing import VirtualTimeLoop

ONE, TWO, THREE = (f"http://10.0.0.{number}:80" for number in (1, 2, 3))


class Scripted:
    """A source that says the next of what it is told to say, and the last for ever."""

    def __init__(self, *says: Any) -> None:
        self.says, self.asked_at = list(says), list[float]()

    def __repr__(self) -> str:
        return "a script"

    async def listing(self) -> Any:
        self.asked_at.append(asyncio.get_running_loop().time())
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if callable(said):
            said = said()
        if asyncio.iscoroutine(said):
            said = await said
        if isinstance(said, Exception):
            raise said
        return Listing.of(said) if isinstance(said, list) else said


class Follower:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.sets: list[list[str]] = []
        self.prepared = self.times = 0
        self.refuses = False

    def prepare(self, instances: Sequence[Instance]) -> Iterator[None]:
        for _ in instances:
            self.prepared += 1
            yield

    def follow(self, instances: Sequence[Instance]) -> None:
        if self.refuses:
            raise ValueError("it will not")
        self.sets.append(sorted(each.url for each in instances))

    def heard(self) -> None:
        self.times += 1


def watch(source: Any, follower: Follower, *, keep: CachedList | None = None, u: float = 0.0, **said: Any) -> Watch:
    return Watch("orders", source, follower, **{"interval_s": 10.0, "timeout_s": 5.0, **said}, keep=keep,
                 clock=asyncio.get_running_loop().time, random=lambda: u)


def in_virtual_time(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


def test_a_source_is_asked_at_once_and_then_within_each_interval_by_the_random_number_told() -> None:
    async def main() -> None:
        for u, ttl_s, times in ((0.0, None, [0, 10, 20]), (0.5, None, [0, 9, 18]), (0.0, 4.0, [0, 4, 8, 12, 16, 20])):
            source, began = Scripted(lambda ttl_s=ttl_s: Listing.of([ONE], ttl_s)), asyncio.get_running_loop().time()
            watched = watch(source, Follower(), u=u)
            watched.start()
            watched.start()
            await asyncio.sleep(20.5)
            watched.stop()
            assert times == [round(each - began, 6) for each in source.asked_at]
            await asyncio.sleep(60)
            assert len(times) == len(source.asked_at), "it has ended"

    in_virtual_time(main)


def test_a_working_set_outlives_whatever_a_source_does(caplog: pytest.LogCaptureFixture) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        follower = Follower()
        source = Scripted([ONE, TWO], [], OSError("no route"), hang, "nonsense", None, [7], [ONE, ONE, ONE, ONE], RuntimeError(),
                          asyncio.InvalidStateError("what"), [ONE, THREE], [ONE, THREE])
        watched = watch(source, follower)
        watched.start()
        await watched.known()
        await asyncio.sleep(99)
        assert [[ONE, TWO]] == follower.sets
        assert 99 == watched.report()["age_s"]
        assert "what" == watched.report()["trouble"]
        await asyncio.sleep(20)
        assert [[ONE, TWO], [ONE, THREE]] == follower.sets
        assert {"changed": 2, "same": 1, "empty": 1, "refused": 2, "failed": 6} == watched.report()["asked"]
        assert (None, 12) == (watched.report()["trouble"], follower.times)
        watched.stop()

    caplog.set_level(logging.INFO)
    in_virtual_time(main)
    said = [each.getMessage() for each in caplog.records]
    assert "orders: a script gives no list, and the last one of 2 endpoints, heard of 10 s ago, stays: it lists no instance" in said
    assert "orders: a script gives no list, and the last one of 2 endpoints, heard of 35 s ago, stays: no answer within 5 s" in said
    assert "orders: a script lists endpoints again, after 105 s" in said
    assert "orders: a script lists 2 endpoints; new: 10.0.0.3:80; changed: none; gone: 10.0.0.2:80" in said


def test_what_a_follower_cannot_have_is_not_in_force_and_is_offered_again() -> None:
    async def main() -> None:
        follower = Follower()
        watched = watch(Scripted([ONE]), follower)
        follower.refuses = True
        watched.start()
        await asyncio.sleep(5)
        assert (False, "it will not") == (watched.is_known, watched.report()["trouble"])
        follower.refuses = False
        await watched.known()
        assert [[ONE]] == follower.sets
        watched.stop()

    in_virtual_time(main)


def test_a_kept_list_serves_after_a_restart_with_its_age_until_the_source_says_more(tmp_path: Path) -> None:
    async def main() -> None:
        kept = CachedList(f"{tmp_path / 'kept'}", "a script")
        first = watch(Scripted([ONE, TWO]), Follower(), keep=kept)
        first.start()
        await asyncio.sleep(35)
        first.stop()
        assert ["kept"] == os.listdir(tmp_path), "nothing is left beside it"
        os.utime(tmp_path / "kept", (0, os.stat(tmp_path / "kept").st_mtime - 100))
        follower = Follower()
        second = watch(Scripted(OSError("away"), OSError("away"), [TWO]), follower, keep=kept)
        second.start()
        await second.known()
        assert [[ONE, TWO]] == follower.sets
        assert second.report()["is_restored"]
        assert 99 < second.report()["age_s"] < 160
        await asyncio.sleep(25)
        assert [[ONE, TWO], [TWO]] == follower.sets
        assert (False, 5) == (second.report()["is_restored"], round(second.report()["age_s"]))
        second.stop()
        assert [TWO] == [each["url"] for each in json.loads((tmp_path / "kept").read_text())["instances"]]

    in_virtual_time(main)


@pytest.mark.parametrize(("content", "why"), [
    (b"", "no list that was kept"), (b"[]", "no list"), (b'{"version": 2, "source": "a script", "instances": []}', "this version"),
    (b'{"version": 1, "source": "another", "instances": []}', "of another source, another"),
    (b'{"version": 1, "source": "a script", "instances": ["ftp://x"]}', "entry 1"), (b"[" * 100_000, "no list")])
def test_a_damaged_kept_list_is_told_of_and_the_source_is_asked_all_the_same(
        tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, why: str) -> None:
    async def main() -> None:
        (tmp_path / "kept").write_bytes(content)
        follower = Follower()
        watched = watch(Scripted([ONE]), follower, keep=CachedList(f"{tmp_path / 'kept'}", "a script"))
        watched.start()
        await watched.known()
        assert [[ONE]] == follower.sets
        await asyncio.sleep(1)
        watched.stop()

    in_virtual_time(main)
    assert any(why in each.getMessage() for each in caplog.records)
    assert "10.0.0.1" in (tmp_path / "kept").read_text()


def test_a_list_that_cannot_be_kept_serves_and_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        watched = watch(Scripted([ONE]), Follower(), keep=CachedList(f"{tmp_path / 'no' / 'kept'}", "a script"))
        watched.start()
        await watched.known()
        await asyncio.sleep(50)
        watched.stop()

    in_virtual_time(main)
    assert 1 == sum("cannot be kept" in each.getMessage() for each in caplog.records)


def test_a_write_that_fails_leaves_the_list_from_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = CachedList(f"{tmp_path / 'kept'}", "a script")
    kept.write([Instance(url=ONE)])

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        kept.write([Instance(url=TWO)])
    found = kept.read()
    assert found is not None
    assert [ONE] == [each.url for each in found[0]]
    assert ["kept"] == os.listdir(tmp_path)


def test_who_waits_for_a_list_waits_no_longer_when_nobody_asks_for_it() -> None:
    async def main() -> None:
        watched = watch(Scripted(OSError("away")), Follower())
        watched.start()
        waiting = asyncio.ensure_future(watched.known())
        await asyncio.sleep(100)
        assert (False, True) == (waiting.done(), watched.is_awaited)
        watched.stop()
        await waiting
        assert not watched.is_awaited

    in_virtual_time(main)


def test_a_follower_that_another_one_replaces_while_it_prepares_is_told_nothing_more() -> None:
    async def main() -> None:
        first, second = Follower(), Follower()
        watched = watch(Scripted([ONE, TWO, THREE]), first)
        watched.start()
        while first.prepared < 2:
            await asyncio.sleep(0)
        watched.follower = second
        await watched.known()
        assert ((2, []), (3, [[ONE, TWO, THREE]])) == ((first.prepared, first.sets), (second.prepared, second.sets))
        watched.stop()

    in_virtual_time(main)


def test_a_watch_that_has_ended_asks_nothing_whoever_starts_it_until_it_has_another_follower() -> None:
    async def main() -> None:
        source, other = Scripted([ONE], [TWO]), Follower()
        watched = watch(source, Follower())
        watched.end()
        watched.start()
        await watched.known()  # which nobody may wait for any more
        await asyncio.sleep(60)
        assert ([], False) == (source.asked_at, watched.is_awaited)
        watched.follower = other
        watched.start()
        assert watched.is_awaited
        await watched.known()
        assert [[ONE]] == other.sets
        watched.end()

    in_virtual_time(main)
