"""A filter, such as one that authenticates, was "fine" to ``resilience check`` although no route had it."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience.gateway.config import load

SERVICE = '[services.up]\nendpoints = ["http://127.0.0.1:9"]\n'
ROUTE = '[[routes]]\npath = "/*"\nservice = "up"\n'
FILTER = '[filters.inside]\nuse = "access"\nroles = ["staff"]\n'
PRIVATE = '[private]\nbind = "127.0.0.1:18081"\n[[private.routes]]\npath = "/*"\nservice = "up"\nfilters = ["inside"]\n'


def warnings_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    (file := tmp_path / "gateway.toml").write_text(text)
    load(file)
    return [record.message.removeprefix(f"{file}:") for record in caplog.records]


def test_one_that_no_route_has_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ["1: filters.inside: no route has this filter, so that it does nothing"] == warnings_of(
        tmp_path, caplog, FILTER + SERVICE + ROUTE)


def test_so_is_one_that_each_route_skips(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    everywhere = '[gateway]\nfilters = ["inside"]\n'
    skipping = f'{ROUTE}skip_filters = ["inside"]\n'
    assert 1 == len(warnings_of(tmp_path, caplog, everywhere + FILTER + SERVICE + skipping))


@pytest.mark.parametrize("text", [
    f'{FILTER}{SERVICE}{ROUTE}filters = ["inside"]\n',
    f'[gateway]\nfilters = ["inside"]\n{FILTER}{SERVICE}{ROUTE}',
    FILTER + SERVICE + ROUTE + PRIVATE,
    f"{FILTER}enabled = false\n{SERVICE}{ROUTE}"])
def test_one_that_a_route_has_is_not_nor_one_that_is_switched_off(
        tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    assert not warnings_of(tmp_path, caplog, text)
