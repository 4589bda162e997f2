"""What is installed: a wheel, built from the source distribution, has all that it needs and nothing else.

Every other test runs in a checkout, where a file that is in no list is there all the same, and with all extras.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
NAME = "resilience-commands"
MADE = shutil.ignore_patterns(".*", "__pycache__", "_generated", "build", "dist", "*.egg-info", "resilience_dashboard")
#: Imports every module, but nothing of other distributions than the extras bring, and tells what could not be
#: imported. With the gateway, it checks a file.
IMPORTS = """
import importlib, json, pkgutil, sys
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

site, ABSENT = sys.argv[1], set(json.loads(sys.argv[2]))
sys.path.insert(0, site)
sys.meta_path.insert(0, Absent())
lacking = {}
for top in ("resilience", "resilience_command", "resilience_dashboard", "resilience_pytest"):
    if top in ABSENT:
        continue
    module = importlib.import_module(top)
    assert module.__file__.startswith(site), module.__file__
    for each in pkgutil.walk_packages(module.__path__, f"{top}.", onerror=lambda name: None):
        try:
            if not each.name.endswith("__main__"):
                importlib.import_module(each.name)
        except ModuleNotFoundError as error:
            lacking[each.name] = error.name
from resilience_dashboard.files import load_page
print(json.dumps([lacking, sorted(load_page())]))
if not any(name.startswith("resilience.gateway") for name in lacking):
    from resilience.cli import main
    main(["check", sys.argv[3]])
"""
#: What may need an extra, or a client that it is for.
MAY_LACK = re.compile(r"resilience\.(gateway|demo|discovery\.registry\.server|integrations)(\.|$)")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders that a source distribution and the wheel built from it have been unpacked to."""
    folder = tmp_path_factory.mktemp("distributions")
    shutil.copytree(ROOT, folder / "tree", ignore=MADE)
    _build("sdist", folder / "tree", folder)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.3 and older have none
        archive.extractall(folder)
    source = next(path for path in folder.iterdir() if path.name.startswith("resilience_") and path.is_dir())
    _build("wheel", source, folder)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return source, folder / "site"


def _build(what: str, tree: Path, to: Path) -> None:
    subprocess.run([sys.executable, "-c", f"from setuptools import build_meta; build_meta.build_{what}({str(to)!r})"],
                   cwd=tree, check=True, capture_output=True, timeout=120)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_source_distribution_has_every_file_of_the_tree(unpacked: tuple[Path, Path]) -> None:
    source, _ = unpacked
    there, tree = ({name for name in files_of(folder) if not re.match(r"build/|\w+\.egg-info/|PKG-INFO$", name)}
                   for folder in (source, source.parent / "tree"))
    assert there == tree


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(unpacked: tuple[Path, Path]) -> None:
    _, site = unpacked
    packages = {f"resilience/{name}" for name in files_of(ROOT / "resilience")}
    packages |= {f"resilience_dashboard/{name}" for name in files_of(ROOT / "dashboard")}
    packages = {name.replace("resilience/testing/fixtures/", "resilience_pytest/")
                .replace("resilience/cli/entry/", "resilience_command/")
                for name in packages if "__pycache__" not in name}
    assert {name for name in files_of(site) if ".dist-info/" not in name} == packages


def _distributions(extras: set[str]) -> set[str]:
    """What an installation with these extras has: our own requirements, and theirs."""
    found: set[str] = set()
    waiting = [(NAME, extras)]
    while waiting:
        name, wanted = waiting.pop()
        for each in map(Requirement, metadata.requires(name) or ()):
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                if (key := re.sub(r"[-_.]+", "-", each.name).lower()) not in found:
                    found.add(key)
                    waiting.append((each.name, set(each.extras)))
    return found


def _imported(site: Path, extras: set[str]) -> tuple[dict[str, str], list[str]]:
    there = _distributions(extras)
    absent = [module for module, owners in metadata.packages_distributions().items()
              if not module.startswith("resilience") or module == "resilience_pytest"
              if there.isdisjoint(re.sub(r"[-_.]+", "-", owner).lower() for owner in owners)]
    arguments = [str(site), json.dumps(absent), str(ROOT / "docs/examples/public-gateway.toml")]
    done = subprocess.run([sys.executable, "-I", "-W", "error", "-c", IMPORTS, *arguments],
                          check=True, capture_output=True, text=True, timeout=120)
    lacking, page = json.loads(done.stdout.splitlines()[0])
    return lacking, page


def test_without_an_extra_every_module_imports_that_is_not_of_the_gateway_or_for_a_client(
        unpacked: tuple[Path, Path]) -> None:
    lacking, page = _imported(unpacked[1], set())
    assert {name: missing for name, missing in lacking.items() if not MAY_LACK.match(name)} == {}
    assert not any(missing.startswith("resilience") for missing in lacking.values())
    assert {f"/{name}" for name in files_of(ROOT / "dashboard" / "page")} == set(page) - {"/"}


def test_with_its_extra_every_module_of_the_gateway_imports_and_it_checks_a_file(unpacked: tuple[Path, Path]) -> None:
    lacking, _ = _imported(unpacked[1], {"gateway"})
    assert {name for name in lacking if ".integrations." not in name} == set()


def test_an_installation_has_the_command_and_the_plugin_of_pytest(unpacked: tuple[Path, Path], tmp_path: Path) -> None:
    _, site = unpacked
    (tmp_path / "test_it.py").write_text(
        "import resilience\n"
        "def test_it(resilience_events):\n"
        f"    assert resilience.__file__.startswith({str(site)!r})\n")
    entries: Any = metadata.PathDistribution(next(site.glob("*.dist-info"))).entry_points
    assert {each.group: each.value for each in entries} == {
        "console_scripts": "resilience_command:main", "pytest11": "resilience_pytest"}
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "resilience_pytest", "-p", "no:cacheprovider"],
                          cwd=tmp_path, env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
