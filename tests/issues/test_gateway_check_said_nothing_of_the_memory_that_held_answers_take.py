"""``hold`` times ``max_concurrent`` is what a service's answers may take of memory, and ``resilience check`` called any of it fine."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from resilience.cli import main

_ROUTE = '[[routes]]\npath = "/*"\nservice = "s"\n'


@pytest.mark.parametrize(("settings", "told"), [
    ('hold = 1000000\nendpoints = ["http://127.0.0.1:1"]', "95 MiB"),
    ('hold = 1000000\nendpoints = ["http://127.0.0.1:1", "http://127.0.0.1:2"]', "191 MiB"),
    ('hold = 1000000\nendpoints = ["http://127.0.0.1:1", "http://127.0.0.1:2"]\ncommand = { per = "service" }', "95 MiB"),
    ('hold = 1000000\nendpoints = ["http://127.0.0.1:1"]\ncommand = { max_concurrent = 1000 }', "954 MiB"),
    ('hold = 1000000\nendpoints = ["http://127.0.0.1:1"]\ncommand = { max_concurrent = false }', "any amount"),
    ('hold = 600000\nendpoints = ["http://127.0.0.1:1"]', None),
    ('endpoints = ["http://127.0.0.1:1"]\ncommand = { max_concurrent = false }', None),
])
def test_check_says_how_much_may_be_held(settings: str, told: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f"[services.s]\n{settings}\n{_ROUTE}")
    with caplog.at_level(logging.WARNING, "resilience"), pytest.raises(SystemExit, match="0"):
        main(["check", str(file)])
    said = [each for each in caplog.messages if "services.s.hold" in each]
    assert [True] * len(said) == [told is not None and told in each for each in said]
    assert len(said) == (told is not None)
