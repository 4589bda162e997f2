"""Streams that a rule rejects by their first event: what the client gets in the end, and that nothing stays open."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from resilience import Registry, RetryBudget, deadline
from resilience.gateway.answers.answer_rules import AnswerRule
from resilience.gateway.answers.held_answers import HELD_BYTES
from resilience.gateway.balancing.retry_state import Repetition
from resilience.gateway.config import ServiceConfig
from resilience.gateway.messages.exchange import Endpoint, Header, Request, UpstreamError, UpstreamUnreachableError
from resilience.gateway.messages.inbound import ClientGoneError
from resilience.gateway.services.service import Service
from resilience.testing import virtual_time

from .stub_service import ONE, THREE, TWO, a_request

REJECTED = b"event: error\ndata: {}\n\n"
#: What an endpoint does, and after how many seconds its stream ends; None: never.
ENDS: dict[str, float | None] = {"ends": 0.0, "ends later": 0.3, "goes on": None}
FAILURES = ("down", "breaks")
OTHERS = ("good", "good stream", "503")
FIRST_ITEM_S = 5.0


class Stream:
    """An exchange whose body comes as it is told. It counts how often it is released."""

    answered, version = True, "1.1"

    def __init__(self, kind: str, took_s: float) -> None:
        self.kind, self._took_s = kind, took_s
        self.status = 503 if kind == "503" else 200
        stream: list[Header] = [(b"content-type", b"text/event-stream")]
        self.headers: list[Header] = stream if kind in ENDS or kind == "good stream" else []
        self.failure: UpstreamError | None = None
        self.trailers: Sequence[Header] = ()
        self.complete = False
        self.released = 0
        self._body = {"good stream": b"data: 1\n\n"}.get(kind, REJECTED if kind in ENDS else kind.encode())
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def head(self) -> None:
        await asyncio.sleep(self._took_s)
        if self.kind == "breaks":
            raise UpstreamError("nonsense")
        ends = ENDS.get(self.kind, 0.0)
        if ends == 0.0:
            self._end()
        elif ends is not None:
            self._timer = asyncio.get_running_loop().call_later(ends, self._end)

    def _end(self) -> None:
        self.complete = True
        self._over.set()

    def take(self) -> bytes:
        body, self._body = self._body, b""
        return body

    async def more(self) -> None:
        assert self.released == 0
        if not self._body:
            await self._over.wait()

    async def answering(self) -> None: ...
    async def write(self, chunk: bytes) -> None: ...
    def end(self, trailers: Sequence[Header] = ()) -> None: ...

    def release(self) -> None:
        self.released += 1


class World:
    """A service with stub endpoints that do as they are told, in the order of preference."""

    def __init__(self, kinds: Sequence[str], took_s: float = 0.1, **said: Any) -> None:
        self.kinds, self.took_s = kinds, took_s
        self.streams: list[Stream] = []
        self.registry = Registry()
        settings: dict[str, Any] = {
            "endpoints": (ONE, TWO, THREE)[:len(kinds)], "balancer": "first", "first_item": FIRST_ITEM_S,
            "rules": (AnswerRule(event="error", then="next", counts="failure"),), "ejection": None,
            "retry": Repetition(budget=None), "command": {"breaker": None, "timeout": 30.0}}
        self.service = Service("s", ServiceConfig(**{**settings, **said}), self, self.registry)

    async def send(self, endpoint: Endpoint, request: Request, *, connect_timeout: float) -> Stream:
        kind = self.kinds[int(endpoint.host[-1]) - 1]
        if kind == "down":
            raise UpstreamUnreachableError("no")
        self.streams.append(Stream(kind, self.took_s))
        return self.streams[-1]

    def let_go(self, endpoint: Endpoint) -> None: ...
    def close(self) -> None: ...

    async def ask(self) -> tuple[str, bool]:
        """The body that a client gets, or the name of the error, and whether it was whole before any was passed on."""
        attempts = self.service.attempts(a_request())
        try:  # as the forwarder does
            answer = await attempts.answered()
            was_whole = answer.complete
            while not answer.complete and len(answer.headers) and not was_whole:
                if answer.take() == REJECTED and ENDS[self.streams[-1].kind] is None:
                    raise ClientGoneError
                await answer.more()
            body = answer.take()
            await attempts.settled()
        except BaseException as error:
            await attempts.close()
            if isinstance(error, asyncio.CancelledError):
                raise
            return ("passes on", False) if isinstance(error, ClientGoneError) else (type(error).__name__, True)
        else:
            return body.decode(), was_whole

    def left(self) -> list[str]:
        """What was not given back."""
        open_ = [each.kind for each in self.streams if each.released != 1]
        places = [each.name for each in self.service.endpoints.states if each.in_flight]
        permits = [each.key for each in self.registry if each.snapshot().in_flight]
        return open_ + places + permits


def expected(kinds: Sequence[str], took_s: float, attempts: int) -> str:
    """What the client gets, slowly."""
    sent, answers, now = 0, list[tuple[str, float]](), 0.0  # answers that were rejected, and when they end
    for index, kind in enumerate(kinds):
        is_last = index == len(kinds) - 1
        if kind != "down":
            sent += 1
            now += took_s
        if kind.startswith("good"):
            return "good" if kind == "good" else "data: 1\n\n"
        may_go_on = not is_last and sent < attempts
        if kind in ("503", *ENDS) and not may_go_on:
            return kind if kind == "503" else {"ends": REJECTED.decode(), "ends later": "", "goes on": "passes on"}[kind]
        if kind == "503":
            answers.append(("503", now))
        elif kind in ENDS:
            ends = ENDS[kind]
            answers.append((REJECTED.decode(), 1e9 if ends is None else now + ends))
            if ends == 0.0:
                answers[:] = answers[-1:]
        if kind == "breaks" and not may_go_on:
            break
    for body, at in reversed(answers):
        if at <= now + 1.0:
            return body
    return "an error"


def test_random_ways_over_endpoints_give_the_last_answer_that_has_ended_and_leave_nothing_behind() -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        rng = random.Random(seed)
        kinds = [rng.choice((*ENDS, *ENDS, *FAILURES, *FAILURES, *OTHERS)) for _ in range(rng.randint(1, 3))]
        took_s, attempts = rng.choice((0.0, 0.1)), rng.choice((2, 3))
        world = World(kinds, took_s, retry=Repetition(budget=None, attempts=attempts))

        async def scenario(world: World = world) -> str:
            found = (await world.ask())[0]
            assert [] == world.left()  # and not only when its time is over
            return "an error" if found.endswith("Error") else found

        found, wanted = virtual_time(scenario()), expected(kinds, took_s, attempts)
        assert found == wanted, (seed, kinds, took_s, attempts)
        seen[wanted] += 1
    assert min(seen[each] for each in (REJECTED.decode(), "503", "an error", "good", "passes on")) > 4


def test_wherever_a_request_is_cut_the_permits_and_the_connections_go_back() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        kinds = [rng.choice(tuple(ENDS)), rng.choice((*ENDS, *FAILURES)), rng.choice((*FAILURES, "good stream"))]
        world = World(kinds, 0.1, hedge=rng.choice((None, 0.05)), command={"breaker": None, "max_concurrent": 1})

        async def scenario(world: World = world, after_s: float = rng.uniform(0.0, 0.5)) -> None:
            asking = asyncio.ensure_future(world.ask())
            await asyncio.sleep(after_s)
            asking.cancel()
            await asyncio.wait((asking,))
            assert [] == world.left()

        virtual_time(scenario())
        assert [] == world.left(), (seed, kinds)


def test_a_rejected_stream_holds_no_permit_while_another_endpoint_is_asked_and_is_counted_once() -> None:
    world = World(["goes on", "good"], 2.0, command={"breaker": None, "timeout": 30.0, "max_concurrent": 1, "per": "service"})

    async def scenario() -> None:
        assert ("good", True) == await world.ask()

    virtual_time(scenario())
    counts = world.registry["s"].snapshot().counts
    assert (1, 1) == (counts["failure"], counts["success"])
    assert [] == world.left()


def test_a_stream_is_kept_no_longer_than_the_first_item_is_waited_for() -> None:
    world = World(["goes on", "good"], 2 * FIRST_ITEM_S)

    async def scenario() -> list[int]:
        asking = asyncio.ensure_future(world.ask())
        await asyncio.sleep(2 * FIRST_ITEM_S + 0.9 * FIRST_ITEM_S)
        before = world.streams[0].released
        await asyncio.sleep(0.2 * FIRST_ITEM_S)
        after = world.streams[0].released
        assert ("good", True) == await asking
        return [before, after]

    assert [0, 1] == virtual_time(scenario())
    assert [] == world.left()


def test_without_a_token_of_the_budget_a_rejected_stream_passes_on_as_it_comes_with_its_permit() -> None:
    world = World(["goes on", "good"], retry=Repetition(budget=RetryBudget(ratio=0.0, per_second=0.0)))

    async def scenario() -> None:
        attempts = world.service.attempts(a_request())
        answer = await attempts.answered()
        assert (REJECTED, False) == (answer.take(), answer.complete)
        assert 1 == sum(each.in_flight for each in world.service.endpoints.states)
        await attempts.close()

    virtual_time(scenario())
    assert ["goes on"] == [each.kind for each in world.streams]
    assert [] == world.left()


def test_after_the_deadline_what_has_ended_is_given_and_what_has_not_is_not() -> None:
    for kind, wanted in (("ends", REJECTED.decode()), ("goes on", "DeadlineExceededError")):
        world = World([kind, "good"], 2.0)

        async def scenario(world: World = world) -> tuple[str, bool]:
            with deadline(3.0, clock=asyncio.get_running_loop().time):
                return await world.ask()

        assert wanted == virtual_time(scenario())[0]
        assert [] == world.left()


def test_a_rejected_stream_with_too_many_bytes_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "REJECTED", REJECTED + b":" * HELD_BYTES + b"\n")
    world = World(["ends later", "down"])

    async def scenario() -> tuple[str, bool]:
        return await world.ask()

    assert virtual_time(scenario())[0].endswith("Error")
    assert [] == world.left()
