"""What operators say to a fleet reaches every supervisor, over a real redis-server that is wiped, frozen and forged."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from resilience.errors import ConfigError
from resilience.gateway.supervision.fleet import NoFleetError, order_of, things_of
from resilience.gateway.supervision.patches import merged
from resilience.gateway.supervision.supervisor import Supervisor
from resilience.gateway.supervision.worker_process import WorkerRefusedError
from resilience.shared.fleet_changes import Entry, Signature, written
from tests.shared.redis_server import RedisServer

CONFIG = """
[shared]
url = "{redis}"
name = "{name}"
timeout = 0.5
fleet_secret = "env:FLEET_SECRET"
[services.up]
endpoints = ["http://127.0.0.1:9"]
{more}
[[routes]]
path = "/*"
service = "up"
"""
EXTRA = '[services.extra]\nendpoints = ["http://127.0.0.1:9"]'
OPERATOR = "ops from 127.0.0.1"


class Worker:
    """A worker that takes what it is told."""

    number, is_ready, serves, is_leaving = 1, True, True, False

    def __init__(self) -> None:
        self.orders: list[tuple[str, str]] = []

    async def ask(self, verb: str, argument: tuple[str, str], timeout_s: float) -> tuple[None, list[object]]:
        if verb == "steer":
            if argument[0] != "up":
                raise WorkerRefusedError(f"there is no command {argument[0]!r}")
            self.orders.append(argument)
        return None, []


class Member:
    """One gateway of the fleet, whose worker is a stub."""

    def __init__(self, directory: Path, name: str, redis: RedisServer, more: str = EXTRA) -> None:
        self.file, self.worker = directory / f"{name}.toml", Worker()
        self.text = CONFIG.format(redis=redis.url, name=name, more=more)
        self.file.write_text(self.text)
        self.supervisor = Supervisor(self.file, workers=1)
        self.fleet = self.supervisor.fleet

    async def join(self) -> None:
        await self.fleet.join()
        self.supervisor.workers[1] = self.worker  # type: ignore[assignment]
        self.following = asyncio.ensure_future(self.fleet.run())

    async def leave(self) -> None:
        self.following.cancel()
        await asyncio.wait((self.following,))

    async def patch(self, patch: dict[str, Any]) -> Any:
        async def apply() -> dict[str, Any]:
            await self.supervisor.change(lambda data: merged(data, patch), "the admin API")
            return {}

        return await self.fleet.say(things_of(patch), OPERATOR, apply)

    async def order(self, key: str, order: str) -> Any:
        async def apply() -> dict[str, Any]:
            await self.supervisor.steer(key, order)
            return {}

        return await self.fleet.say(order_of(key, order), OPERATOR, apply)

    def service(self, name: str = "up") -> Any:
        return self.supervisor.data["services"].get(name)

    async def became(self, thing: str) -> Any:
        return (await self.fleet.report())["things"][thing]["gateways"]


@contextlib.asynccontextmanager
async def following(*members: Member) -> AsyncIterator[None]:
    for each in members:
        await each.join()
    try:
        yield
    finally:
        for each in members:
            await each.leave()


async def becomes(check: Any) -> None:
    async with asyncio.timeout(30):
        while True:
            found = check()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    monkeypatch.setenv("FLEET_SECRET", "only gateways of the fleet know this")
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def test_a_change_reaches_every_gateway_and_the_report_says_who_refused_it_and_why_and_who_is_missing(
        tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        a, b, c = Member(tmp_path, "a", redis), Member(tmp_path, "b", redis), Member(tmp_path, "c", redis, more="")
        async with following(a, b, c):
            await a.patch({"services": {"up": {"idle_timeout": 7.0}, "extra": {"idle_timeout": 8.0}}})
            await becomes(lambda: b.service("extra").get("idle_timeout") == 8.0)
            await becomes(lambda: "services/up" in c.fleet._results)

            async def told() -> bool:
                return "is missing" in (await a.became("services/up"))["c"].get("why", "")

            async def heard() -> bool:
                return {"why": "it has not said so yet", "applied": False} not in (await a.became("services/extra")).values()
            await becomes(told)
            await becomes(heard)
            found = await a.became("services/extra")
            assert found["a"] == found["b"] == {"applied": True}
            assert (found["c"]["applied"], "endpoints" in found["c"]["why"]) == (False, True)
            assert c.service() == {"endpoints": ["http://127.0.0.1:9"]}, "said together, so all or nothing"

            with pytest.raises(ConfigError):
                await a.patch({"services": {"up": {"idle_timeout": -1}}})
            assert a.fleet._link is not None
            assert a.fleet._link.known["services/up"].number == 1, "what is no good here nobody hears of"

    asyncio.run(scenario())


def test_orders_reach_every_worker_once_and_a_gateway_that_comes_late_gets_the_last_one(
        tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        a, b, late = (Member(tmp_path, name, redis) for name in ("a", "b", "late"))
        async with following(a, b):
            await a.patch({"services": {"up": {"idle_timeout": 7.0}}})
            await b.patch({"services": {"up": {"max_body": 5}}})
            await a.order("up", "force_open")
            await becomes(lambda: b.worker.orders == [("up", "force_open")])
            with pytest.raises(ConfigError, match="no command"):
                await b.order("nobody", "reset")
            await b.order("up", "force_closed")
            await becomes(lambda: a.worker.orders[1:] == [("up", "force_closed")])
            async with following(late):
                await becomes(lambda: late.worker.orders == [("up", "force_closed")])
                assert (late.service()["idle_timeout"], late.service()["max_body"]) == (7.0, 5)
                redis.say("DEL", "resilience:fleet:token")  # all read all of it again
                await becomes(lambda: redis.say("EXISTS", "resilience:fleet:reports") == b":1")
                await b.order("up", "release")
                await becomes(lambda: late.worker.orders == [("up", "force_closed"), ("up", "release")])

    asyncio.run(scenario())


def test_a_wiped_store_takes_nothing_away_and_is_told_again_and_a_lost_one_refuses_what_is_for_the_fleet(
        tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        a, b, late = (Member(tmp_path, name, redis) for name in ("a", "b", "late"))
        async with following(a, b):
            await a.patch({"services": {"up": {"idle_timeout": 7.0}}})
            await becomes(lambda: b.service().get("idle_timeout") == 7.0)
            before = copy.deepcopy((a.supervisor.data, b.supervisor.data))
            redis.say("FLUSHALL")
            await becomes(lambda: redis.say("HEXISTS", "resilience:fleet:changes", "services/up") == b":1")
            assert before == (a.supervisor.data, b.supervisor.data)
            async with following(late):
                assert late.service()["idle_timeout"] == 7.0, "before it serves"
                redis.freeze()
                with pytest.raises(NoFleetError, match="is lost"):
                    await a.patch({"services": {"up": {"idle_timeout": 9.0}}})
                assert a.service()["idle_timeout"] == 7.0
                report = await a.fleet.report()
                assert ("is lost" in report["trouble"], report["things"].keys()) == (True, {"services/up"})
                await late.supervisor.reload()
                assert late.service()["idle_timeout"] == 7.0, "what is known stays, whatever becomes of the store"
                redis.thaw()
                redis.kill()
                redis.start()
                await becomes(lambda: a.fleet._link is not None and a.fleet._link.connection.is_connected)
                await a.patch({"services": {"up": {"idle_timeout": 9.0}}})
                await becomes(lambda: b.service()["idle_timeout"] == late.service()["idle_timeout"] == 9.0)

    asyncio.run(scenario())


def test_who_can_write_to_the_store_and_does_not_know_the_secret_steers_nothing(
        tmp_path: Path, redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        a, b = Member(tmp_path, "a", redis), Member(tmp_path, "b", redis)
        async with following(a, b):
            await a.patch({"services": {"up": {"idle_timeout": 7.0}}})
            await becomes(lambda: b.service().get("idle_timeout") == 7.0)
            link, before = b.fleet._link, copy.deepcopy(b.supervisor.data)
            assert link is not None
            ours = Signature(b"only gateways of the fleet know this", "resilience:")
            old = written(Entry(thing="services/up", number=1, since=1, when=1.0, by=OPERATOR,
                                patches=({"idle_timeout": 1.0},)), ours)
            forged = written(Entry(thing="routes", number=9, since=9, when=1.0, by=OPERATOR, patches=([],)),
                             Signature(b"a guess", "resilience:"))
            reaching = written(Entry(thing="admin", number=8, since=8, when=1.0, by=OPERATOR,
                                     patches=({"bind": "0.0.0.0:1"},)), ours)
            await link.connection.call(lambda client: client.hset("resilience:fleet:changes", mapping={
                "services/up": old, "routes": forged, "commands/up": "junk", "admin": reaching}))
            redis.say("SET", "resilience:fleet:token", "another")
            await becomes(lambda: "admin" in b.fleet._results and a.fleet.foreign == b.fleet.foreign == 2)
            assert (b.supervisor.data, b.worker.orders) == (before, [])
            assert "'admin' cannot be changed by the admin API" in b.fleet._results["admin"][2]
            assert "2 entries for the fleet that none of its gateways wrote" in caplog.text
    asyncio.run(scenario())


def test_what_was_said_is_laid_over_the_file_at_every_reload_until_it_is_withdrawn(
        tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        a, b = Member(tmp_path, "a", redis), Member(tmp_path, "b", redis)
        async with following(a, b):
            await a.patch({"services": {"extra": {"idle_timeout": 7.0}}})
            await a.patch({"services": {"up": {"max_body": 9}}})
            await becomes(lambda: b.service().get("max_body") == 9)
            b.file.write_text(b.text.replace(":9\"", ":8\""))
            await b.supervisor.reload()
            assert b.service("extra") == {"endpoints": ["http://127.0.0.1:8"], "idle_timeout": 7.0}

            b.file.write_text(b.text.replace(EXTRA, ""))
            await b.supervisor.reload()
            assert (b.service("extra"), b.service()["max_body"]) == (None, 9), "the rest is in force"
            assert "services.extra.endpoints: is missing" in b.fleet._results["services/extra"][2]
            with pytest.raises(ConfigError):
                b.file.write_text("nonsense")
                await b.supervisor.reload()
            assert b.service()["max_body"] == 9

            b.file.write_text(b.text)
            await a.fleet.withdraw("services/extra", OPERATOR)
            assert a.service("extra") == {"endpoints": ["http://127.0.0.1:9"]}
            await becomes(lambda: b.service("extra") == {"endpoints": ["http://127.0.0.1:9"]})
            with pytest.raises(ConfigError, match="that can be withdrawn"):
                await b.fleet.withdraw("services/extra", OPERATOR)
            await b.patch({"services": {"extra": {"max_body": 5}}})
            await becomes(lambda: a.service("extra") == {"endpoints": ["http://127.0.0.1:9"], "max_body": 5})

    asyncio.run(scenario())


def test_operators_who_speak_at_the_same_time_are_all_heard_and_every_gateway_ends_with_the_same(
        tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        members = [Member(tmp_path, name, redis) for name in "abc"]
        async with following(*members):
            await asyncio.gather(*(each.patch({"services": {"up": {"command": {"timeout": 1.0 + number}, name: 5.0}}})
                                   for number, (each, name) in enumerate(zip(
                                       members, ("idle_timeout", "first_item", "tunnel_idle_timeout"), strict=True))))
            await becomes(lambda: len({str(sorted(each.service().items())) for each in members}) == 1
                          and len(members[0].service()) == 5)
            numbers = {each.fleet._link.known["services/up"].number for each in members if each.fleet._link}
            assert numbers == {3}

    asyncio.run(scenario())


def test_what_cannot_be_told_to_the_fleet_is_refused_before_it_is_in_force_anywhere(
        tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        a = Member(tmp_path, "a", redis)
        async with following(a):
            await a.patch({"services": {"up": {"idle_timeout": 7.0}}})
            monkeypatch.setattr("resilience.gateway.supervision.fleet_link.MOST", 1)
            with pytest.raises(ConfigError, match=r"no more: put what .* delete resilience:fleet:\*"):
                await a.patch({"services": {"extra": {"idle_timeout": 8.0}}})
            assert a.service("extra") == {"endpoints": ["http://127.0.0.1:9"]}
            monkeypatch.undo()
            monkeypatch.setenv("FLEET_SECRET", "only gateways of the fleet know this")
            with pytest.raises(ConfigError, match="larger than"):
                await a.patch({"services": {"up": {"rules": ["x" * 200_000]}}})
            assert "rules" not in a.service()

            redis.say("EVAL", "\"for\x20i=1,600\x20do\x20redis.call('HSET','resilience:fleet:changes',i,'x')\x20end\"", "0")
            with pytest.raises(NoFleetError, match="in force here alone: somebody else has filled resilience:fleet:changes"):
                await a.patch({"services": {"extra": {"idle_timeout": 9.0}}})

    asyncio.run(scenario())


def test_entries_that_the_store_has_evicted_or_that_somebody_has_put_back_are_healed_without_a_new_token(
        tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        a = Member(tmp_path, "a", redis)
        async with following(a):
            await a.patch({"services": {"up": {"idle_timeout": 7.0}}})
            redis.say("DEL", "resilience:fleet:changes")
            assert a.fleet._link is not None
            a.fleet._link._all_again = 0.0  # ten seconds later
            await becomes(lambda: redis.say("HEXISTS", "resilience:fleet:changes", "services/up") == b":1")

    asyncio.run(scenario())


def test_a_reload_while_somebody_speaks_to_the_fleet_loses_nothing_of_what_is_said(
        tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        a, reloads = Member(tmp_path, "a", redis), []

        async def apply() -> dict[str, Any]:
            reloads.append(asyncio.ensure_future(a.supervisor.reload()))
            await a.supervisor.change(lambda data: merged(data, patch), "the admin API")
            return {}

        async with following(a):
            patch = {"services": {"up": {"idle_timeout": 7.0}}}
            await a.fleet.say(things_of(patch), OPERATOR, apply)
            await asyncio.gather(*reloads)
            assert a.service()["idle_timeout"] == 7.0

    asyncio.run(scenario())
