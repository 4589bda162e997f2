"""The access log and the statistics had the status of an answer that nobody got, for it could not be written: 500 was sent.

A rate limit whose ``unit`` has the end of a line did that to each request of its routes; the check of its file let it
pass. A filter that gives an answer a status that there is none of does, too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resilience import Registry
from resilience.errors import ConfigError
from resilience.gateway import Gateway, inbound_filter, outbound_filter
from resilience.gateway.filters.rate_limit import RateLimitFilter
from tests.gateway.front.serving import serving
from tests.issues.gateway_parts import configured


@inbound_filter(name="says")
def says(context: Any) -> None:
    context.answer(200, "fine")


@outbound_filter(name="spoils")
def spoils(context: Any) -> None:
    context.response.status = 1000


async def test_what_was_not_sent_is_a_failure_of_the_gateway(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    config = configured({"endpoints": ["http://127.0.0.1:9"]}, access_log={"to": f"{path}"})
    gateway = Gateway(config, registry=Registry(), filters=[says, spoils])
    async with serving(gateway.serve, gateway.refused) as front:
        assert b"HTTP/1.1 500 " in await front.ask(b"GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
    gateway.close()
    (line,) = [json.loads(each) for each in path.read_text().splitlines()]
    assert (500, "gateway_failed", 0) == (line["status"], line["refused"], line["bytes_out"])


@pytest.mark.parametrize("unit", ["", "a\n", "a\0", "é", 1])
def test_a_unit_that_no_field_can_have_is_a_mistake(unit: Any) -> None:
    with pytest.raises(ConfigError, match="must be printable characters of ASCII"):
        RateLimitFilter(rate=1, unit=unit)


def test_units_are_words() -> None:
    for unit in ("tokens", 'a "unit"', "content-bytes"):
        RateLimitFilter(rate=1, unit=unit)
