"""Secrets of random bytes were a mistake if they came from the environment: "'utf-8' codec can't encode character '\\udcff' in position 11".

From a file they were none. The message showed a piece of the secret, and spoke Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resilience.errors import ConfigError
from resilience.gateway.config.secrets import secret_of, with_secret

SECRET = bytes(range(1, 256))  # the environment holds no NUL


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(os.environ, "RANDOM_SECRET", os.fsdecode(SECRET))
    return "env:RANDOM_SECRET"


def test_a_secret_is_the_bytes_of_the_environment(place: str) -> None:
    assert SECRET == secret_of(place)


def test_what_must_be_text_says_so_without_a_piece_of_it(place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_secret(place)

    assert f"{place}: what stands there is no text in UTF-8" == str(caught.value)


@pytest.mark.process
def test_it_is_so_in_every_locale(tmp_path: Path) -> None:
    for settings in ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C.UTF-8"}):
        code = "from resilience.gateway.config.secrets import secret_of; print(secret_of('env:RANDOM_SECRET').hex())"
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **settings, "RANDOM_SECRET": os.fsdecode(SECRET)},
                              capture_output=True, text=True, check=True)
        assert SECRET.hex() == done.stdout.strip()
