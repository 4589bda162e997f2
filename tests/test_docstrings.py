"""What users can reach says what it takes and what it raises, in Google's sections.

ruff holds the form of all docstrings (pyproject.toml). This holds that the sections are there: Args for every function
and method with parameters, Raises where one raises an error of ours itself.
"""

import ast
import importlib
import inspect
import pathlib
import re
import textwrap

import pytest

import resilience
from resilience.errors import ConfigError, RejectedError

INTEGRATIONS = pathlib.Path(resilience.__file__).parent / "integrations"
#: What users import; of the integrations, those that say what is theirs, for the others are parts of these.
MODULES = ("resilience", "resilience.events", "resilience.testing", "resilience.asgi", "resilience.config", "resilience.discovery",
           "resilience.gateway", "resilience.metrics.prometheus",
           *sorted(f"resilience.integrations.{file.stem}" for file in INTEGRATIONS.glob("*.py") if "__all__" in file.read_text()))
_ERRORS = {name for name, kind in vars(resilience).items() if isinstance(kind, type) and issubclass(kind, RejectedError)}
RAISED = _ERRORS | {ConfigError.__name__, "TypeError", "unknown_option"}
_ENTRY = re.compile(r"^ {4}\*{0,2}([\w.]+)(?: \(.*?\))?:", re.M)


def section(text, title):
    """The names that a section of a docstring explains."""
    found = re.search(rf"^{title}:\n((?:(?: {{4}}.*)?\n)+)", f"{inspect.cleandoc(text)}\n", re.M)
    return set(_ENTRY.findall(found[1])) if found else set()


def public_names(module):
    names = getattr(module, "__all__", None)
    return names if names is not None else [
        name for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__]


def reachable():
    """(name, function, docstring) of every public function and method, each once."""
    seen = {}
    for place in MODULES:
        module = importlib.import_module(place)
        for name in public_names(module):
            value = getattr(module, name)
            if inspect.isfunction(value):
                seen.setdefault(value, f"{place}.{name}")
            elif inspect.isclass(value) and value.__module__.startswith("resilience"):
                for kind in value.__mro__:
                    if kind.__module__.startswith("resilience"):
                        methods(kind, seen)
    return [(name, function) for function, name in seen.items()]


def methods(kind, seen):
    for name, value in vars(kind).items():
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        written = inspect.isfunction(function) and "<attrs generated" not in function.__code__.co_filename
        theirs = any(name in vars(base) for base in kind.__mro__ if not base.__module__.startswith("resilience"))
        if written and not theirs and not name.startswith("_") and getattr(function, "__module__", "").startswith("resilience"):
            seen.setdefault(function, f"{kind.__module__}.{kind.__qualname__}.{name}")


REACHABLE = reachable()


def parameters(function):
    """The names that completion shows; where ``**settings`` are said to be "as for" another, or "any of" some, those of the code."""
    shown = inspect.signature(function).parameters
    if re.search(r"^ {4,}\*\*\w+:(.|\n {9,})*\b(as for|any of)\b", function.__doc__ or "", re.M | re.I):
        code = function.__code__
        shown = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARKEYWORDS)]
    return {name for name in shown if not name.startswith("_")} - {"self", "cls"}


def raised(function):
    """The classes of ours that the function's own statements raise."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, SyntaxError):
        return set()
    calls = [node.exc.func if isinstance(node.exc, ast.Call) else node.exc
             for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    named = {call.id for call in calls if isinstance(call, ast.Name)} & RAISED
    return {ConfigError.__name__ if name == "unknown_option" else name for name in named}


def lacking(function):
    text = inspect.getdoc(function) or ""
    found = [f"Args: {name}" for name in sorted(parameters(function) - section(text, "Args"))]
    return found + [f"Raises: {name}" for name in sorted(raised(function) - section(text, "Raises"))]


def test_there_is_something_to_look_at():
    names = {name for name, _ in REACHABLE}
    assert {"resilience.configure", "resilience.registry.Registry.subscribe", "resilience.testing.disabled"} <= names
    assert len(names) > 60


@pytest.mark.parametrize("source", [
    "def f(a):\n    '''Do it.'''", "def f(a, b):\n    '''Do it.\n\n    Args:\n        a: One.\n    '''",
    "def f():\n    '''Do it.'''\n    raise TypeError('x')", "def f(a):\n    pass"])
def test_a_docstring_that_lacks_a_section_is_noticed(source, tmp_path):
    path = tmp_path / "lacking_docstring.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("lacking_docstring", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert [] != lacking(module.f)


def test_everything_that_users_call_says_what_it_takes_and_what_it_raises():
    faults = {name: found for name, function in REACHABLE if (found := lacking(function))}
    assert {} == faults, "\n".join(f"{name}: {', '.join(found)}" for name, found in faults.items())
