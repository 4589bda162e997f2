"""The table of gateways: each "yes" of ours is linked to a test that there is."""

from __future__ import annotations

import ast
import re

from pages import DOCS, rows

PAGE = DOCS / "explanation" / "gateway-comparison.md"
_LINKED = re.compile(r"\[(yes|partly)\]\((\.\./\.\./tests/[\w/]+\.py)#(test_\w+)\)").fullmatch


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
            found = _LINKED(ours)
            assert found is not None, (feature, ours)
            file = (PAGE.parent / found[2]).resolve()
            assert file.is_file(), (feature, found[2])
            assert found[3] in names_in(file), (feature, found[3])


def test_what_ours_does_not_do_is_said_plainly():
    assert {ours for _, ours, *_ in rows(PAGE.read_text(encoding="utf-8"))} >= {"no"}
