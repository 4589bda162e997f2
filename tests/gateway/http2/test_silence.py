"""The doubt about a silent peer, beside a model that remembers everything that has happened."""

from __future__ import annotations

import random
from typing import Any

from resilience.gateway.upstream.silence import SILENCE_S, Silence


class Loop:
    """A clock, and timers that the history fires."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Any] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Any) -> Any:
        loop, due = self, self.now + delay

        class Handle:
            def cancel(self) -> None:
                loop.timers.remove((due, callback, self))

        handle = Handle()
        self.timers.append((due, callback, handle))
        return handle


def _is_long(events: list[tuple[str, float]], now: float) -> bool:
    heard = max((at for at, (what, _) in enumerate(events) if what == "heard"), default=-1)
    asked = [when for what, when in events[heard + 1:] if what == "asked"]
    return bool(asked) and now - asked[0] >= SILENCE_S


def _is_doubted(events: list[tuple[str, float]]) -> bool:
    last = [what for what, _ in events if what in ("heard", "doubt")]
    return last[-1:] == ["doubt"]


def _may_ping(events: list[tuple[str, float]]) -> bool:
    last = [what for what, _ in events if what in ("answer", "doubt")]
    return last[-1:] != ["doubt"]


def test_random_histories_agree_with_a_model_that_remembers_everything() -> None:
    cuts = pings = 0
    for seed in range(300):
        chance, loop, events = random.Random(seed), Loop(), []
        silence, cut = Silence(loop, 1.0), []  # type: ignore[arg-type]
        for _ in range(60):
            loop.now += chance.choice((0.0, 0.05, SILENCE_S, 0.7))
            for due, callback, _handle in list(loop.timers):
                if due <= loop.now:
                    loop.timers.clear()
                    callback()
            if cut:
                assert _is_doubted(events)
                assert loop.now - max(when for what, when in events if what == "doubt") >= 1.0
                break
            what = chance.choice(("asked", "heard", "answer", "given up", "given up"))
            if what == "given up":
                if _is_long(events, loop.now) and not silence.is_doubted and silence.may_ping:
                    what = "doubt"
                    silence.doubt(lambda: cut.append(True))
                    pings += 1
            elif what == "asked":
                silence.asked()
            else:
                silence.heard()
                if what == "answer":
                    events.append(("heard", loop.now))
                    silence.may_ping = True
            events.append((what, loop.now))
            assert _is_long(events, loop.now) is silence.is_long, (seed, events)
            assert _is_doubted(events) is silence.is_doubted, (seed, events)
            assert _may_ping(events) is silence.may_ping, (seed, events)
            assert len(loop.timers) == silence.is_doubted
        cuts += len(cut)
    assert cuts > 20
    assert pings > 100
