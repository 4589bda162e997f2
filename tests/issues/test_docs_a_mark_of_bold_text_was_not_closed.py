"""Two stars stood on a page, and the words behind them were not bold: the other two were missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
FENCED = re.compile(r"^ *(```|~~~).*?^ *\1\s*$", re.M | re.S)
BLOCKS = re.compile(r"\n\s*\n|\n(?= *(?:[-*|] |\d+\. ))")  # paragraphs, items of lists, rows of tables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_begins_bold_or_as_code_ends_in_its_paragraph(page: Path) -> None:
    blocks = BLOCKS.split(FENCED.sub("", page.read_text()))

    assert [] == [block for block in blocks if block.count("`") % 2 or re.sub("`[^`]*`", "", block).count("**") % 2]
