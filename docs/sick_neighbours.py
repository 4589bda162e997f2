"""The figures of the page about sick neighbours: ``python docs/sick_neighbours.py [build/bench.json]``.

That command takes the sections "sick" and, if it is there, "half_load" out of what ``make bench`` wrote, keeps them
beside the page (explanation/sick-neighbours.json) and writes the page's tables from them. The plot is drawn from the
same file whenever the documentation is built. The same input gives the same bytes.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
PAGE: Final = HERE / "explanation" / "sick-neighbours.md"
KEPT_FIGURES: Final = HERE / "explanation" / "sick-neighbours.json"
SECTIONS: Final = ("sick", "half_load")
BEGIN, END = "<!-- measured: written by docs/sick_neighbours.py -->", "<!-- end of what was measured -->"

#: How the page calls what the benchmark calls ...
KINDS: Final[Mapping[str, str]] = {
    "well": "is well",
    "hanging": "never answers",
    "slow": "answers after 3 s",
    "sluggish": "answers after 0.9 s",
    "resetting": "resets connections",
    "erroring": "fails at once",
}
PROXIES: Final[Mapping[str, str]] = {"ours": "resilience", "nginx": "nginx", "haproxy": "HAProxy", "envoy": "Envoy"}
KEPT_AIM, P99_AIM = 98.0, 1.2

Row = Mapping[str, Any]

_WIDTH, _PANEL, _LEFT, _GROUP = 860, 190, 64, 156
_BAR: Final = 26


def figures(bench: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of the results of ``make bench``.

    Raises:
        ValueError: The section "sick" is not among them, or could not be measured.
    """
    sections = {name: bench["sections"][name] for name in SECTIONS if bench["sections"].get(name, {}).get("tables")}
    if "sick" not in sections:
        raise ValueError("no sick neighbours were measured; run: make bench ARGS=\"sick half_load\"")
    environment = {name: bench["environment"][name] for name in ("date", "cores", "python", "platform")}
    tables = {name: {"notes": each["notes"], **each["tables"][0]} for name, each in sections.items()}
    return {"environment": environment, **tables}


def tables(kept: Mapping[str, Any]) -> str:
    """The part of the page that is measured, in Markdown."""
    rows = _by_kind_and_proxy(kept["sick"])
    proxies = [name for name in PROXIES if any(proxy == name for _, proxy in rows)]

    def table(kinds: Sequence[str], cell: Callable[[Row], str]) -> list[str]:
        head = ["the neighbour", *(PROXIES[name] for name in proxies)]
        body = [[KINDS[kind], *(cell(rows[kind, name]) if (kind, name) in rows else "not measured" for name in proxies)]
                for kind in kinds]
        return ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head),
                *("| " + " | ".join(row) + " |" for row in body), ""]

    environment = kept["environment"]
    half = [kind for kind in KINDS if any(key[0] == kind and row["kept %"] is not None for key, row in rows.items())]
    full = [kind for kind in KINDS
            if any(key[0] == kind and row["full load: kept %"] is not None for key, row in rows.items())]
    return "\n".join([
        f"Measured on {environment['date']}, {environment['cores']} cores of a shared virtual machine "
        f"({environment['platform']}, Python {environment['python']}): {', '.join(kept['sick']['notes'])}.",
        f"{kept['sick']['title']}.",
        "", "**Half load:** healthy requests answered in time, and their 99th percentile, alone → beside a neighbour:",
        *table(half, _half_load),
        "**Full load:** healthy throughput, as a share of that without a neighbour:",
        *table(full, lambda row: _percent(row["full load: kept %"])),
        "**What the neighbour's callers get**, and how many of them within 100 ms:",
        *table(half, lambda row: row["neighbour's callers get"]),
        *_added(kept.get("half_load")),
    ])


def plot(kept: Mapping[str, Any]) -> str:
    """What is kept at half load, the 99th percentile there, and what is kept at full load, as bars."""
    rows = _by_kind_and_proxy(kept["sick"])
    percent, factor = (0, 25, 50, 75, 100), (0, 0.5, 1, 1.5, 2)
    panels: Sequence[tuple[str, str, Sequence[float], float | None]] = [
        ("half load: healthy requests answered in time, %", "kept %", percent, KEPT_AIM),
        ("half load: healthy 99th percentile, beside the neighbour / alone", "x", factor, P99_AIM),
        ("full load: healthy throughput, % of that alone", "full load: kept %", percent, None),
    ]
    height = 34 + len(panels) * (_PANEL + 62)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" viewBox="0 0 {_WIDTH} {height}" role="img" '
             f'aria-label="What sick neighbours take from a healthy route">', *_legend(rows)]
    for i, panel in enumerate(panels):
        parts += _panel(rows, 62 + i * (_PANEL + 62), *panel)
    return "\n".join([*parts, "</svg>", ""])


def drawing() -> str:
    """The plot of the figures that are kept beside the page."""
    return plot(json.loads(KEPT_FIGURES.read_text(encoding="utf-8")))


def with_tables(page: str, kept: Mapping[str, Any]) -> str:
    """*page* with its measured part anew."""
    return re.sub(f"(?s){re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}\n\n{tables(kept)}\n{END}", page)


def _by_kind_and_proxy(table: Mapping[str, Any]) -> dict[tuple[str, str], Row]:
    named = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    return {(row["neighbour"], row["proxy"]): row for row in named}


def _half_load(row: Row) -> str:
    return f"{_percent(row['kept %'])}, {_ms(row['alone'])} → {_ms(row['p99 ms'])}"


def _added(table: Mapping[str, Any] | None) -> list[str]:
    if table is None:
        return []
    rows = [dict(zip(("name", "asked", "p50", "p50 direct", "p99", "p99 direct", "added"), row, strict=True))
            for row in table["rows"]]
    return [
        "**Without any neighbour**, at half of what each proxy can do at most, or at 5,000 requests a second if that "
        "is less, the time that it adds to a request:",
        "", "| | requests/s | median, direct → by the proxy | 99th percentile, direct → by the proxy | added to it |",
        "|---|---|---|---|---|",
        *(f"| {PROXIES[row['name']]} | {row['asked']:,} | {_ms(row['p50 direct'])} → {_ms(row['p50'])} "
          f"| {_ms(row['p99 direct'])} → {_ms(row['p99'])} | {_ms(row['added'])} |" for row in rows), "",
    ]


def _percent(value: float) -> str:
    return f"{value:.1f} %"


def _ms(value: float) -> str:
    return f"{value:.{1 if abs(value) >= 10 else 2}f} ms" if math.isfinite(value) else "no answer"


def _legend(rows: Mapping[tuple[str, str], Row]) -> list[str]:
    parts, x = [], float(_LEFT)
    for name, shown in PROXIES.items():
        if any(proxy == name for _, proxy in rows):
            parts += [f'<rect class="bar {name}" x="{x:g}" y="8" width="14" height="14"/>',
                      f'<text x="{x + 20:g}" y="20">{shown}</text>']
            x += 120
    return parts


def _panel(rows: Mapping[tuple[str, str], Row], top: int, title: str, column: str, ticks: Sequence[float],
           aim: float | None) -> list[str]:
    """Groups of bars, one for each kind of neighbour; what is far above the last tick is cut there."""
    bottom, most = top + _PANEL, 1.1 * ticks[-1]
    scale = _PANEL / most
    parts = [f'<text class="name" x="{_LEFT}" y="{top - 12}">{escape(title)}</text>']
    for tick in ticks:
        y = bottom - tick * scale
        parts += [f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}"/>',
                  f'<text class="small" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>']
    kinds = [kind for kind in KINDS if any(key[0] == kind and row[column] is not None for key, row in rows.items())]
    for i, kind in enumerate(kinds):
        left = _LEFT + i * _GROUP + 14
        found = [(name, rows[kind, name][column]) for name in PROXIES if (kind, name) in rows]
        for j, (name, value) in enumerate(found):
            high = scale * (min(value, most) if math.isfinite(value) else most if column == "x" else 0.0)
            parts += [f'<rect class="bar {name}" x="{left + j * (_BAR + 4)}" y="{bottom - high:.1f}" width="{_BAR}" '
                      f'height="{high:.1f}"><title>{PROXIES[name]}, {KINDS[kind]}: {value:.4g}</title></rect>']
        middle = left + (len(PROXIES) * (_BAR + 4) - 4) / 2
        parts.append(f'<text class="small" x="{middle:g}" y="{bottom + 18}" text-anchor="middle">{KINDS[kind]}</text>')
    if aim is not None:
        y = bottom - aim * scale
        parts += [f'<line class="aim" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}"/>',
                  f'<text class="label small" x="{_WIDTH - 4}" y="{y - 4:.1f}" text-anchor="end">aim: {aim:g}</text>']
    return parts


def main(argv: Sequence[str]) -> int:
    """Keep the figures of a run, and write them into the page."""
    bench = json.loads(Path(argv[0] if argv else "build/bench.json").read_text(encoding="utf-8"))
    kept = figures(bench)
    KEPT_FIGURES.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), kept), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
