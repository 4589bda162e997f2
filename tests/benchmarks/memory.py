"""Memory of one command whose windows are all full.

Measured twice, each time in a process of its own: as growth of the resident set,
which is what a machine runs out of, and through tracemalloc, which counts what
Python asked for and is the same on every machine. The bound is kept by the larger.
``python -m tests.benchmarks.memory rss|traced N`` is one such process.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable

from .report import Gate, Section, Table

BOUND_KIB = 12.0


def run(*, commands: int) -> Section:
    """Measure *commands* commands, idle and filled."""
    found: dict[str, dict[str, float]] = {}
    for method in METHODS:
        command = [sys.executable, "-m", f"{__package__}.memory", method, str(commands)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return Section(name="memory", notes=[f"not measured: {done.stderr.strip().splitlines()[-1]}"])
        found[method] = json.loads(done.stdout)
    rows = [(method, each["idle"] / 1024, each["filled"] / 1024) for method, each in found.items()]
    table = Table(title=f"KiB per command, {commands:,} commands", columns=("", "idle", "windows filled"), rows=rows)
    largest = max(each["filled"] for each in found.values()) / 1024
    gate = Gate(what="memory per command, all windows filled", measured=largest, bound=BOUND_KIB, unit="KiB")
    return Section(name="memory", tables=[table], gates=[gate])


def _resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _traced() -> int:
    return tracemalloc.get_traced_memory()[0]


METHODS: dict[str, Callable[[], int]] = {"rss": _resident, "traced": _traced}


def _measure(method: str, commands: int) -> dict[str, float]:
    """Bytes per command, just decorated and filled."""
    from .fleet import Fleet  # here, so that the parent needs no engine to say what is missing

    warm = Fleet(20)  # code objects, caches, the interpreter's free lists
    warm.fill()
    if method == "traced":
        tracemalloc.start()
    read = METHODS[method]
    gc.collect()
    before = read()
    fleet = Fleet(commands)
    gc.collect()
    idle = read()
    fleet.fill()
    gc.collect()
    return {"idle": (idle - before) / commands, "filled": (read() - before) / commands}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))
