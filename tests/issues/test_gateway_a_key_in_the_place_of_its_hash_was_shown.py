"""An API key in the place of its hash, of its ID, or of all keys was shown by the message about it, and so in the log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resilience.config import Document
from resilience.errors import ConfigError
from resilience.gateway.config.file import read
from resilience.gateway.filters.api_keys import ApiKey, keys_of

_KEY = "billing.Kx5bS0m7mJ2oVw3uW1cQ"
_FINE: dict[str, Any] = {"id": "billing", "sha256": "0" * 64, "consumer": "billing"}
_FILE = """
[filters.keys]
use = "api_keys"
keys = [{entry}]
[services.a]
endpoints = ["http://127.0.0.1:1"]
[[routes]]
path = "/*"
service = "a"
"""


@pytest.mark.parametrize("value", [_KEY, _KEY + "\n", "sha256:" + _KEY])
@pytest.mark.parametrize("name", ["id", "sha256"])
def test_no_message_shows_what_stands_there(name: str, value: str) -> None:
    entry: dict[str, Any] = {**_FINE, name: value}
    lines = [f"{key} = {json.dumps(said)}" for key, said in entry.items()]
    file = _FILE.format(entry="{" + ", ".join(lines) + "}")
    for made in (lambda: ApiKey(**entry), lambda: keys_of("\n".join(["[[keys]]", *lines]).encode(), "keys.toml"),
                 lambda: read(Document(file, "gateway.toml"))):
        with pytest.raises(ConfigError) as caught:
            made()
        assert _KEY not in str(caught.value)


def test_a_key_in_the_place_of_all_keys_is_not_shown() -> None:
    file = _FILE.replace("[{entry}]", json.dumps(_KEY))
    with pytest.raises(ConfigError, match="must be a list, not a string") as caught:
        read(Document(file, "gateway.toml"))
    assert _KEY not in str(caught.value)
