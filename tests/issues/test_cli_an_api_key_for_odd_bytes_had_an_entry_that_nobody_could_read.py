"""``resilience api-key ID --consumer $'\\xff'`` printed an entry with a byte that is no UTF-8, so the keys file could not be read."""

from __future__ import annotations

import tomllib

import pytest

from resilience import cli


@pytest.mark.parametrize("option", ["--consumer", "--scope", "--role", "--tenant"])
@pytest.mark.parametrize("odd", ["\udcff", "a\nb", "a\x00b"])
def test_such_an_argument_is_a_mistake(option: str, odd: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["api-key", "billing", option, odd])

    out, err = capsys.readouterr()
    assert (2, "") == (ended.value.code, out)
    assert "must be printable text" in err
    err.encode()


def test_any_other_text_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["api-key", "billing", "--consumer", 'é "ü" \\', "--scope", "shop:read"])

    assert 0 == ended.value.code
    assert 'é "ü" \\' == tomllib.loads(capsys.readouterr().out)["keys"][0]["consumer"]
