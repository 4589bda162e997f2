"""The story of the demo's fleet as the terminal tells it, from cues and from what clients were answered."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from .fleet_clients import FleetClients
from .fleet_script import GATEWAYS, LIMIT, REDIS, REGISTRY, Act, FleetCue


class FleetStory:
    """Prints one line per event, and a summary line that is rewritten on a terminal."""

    def __init__(self, clients: FleetClients, *, has_redis: bool, out: TextIO = sys.stdout,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is told yet.

        Args:
            clients: What they see.
            has_redis: Whether there is a limit that the gateways share.
            out: Where to.
            clock: Monotonic seconds.
        """
        self._clients, self._has_redis, self._out, self._clock = clients, has_redis, out, clock
        self._began, self._live = clock(), out.isatty()
        self._awaited: dict[str, float] = {}  # instances that were started, and have not answered yet
        self._seen = dict[str, int]()  # their answers until then

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    def say(self, text: str) -> None:
        """One line of the story."""
        wipe = "\r\x1b[K" if self._live else ""
        print(f"{wipe}{self.elapsed:6.1f} s  {text}", file=self._out, flush=True)

    def cue(self, cue: FleetCue) -> None:
        """Something is done to a program."""
        self.say(f"{cue.line}; so far {self._errors()}")
        if cue.program.startswith("inventory"):
            self._seen[cue.program] = self._clients.programs[cue.program]
            if cue.act is Act.START:
                self._awaited[cue.program] = self._clock()

    def look(self) -> None:
        """See which instances answer that were awaited."""
        for name, since in list(self._awaited.items()):
            if self._clients.programs[name] > self._seen[name]:
                del self._awaited[name]
                self.say(f"{name} answers, {self._clock() - since:.1f} s after it was started; {self._errors()}")

    def pulse(self, runs: Callable[[str], bool]) -> None:
        """The live summary line.

        Args:
            runs: Whether a program runs.
        """
        answering = self._clients.answering()
        total = answering.total() or 1
        programs = [*GATEWAYS, REGISTRY, *([REDIS] if self._has_redis else [])]
        marks = "  ".join(f"[{'+' if runs(name) else 'X'}] {name}" for name in programs)
        shares = " ".join(f"{name.removeprefix('inventory-')}: {100 * count // total}%"
                          for name, count in sorted(answering.items()))
        limited = f" | {self._clients.passed_per_s():.0f}/s of {LIMIT}/s pass the limit" if self._has_redis else ""
        line = f"{self.elapsed:6.1f} s  {marks} | inventory {shares} | {self._errors()}{limited}"
        if self._live:
            line = f"\r\x1b[K{line[:shutil.get_terminal_size().columns - 1]}"
        print(line, end="" if self._live else "\n", file=self._out, flush=True)

    def summary(self) -> None:
        """The closing lines: what clients were answered."""
        if self._live:
            print(file=self._out)
        clients = self._clients
        told = ", ".join(f"{count} x {status}" for status, count in sorted(clients.answers.items()))
        print(f"\nClients got {clients.answers.total()} answers: {told}; {self._errors()}.", file=self._out)
        print("Answered by " + ", ".join(f"{name}: {count}" for name, count in sorted(clients.programs.items())) + ".",
              file=self._out)
        if self._has_redis:
            passed, asked, time_s = clients.statuses["200"], clients.statuses.total(), max(self.elapsed, 1.0)
            print(f"The limit of {LIMIT}/s for all gateways together let {passed / time_s:.1f}/s through, of "
                  f"{asked / time_s:.0f}/s.", file=self._out)
        self._out.flush()

    def _errors(self) -> str:
        errors, repeats = self._clients.errors, self._clients.repeats
        seen = "no error" if errors == 0 else "1 error" if errors == 1 else f"{errors} errors"
        asked = f", {repeats} asked a second gateway" if repeats else ""
        return f"clients saw {seen}{asked}"
