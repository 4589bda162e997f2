"""What `pip install` copies was a list that five folders of the gateway were not in: only an editable install had them."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from resilience import cli
from resilience.cli import check

ROOT = Path(__file__).parents[2]


def test_an_install_has_every_package_of_the_tree() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    folders = {name: line.partition("=")[2].strip() for line in setup["options"]["package_dir"].split("\n")
               if (name := line.partition("=")[0].strip())}
    listed = {folders.get(name, name.replace(".", "/")) for name in setup["options"]["packages"].split()}
    there = {path.parent.relative_to(ROOT).as_posix()
             for room in ("resilience", "dashboard") for path in (ROOT / room).rglob("__init__.py")}
    assert listed == there


@pytest.mark.parametrize(("name", "told"), [
    ("resilience.gateway.messages", r"resilience\.gateway\.messages is missing: .* install it again"),
    ("h2", r"h2 is not installed; this command needs the gateway extra")])
def test_a_module_of_our_own_that_is_missing_is_not_laid_to_the_extra(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, told: str) -> None:
    def lacks(_: object) -> int:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(check, "run", lacks)
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", "gateway.toml"])
    assert ended.value.code == 2
    assert re.search(told, capsys.readouterr().err)
