"""A number of thousands of digits in a file was refused by what int() says: "use sys.set_int_max_str_digits() to increase the limit"."""

from __future__ import annotations

import pytest

from resilience.config import ConfigFileError, Document


@pytest.mark.parametrize("number", ["1" * 6000, "1_" * 5000 + "1"])
def test_the_message_says_what_is_wrong_and_where(number: str) -> None:
    with pytest.raises(ConfigFileError) as caught:
        Document.parse(f"[services.up]\nx = 1\ny = {number}\n".encode(), "gateway.toml")

    assert "gateway.toml:3: has a number of too many digits" == str(caught.value)
