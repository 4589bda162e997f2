"""What a section found: rows to read, gates to pass, notes on what was left out."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

import attrs

PEERS = ("circuitbreaker", "pybreaker", "aiobreaker", "purgatory", "hyx", "interlock-cb", "pyresilience",
         "aiodataloader", "strawberry-graphql")
PARTS = ("attrs", "wrapt", "granian", "httptools", "uvloop")

#: What a table may hold; None is printed as a dash.
Cell: TypeAlias = str | float | int | None


@attrs.frozen(kw_only=True)
class Gate:
    """A bound that the project has set itself.

    Attributes:
        what: The claim in words.
        measured: What this run found.
        bound: The limit, in the same unit.
        unit: Printed after both numbers.
        at_least: Whether the bound is a lower one.
        aim: A stricter bound that decides nothing.
    """

    what: str
    measured: float
    bound: float
    unit: str = "x"
    at_least: bool = False
    aim: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the bound is kept."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


@attrs.frozen(kw_only=True)
class Table:
    """Columns of equal length under a title; numbers are printed right-aligned."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def __str__(self) -> str:
        cells = [list(self.columns), *([_cell(value) for value in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [self.title, ""]
        for row in cells:
            numbers = (text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))
            lines.append("  ".join([row[0].ljust(widths[0]), *numbers]).rstrip())
        return "\n".join(lines)


@attrs.frozen(kw_only=True)
class Section:
    """The outcome of one section of the suite."""

    name: str
    tables: Sequence[Table] = ()
    gates: Sequence[Gate] = ()
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        parts = [f"== {self.name} ==", *(str(table) for table in self.tables)]
        if self.gates:
            parts.append(str(gate_table(self.gates)))
        parts.extend(f"note: {note}" for note in self.notes)
        return "\n\n".join(parts) + "\n"


def gate_table(gates: Sequence[Gate]) -> Table:
    """The bounds with ok or MISSED."""
    rows = [
        (
            gate.what,
            f"{gate.measured:.2f} {gate.unit}",
            f"{'>=' if gate.at_least else '<='} {gate.bound:g} {gate.unit}",
            "" if gate.aim is None else f"{gate.aim:g} {gate.unit}",
            "ok" if gate.ok else "MISSED",
        )
        for gate in gates
    ]
    return Table(title="To reach", columns=("what", "measured", "bound", "aim", ""), rows=rows)


def missed(sections: Sequence[Section]) -> list[Gate]:
    """All bounds that were not kept."""
    return [gate for section in sections for gate in section.gates if not gate.ok]


def environment() -> dict[str, object]:
    """What a reader must know of the machine; nothing that says which machine it was."""
    return {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "versions": {name: version for name in (*PEERS, *PARTS) if (version := version_of(name))},
    }


def version_of(distribution: str) -> str | None:
    """The installed version, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def write_json(path: Path, sections: Sequence[Section], environment: Mapping[str, object]) -> None:
    """Write everything measured to *path*, making its directory."""
    document = {
        "schema": 1,
        "environment": environment,
        "sections": {
            section.name: {
                "tables": [attrs.asdict(table) for table in section.tables],
                "gates": [{**attrs.asdict(gate), "ok": gate.ok} for gate in section.gates],
                "notes": list(section.notes),
            }
            for section in sections
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _cell(value: Cell) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else value
