"""Runs tests under Python 3.14 where no other interpreter of it is to be had: the one compiled to WebAssembly.

``python -m tests.pyodide [pytest's arguments]``. It needs npm and node, and gets pyodide from npm and wheels without
compiled parts from PyPI, by their names, once, into build/pyodide. There are no threads, processes and event loops to be run there:
a test that asks for one is counted as left out (see inside.py).
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).parents[2]
BUILD = ROOT / "build" / "pyodide"
PYODIDE = "pyodide@314"  # the version of Python that it is, without the dot
WHEELS = ["aiorwlock", "attrs", "cattrs", "cloudpickle", "iniconfig", "packaging", "pluggy", "prometheus-client", "pygments",
          "pytest", "pytest-asyncio", "typing_extensions", "wrapt"]
TESTS = ["tests/core", "tests/engine/test_golden_texts.py", "tests/engine/test_compiler.py", "tests/engine/test_kit.py",
         "tests/engine/test_registry.py", "tests/engine/test_handles.py", "tests/issues/test_api_annotations_were_evaluated.py",
         "tests/issues/test_api_guarded_functions_could_not_be_sent_by_value.py"]


def prepare() -> None:
    """Get what is not there yet."""
    if not (BUILD / "node_modules" / "pyodide").is_dir():
        BUILD.mkdir(parents=True, exist_ok=True)
        (BUILD / "package.json").write_text('{"private": true}\n')
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", PYODIDE], cwd=BUILD, check=True)
    site = BUILD / "site"
    if not site.is_dir():
        wheels = BUILD / "wheels"
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", wheels,
                        "--platform", "any", "--implementation", "py", "--abi", "none", "--python-version", "3.14", *WHEELS],
                       check=True)
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(BUILD / "unpacked")
        (BUILD / "unpacked").rename(site)


def main() -> int:
    """Run them; the exit code is pytest's, or 2 if there is no node."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        print("node and npm are needed", file=sys.stderr)
        return 2
    prepare()
    script = pathlib.Path(__file__).with_name("run.mjs")
    return subprocess.run(["node", script, BUILD, ROOT, *(sys.argv[1:] or TESTS)]).returncode


if __name__ == "__main__":
    sys.exit(main())
