"""The figures of the page about fleets: ``python docs/fleet.py [build/fleet.json [build/fleet-whole.json]]``.

That command keeps what ``make simulate`` wrote beside the page (explanation/fleet.json) and writes the page's tables
from it. The second file has the same of the whole size; without it, those figures stay as they are. The plots are drawn
from the same file whenever the documentation is built.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
PAGE: Final = HERE / "explanation" / "fleet.md"
KEPT_FIGURES: Final = HERE / "explanation" / "fleet.json"
SECTIONS: Final = ("storm", "outage", "zone", "lists", "restart", "bad gateway")

_WIDTH, _COLUMNS, _HIGH, _TOP, _LEFT = 860, 3, 110, 44, 40
_BETWEEN: Final = 18

Row = Mapping[str, Any]
Panel = tuple[str, Sequence[Sequence[float | None]]]


def marks(section: str) -> tuple[str, str]:
    """What stands before and after the table of a section."""
    return f"<!-- {section}: written by docs/fleet.py -->", f"<!-- end of {section} -->"


def tables(section: str, kept: Mapping[str, Any]) -> str:
    """The tables of a section, in Markdown: that of the size of the page, and that of the whole size."""
    head, cells = _TABLES[section]
    lines: list[str] = []
    for figures in (kept, kept.get("whole", {})):
        if section in figures:
            lines += [_about(section, figures[section]), "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
            lines += ["| " + " | ".join((name, *cells(row))) + " |" for name, row in figures[section]["rows"].items()]
            lines.append("")
    return "\n".join(lines)


def with_tables(page: str, kept: Mapping[str, Any]) -> str:
    """*page* with its tables anew."""
    for section in SECTIONS:
        begin, end = marks(section)
        made = f"{begin}\n\n{tables(section, kept)}\n{end}"
        page = re.sub(f"(?s){re.escape(begin)}.*{re.escape(end)}", lambda _, made=made: made, page)  # type: ignore[misc]
    return page


def drawings() -> dict[str, str]:
    """The plots by the names of their files, from the figures that are kept beside the page."""
    return plots(json.loads(KEPT_FIGURES.read_text(encoding="utf-8")))


def plots(kept: Mapping[str, Any]) -> dict[str, str]:
    """The plots by the names of their files: of the size of the page, and of the whole size."""
    lists = kept["lists"]
    made = {"fleet-lists": _multiples(
        "Dead instances that the registry lists",
        [(name, [[each / lists["registered"] for each in row["dead"]]]) for name, row in lists["rows"].items()],
        10.0, (120.0, 120.0), 0.4)}
    for figures, size in ((kept, ""), (kept.get("whole", {}), "-whole")):
        made.update({f"{name}{size}": plot for name, plot in _of_one_size(figures).items()})
    return made


def _of_one_size(figures: Mapping[str, Any]) -> dict[str, str]:
    made = {}
    if "storm" in figures:
        made["fleet-storm"] = _multiples(
            "Requests answered during a retry storm, second by second",
            [(name, [row["served"]]) for name, row in figures["storm"]["rows"].items()], 1.0, (20.0, 50.0), 1.0)
    if "outage" in figures:
        instances = figures["outage"]["size"]["instances"]
        made["fleet-outage"] = _multiples(
            "Requests answered around the return of the registry, and the share of the instances that gateways know",
            [(name, [row["served"], [each / instances for each in row["listed"]]])
             for name, row in figures["outage"]["rows"].items()], 1.0, (0.0, 20.0), 1.0)
    if "zone" in figures:
        made["fleet-zone"] = _multiples(
            "Answers that took more than half a second while a zone is lost, second by second",
            [(name, [row["late"]]) for name, row in figures["zone"]["rows"].items()], 1.0, (20.0, 140.0), 0.5)
    return made


def _about(section: str, made: Mapping[str, Any]) -> str:
    size = made.get("size", made)
    if section == "lists":
        return f"{size['registered']:,} instances."
    return f"{size['gateways']} gateways, {size['instances']} instances of the service."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _seconds(each: Sequence[float | None]) -> str:
    """How long it took in each of several runs."""
    known = sorted(seconds for seconds in each if seconds is not None)
    least, most = (f"{known[0]:g}", f"{known[-1]:g}") if known else ("", "")
    times = f"{least} s" if least == most else f"{least} to {most} s"
    if not known:
        return "never"
    return times if len(known) == len(each) else f"{times} in {len(known)} of {len(each)}, else never"


_TABLES: Final[Mapping[str, tuple[Sequence[str], Callable[[Row], Sequence[str]]]]] = {
    "storm": (("gateways", "answered before", "during", "20 s after", "good again after", "load during", "load after"),
              lambda row: (_percent(row["before"]), _percent(row["during"]), _percent(row["after"]),
                           _seconds(row["recovery_s"]), f"{row['load']:.2f}", f"{row['load_after']:.2f}")),
    "outage": (("the registry is", "answered in the first 18 s", "in the last 18 s", "in the 40 s after", "later",
                "late in the last 18 s", "listed, but gone", "fewest known", "most for one instance",
                "registrations/s"),
               lambda row: (_percent(row["first"]), _percent(row["last"]), _percent(row["back"]),
                            _percent(row["later"]), _percent(row["late_last"]), _percent(row["gone"]),
                            f"{row['least_listed']:.1f}", f"{row['most']:.1f} times the mean",
                            f"{row['registrations']}")),
    "zone": (("gateways", "answered in the first 20 s", "then", "when it is back", "late before", "in the first 20 s",
              "in the last minute of the loss", "when it is back"),
             lambda row: (_percent(row["first"]), _percent(row["then"]), _percent(row["back"]),
                          _percent(row["late_before"]), _percent(row["late_first"]), _percent(row["late_then"]),
                          _percent(row["late_back"]))),
    "lists": (("lost, how fast, `renewal_threshold`", "most dead that are listed", "after 28 minutes"),
              lambda row: (f"{row['most']:,}", f"{row['last']:,}")),
    "restart": (("an instance", "requests", "lost", "most for one instance"),
                lambda row: (f"{row['asked']:,}", f"{row['lost']:,}", f"{row['most']:.2f} times the mean")),
    "bad gateway": (("", "answered", "the service's circuit there", "open elsewhere"),
                    lambda row: (_percent(row["served"]), "open" if row["there"] else "closed", f"{row['elsewhere']}")),
}


def _multiples(title: str, panels: Sequence[Panel], step_s: float, fault: tuple[float, float], most: float) -> str:
    """One small plot for each panel; the second line of one is dashed."""
    wide = (_WIDTH - _COLUMNS * (_LEFT + _BETWEEN)) / _COLUMNS
    rows = -(-len(panels) // _COLUMNS)
    height = rows * (_HIGH + _TOP + 18)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" viewBox="0 0 {_WIDTH} {height}" role="img" '
             f'aria-label="{escape(title)}">']
    for i, (name, lines) in enumerate(panels):
        left = (i % _COLUMNS) * (wide + _LEFT + _BETWEEN) + _LEFT
        parts += _panel(left, i // _COLUMNS * (_HIGH + _TOP + 18) + _TOP, wide, name, lines, step_s, fault, most)
    return "\n".join([*parts, "</svg>", ""])


def _panel(left: float, top: float, wide: float, name: str, lines: Sequence[Sequence[float | None]], step_s: float,
           fault: tuple[float, float], most: float) -> list[str]:
    seconds = max(len(line) for line in lines) * step_s
    bottom, scale = top + _HIGH, wide / seconds
    begins, ends = (left + each * scale for each in fault)
    parts = [f'<text class="small name" x="{left:.0f}" y="{top - 10:.0f}">{escape(name)}</text>',
             f'<rect class="fault" x="{begins:.1f}" y="{top:.1f}" width="{max(1.0, ends - begins):.1f}" '
             f'height="{_HIGH}"/>']
    for share in (0.0, most / 2, most):
        y = bottom - share / most * _HIGH
        parts += [f'<line class="grid" x1="{left:.1f}" y1="{y:.1f}" x2="{left + wide:.1f}" y2="{y:.1f}"/>',
                  f'<text class="small" x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f}%</text>']
    for line, kind in zip(lines, ("", " second"), strict=False):
        points = [f"{left + at * step_s * scale:.1f},{bottom - min(value, most) / most * _HIGH:.1f}"
                  for at, value in enumerate(line) if value is not None]
        parts.append(f'<polyline class="line{kind}" points="{" ".join(points)}"/>')
    parts.append(f'<text class="small" x="{left + wide:.1f}" y="{bottom + 16:.1f}" text-anchor="end">'
                 f'{f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"}</text>')
    return parts


def main(argv: Sequence[str]) -> int:
    """Keep the figures of a run, and write them into the page."""
    kept = json.loads(Path(argv[0] if argv else "build/fleet.json").read_text(encoding="utf-8"))
    missing = [name for name in SECTIONS if name not in kept]
    if missing:
        raise ValueError(f"there are no figures of {', '.join(missing)}; run: make simulate")
    if len(argv) > 1:
        kept["whole"] = json.loads(Path(argv[1]).read_text(encoding="utf-8"))
    elif KEPT_FIGURES.exists():
        kept["whole"] = json.loads(KEPT_FIGURES.read_text(encoding="utf-8")).get("whole", {})
    KEPT_FIGURES.write_text(_compact(kept), encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), kept), encoding="utf-8")
    return 0


def _compact(kept: Mapping[str, Any]) -> str:
    """JSON with each list of numbers on one line."""
    text = json.dumps(kept, indent=1)
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\s+", " ", found.group()), text) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
