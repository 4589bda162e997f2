"""What open circuits refuse without an attempt: the same answers, counts, events and probes as by attempts alone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from resilience import CallRejected, CircuitOpenError, RateLimit, Registry, StateChanged, deadline
from resilience.commands.command import internals_of
from resilience.gateway.config import ServiceConfig
from resilience.gateway.messages.exchange import UpstreamUnreachableError
from resilience.gateway.services.service import Service
from resilience.policies.breaker import BREAKER

from .stub_service import ONE, TWO, Client, a_request, ask

SETTINGS: tuple[dict[str, Any], ...] = (
    {"timeout": None, "per": "endpoint"}, {"timeout": None, "per": "service"},
    {"timeout": None, "per": "endpoint", "shadow": ("breaker",)}, {"timeout": None, "per": "endpoint", "breaker": None},
    {"timeout": None, "rate_limit": RateLimit(50, per=10.0)})


class World:
    """One service, and what is heard of it."""

    def __init__(self, *urls: str, command: dict[str, Any], clock: Any) -> None:
        self.registry, self.client = Registry(clock=clock, random=lambda: 0.5), Client()
        self.heard: list[object] = []
        self.service = Service("s", ServiceConfig(endpoints=urls, command=command, balancer="first"), self.client, self.registry)
        for kind in (CallRejected, StateChanged):
            self.registry.subscribe(kind, self._hear)
        self.refused_at_once = 0

    def _hear(self, event: Any) -> None:
        self.heard.append((type(event).__name__, event.key, getattr(event, "event", None) or event.trigger))

    async def by_both(self) -> object:
        refusal = self.service.refusal(a_request())
        if refusal is None:
            return await ask(self.service)
        self.refused_at_once += 1
        return type(refusal).__name__

    def state(self) -> object:
        counts = [(each.key, each.state, dict(each.snapshot().counts)) for each in self.registry]
        flights = [(each.in_flight, each.failures, each.good, each.bad) for each in self.service.endpoints.states]
        return sorted(counts, key=lambda each: each[0]), flights, sorted(map(str, self.heard)), self.client.asked


async def test_random_histories_look_the_same_whether_open_circuits_are_seen_before_an_attempt_or_by_it() -> None:
    refused = [0] * len(SETTINGS)
    for seed in range(15):
        rng, now = random.Random(seed), [100.0]
        which = seed % len(SETTINGS)
        urls = (ONE, TWO) if rng.random() < 0.7 else (ONE,)
        one, other = (World(*urls, command=SETTINGS[which], clock=lambda now=now: now[0]) for _ in range(2))
        down = False
        for step in range(250):
            if rng.random() < 0.02:
                down = not down
            for world in (one, other):
                world.client.does = dict.fromkeys(
                    ("10.0.0.1", "10.0.0.2"), lambda: UpstreamUnreachableError("no") if down else 200)
            answers = [await ask(one.service), await other.by_both()]
            assert answers[0] == answers[1], (seed, step)
            assert one.state() == other.state(), (seed, step)
            now[0] += rng.choice((0.0, 0.01, 0.1, 1.0))
        refused[which] += other.refused_at_once
    assert refused[0] > 30
    assert refused[1] > 30
    assert refused[2:4] == [0, 0]


async def test_only_the_endpoint_whose_refusal_ends_soonest_is_noted_as_asked_and_counts_it() -> None:
    now = [100.0]
    world = World(ONE, TWO, command={"timeout": None}, clock=lambda: now[0])
    world.client.does = dict.fromkeys(("10.0.0.1", "10.0.0.2"), lambda: UpstreamUnreachableError("no"))
    for _ in range(100):
        await ask(world.service)
        now[0] += 0.01
    with deadline(5.0):  # whose time that is left decides before a circuit does
        assert world.service.refusal(a_request()) is None
    one, two = (world.registry[f"s@10.0.0.{number}:80"] for number in (1, 2))
    for longer, other in ((one, two), (two, one)):
        for each in (one, two):
            each.reset()
        for each in (longer, other):
            hinted = 3.0 if each is other else 4.0
            internals_of(each).runtime.of(BREAKER).hint(now[0] + hinted, "told", now[0])
        before = [dict(each.snapshot().counts) for each in (one, two)]
        asked: list[str] = []
        request = a_request()
        request.asked = asked.append
        refusal = world.service.refusal(request)
        assert isinstance(refusal, CircuitOpenError)
        assert refusal.retry_after == pytest.approx(3.0)
        assert asked == [other.key.partition("@")[2]]
        for each, was in zip((one, two), before, strict=True):
            assert (each is other) == (dict(each.snapshot().counts) != was)
