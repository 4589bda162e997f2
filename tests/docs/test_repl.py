"""The blocks of a page can be pasted into Python's interactive prompt, one after another.

Before Python 3.13 the prompt ends a compound statement at the first empty line,
and at nothing else: a statement right after the body of a ``for`` is a
SyntaxError there, and an empty line inside a function ends the function. Only a
prompt that is fed line by line shows this.
"""

import ast
import inspect
import re
import sys

import pytest
from pages import DOCS, PAGES, fences, name_of
from test_snippets import file_of

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

from repl import Repl

#: The first repeats its names, each block for a program of its own; the other is a file's text, not a session's.
_NO_SESSION = {DOCS / "reference" / "contract.md", DOCS / "howto" / "write-a-policy.md"}
_START = "Start `python -m asyncio`"


def awaits(path):
    """Whether a block of the page has an ``await`` outside a function."""
    return any(
        compile(fence.text, name_of(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT).co_flags & inspect.CO_COROUTINE
        for fence in fences(path) if fence.language == "python")


_SESSIONS = [path for path in PAGES if path not in _NO_SESSION
             and any(fence.language == "python" for fence in fences(path))]


def in_order(expected, printed):
    """Whether *printed* has the lines *expected* in this order; values that the prompt shows may stand between."""
    lines = iter(printed)
    return all(line in lines for line in expected)


@pytest.mark.parametrize("path", _SESSIONS, ids=name_of)
def test_the_blocks_of_a_page_pasted_line_by_line_print_what_the_page_says(path, tmp_path):
    printed = []
    with Repl(*(("-m", "asyncio") if awaits(path) else ()), folder=tmp_path) as repl:
        for fence in fences(path):
            if fence.language == "python":
                # On a page the code is that of a module "shop".
                printed = [line.replace("__main__.", "shop.") for line in repl.paste(fence.text)]
                wrong = [line for line in printed if re.search(r"Traceback|SyntaxError|IndentationError", line)]
                assert not wrong, f"{name_of(path)}:{fence.line}: {printed}"
            elif fence.language == "output":
                assert in_order(fence.text.splitlines(), printed), f"{name_of(path)}:{fence.line}: {printed}"
            elif fence.language == "toml":
                (tmp_path / file_of(fence)).write_text(fence.text, encoding="utf-8")


@pytest.mark.parametrize("path", [path for path in PAGES if awaits(path)], ids=name_of)
def test_a_page_that_awaits_outside_a_function_says_which_prompt_takes_that(path):
    assert _START in path.read_text(encoding="utf-8")
