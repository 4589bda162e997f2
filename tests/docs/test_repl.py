"""The blocks of a page can be pasted into Python's interactive prompt, one after another.

Before Python 3.13 the prompt ends a compound statement at the first empty line,
and at nothing else: a statement right after the body of a ``for`` is a
SyntaxError there, and an empty line inside a function ends the function. Only
what is fed line by line shows this.

A real prompt runs the tutorial and the pages that need the asyncio prompt. Of
the other pages each block is split into statements as the prompt does it, which
takes no process.
"""

import ast
import codeop
import inspect
import re
import sys

import pytest
from pages import PAGES, fences, name_of
from test_snippets import file_of, module_of

#: Each block of the first repeats the names of those before it, for a program of its own; the other is a module's text.
_NO_SESSION = {"contract.md", "write-a-policy.md"}
#: Its blocks talk to a server, which its own test starts.
_SERVED = {"run-a-registry.md", "register-a-service.md", "call-discovered-instances.md"}
_START = "`python -m asyncio`"


def python_of(path):
    """The Python blocks of a page that are not modules of their own."""
    return [fence for fence in fences(path) if fence.language == "python" and module_of(fence) is None]


def awaits(path):
    """Whether a block of the page has an ``await`` outside a function."""
    return any(
        compile(fence.text, name_of(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT).co_flags & inspect.CO_COROUTINE
        for fence in python_of(path))


_AWAITING = [path for path in PAGES if awaits(path)]
_TUTORIAL = [path for path in PAGES if path.parent.name == "tutorial"]


def in_order(expected, printed):
    """Whether *printed* has the lines *expected* in this order; values that the prompt shows may stand between."""
    lines = iter(printed)
    return all(line in lines for line in expected)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("path", [path for path in _TUTORIAL + _AWAITING if path.name not in _NO_SESSION | _SERVED], ids=name_of)
def test_the_blocks_of_a_page_pasted_line_by_line_print_what_the_page_says(path, tmp_path):
    from repl import Repl  # needs a pseudo-terminal

    printed = []
    with Repl(*(("-m", "asyncio") if path in _AWAITING else ()), folder=tmp_path) as repl:
        for fence in fences(path):
            if fence.language == "python" and module_of(fence) is None:
                # On a page the code is that of a module "shop".
                printed = [line.replace("__main__.", "shop.") for line in repl.paste(fence.text)]
                wrong = [line for line in printed if re.search(r"Traceback|SyntaxError|IndentationError", line)]
                assert not wrong, f"{name_of(path)}:{fence.line}: {printed}"
            elif fence.language == "output":
                assert in_order(fence.text.splitlines(), printed), f"{name_of(path)}:{fence.line}: {printed}"
            elif fence.language in ("python", "toml", "yaml"):
                (tmp_path / (module_of(fence) or file_of(fence))).write_text(fence.text, encoding="utf-8")


def mistake_at_the_prompt(block):
    """The first line of *block*, counted from 0, at which the prompt would complain, or None."""
    compiler, pending = codeop.CommandCompiler(), []
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for number, line in enumerate([*block.splitlines(), ""]):
        pending.append(line)
        try:
            if compiler("\n".join(pending), "<prompt>", "single") is not None:
                pending = []
        except SyntaxError:
            return number
    return len(block.splitlines()) if pending else None


@pytest.mark.parametrize(("block", "line"), [
    ("for n in range(2):\n    print(n)\nprint(n)\n", 2),
    ("def f():\n    a = 1\n\n    return a\n", 3),
    ("def f():\n    return 1\n\nprint(f())\n", None),
    ("if True:\n    pass\nelse:\n    pass\n", None),
])
def test_the_prompt_complains_of_a_statement_after_a_body_and_of_an_empty_line_in_one(block, line):
    assert line == mistake_at_the_prompt(block)


@pytest.mark.parametrize("path", [path for path in PAGES if python_of(path) and path.name not in _NO_SESSION], ids=name_of)
def test_the_blocks_of_a_page_are_statements_to_the_prompt_line_by_line(path):
    found = [(fence, mistake_at_the_prompt(fence.text)) for fence in python_of(path)]
    assert [] == [f"{name_of(path)}:{fence.line + at}" for fence, at in found if at is not None]


@pytest.mark.parametrize("path", _AWAITING, ids=name_of)
def test_a_page_that_awaits_outside_a_function_says_which_prompt_takes_that(path):
    assert _START in path.read_text(encoding="utf-8")
