"""A secret was shown by messages about the value of a header, and by what is printed of a query with it.

A file that ends in the end of a line makes a header's value wrong, as a filter may read it: the message had the whole
value, and the log the message. ``--print-config`` and the admin API hide what stands before the host of a URL; they
showed ``?api_key=``.
"""

from __future__ import annotations

from typing import Any

import pytest

from resilience.config import Document
from resilience.errors import ConfigError
from resilience.gateway.config.effective import shown
from resilience.gateway.config.file import read
from resilience.gateway.filters.fields import Fields, header
from resilience.gateway.format.body_filter import BodyChanges
from resilience.gateway.format.header_filter import HeaderChanges

_SECRET = "Kx5bS0m7mJ2oVw3uW1cQ"


@pytest.mark.parametrize(("value", "told"), [
    (f"Bearer {_SECRET}\n", r"has '\\n'"), (f"{_SECRET}\0", r"has '\\x00'"), (f"{_SECRET}€", "has '€'"),
    (_SECRET.encode(), "not bytes"), ([_SECRET], "not list")])
def test_the_message_about_a_headers_value_does_not_show_it(value: Any, told: str) -> None:
    fields = Fields([])
    for make in (lambda: header("Authorization", value), lambda: fields.add("Authorization", value),
                 lambda: fields.__setitem__("Authorization", value)):
        with pytest.raises(ValueError, match=told) as caught:
            make()
        assert _SECRET not in str(caught.value)
    assert not fields.lines


@pytest.mark.parametrize("make", [
    lambda: HeaderChanges(set={"Authorization": f"Bearer {_SECRET}\n"}),
    lambda: HeaderChanges(add={"X-Right": _SECRET, "X-Wrong": 1}),  # type: ignore[dict-item]
    lambda: BodyChanges(set={"/api_key": _SECRET, "wrong": 1})])
def test_a_mistake_in_the_settings_of_a_filter_does_not_show_the_others(make: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert _SECRET not in str(caught.value)


@pytest.mark.parametrize(("value", "said"), [
    (f"https://issuer.example/keys?a=b&api_key={_SECRET}&c=d", "https://issuer.example/keys?a=b&api_key=(hidden)&c=d"),
    (f"/health?access_token={_SECRET}", "/health?access_token=(hidden)"),
    (f"http://{_SECRET}@auth.example/?x=1", "http://(hidden)@auth.example/?x=1"),
    ("/items?token={?token}&page=2", "/items?token={?token}&page=2")])
def test_a_secret_in_a_query_is_not_printed(value: str, said: str) -> None:
    assert {"tables": [{"url": said}]} == shown({"tables": [{"url": value}]})


def test_a_secret_in_a_query_is_not_shown_by_a_mistake() -> None:
    data = {"services": {"a": {"endpoints": [f"https://api.example/v1?api_key={_SECRET}"]}},
            "routes": [{"path": "/*", "service": "a"}]}
    with pytest.raises(ConfigError, match=r"not 'https://api.example/v1\?api_key=\(hidden\)'$") as caught:
        read(Document.of(data, "gateway.toml"))
    assert _SECRET not in str(caught.value)
