"""The table of gateways: each "yes" of ours is linked to a test that there is."""

from __future__ import annotations

import ast
import re

from pages import DOCS, rows

PAGE = DOCS / "explanation" / "gateway-comparison.md"
#: "yes", and what else proves a part of it.
_LINK = r"\((\.\./\.\./tests/[\w/]+\.py)#(test_\w+)\)"
_LINKED = re.compile(rf"\[(?:yes|partly)\]{_LINK}(?: \[\d\]{_LINK})*").fullmatch


def names_in(path):
    """The names of the tests of a file."""
    return {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_yes_of_ours_is_linked_to_a_test_that_exists_and_nothing_else_is():
    table = rows(PAGE.read_text(encoding="utf-8"))
    assert len(table) > 50
    for feature, ours, *theirs in table:
        assert 6 == len(theirs), feature
        assert {"yes", "partly", "paid", "no", "?"} >= set(theirs), feature
        if ours != "no":
            assert _LINKED(ours) is not None, (feature, ours)
            for place, name in re.findall(_LINK, ours):
                file = (PAGE.parent / place).resolve()
                assert file.is_file(), (feature, place)
                assert name in names_in(file), (feature, name)


def test_what_ours_does_not_do_is_said_plainly():
    assert {ours for _, ours, *_ in rows(PAGE.read_text(encoding="utf-8"))} >= {"no"}
