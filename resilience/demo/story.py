"""The story as the terminal tells it, from cues and from the gateway's metrics stream."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TextIO

from .script import Cue, Service
from .traffic import Route

_REASONS: Final = {"failure_rate": "too many of its calls failed", "slow_rate": "too many of its calls were slow",
                   "probe_failed": "the probe failed"}
_MARK: Final = {"closed": "+", "open": "X", "half_open": "?"}


class Story:
    """Prints one line per event, and a summary line that is rewritten on a terminal.

    Args:
        services: That there are.
        routes: What clients saw, by service.
        commands: The services' programs by the keys of the gateway's commands.
        out: Where to.
        clock: Monotonic seconds.
    """

    def __init__(self, services: Iterable[Service], routes: Mapping[str, Route], commands: Mapping[str, str], *,
                 out: TextIO = sys.stdout, clock: Callable[[], float] = time.monotonic) -> None:
        self._routes, self._commands, self._out, self._clock = routes, commands, out, clock
        self._services = {service.name: service for service in services}
        self._service_of = {program: name for name, service in self._services.items() for program in service.programs}
        self._began = clock()
        self._live = out.isatty()
        self._terms: dict[str, int] = {}
        self._fault_at: dict[str, float] = {}  # by program
        self._errors_before: dict[str, int] = dict.fromkeys(routes, 0)  # the last fault
        self._answering = {name: service.programs[0] for name, service in self._services.items() if service.backup}
        self.opened: dict[str, int] = dict.fromkeys(self._service_of, 0)
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
        """A program changed its mood."""
        if cue.mood == "well":
            self._fault_at.pop(cue.program, None)
        else:
            service = self._service_of[cue.program]
            self._fault_at[cue.program] = self._clock()
            self._errors_before[service] = self._routes[service].errors
        self.say(cue.line)

    def look(self) -> None:
        """See which endpoints answer."""
        for service, before in self._answering.items():
            now = self._routes[service].last
            if now not in ("", before):
                again = " again" if now == self._services[service].programs[0] else f" in the place of {before}"
                self._answering[service] = now
                self.say(f"{service}: {now} answers{again}; {self._errors(service)}")

    def hear(self, event: str) -> None:
        """A message of the metrics stream."""
        try:
            message = json.loads(event)
        except ValueError:
            return
        if not isinstance(message, dict) or message.get("type") != "ResilienceCommand":
            return
        key = str(message.get("key"))
        if key in self._routes:
            self.states[key] = message["state"]
        if key not in self._commands:
            return
        for change in message["transitions"]:
            if change["term"] > self._terms.get(key, 0):
                self._terms[key] = change["term"]
                self._transition(self._commands[key], change)

    def _transition(self, program: str, change: dict[str, Any]) -> None:
        service = self._service_of[program]
        if change["to"] == "open":
            self.opened[program] += 1
            began = self._fault_at.get(program)
            after = "" if began is None or change["from"] == "half_open" else \
                f" after {self._clock() - change['age_s'] - began:.1f} s"
            why = _REASONS.get(change["trigger"], change["trigger"].replace("_", " "))
            saved = f"; {self._errors(service)}" if len(self._services[service].programs) > 1 else ""
            self.say(f"{program}: circuit opened{after} ({why}); {self._others(service)}{saved}")
        elif change["to"] == "half_open":
            self.say(f"{program}: circuit half-open, probing")
        elif change["trigger"] == "probes_passed":
            self.say(f"{program}: the probe succeeded, circuit closed; {self._errors(service)}")
        else:
            self.say(f"{program}: circuit {change['to'].replace('_', ' ')} ({change['trigger'].replace('_', ' ')})")

    def _errors(self, service: str) -> str:
        errors = self._routes[service].errors - self._errors_before[service]
        seen = "no error" if errors == 0 else "1 error" if errors == 1 else f"{errors} errors"
        return f"clients of {service} saw {seen} since the fault"

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
            parts.append(f"[{mark}] {name} p99 {latency.p99 * 1000:3.0f} ms, {route.errors} errors")
        line = f"{self.elapsed:6.1f} s  " + " | ".join(parts)
        if self._live:
            line = f"\r\x1b[K{line[:shutil.get_terminal_size().columns - 1]}"
        print(line, end="" if self._live else "\n", file=self._out, flush=True)

    def summary(self) -> None:
        """The closing table: what clients were answered by each service, and by which program."""
        if self._live:
            print(file=self._out)
        now = self._clock()
        print(f"\n{'service':<12}{'answers':>9}{'errors':>8}{'500':>7}{'503':>7}{'504':>7}{'other':>7}{'p50 ms':>9}"
              f"{'p99 ms':>9}{'opened':>8}", file=self._out)
        for name, route in self._routes.items():
            latency = route.whole.latency(now)
            shown = [route.statuses[status] for status in ("500", "503", "504")]
            numbers = [route.statuses.total(), route.errors, *shown, route.errors - sum(shown)]
            opened = sum(self.opened[program] for program in self._services[name].programs)
            print(f"{name:<12}" + "".join(f"{n:>{w}}" for n, w in zip(numbers, (9, 8, 7, 7, 7, 7), strict=True))
                  + f"{latency.p50 * 1000:>9.1f}{latency.p99 * 1000:>9.1f}{opened:>8}", file=self._out)
        for service in self._services.values():
            if len(service.programs) > 1:
                answered = self._routes[service.name].programs
                print(f"{service.name}: " + ", ".join(f"{answered[program]} answers of {program}"
                                                       for program in service.programs), file=self._out)
        self._out.flush()


def data_lines(chunks: Iterable[bytes]) -> Iterable[str]:
    """The ``data:`` payloads of the complete events in *chunks*."""
    for line in b"".join(chunks).split(b"\n"):
        if line.startswith(b"data:"):
            yield line[5:].strip().decode()
