"""What a directory and a registration leave behind when a thread cannot begin, or whoever waits has left."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from typing import Any

import pytest

from resilience import Registry
from resilience.discovery import Directory, KubernetesSource, Listing, Registrant, Registration
from tests.drivers.until import until


class Silent:
    """A source that never answers, and a registrar that takes everything."""

    async def listing(self) -> Listing:
        await asyncio.Event().wait()
        raise AssertionError

    def register(self, *_: Any) -> None:
        pass

    def renew(self, *_: Any) -> bool:
        return True

    def leave(self, *_: Any) -> None:
        pass


def directory(**said: Any) -> Directory:
    return Directory("orders", Silent(), **{"registry": Registry(), **said})


def waiting() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "resilience discovery call"]


@pytest.mark.parametrize("make", [directory, lambda: Registration(Registrant("orders", "10.0.0.1", 80), Silent())])
def test_whoever_finds_no_room_for_a_thread_can_begin_later(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, start = make(), threading.Thread.start

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        mine.start()
    (mine.close if isinstance(mine, Directory) else mine.leave)()
    monkeypatch.setattr(threading.Thread, "start", start)
    mine.start()
    if isinstance(mine, Directory):
        until(lambda: mine.report()["asked"] is not None)
        mine.close()
    else:
        assert mine.wait(60)
        mine.leave()


async def test_cancelled_waits_for_a_directory_leave_no_threads_behind() -> None:
    with_nobody = directory()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await with_nobody.wait_async()
    await asyncio.to_thread(until, lambda: not waiting())
    assert not await with_nobody.wait_async(0.01)


async def test_a_directory_whose_beginning_is_cancelled_follows_nothing() -> None:
    mine = directory()
    entering = asyncio.ensure_future(mine.__aenter__())
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert "trouble" not in mine.report()


def test_help_on_a_source_does_not_show_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD_OF_SOMETHING", "s3cret")
    assert "s3cret" not in f"{inspect.signature(KubernetesSource)}"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    assert "192.0.2.1" in f"{KubernetesSource('orders')!r}"
    assert os.environ["KUBERNETES_SERVICE_HOST"]
