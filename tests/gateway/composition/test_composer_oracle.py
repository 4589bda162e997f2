"""Random compositions over services that answer when they are told: what the client gets, and that nothing is left behind."""

import asyncio
import contextlib
import json
import random

from resilience.drivers.async_timeouts import AsyncTimeout
from resilience.errors import BulkheadFullError, CallTimeoutError, CircuitOpenError
from resilience.gateway.composition.composer import Composer
from resilience.gateway.composition.merging import suits
from resilience.gateway.config import CompositionConfig, PartConfig
from resilience.gateway.messages.exchange import UpstreamError, UpstreamStatusError
from resilience.gateway.messages.json_pointer import MISSING
from resilience.gateway.messages.problem import Problem

JSON = [(b"content-type", b"application/json")]
FATES = ["ok", "ok", "ok", "status", "broken", "nonsense", "open", "refused", "timeout", "unfit"]
STATES = {"ok": "ok", "status": "failed", "broken": "failed", "nonsense": "failed", "open": "open", "refused": "refused", "timeout": "timeout"}


class Exchange:
    def __init__(self, status, body, failure=None):
        self.status, self.headers, self.failure, self.complete = status, JSON, failure, True
        self._body = body

    def take(self):
        body, self._body = self._body, b""
        return body


class Service:
    """A service whose calls wait until they are let go; counts those under way."""

    preserve_host = False

    def __init__(self, name, fate, value):
        self.name, self.fate, self.value = name, fate, value
        self.idle = AsyncTimeout(name, 60.0)
        self.gate = asyncio.Event()
        self.under_way = self.asked = 0

    def bounded(self, request):
        return contextlib.nullcontext()

    def attempts(self, request):
        return Attempts(self)


class Attempts:
    """One call: it counts from the question to the close."""

    def __init__(self, service):
        self.service, self.fate, self.begun = service, service.fate, False

    async def answered(self):
        service, self.begun = self.service, True
        service.under_way += 1
        service.asked += 1
        await service.gate.wait()
        if self.fate == "open":
            raise CircuitOpenError(service.name, 1.0)
        if self.fate == "refused":
            raise BulkheadFullError(service.name)
        if self.fate == "timeout":
            raise CallTimeoutError(service.name, 1.0)
        body = b"{" if self.fate == "nonsense" else json.dumps(service.value).encode()
        self.exchange = Exchange(418 if self.fate == "status" else 200, body,
                                 UpstreamError("broke off") if self.fate == "broken" else None)
        return self.exchange

    async def settled(self):
        return UpstreamStatusError(418) if self.fate == "status" else self.exchange.failure

    async def close(self):
        self.service.under_way -= self.begun


def some_composition(rng):
    how = rng.choice(["object", "flat", "list"])
    names = [f"p{index}" for index in range(rng.randrange(1, 6))]
    needs = {name: sorted(other for other in names[:index] if rng.random() < 0.4) for index, name in enumerate(names)}
    services, parts, wrong = {}, {}, {"object": None, "flat": [1], "list": {"a": 1}}[how]
    for name in rng.sample(names, len(names)):
        fate, value = rng.choice(FATES), {"object": {"v": name}, "flat": {name: 1}, "list": [name]}[how]
        if fate == "unfit":
            fate, value = "ok", wrong
        services[name] = Service(name, fate, value)
        default = {} if rng.random() < 0.5 else {"default": {"object": "d", "flat": {"d": name}, "list": ["d"]}[how]}
        required = rng.random() < 0.3
        parts[name] = PartConfig(service=name, path=f"/{name}", after=tuple(needs[name]), required=required, **({} if required else default))
    return CompositionConfig(parts=parts, merge=how, timeout=60.0), services, needs


def oracle(config, services, needs):
    """What becomes of each part if nothing ends early."""
    def becomes(name):
        if any(becomes(other) != "ok" for other in needs[name]):
            return "skipped"
        service = services[name]
        return STATES[service.fate] if service.fate != "ok" or suits(config.merge, service.value) else "failed"

    return {name: becomes(name) for name in config.parts}


async def settled():
    for _ in range(12):
        await asyncio.sleep(0)


async def test_random_compositions_answer_as_an_oracle_says_whoever_answers_first():
    ends = {"answered": 0, "refused": 0, "cancelled": 0}
    for seed in range(600):
        rng = random.Random(seed)
        config, services, needs = some_composition(rng)
        composed = asyncio.ensure_future(Composer(config, services).compose([], None, {}, b""))
        order, is_cancelled = rng.sample(list(services), len(services)), rng.random() < 0.15
        for step, name in enumerate(order):
            await settled()
            asked = {each for each, service in services.items() if service.asked}
            assert all(other in order[:step] for each in asked for other in needs[each])
            if is_cancelled and step == len(order) // 2:
                composed.cancel()
                break
            services[name].gate.set()
        states = oracle(config, services, needs)
        wanted = [name for name, part in config.parts.items() if part.required and states[name] != "ok"]
        try:
            found = await composed
        except asyncio.CancelledError:
            ends["cancelled"] += 1
        except Problem as problem:
            ends["refused"] += 1
            assert wanted
            assert any(name in problem.detail for name in config.parts)
        else:
            ends["answered"] += 1
            assert not wanted
            assert dict(found.headers)[b"parts-status"].decode() == ", ".join(f"{name}={state}" for name, state in states.items())
            values = [services[name].value if states[name] == "ok" else part.default for name, part in config.parts.items()]
            there = [(name, value) for name, value in zip(config.parts, values) if value is not MISSING]
            if config.merge == "object":
                assert json.loads(found.body) == dict(there)
            elif config.merge == "flat":
                assert json.loads(found.body) == {key: item for _, value in there for key, item in value.items()}
            else:
                assert json.loads(found.body) == [item for _, value in there for item in value]
        assert {service.under_way for service in services.values()} == {0}
        assert all(service.asked <= 1 for service in services.values())
    assert min(ends.values()) > 30
    assert len(asyncio.all_tasks()) == 1


async def test_a_second_cancellation_while_parts_end_leaves_none_of_them_behind():
    config = CompositionConfig(parts={"a": PartConfig(service="a", path="/")}, timeout=60.0)
    services = {"a": Service("a", "ok", {})}
    composed = asyncio.ensure_future(Composer(config, services).compose([], None, {}, b""))
    await settled()
    composed.cancel()
    await asyncio.sleep(0)
    composed.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await composed
    await settled()
    assert services["a"].under_way == 0
    assert len(asyncio.all_tasks()) == 1
