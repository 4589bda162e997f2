"""ChaosInjector: a function that chaos stands in for.

The compiled wrapper calls the stand-in as if it were the function. As long as the
registry has not started chaos, that is one call and one look at an empty dict.
One text serves every flavour. Of an async generator it harms what awaits the first item.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Final

import attrs

from ..core.callbacks import call_back
from ..core.chaos import Chaos, Harm, harm_of
from ..core.events import ChaosInjected
from ..core.outcome import Event
from ..drivers.sleeping import async_sleeper, sleeper
from ..drivers.stream_leases import own
from ..metrics.recorder import Recorder
from .callables import transparent_frame
from .compiled_text import CompiledText, in_flavour
from .emitter import Emitter
from .wrapper_spec import Flavour

_CHAOS = int(Event.CHAOS)

_TEXT: Final = """\
{async_}def chaotic(*args, **kwargs):
    harm = decide() if active_until else None
    if harm is None:
        {calm}
    if harm.delay:
        {await_}sleep(harm.delay)
    if harm.error is not None:
        raise call_back(harm.fault, (), None)
    {harmed}
"""


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
        if flavour is not Flavour.ASYNC_GENERATOR:
            return self._chaotic(fn, flavour)
        active_until = self.active_until

        @transparent_frame
        def chaotic(*args: Any, **kwargs: Any) -> Any:
            source = own(fn(*args, **kwargs))
            return _HarmedSource(source, self._chaotic(source.__anext__, flavour)) if active_until else source

        return chaotic

    def harm(self) -> Harm | None:
        """Decide what to do to the call that begins now; count it and tell the listeners."""
        now, active_until = self._clock(), self.active_until
        if now >= max(active_until.get(self._key, -inf), active_until.get(None, -inf)):
            return None
        harm = harm_of(self._held.policy, self._random(), self._random(), self._random())
        if harm is not None:
            self._recorder.count((_CHAOS,), now)
            if self._emitter.wanted(ChaosInjected):
                self._emitter.emit(ChaosInjected(self._key, self._group, harm.faults(), now))
        return harm

    def _chaotic(self, fn: Callable[..., Any], flavour: Flavour) -> Callable[..., Any]:
        """*fn*, harmed; of an async generator, what awaits its first item."""
        harmed: Callable[..., Any] = _text(flavour).bind({
            "fn": fn, "decide": self.harm, "active_until": self.active_until, "call_back": call_back,
            "sleep": self._sleep_async if flavour.is_async else self._sleep})
        return transparent_frame(harmed)

    # By the clock that the registry has at that moment: a test may have put another one in its place.

    def _sleep(self, seconds: float) -> Any:
        return sleeper(self._clock)(seconds)

    def _sleep_async(self, seconds: float) -> Any:
        return async_sleeper(self._clock)(seconds)


class _HarmedSource:
    """What the wrapper uses of an async generator, whose *first* item is harmed."""

    def __init__(self, source: Any, first: Callable[[], Awaitable[Any]]) -> None:
        self._source = source
        self._first: Callable[[], Awaitable[Any]] | None = first  # None: it was asked for
        self.asend, self.athrow, self.aclose = source.asend, source.athrow, source.aclose

    @property
    def ag_running(self) -> bool:
        running: bool = self._source.ag_running
        return running

    def __aiter__(self) -> _HarmedSource:
        return self

    def __anext__(self) -> Any:
        first, self._first = self._first, None
        return self._source.__anext__() if first is None else first()


@functools.cache
def _text(flavour: Flavour) -> CompiledText:
    yields = flavour in (Flavour.GENERATOR, Flavour.BLOCK)
    call = f"({'yield from ' if yields else '{await_}'}fn(*args, **kwargs))"
    calm = f"return {call}"
    harmed = f"result = {call}\nreturn result if harm.result is None else call_back(harm.result, (result,), None)"
    text = in_flavour(_TEXT, flavour, calm=calm, harmed=calm if flavour.is_generator else harmed)
    return CompiledText(text, f"chaos of {flavour.value}")
