"""ChaosInjector: a function that chaos stands in for.

The compiled wrapper calls the stand-in as if it were the function. As long as the
registry has not started chaos, that is one call and one look at an empty dict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from math import inf
from typing import Any

import attrs

from ..core.callbacks import call_back
from ..core.chaos import Chaos, Harm
from ..core.events import ChaosInjected
from ..core.outcome import Event
from ..drivers.sleeping import async_sleeper, sleeper
from ..metrics.recorder import Recorder
from .callables import transparent_frame
from .emitter import Emitter
from .wrapper_spec import Flavour

_CHAOS = int(Event.CHAOS)


@attrs.define
class ChaosPolicy:
    """The chaos policy in force for a command. configure() replaces it."""

    policy: Chaos


class ChaosInjector:
    """The chaos of one command. Every method may be called from any thread.

    Attributes:
        active_until: Until when chaos reigns, by key; None: for all. The registry's.
    """

    def __init__(self, held: ChaosPolicy, *, key: str, group: str, clock: Callable[[], float],
                 random: Callable[[], float], recorder: Recorder, emitter: Emitter,
                 active_until: dict[str | None, float]) -> None:
        self._held, self._key, self._group = held, key, group
        self._clock, self._random = clock, random
        self._recorder, self._emitter = recorder, emitter
        self.active_until = active_until

    def over(self, fn: Callable[..., Any], flavour: Flavour) -> Callable[..., Any]:
        """The function that is called in place of *fn*."""
        make = {Flavour.ASYNC: self._async, Flavour.GENERATOR: self._generator,
                Flavour.ASYNC_GENERATOR: self._async_generator}.get(flavour, self._sync)
        return make(fn)

    def harm(self) -> Harm | None:
        """Decide what to do to the call that begins now; count it and tell the listeners."""
        now, active_until = self._clock(), self.active_until
        if now >= max(active_until.get(self._key, -inf), active_until.get(None, -inf)):
            return None
        harm = self._held.policy.harm(self._random(), self._random(), self._random())
        if harm is not None:
            self._recorder.count((_CHAOS,), now)
            if self._emitter.wanted(ChaosInjected):
                self._emitter.emit(ChaosInjected(self._key, self._group, harm.faults(), now))
        return harm

    def _sync(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        active_until = self.active_until

        @transparent_frame
        def chaotic(*args: Any, **kwargs: Any) -> Any:
            harm = self.harm() if active_until else None
            if harm is None:
                return fn(*args, **kwargs)
            if harm.delay:
                sleeper(self._clock)(harm.delay)
            if harm.error is not None:
                raise call_back(harm.error, (), None)
            result = fn(*args, **kwargs)
            return result if harm.wrong is None else call_back(harm.wrong, (result,), None)

        return chaotic

    def _async(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        active_until = self.active_until

        @transparent_frame
        async def chaotic(*args: Any, **kwargs: Any) -> Any:
            harm = self.harm() if active_until else None
            if harm is None:
                return await fn(*args, **kwargs)
            if harm.delay:
                await async_sleeper(self._clock)(harm.delay)
            if harm.error is not None:
                raise call_back(harm.error, (), None)
            result = await fn(*args, **kwargs)
            return result if harm.wrong is None else call_back(harm.wrong, (result,), None)

        return chaotic

    def _generator(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        active_until = self.active_until

        @transparent_frame
        def chaotic(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            harm = self.harm() if active_until else None
            if harm is not None:
                if harm.delay:
                    sleeper(self._clock)(harm.delay)
                if harm.error is not None:
                    raise call_back(harm.error, (), None)
            return (yield from fn(*args, **kwargs))

        return chaotic

    def _async_generator(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        active_until = self.active_until

        @transparent_frame
        def chaotic(*args: Any, **kwargs: Any) -> Any:
            source = fn(*args, **kwargs)
            return _HarmedSource(source, self.harm, async_sleeper(self._clock)) if active_until else source

        return chaotic


class _HarmedSource:
    """What the wrapper uses of an async generator, harmed before its first item."""

    def __init__(self, source: Any, harm: Callable[[], Harm | None], nap: Callable[[float], Awaitable[None]]) -> None:
        self._source, self._harm, self._nap = source, harm, nap
        self.asend, self.athrow, self.aclose = source.asend, source.athrow, source.aclose

    @transparent_frame
    async def __anext__(self) -> Any:
        harm = self._harm()
        if harm is not None:
            if harm.delay:
                await self._nap(harm.delay)
            if harm.error is not None:
                raise call_back(harm.error, (), None)
        return await self._source.__anext__()
