"""A timeout in the table of a service, and not in that of its command, was asked to be idle_timeout, which is something else.

Of a breaker there the message said that its key has dots; of max_body in the table of the command that there is no such thing.
"""

from __future__ import annotations

import attrs
import pytest

from resilience.config import ConfigFileError, Document
from resilience.gateway.config import ServiceConfig, read
from resilience.gateway.services import service_command

FILE = """
[services.shop]
endpoints = ["http://127.0.0.1:1"]
{0}

[services.shop.command]
{1}

[[routes]]
path = "/*"
service = "shop"
"""
OF_COMMAND = sorted(service_command.accepted())
OF_SERVICE = sorted({field.name for field in attrs.fields(ServiceConfig) if field.init} - service_command.REFUSED.keys())


def mistakes(of_service: str = "", of_command: str = "") -> list[str]:
    with pytest.raises(ConfigFileError) as caught:
        read(Document(FILE.format(of_service, of_command), "f.toml"))
    return [str(each) for each in caught.value.mistakes]


@pytest.mark.parametrize("name", OF_COMMAND)
@pytest.mark.parametrize("value", ["3", "{ min_calls = 3 }"])
def test_a_setting_of_the_command_is_sent_to_its_table(name: str, value: str) -> None:
    assert [f"f.toml:4: services.shop.{name}: is a setting of the command; write it into the table command"] == \
        mistakes(f"{name} = {value}")


@pytest.mark.parametrize("name", OF_SERVICE)
def test_a_setting_of_the_service_is_sent_to_its_table(name: str) -> None:
    assert [f"f.toml:7: services.shop.command.{name}: is a setting of the service itself; write it into the service's own table"] == \
        mistakes(of_command=f"{name} = 3")


def test_what_is_known_nowhere_and_a_key_that_wants_quotes_are_told_as_ever() -> None:
    assert ["f.toml:4: services.shop.balancr: unknown setting; did you mean balancer?"] == mistakes("balancr = 'first'")
    assert ["f.toml:5: services.shop.breaker: unknown setting; quote a key with dots: [services.\"shop.breaker\"]"] == \
        mistakes('\n[services.shop.breaker]\nendpoints = ["http://127.0.0.1:1"]')
