"""At the limit of open files, idle clients had every descriptor, and each request that came got 502.

Clients open as many connections as they like. A part of the files that a process may open is kept for connections to
services; whoever comes beyond the rest is closed at once, as beyond ``max_connections``.
"""

from __future__ import annotations

import contextlib
import resource

import attrs
import pytest

from resilience.gateway.open_files import room_for
from tests.gateway.front.serving import eventually, serving
from tests.gateway.front.test_listener import ASK, LOCALHOST, tls, trusting, who


@pytest.mark.parametrize(("limit", "wanted", "room"), [
    (1024, 20_000, 768), (1024, 700, 700), (65_536, 20_000, 20_000), (128, 500, 64), (40, 500, 1),
    (resource.RLIM_INFINITY, 20_000, 20_000)])
def test_a_part_is_kept(monkeypatch: pytest.MonkeyPatch, limit: int, wanted: int, room: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert room == room_for(wanted)


@pytest.mark.parametrize("is_secure", [False, True])
async def test_who_comes_beyond_that_is_closed_and_the_others_are_served(
        monkeypatch: pytest.MonkeyPatch, is_secure: bool) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (66, 66))  # so that there is room for two
    context = trusting(LOCALHOST) if is_secure else None
    async with serving(who, tls=tls() if is_secure else None) as front:
        there = []
        for number in (1, 2):
            there.append(await front.client(ssl=context))
            await eventually(lambda: front.front.connections == number and not front.listener._arriving)  # noqa: B023
        with pytest.raises(OSError) if is_secure else contextlib.nullcontext():
            assert b"" == await front.ask(ASK, ssl=context)
        assert [True, True] == [b" 200 " in await client.send(ASK).all() for client in there]


async def test_a_reload_asks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(who) as front:
        changed = attrs.evolve(front.front.settings, max_connections=3)
        monkeypatch.setattr(front.front, "_current", lambda: changed)
        front.front.refresh()
        assert 3 == front.front.most_connections


async def test_two_listeners_share_the_room_and_neither_takes_that_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each had three quarters of the files, so that two that were flooded at once had all of them."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (68, 68))  # so that there is room for four
    async with serving(who) as alone:
        assert 4 == alone.front.most_connections
        async with serving(who) as other:
            there = [await alone.client() for _ in range(2)]
            await eventually(lambda: alone.front.connections == 2)
            assert b"" == await alone.ask(ASK)
            assert b" 200 " in await other.ask(ASK)
            assert [True, True] == [b" 200 " in await client.send(ASK).all() for client in there]
        assert 4 == alone.front.most_connections
