"""The ``timeout`` of ``forward_auth``, and the ``fetch_timeout`` of ``jwt``, may be up to a minute; the time limit of every
filter of these kinds was five or six seconds all the same, and ended it without a word about the setting.
"""

from __future__ import annotations

from typing import Any

import pytest

from resilience.gateway.filters.declare import declaration_of

from .gateway_parts import configured

TOKENS = {"use": "jwt", "issuer": False, "audience": False, "jwks": "https://127.0.0.1:9/keys"}
ASKED = {"use": "forward_auth", "url": "http://127.0.0.1:9/"}


def time_limit_of(table: dict[str, Any]) -> float:
    config = configured({"endpoints": ["http://127.0.0.1:9"]}, filters={"who": table}, gateway={"filters": ["who"]})
    return config.filters["who"].time_limit


@pytest.mark.parametrize(("table", "limit"), [
    (ASKED, 5.0), ({**ASKED, "timeout": 30.0}, 61.0), ({**ASKED, "timeout": 30.0, "time_limit": 3.0}, 3.0),
    (TOKENS, 6.0), ({**TOKENS, "fetch_timeout": 30.0}, 31.0), ({**TOKENS, "fetch_timeout": 0.5}, 6.0)])
def test_the_time_limit_is_as_long_as_the_settings_need_unless_the_file_says_one(
        table: dict[str, Any], limit: float) -> None:
    assert limit == time_limit_of(table)


def test_what_one_filter_needs_is_no_others_time_limit() -> None:
    time_limit_of({**ASKED, "timeout": 30.0})
    assert 5.0 == time_limit_of(ASKED)
    from resilience.gateway.filters.forward_auth import ForwardAuth

    declared = declaration_of(ForwardAuth)
    assert declared is not None
    assert 5.0 == declared.time_limit
