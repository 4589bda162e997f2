"""What says nothing is missing, in every field alike: null, an empty text, an empty mapping or element."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from resilience.discovery.registry.bodies import registration
from resilience.discovery.registry.instance import InvalidInstanceError
from resilience.discovery.registry.instance_reading import TEXTS, instance_of
from tests.discovery.registry.plain_registry import EPOCH_MS

LEAST: dict[str, Any] = {"instanceId": "a", "hostName": "h", "app": "shop", "ipAddr": "10.0.0.1", "dataCenterInfo": {"name": "MyOwn"}}
FIELDS = [(name,) for name in (
    "status", "overriddenStatus", "overriddenstatus", "port", "securePort", "leaseInfo", "lastDirtyTimestamp", "countryId", "metadata", *TEXTS)]
INNER = [("leaseInfo", "durationInSecs"), ("leaseInfo", "renewalIntervalInSecs"), ("port", "$"), ("port", "@enabled"), ("securePort", "$"),
         ("securePort", "@enabled"), ("dataCenterInfo", "@class"), ("dataCenterInfo", "class"), ("dataCenterInfo", "metadata")]


def read(said: dict[str, Any]) -> Any:
    return instance_of(said, "shop", EPOCH_MS, 86_400)


@pytest.mark.parametrize("path", [*FIELDS, *INNER], ids=".".join)
@pytest.mark.parametrize("nothing", [None, "", " ", {}], ids=repr)
def test_a_field_that_says_nothing_is_missing(path: tuple[str, ...], nothing: Any) -> None:
    said = copy.deepcopy(LEAST)
    *outer, name = path
    for each in outer:
        said = said | {each: dict(said.get(each, {}))}
    (said[outer[0]] if outer else said)[name] = nothing
    assert read(LEAST) == read(said)


@pytest.mark.parametrize("name", ["instanceId", "hostName", "app", "ipAddr", "dataCenterInfo"])
@pytest.mark.parametrize("nothing", [None, "", {}], ids=repr)
def test_a_field_that_must_be_there_is_called_missing_if_it_says_nothing(name: str, nothing: Any) -> None:
    said = LEAST | {name: nothing}
    if name == "instanceId":  # then the host stands for it
        assert "h" == read(said).id
        return
    with pytest.raises(InvalidInstanceError, match="Missing"):
        read(said)


def test_an_empty_element_is_missing_in_xml() -> None:
    least = "".join(f"<{name}>{text}</{name}>" for name, text in LEAST.items() if isinstance(text, str))
    empty = "".join(f"<{name}/><{name}> \n </{name}>" for (name,) in FIELDS)
    inner = '<leaseInfo><durationInSecs/><renewalIntervalInSecs> </renewalIntervalInSecs></leaseInfo><port enabled=""> </port><securePort enabled="false"/>'
    body = f"<instance>{least}<dataCenterInfo><name>MyOwn</name></dataCenterInfo>{empty}{inner}</instance>"
    assert read(LEAST) == read(dict(registration(body.encode(), "application/xml")))


@pytest.mark.parametrize(("name", "wrong"), [("port", {"$": "x"}), ("port", {"$": True}), ("leaseInfo", {"durationInSecs": "x"}),
                                             ("leaseInfo", {"durationInSecs": 1.5}), ("countryId", "x"), ("status", "x")])
def test_what_is_there_and_cannot_be_meant_is_refused_as_ever(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidInstanceError):
        read(LEAST | {name: wrong})
