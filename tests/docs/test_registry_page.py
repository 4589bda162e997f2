"""The page on the service registry, whose snippets use one that is running."""

from __future__ import annotations

import asyncio

import pytest
from pages import fences, name_of
from test_snippets import REGISTRY_PAGE, namespace, run  # noqa: F401 - namespace is a fixture

from tests.discovery.registry.harness import RegistryWithoutFile

pytestmark = pytest.mark.process


def test_the_snippets_of_the_page_on_the_registry_print_what_it_says(namespace, capsys):  # noqa: F811
    registry = RegistryWithoutFile()
    ran = 0
    try:
        with asyncio.Runner() as runner:
            for fence in fences(REGISTRY_PAGE):
                if fence.language == "python":
                    capsys.readouterr()
                    run(fence._replace(text=fence.text.replace("127.0.0.1:8761", f"127.0.0.1:{registry.port}")),
                        REGISTRY_PAGE, namespace, runner)
                    ran += 1
                elif fence.language == "output":
                    assert fence.text == capsys.readouterr().out, f"{name_of(REGISTRY_PAGE)}:{fence.line}"
    finally:
        assert (0, "") == registry.stop()
    assert 3 == ran
