"""``resilience gateway FILE --print-config`` refused a file with filters in the folder where it is started.

``resilience check`` and the start look there, for a module of one's own lies beside the file as a rule.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from resilience import cli

_FILE = """
[filters.m]
use = "beside_the_file:mine"
[services.a]
endpoints = ["http://127.0.0.1:1"]
[[routes]]
path = "/*"
service = "a"
filters = ["m"]
"""
_MODULE = """
from resilience.gateway import inbound_filter

@inbound_filter(name="mine")
def mine(context):
    pass
"""


@pytest.mark.parametrize("arguments", [("check", "gateway.toml"), ("gateway", "gateway.toml", "--print-config")])
def test_filters_are_found_in_the_folder_where_a_command_is_started(
        arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gateway.toml").write_text(_FILE)
    (tmp_path / "beside_the_file.py").write_text(_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    monkeypatch.delitem(sys.modules, "beside_the_file", raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert (0, "") == (ended.value.code, capsys.readouterr().err)
    sys.modules.pop("beside_the_file", None)
