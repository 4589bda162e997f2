"""One function over two or three targets, in every flavour, whose answers a test writes down for each target."""

import asyncio

from resilience import CircuitBreaker, Failover, Pipeline, Registry, command
from resilience.testing import ManualClock

FLAVOURS = ("sync", "thread", "async", "generator", "async generator")
ONE_ANSWER = ("sync", "thread", "async")


class Rig:
    """What targets answer: a value, or an exception to raise, or a function that says one."""

    def __init__(self, flavour, targets=("eu", "us"), registry=None, clock=None, **settings):
        self.clock = clock or ManualClock()
        self.registry = Registry(clock=self.clock) if registry is None else registry
        self.flavour, self.answers, self.asked = flavour, dict.fromkeys(targets, "good"), []
        failover = settings.pop("failover", None) or Failover(targets, argument="region", **settings.pop("say", {}))
        settings = {"key": "fetch", "timeout": None, "breaker": CircuitBreaker(min_calls=2, open_for=5.0), **settings}
        if flavour == "thread":
            settings["isolation"] = "thread"
        pipeline = settings.pop("pipeline", None)
        decorate = Pipeline(*pipeline, key="fetch", registry=self.registry) if pipeline else \
            command(failover=failover, registry=self.registry, **settings)
        self.fn = decorate(getattr(self, "_" + flavour.replace(" ", "_"))())

    def answer(self, region):
        self.asked.append(region)
        answer = self.answers[region]
        answer = answer() if callable(answer) and not isinstance(answer, type) else answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _sync(self):
        def fetch(path="/", *, region="nowhere"):
            return self.answer(region)

        return fetch

    _thread = _sync

    def _async(self):
        async def fetch(path="/", *, region="nowhere"):
            await asyncio.sleep(0)
            return self.answer(region)

        return fetch

    def _generator(self):
        def fetch(path="/", *, region="nowhere"):
            yield self.answer(region)

        return fetch

    def _async_generator(self):
        async def fetch(path="/", *, region="nowhere"):
            yield self.answer(region)

        return fetch

    def call(self, *args, **kwargs):
        """The one answer of a call."""
        return asyncio.run(self.call_async(*args, **kwargs)) if "async" in self.flavour else self._call(*args, **kwargs)

    def _call(self, *args, **kwargs):
        answer = self.fn(*args, **kwargs)
        if self.flavour == "generator":
            [answer] = list(answer)
        return answer

    async def call_async(self, *args, **kwargs):
        """The same, on a loop."""
        if self.flavour == "async":
            return await self.fn(*args, **kwargs)
        if self.flavour == "async generator":
            [answer] = [item async for item in self.fn(*args, **kwargs)]
            return answer
        return self._call(*args, **kwargs)

    def outcome(self, *args):
        """What a call returned or raised."""
        try:
            return self.call(*args)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error

    def counts(self, target):
        """What was counted at a target, without zeros."""
        return {name: n for name, n in self.fn.resilience[target].snapshot().counts.items() if n}

    def took(self):
        """Which targets were asked since the last look."""
        asked, self.asked = self.asked, []
        return asked

    def assert_idle(self):
        """No permit is out."""
        for handle in self.fn.resilience:
            assert handle.in_flight == 0
