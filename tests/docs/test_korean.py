"""The Korean pages are in step with the English ones that they translate.

Their snippets run as those of every other page do, in `test_snippets`. Here it
is asked that they are the English snippets, to the letter and in their order,
that the sections are the English ones, and that each section speaks of the same
names and leads to the same pages.
"""

import re
from collections import Counter
from typing import NamedTuple

import pytest
from pages import DOCS, PAGES, ROOT, name_of

KOREAN = DOCS / "ko"
ENGLISH = {KOREAN / "README.md": ROOT / "README.md",
           KOREAN / "first-circuit.md": DOCS / "tutorial" / "first-circuit.md"}

#: Fenced blocks, those without a language too.
_BLOCK = re.compile(r"^```.*?^```$", re.M | re.S)
_HEADING = re.compile(r"^(#+) (.*)$", re.M)
_CODE = re.compile(r"`[^`]+`")
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
_HANGUL = re.compile(r"[가-힣]")


class Section(NamedTuple):
    """What stands under one heading, or before the first one."""

    level: int
    prose: str  # without the fenced blocks


def blocks(path):
    """The fenced blocks of a page as they are written, with their fences."""
    return _BLOCK.findall(path.read_text(encoding="utf-8"))


def sections(path):
    """The sections of a page."""
    before, *parts = _HEADING.split(_BLOCK.sub("", path.read_text(encoding="utf-8")))
    return [Section(0, before), *(Section(len(level), title + text)
                                  for level, title, text in zip(*[iter(parts)] * 3, strict=True))]


def names(section):
    """The code in the text of a section, in any order: Korean sentences are built the other way round."""
    return Counter(_CODE.findall(section.prose))


def rows(section):
    """How many rows the tables of a section have."""
    return len(re.findall(r"^\|", section.prose, re.M))


def targets(section, path):
    """The files and folders that a section leads to; a translated page stands for its original."""
    found = {(path.parent / link).resolve() for link in _LINK.findall(section.prose) if "://" not in link}
    return {ENGLISH.get(target, target) for target in found}


def led_to(found, originals):
    """The targets *found*, where a page stands for its folder if the original names the folder: Sphinx has no folders."""
    folders = [target for target in originals if target.is_dir()]
    return {target if target in originals else next((each for each in folders if each in target.parents), target)
            for target in found}


def every_page(test):
    """Run *test* for each Korean page and its original."""
    pairs = [pytest.param(korean, english, id=name_of(korean)) for korean, english in ENGLISH.items()]
    return pytest.mark.parametrize(("korean", "english"), pairs)(test)


def test_every_korean_page_has_an_english_original():
    assert {path for path in PAGES if KOREAN in path.parents} == set(ENGLISH)


@every_page
def test_a_korean_page_has_the_code_blocks_of_its_original_in_their_order(korean, english):
    assert blocks(english), "the original has lost its blocks, or they are fenced otherwise"
    assert blocks(korean) == blocks(english)


@every_page
def test_a_korean_page_has_the_sections_of_its_original(korean, english):
    assert [section.level for section in sections(korean)] == [section.level for section in sections(english)]


@every_page
def test_a_section_in_korean_speaks_of_the_names_that_its_original_speaks_of(korean, english):
    for ours, theirs in zip(sections(korean), sections(english), strict=True):
        assert names(ours) == names(theirs), theirs.prose[:60]


@every_page
def test_a_section_in_korean_has_the_rows_and_leads_to_the_pages_of_its_original(korean, english):
    for ours, theirs in zip(sections(korean), sections(english), strict=True):
        assert rows(ours) == rows(theirs), theirs.prose[:60]
        originals = targets(theirs, english)
        assert led_to(targets(ours, korean), originals) == originals, theirs.prose[:60]


@every_page
def test_every_link_of_a_korean_page_leads_somewhere(korean, english):
    for section in sections(korean):
        assert [] == [str(target) for target in targets(section, korean) if not target.exists()]


@every_page
def test_no_paragraph_of_a_korean_page_is_left_in_english(korean, english):
    text = _BLOCK.sub("", korean.read_text(encoding="utf-8"))
    paragraphs = [paragraph for paragraph in re.split(r"\n\s*\n", text)
                  if paragraph.strip() and not _HEADING.match(paragraph.strip())]
    assert [] == [paragraph for paragraph in paragraphs if not _HANGUL.search(paragraph)]


@every_page
def test_no_emphasis_is_lost_to_the_particle_behind_it(korean, english):
    """A closing mark after punctuation closes nothing when a letter follows, as Korean particles do: ``*x (y)*라고``."""
    assert [] == re.findall(r"[^\w\s*`]\*+[가-힣]", _BLOCK.sub("", korean.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("page", "link"), [
    (ROOT / "README.md", "docs/ko/README.md"), (DOCS / "index.md", "ko/README.md")], ids=["README.md", "index.md"])
def test_a_reader_of_korean_is_shown_the_way_in_their_language(page, link):
    [line] = [line for line in page.read_text(encoding="utf-8").splitlines() if f"({link})" in line]
    assert "한국어" in line
