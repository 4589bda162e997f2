"""The circuit around whole requests: against a plain model under random histories, and from outside."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from resilience import CallRejected, CircuitBreaker, ConfigError, Registry, StateChanged
from resilience.core.events import State
from resilience.gateway.config import ServiceConfig
from resilience.gateway.messages.exchange import UpstreamStatusError, UpstreamUnreachableError
from resilience.gateway.services.service import Service
from resilience.metrics.recorder import Recorder
from tests.seeds import over_seeds

from .stub_service import ONE, THREE, TWO, Client, a_request, ask, updated

HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
BREAKER = CircuitBreaker(min_calls=10, failure_rate=0.5, window=10.0, open_for=5.0)


class World:
    """A service of three endpoints, and what is heard of it."""

    def __init__(self, **said: Any) -> None:
        self.now = 100.0
        self.registry, self.client = Registry(clock=lambda: self.now, random=lambda: 0.0), Client()
        command = {"timeout": None, "breaker": BREAKER, **said.pop("command", {})}
        self.service = Service("s", ServiceConfig(endpoints=(ONE, TWO, THREE), command=command, **said), self.client,
                               self.registry)
        self.events: list[Any] = []
        self.registry.subscribe(StateChanged, self.events.append)
        self.registry.subscribe(CallRejected, self.events.append)

    def answers(self, *answers: Any) -> None:
        self.client.does = {host: (lambda answer=answer: answer) for host, answer in zip(HOSTS, answers, strict=True)}

    @property
    def circuit(self) -> State:
        assert self.service.circuit is not None
        return self.service.circuit.circuit.state

    @property
    def shown(self) -> State:
        return self.registry["s"].state


async def test_it_opens_when_most_requests_fail_after_all_their_attempts_and_nobody_is_asked_then() -> None:
    world = World(ejection=None)
    world.answers(*[UpstreamStatusError(503)] * 3)
    for _ in range(10):
        assert await ask(world.service) == "UpstreamStatusError"
    assert (world.circuit, world.shown) == (State.OPEN, State.OPEN)
    asked = len(world.client.asked)
    for _ in range(5):
        assert await ask(world.service) == "CircuitOpenError"
    assert len(world.client.asked) == asked
    opened = next(each for each in world.events if isinstance(each, StateChanged) and each.key == "s")
    assert opened.reason == "10 of 10 calls failed"
    assert opened.last_failure is not None
    assert world.registry["s"].snapshot().counts["short_circuited"] == 5
    assert [each.key for each in world.events if isinstance(each, CallRejected)] == ["s"] * 5

    world.answers(200, 200, 200)
    world.now += 5.0
    assert await ask(world.service) == 200
    assert world.circuit is State.CLOSED


async def test_a_sick_endpoint_does_not_open_it() -> None:
    world = World(ejection=None)
    world.answers(UpstreamStatusError(503), UpstreamUnreachableError("no"), 200)
    for _ in range(100):
        assert await ask(world.service) == 200
        world.now += 0.01
    assert world.circuit is State.CLOSED


async def test_a_client_that_leaves_after_a_failed_attempt_has_got_no_answer_and_one_before_says_nothing() -> None:
    for fails_first, expected in ((True, State.OPEN), (False, State.CLOSED)):
        world, never = World(ejection=None, command={"breaker": CircuitBreaker(min_calls=1000)}), asyncio.Event()
        assert world.service.circuit is not None
        world.service.circuit.circuit.configure(BREAKER, world.now)

        async def hang(never: asyncio.Event = never) -> int:
            await never.wait()
            return 200

        world.client.does = {host: (lambda hang=hang: hang()) for host in HOSTS}
        if fails_first:
            world.client.does[HOSTS[0]] = lambda: UpstreamUnreachableError("no")
        for _ in range(30):
            task = asyncio.ensure_future(ask(world.service))
            for _ in range(10):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert world.circuit is expected, fails_first


async def test_answers_that_are_no_failures_and_refusals_are_not_weighed() -> None:
    world = World(ejection=None)
    world.answers(*[UpstreamStatusError(429)] * 3)
    for _ in range(30):
        await ask(world.service)
    assert world.circuit is State.CLOSED
    world.answers(404, 404, 404)
    for _ in range(30):
        assert await ask(world.service) == 404
    for host in HOSTS:
        world.registry[f"s@{host}:80"].force_open()
    for _ in range(30):
        assert await ask(world.service) == "CircuitOpenError"
    assert world.circuit is State.CLOSED
    assert world.shown is State.FORCED_OPEN


@pytest.mark.parametrize("per", ["endpoint", "both", None])
async def test_per_says_whether_there_is_one(per: str | None) -> None:
    world = World(command={} if per is None else {"per": per})
    assert (world.service.circuit is None) is (per == "endpoint")
    assert world.service.is_per_endpoint
    assert World(command={"per": "service"}).service.circuit is None
    assert World(command={"breaker": None}).service.circuit is None
    one = Service("t", ServiceConfig(endpoints=(ONE,)), Client(), Registry())  # type: ignore[arg-type]
    assert one.circuit is None, "whose only command is that of the service"
    with pytest.raises(ConfigError, match=r"per must be one of service, endpoint, both, not 'all'"):
        ServiceConfig(endpoints=(ONE, TWO), command={"per": "all"})


async def test_a_reload_keeps_it_and_says_whether_it_is_asked() -> None:
    world = World(ejection=None, retry=None)  # so that the circuits of the endpoints stay closed
    world.answers(*[UpstreamStatusError(503)] * 3)
    for _ in range(10):
        await ask(world.service)
    config = world.service.config
    for timeout in (1.0, 2.0, 3.0):
        world.service = updated(world.service, ServiceConfig(
            endpoints=(ONE, TWO, THREE), command={"timeout": timeout, "breaker": BREAKER}, retry=None, ejection=None))
        assert await ask(world.service) == "CircuitOpenError"
        assert world.shown is State.OPEN
    off = updated(world.service, ServiceConfig(endpoints=(ONE, TWO, THREE), command={
        **config.command, "per": "endpoint"}, retry=None, ejection=None))
    world.answers(200, 200, 200)
    assert await ask(off) == 200
    assert await ask(updated(off, config)) == "CircuitOpenError"


async def test_what_an_operator_says_goes_to_it_too() -> None:
    world = World(ejection=None)
    world.answers(*[UpstreamStatusError(503)] * 3)
    for _ in range(10):
        await ask(world.service)
    world.registry["s"].force_closed()
    assert (world.circuit, world.shown) == (State.FORCED_CLOSED, State.FORCED_CLOSED)
    assert await ask(world.service) == "UpstreamStatusError"
    world.registry["s"].force_open()
    assert (world.circuit, world.shown) == (State.FORCED_OPEN, State.FORCED_OPEN)
    assert await ask(world.service) == "CircuitOpenError"
    world.registry["s"].reset()
    assert (world.circuit, world.shown) == (State.CLOSED, State.CLOSED)
    world.registry["s"].configure(breaker=CircuitBreaker(consecutive=3))
    for _ in range(3):
        await ask(world.service)
    assert world.circuit is State.OPEN


async def test_in_shadow_mode_it_refuses_nobody() -> None:
    world = World(ejection=None, command={"shadow": ("breaker",)})
    world.answers(*[UpstreamStatusError(503)] * 3)
    for _ in range(50):
        assert await ask(world.service) == "UpstreamStatusError"
    assert world.circuit is State.OPEN


async def test_of_a_hedged_request_the_answer_that_counts_is_weighed_and_once() -> None:
    world = World(ejection=None, hedge=0.0001)
    slow = asyncio.Event()

    async def hang() -> Exception:
        await slow.wait()
        return UpstreamStatusError(503)

    world.client.does = {HOSTS[0]: hang, HOSTS[1]: lambda: 200, HOSTS[2]: lambda: 200}
    for _ in range(40):
        assert await ask(world.service) == 200
    assert world.service.circuit is not None
    term = world.service.circuit.circuit.term
    assert world.circuit is State.CLOSED
    assert sum(term.counts(world.now)) == 40  # type: ignore[attr-defined]


async def test_a_probe_whose_client_leaves_gives_its_place_to_the_next() -> None:
    world = World(ejection=None)
    world.answers(*[UpstreamStatusError(503)] * 3)
    for _ in range(10):
        await ask(world.service)
    world.now += 5.0
    never = asyncio.Event()

    async def hang() -> int:
        await never.wait()
        return 200

    world.client.does = {host: hang for host in HOSTS}
    probe = asyncio.ensure_future(ask(world.service))
    for _ in range(5):
        await asyncio.sleep(0)
    assert world.circuit is State.HALF_OPEN
    assert await ask(world.service) == "CircuitOpenError"
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    world.answers(200, 200, 200)
    assert await ask(world.service) == 200
    assert world.circuit is State.CLOSED
    attempts = world.service.attempts(a_request())  # which were never begun
    await attempts.close()


@over_seeds(20)
def test_random_histories_are_weighed_as_a_plain_model_says(seed: int) -> None:
    """The model: the last ten seconds' answers and failures of whole requests, and a wait of five seconds."""
    asyncio.run(_history(random.Random(seed)))


async def _history(dice: random.Random) -> None:
    # The circuits of endpoints never open, and nobody is ejected: only the circuit of the service decides.
    world = World(ejection=None, retry=None, command={"breaker": CircuitBreaker(min_calls=1000)})
    assert world.service.circuit is not None
    world.service.circuit.circuit.configure(BREAKER, world.now)
    results: list[tuple[float, bool]] = []
    opened: float | None = None
    down = 0.0
    for _ in range(600):
        if dice.random() < 0.02:
            down = dice.choice((0.0, 0.3, 0.9))
        fails = dice.random() < down
        world.answers(*[UpstreamStatusError(503) if fails else 200] * 3)
        is_refused = opened is not None and world.now < opened + 5.0
        answer = await ask(world.service)
        assert (answer == "CircuitOpenError") is is_refused
        if not is_refused:
            assert answer == ("UpstreamStatusError" if fails else 200)
            if opened is not None:  # it was the probe
                opened, results = (world.now, results) if fails else (None, [])
            else:
                results = [each for each in results if each[0] > world.now - 10.0]
                results.append((world.now, fails))
                bad = sum(each for _, each in results)
                if len(results) >= 10 and bad >= 0.5 * len(results):
                    opened = world.now
        assert world.circuit is (State.CLOSED if opened is None else State.OPEN)
        world.now += 1.0 if dice.random() < 0.5 else 0.0


async def test_its_refusals_are_counted_once_among_those_of_the_service() -> None:
    world = World(ejection=None)
    world.answers(*[UpstreamStatusError(503)] * 3)
    for _ in range(10):
        await ask(world.service)
    parts = [world.registry[f"s@{host}:80"] for host in HOSTS]
    before = [each.snapshot().counts["short_circuited"] for each in parts]
    for _ in range(7):
        await ask(world.service)
    assert [each.snapshot().counts["short_circuited"] for each in parts] == before
    recorder = world.registry["s"].__recorder__
    events, _ = recorder.totals()
    assert events == [sum(row) for row in zip(
        *(each.__recorder__.totals()[0] for each in parts), Recorder.totals(recorder)[0], strict=True)]
    assert world.registry["s"].snapshot().counts["short_circuited"] == sum(before) + 7
    world.now += 30.0
    assert sum(recorder.past(world.now).requests) == 7 + sum(
        sum(each.__recorder__.past(world.now).requests) for each in parts)


async def test_good_answers_take_its_lock_once_a_slice_of_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    world, taken = World(), 0
    assert world.service.circuit is not None
    circuit = world.service.circuit.circuit
    do = type(circuit._guard).do

    def counted(self: Any, *arguments: Any) -> Any:
        nonlocal taken
        taken += self is circuit._guard
        return do(self, *arguments)

    monkeypatch.setattr(type(circuit._guard), "do", counted)
    for _ in range(1000):
        assert await ask(world.service) == 200
        world.now += 0.05
    assert taken <= 51  # of a second each
