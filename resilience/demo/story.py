"""The story as the terminal tells it, from cues and from the gateway's metrics stream."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TextIO

from .script import Cue
from .traffic import Route

_REASONS: Final = {"failure_rate": "too many of its calls failed", "slow_rate": "too many of its calls were slow",
                   "probe_failed": "the probe failed"}
_MARK: Final = {"closed": "+", "open": "X", "half_open": "?"}


class Story:
    """Prints one line per event, and a summary line that is rewritten on a terminal.

    Args:
        routes: What clients saw, by service.
        out: Where to.
        clock: Monotonic seconds.
    """

    def __init__(self, routes: dict[str, Route], *, out: TextIO = sys.stdout,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._routes, self._out, self._clock = routes, out, clock
        self._began = clock()
        self._live = out.isatty()
        self._terms: dict[str, int] = {}
        self._fault_at: dict[str, float] = {}
        self.opened: dict[str, int] = dict.fromkeys(routes, 0)
        self.states: dict[str, str] = dict.fromkeys(routes, "closed")

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    def say(self, text: str) -> None:
        """One line of the story."""
        wipe = "\r\x1b[K" if self._live else ""
        print(f"{wipe}{self.elapsed:6.1f} s  {text}", file=self._out, flush=True)

    def cue(self, cue: Cue) -> None:
        """A service changed its mood."""
        if cue.mood == "well":
            self._fault_at.pop(cue.service, None)
        else:
            self._fault_at[cue.service] = self._clock()
        self.say(cue.line)

    def hear(self, event: str) -> None:
        """A message of the metrics stream."""
        try:
            message = json.loads(event)
        except ValueError:
            return
        if not isinstance(message, dict) or message.get("type") != "ResilienceCommand":
            return
        if message.get("key") not in self._routes:
            return
        key = message["key"]
        self.states[key] = message["state"]
        for change in message["transitions"]:
            if change["term"] > self._terms.get(key, 0):
                self._terms[key] = change["term"]
                self._transition(key, change)

    def _transition(self, key: str, change: dict[str, Any]) -> None:
        if change["to"] == "open":
            self.opened[key] += 1
            began = self._fault_at.get(key)
            after = "" if began is None or change["from"] == "half_open" else \
                f" after {self._clock() - change['age_s'] - began:.1f} s"
            why = _REASONS.get(change["trigger"], change["trigger"].replace("_", " "))
            self.say(f"{key}: circuit opened{after} ({why}); {self._others(key)}")
        elif change["to"] == "half_open":
            self.say(f"{key}: circuit half-open, probing")
        elif change["trigger"] == "probes_passed":
            self.say(f"{key}: the probe succeeded, circuit closed")
        else:
            self.say(f"{key}: circuit {change['to'].replace('_', ' ')} ({change['trigger'].replace('_', ' ')})")

    def _others(self, key: str) -> str:
        now = self._clock()
        worst = max((route.recent.latency(now).p99 for name, route in self._routes.items() if name != key), default=0.0)
        return f"the other routes are unaffected: p99 {worst * 1000:.0f} ms" if worst < 0.1 else \
            f"the other routes' p99 is {worst * 1000:.0f} ms"

    def pulse(self) -> None:
        """The live summary line."""
        now = self._clock()
        parts = []
        for name, route in self._routes.items():
            latency = route.recent.latency(now)
            mark = _MARK.get(self.states[name], "!")
            parts.append(f"[{mark}] {name} {route.rate(now):3.0f}/s p99 {latency.p99 * 1000:4.0f} ms")
        line = f"{self.elapsed:6.1f} s  " + " | ".join(parts)
        print(f"\r\x1b[K{line}" if self._live else line, end="" if self._live else "\n", file=self._out, flush=True)

    def summary(self) -> None:
        """The closing table."""
        if self._live:
            print(file=self._out)
        now = self._clock()
        print(f"\n{'service':<12}{'answers':>9}{'200':>8}{'500':>7}{'503':>7}{'504':>7}{'other':>7}{'p50 ms':>9}"
              f"{'p99 ms':>9}{'opened':>8}", file=self._out)
        for name, route in self._routes.items():
            latency = route.whole.latency(now)
            shown = [route.statuses[status] for status in ("200", "500", "503", "504")]
            total = route.statuses.total()
            print(f"{name:<12}{total:>9}" + "".join(f"{n:>{w}}" for n, w in zip(shown, (8, 7, 7, 7), strict=True))
                  + f"{total - sum(shown):>7}{latency.p50 * 1000:>9.1f}{latency.p99 * 1000:>9.1f}"
                  f"{self.opened[name]:>8}", file=self._out)
        self._out.flush()


def data_lines(chunks: Iterable[bytes]) -> Iterable[str]:
    """The ``data:`` payloads of the complete events in *chunks*."""
    for line in b"".join(chunks).split(b"\n"):
        if line.startswith(b"data:"):
            yield line[5:].strip().decode()
