"""The pages whose snippets use a service registry that is running."""

from __future__ import annotations

import asyncio
import sys

import pytest
from pages import fences, name_of
from test_snippets import REGISTRY_PAGES, module_of, namespace, run  # noqa: F401 - namespace is a fixture

from tests.discovery.registry.harness import RegistryWithoutFile

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def registry():
    running = RegistryWithoutFile()
    try:
        yield running
    finally:
        assert (0, "") == running.stop()


@pytest.mark.parametrize(("path", "number"), list(zip(REGISTRY_PAGES, (3, 5, 6), strict=True)), ids=str)
def test_the_snippets_of_a_page_that_uses_a_registry_print_what_it_says(
        path, number, registry, namespace, capsys, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.syspath_prepend(str(tmp_path))
    here = f"127.0.0.1:{registry.port}"
    modules, ran = set(sys.modules), 0
    with asyncio.Runner() as runner:
        for fence in fences(path):
            text = fence.text.replace("127.0.0.1:8761", here)
            if (module := module_of(fence)) is not None:
                (tmp_path / module).write_text(text, encoding="utf-8")
            elif fence.language == "python":
                capsys.readouterr()
                run(fence._replace(text=text), path, namespace, runner)
                ran += 1
            elif fence.language == "output":
                assert text == capsys.readouterr().out, f"{name_of(path)}:{fence.line}"
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    assert number == ran
