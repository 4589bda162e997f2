"""What completion shows of the library is what its pages speak of; the rest is behind an underscore, or in another place."""

import enum
import importlib
import inspect
import pathlib
import re

import pytest

from tests.test_docstrings import MODULES, public_names

DOCS = pathlib.Path(__file__).parents[2] / "docs"
#: The words of each page, and those that stand there as code.
PAGES = [(set(re.findall(r"\w+", text)),
          set(re.findall(r"\w+", " ".join(re.findall(r"```.*?```|``[^\n]+?``|`[^`\n]+`", text, re.S)))))
         for page in DOCS.rglob("*.md") if not {"decisions", "ko"} & set(page.parts)
         for text in [page.read_text(encoding="utf-8")]]
#: Others have documented these: the libraries that a module stands in for, and those that call it by these names.
OF_OTHERS = {"resilience.integrations.circuitbreaker", "resilience.integrations.pybreaker"}
CALLED_BY_OTHERS = {("Collector", "describe"), ("RefusalMiddleware", "async_capable"), ("RefusalMiddleware", "sync_capable"),
                    ("RefusalMiddleware", "process_exception")}
#: But for the gateway, whose objects serve its own rooms, too.
LIBRARY = [name for name in MODULES if name != "resilience.gateway" and name not in OF_OTHERS]


def attributes(kind):
    """The public names that the library has given to a class; those of its base classes elsewhere are theirs."""
    ours = [each for each in kind.__mro__ if each.__module__.startswith("resilience")]
    theirs = {name for each in kind.__mro__ if each not in ours for name in vars(each)}
    named = {name for each in ours for name in (*vars(each), *vars(each).get("__annotations__", ()))}
    return {name for name in named - theirs if not name.startswith("_")}


def unexplained(name, kind, pages=PAGES):
    """The attributes of a class that no page that names the class shows as code."""
    if issubclass(kind, enum.Enum):
        return []
    shown = {word for words, code in pages if name in words for word in code}
    return sorted(each for each in attributes(kind) - shown if (name, each) not in CALLED_BY_OTHERS)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_lists_what_it_offers_and_nothing_else(module):
    found = importlib.import_module(module)
    assert set(found.__all__) <= set(dir(found))
    if not module.startswith("resilience.integrations."):
        assert set(dir(found)) - {"events"} == set(found.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_stands_on_a_page(module):
    names = public_names(importlib.import_module(module))
    assert [] == [name for name in names if not any(name in words for words, _ in PAGES) and module not in OF_OTHERS]


@pytest.mark.parametrize("module", LIBRARY)
def test_every_public_attribute_stands_on_a_page_that_names_its_class(module):
    found = importlib.import_module(module)
    names = public_names(found)
    classes = {name: getattr(found, name) for name in names if inspect.isclass(getattr(found, name))}
    assert {} == {name: faults for name, kind in classes.items()
                  if kind.__module__.startswith("resilience") and (faults := unexplained(name, kind))}


def test_an_attribute_that_no_page_explains_is_noticed():
    class Shop:
        __module__ = "resilience.shop"
        stock: int
        _till: int

        def close(self): ...

    assert ["close", "stock"] == unexplained("Shop", Shop, [({"Shop"}, {"price"})])
    assert ["close"] == unexplained("Shop", Shop, [({"Shop"}, {"stock"}), ({"Market"}, {"close"})])
