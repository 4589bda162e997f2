"""The pages of the documentation: their code fences and tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_generated" not in path.parts)

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


class Fence(NamedTuple):
    """One fenced block."""

    language: str
    text: str
    line: int  # of its first line of text


def fences(path):
    """The fenced blocks of a page, in order."""
    page = path.read_text(encoding="utf-8")
    return [Fence(match[1], match[2], page.count("\n", 0, match.start()) + 2) for match in _FENCE.finditer(page)]


def name_of(path):
    """A page's name in test ids."""
    return str(path.relative_to(ROOT))


def section(page, heading):
    """The text of *page* (its path below docs/) from *heading* to the next one of the same level."""
    text = re.sub(_FENCE, "", (DOCS / page).read_text(encoding="utf-8"))
    level = heading.split(" ")[0]
    found = re.search(rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.M | re.S)
    assert found is not None, f"{page} has no section {heading!r}"
    return found[1]


def rows(text):
    """The rows of the tables in *text*, without headers; cells as they are written, without backticks."""
    table, body = [], False
    for line in text.splitlines():
        if not line.startswith("|"):
            body = False
        elif set(line) <= set("|-: "):
            body = True
        elif body:
            table.append([cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return table
