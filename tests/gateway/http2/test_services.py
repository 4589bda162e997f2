"""Services that speak HTTP/2: where requests move on to, what counts, and that every permit comes back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, PingFrame

from resilience import ConfigError, Registry
from resilience.gateway.config import ServiceConfig
from resilience.gateway.messages.exchange import Request, UnprocessedError, UpstreamError
from resilience.gateway.services.service import Service
from resilience.gateway.upstream.http1 import Http1Client
from tests.gateway.front.serving import eventually
from tests.gateway.services.stub_service import updated

from .peer import Connection, Peer, a_request, answers, peer

Script = Callable[[Connection, int], None]


def goaway(connection: Connection, number: int) -> None:
    connection.send(GoAwayFrame(0, last_stream_id=0).serialize())


def refuse(connection: Connection, number: int) -> None:
    connection.reset(number, ErrorCodes.REFUSED_STREAM)


def reset(connection: Connection, number: int) -> None:
    connection.reset(number, ErrorCodes.INTERNAL_ERROR)


def cut(connection: Connection, number: int) -> None:
    connection.cut()


def break_off(connection: Connection, number: int) -> None:
    connection.head(number)
    connection.data(number, b"o")
    connection.reset(number, ErrorCodes.CANCEL)


def flood(connection: Connection, number: int) -> None:
    connection.send(PingFrame(0, b"12345678").serialize() * 1500)


def nonsense(connection: Connection, number: int) -> None:
    connection.send(b"\0\0\0\xff")
    connection.cut()


def say_nothing(connection: Connection, number: int) -> None:
    pass


class Served:
    """A service on peers, and the client that it shares."""

    def __init__(self, *peers: Peer, **said: Any) -> None:
        said.setdefault("command", {"breaker": None, "timeout": 60.0})
        self.client, self.registry = Http1Client(), Registry()
        config = ServiceConfig(endpoints=[each.url for each in peers], http2=True, balancer="first", **said)
        self.service = Service("s", config, self.client, self.registry)

    async def ask(self, request: Request | None = None) -> tuple[int, bytes]:
        """The answer to one request, as the forwarder would pass it on."""
        attempts = self.service.attempts(request or a_request())
        try:
            answer = await attempts.answered()
            body = answer.take()
            try:
                while not answer.complete:
                    await answer.more()
                    body += answer.take()
            except UpstreamError as error:
                answer.failure = error
            failure = await attempts.settled()
            if failure is not None:
                raise failure
            return answer.status, body
        finally:
            await attempts.close()

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = dict.fromkeys(("success", "failure", "busy", "timeout"), 0)
        for command in self.registry:
            if command.key != "s" or not self.service.is_per_endpoint:
                for event in found:
                    found[event] += command.snapshot().counts[event]
        return {event: count for event, count in found.items() if count}

    def is_idle(self) -> bool:
        """Whether nothing is in flight, by any account."""
        connections = [each for pool in self.client.of_http2()._pools.values() for each in pool.connections]  # type: ignore[attr-defined]
        return (all(command.snapshot().in_flight == 0 for command in self.registry) and all(each.is_idle for each in connections)
                and all(each.in_flight == 0 for each in self.service.endpoints.states))

    def close(self) -> None:
        self.service.close()
        self.client.close()


@pytest.mark.parametrize("script", [goaway, refuse])
async def test_what_was_never_looked_at_moves_on_whatever_its_method(script: Script) -> None:
    async with peer(script) as bad, peer(answers) as good:
        served = Served(bad, good)
        assert (200, b"ok") == await served.ask(a_request("POST", b"abc"))
        assert ({"success": 1, "failure": 1}, True) == (served.counts(), served.is_idle())
        served.close()


@pytest.mark.parametrize("script", [reset, cut, flood, nonsense, break_off])
async def test_what_was_looked_at_moves_on_only_if_that_does_no_harm(script: Script) -> None:
    async with peer(script) as bad, peer(answers) as good:
        served = Served(bad, good, ejection=None)
        with pytest.raises(UpstreamError):
            await served.ask(a_request("POST", b"abc"))
        if script is not break_off:  # whose answer had begun
            assert (200, b"ok") == await served.ask()
            assert {"success": 1, "failure": 2} == served.counts()
        assert served.is_idle()
        served.close()


async def test_what_an_endpoint_on_its_own_never_looked_at_is_a_failure_that_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async with peer(refuse) as bad:
        served = Served(bad)
        with pytest.raises(UnprocessedError):
            await served.ask(a_request("POST", b"abc"))
        assert ({"failure": 1}, True) == (served.counts(), served.is_idle())
        assert "failed: the stream was refused" in caplog.text
        served.close()


async def test_a_silent_upstream_is_a_timeout_and_its_stream_is_reset() -> None:
    async with peer(say_nothing) as silent:
        served = Served(silent, command={"breaker": None, "timeout": 0.2})
        with pytest.raises(Exception, match=r"0\.2"):
            await served.ask()
        await eventually(lambda: silent.connections[0].h2.open_inbound_streams == 0)
        assert ({"timeout": 1}, True) == (served.counts(), served.is_idle())
        served.close()


async def test_a_reload_that_turns_http2_on_or_off_changes_what_is_spoken() -> None:
    async with peer(answers) as there:
        served = Served(there)
        assert (200, b"ok") == await served.ask()
        config = served.service.config
        off = updated(served.service, ServiceConfig(endpoints=config.endpoints, balancer="first", command=config.command))
        await eventually(lambda: there.connections[0].closed)
        attempts = off.attempts(a_request())
        with pytest.raises(UpstreamError, match=r"not valid HTTP/1\.1|closed"):
            await attempts.answered()
        await attempts.close()
        served.service = updated(off, config)
        assert (200, b"ok") == await served.ask()
        served.close()


def test_upgrades_are_a_mistake_where_there_can_be_none() -> None:
    with pytest.raises(ConfigError, match="HTTP/2"):
        ServiceConfig(endpoints=["http://x:1"], http2=True, upgrades=("mqtt",))
    assert ServiceConfig(endpoints=["http://x:1"], http2=True, upgrades=()).http2


async def test_permits_come_back_whatever_peers_do_and_whenever_clients_leave() -> None:
    chance = random.Random(11)
    scripts = [answers, answers, goaway, refuse, reset, cut, break_off, flood, nonsense, say_nothing]

    def any_of(connection: Connection, number: int) -> None:
        if not connection.closed:
            chance.choice(scripts)(connection, number)

    async with peer(any_of) as one, peer(any_of, MAX_CONCURRENT_STREAMS=2) as two:
        served = Served(one, two, ejection=None, command={"breaker": None, "timeout": 0.05})
        for _ in range(25):
            tasks = [asyncio.ensure_future(served.ask(chance.choice([
                a_request(), a_request("POST", b"x" * chance.choice([1, 100_000]))]))) for _ in range(8)]
            for task in chance.sample(tasks, 3):
                for _ in range(chance.randrange(10)):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert served.is_idle()
        served.close()
