"""Every snippet of the documentation runs, and prints what the page says it prints.

The Python snippets of a page run in order in one namespace, with ``await`` at
the top level; one that begins with a comment of its file's name is that module, for
the others to import; so is a YAML snippet that begins so. An ``output`` block after a snippet is what it prints. A TOML
block is checked, and stands in ``gateway.toml`` for the snippets that follow, or
in ``resilience.toml`` if it is none of a gateway.
"""

import ast
import asyncio
import functools
import inspect
import re
import shutil
import sys
import time
import types

import pytest
from pages import DOCS, PAGES, ROOT, fences, name_of

from resilience import default_registry
from resilience.config import Document, check
from resilience.discovery.registry.server import load as load_registry
from resilience.gateway.config import read
from resilience.policies import order

#: Its blocks show the same names again and again, each block for a program of its own.
_CONTRACT = DOCS / "reference" / "contract.md"
_PAGES = [ROOT / "README.md", *PAGES]


#: Its snippets need a program that not every machine has; see test_redis_page.py.
REDIS_PAGE = DOCS / "howto" / "guard-redis.md"
#: Its commands and files are run as they stand; see test_fleet_page.py.
FLEET_PAGE = DOCS / "howto" / "run-a-fleet.md"
#: Their snippets need a registry that is running; see test_registry_page.py.
REGISTRY_PAGES = [DOCS / "howto" / f"{name}.md" for name in ("run-a-registry", "register-a-service", "call-discovered-instances")]


def with_language(*languages):
    """The pages that have a snippet in one of *languages*."""
    return [path for path in _PAGES if any(fence.language in languages for fence in fences(path))]


async def fetch_price(sku):
    """What the contract page takes for granted."""
    return 9.5


def file_of(fence):
    """The file that a TOML block is: a gateway's has routes, and a registry's a table of its name."""
    if ("[registry]" in fence.text or "[[peers]]" in fence.text) and "[[routes]]" not in fence.text:
        return "registry.toml"
    return "gateway.toml" if "[[routes]]" in fence.text else "resilience.toml"


def module_of(fence):
    """The name of the file that a Python or YAML block is, if it says so on its first line."""
    found = re.match(r"# (\w+\.(?:py|yaml))\n", fence.text)
    return found[1] if found and fence.language in ("python", "yaml") else None


def clear(registry):
    """Take every command out of *registry*; its functions go on working."""
    for handle in list(registry):
        registry.remove(handle.key)


@pytest.fixture
def namespace():
    """A fresh module for one page."""
    clear(default_registry)
    module = types.ModuleType("shop")
    module.__dict__.update(fetch_price=fetch_price, my_clock=time.monotonic)
    yield module.__dict__
    module.__dict__.get("unsubscribe", lambda: None)()
    if "configuration" in module.__dict__:
        module.configuration.close()
    clear(default_registry)
    for kit in order.kits():
        if kit not in order.KITS:
            order.discard(kit.name)


def run(fence, path, namespace, runner):
    """Execute one snippet."""
    code = compile("\n" * (fence.line - 1) + fence.text, name_of(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
                   dont_inherit=True)
    result = eval(code, namespace)  # a coroutine, if the snippet awaits
    if code.co_flags & inspect.CO_COROUTINE:
        runner.run(result)


@pytest.mark.parametrize("path", [path for path in with_language("python") if path not in (REDIS_PAGE, FLEET_PAGE, *REGISTRY_PAGES)], ids=name_of)
def test_the_python_snippets_of_a_page_run_in_order_and_print_what_it_says(
        path, namespace, tmp_path, monkeypatch, capsys):
    run_page(path, namespace, tmp_path, monkeypatch, capsys)


def run_page(path, namespace, tmp_path, monkeypatch, capsys):
    """Run the Python snippets of a page in order, and compare what they print."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)
    with asyncio.Runner() as runner:
        for fence in fences(path):
            if (module := module_of(fence)) is not None:
                (tmp_path / module).write_text(fence.text, encoding="utf-8")
            elif fence.language == "python":
                capsys.readouterr()
                if path == _CONTRACT:
                    clear(default_registry)
                run(fence, path, namespace, runner)
            elif fence.language == "output":
                assert fence.text == capsys.readouterr().out, f"{name_of(path)}:{fence.line}"
            elif fence.language == "toml":
                (tmp_path / file_of(fence)).write_text(fence.text, encoding="utf-8")
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("path", with_language("toml"), ids=name_of)
def test_the_toml_snippets_of_a_page_are_without_a_mistake(path, tmp_path, monkeypatch, request, namespace):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "vendor_billing.py").touch()  # the module that the how-to guards
    for name in ("PRIMARY_AUTHORIZATION", "BACKUP_AUTHORIZATION", "REGISTRY_CLIENTS_TOKEN", "REGISTRY_OPERATORS_TOKEN",
                 "REGISTRY_PEERS_TOKEN", "REGISTRY_REDIS_PASSWORD", "FLEET_SECRET"):
        monkeypatch.setenv(name, "Bearer key with a length that is enough")
    for name in ("shop.pem", "shop.key", "other.pem", "other.key", "clients-ca.pem"):
        shutil.copy(DOCS.parent / "tests" / "dashboard" / "localhost.pem", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for fence in fences(path):
        if (module := module_of(fence)) is not None:
            (tmp_path / module).write_text(fence.text, encoding="utf-8")
            request.addfinalizer(functools.partial(sys.modules.pop, module.removesuffix(".py"), None))
        elif fence.language == "toml":
            file = tmp_path / f"line{fence.line}.toml"
            file.write_text(fence.text, encoding="utf-8")
            if file_of(fence) == "registry.toml":
                load_registry(file)
            else:
                # Not as a start would, which asks for the folder of its access log as well.
                assert read(Document.read(file)).routes if file_of(fence) == "gateway.toml" else check(file, environ={})


def test_every_page_is_reached_from_the_index():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    missing = [name_of(path) for path in PAGES if path.parent != DOCS
               and path.parent.name != "decisions" and f"{path.parent.name}/{path.stem}" not in index]
    assert [] == missing
