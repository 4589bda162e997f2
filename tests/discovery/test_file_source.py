"""A file that lists instances: what it may say, and how changes are seen."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from resilience.discovery import FileSource, Listing
from resilience.discovery.disk import Disk
from resilience.discovery.file_source import MAX_BYTES

ONE, TWO, THREE = (f"http://10.0.0.{number}:80" for number in (1, 2, 3))


def urls(listing: Listing) -> list[str]:
    return [each.url for each in listing.instances]


async def test_json_and_toml_say_the_same(tmp_path: Path) -> None:
    tables: list[Any] = [ONE, {"url": TWO, "weight": 2, "zone": "b"}]
    texts = {"a.json": json.dumps(tables), "b.json": "\ufeff" + json.dumps({"endpoints": tables, "of": "me"}),
             "c.toml": f'endpoints = ["{ONE}", {{ url = "{TWO}", weight = 2, zone = "b" }}]',
             "d.toml": f'[[endpoints]]\nurl = "{ONE}"\n[[endpoints]]\nurl = "{TWO}"\nweight = 2\nzone = "b"\n'}
    found = []
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        found.append(await FileSource(f"{tmp_path / name}", 1.0).listing())
    assert [found[0]] * 4 == found
    assert ([ONE, TWO], 2.0, "b") == (urls(found[0]), found[0].instances[1].weight, found[0].instances[1].zone)


async def test_a_change_is_seen_when_it_was_the_same_for_two_looks_so_half_a_file_is_nobodys_list(tmp_path: Path) -> None:
    file = tmp_path / "e.toml"
    whole = f'[[endpoints]]\nurl = "{ONE}"\n[[endpoints]]\nurl = "{TWO}"\n'
    file.write_text(whole)
    source = FileSource(f"{file}", 1.0)
    assert [ONE, TWO] == urls(await source.listing())
    file.write_text(whole[:len(whole) // 2])  # it is being written
    assert [ONE, TWO] == urls(await source.listing())
    file.write_text(whole.replace(TWO, THREE))
    assert [ONE, TWO] == urls(await source.listing())
    assert [ONE, THREE] == urls(await source.listing())
    os.replace(written(file, whole), file)  # it is replaced by another one
    assert [ONE, THREE] == urls(await source.listing())
    assert [ONE, TWO] == urls(await source.listing())


def written(file: Path, text: str) -> Path:
    other = file.with_suffix(".new")
    other.write_text(text)
    return other


async def test_a_file_that_cannot_be_read_says_why_at_each_look_and_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "e.json"
    source = FileSource(f"{file}", 1.0)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            await source.listing()
    file.write_text(json.dumps([ONE]))
    assert [ONE] == urls(await source.listing())
    file.unlink()
    with pytest.raises(FileNotFoundError):
        await source.listing()
    file.write_text(json.dumps([ONE]))
    assert [ONE] == urls(await source.listing())


@pytest.mark.parametrize(("name", "content", "why"), [
    ("e.json", b"", "no JSON"), ("e.json", b"\xff", "no JSON"), ("e.json", b"{}", "must be a list"), ("e.json", b'"x"', "must be a list"),
    ("e.json", b"[" * 100_000, "nested too deep"), ("e.toml", b"endpoints = ", "no TOML"), ("e.toml", b"a = 1", "must be a list"),
    ("e.json", b" " * (MAX_BYTES + 1), "larger than")])
async def test_what_is_no_list_is_refused_whole(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    source = FileSource(f"{tmp_path / name}", 1.0)
    for _ in range(2):
        with pytest.raises(ValueError, match=why):
            await source.listing()


async def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e.json")
    with pytest.raises(ValueError, match="no regular file"):
        await asyncio.wait_for(FileSource(f"{tmp_path / 'e.json'}", 1.0).listing(), 5)


async def test_a_disk_that_hangs_takes_one_thread_however_often_the_file_is_looked_at() -> None:
    disk, go_on, calls = Disk(), threading.Event(), list[int]()

    def hang() -> int:
        calls.append(1)
        go_on.wait(10)
        raise OSError("too late")

    for _ in range(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(disk.run(hang), 0.01)
    assert [1] == calls
    go_on.set()
    assert 7 == await disk.run(lambda: 7)
    with pytest.raises(OSError, match="too late"):
        await disk.run(hang)
