"""A base path with dot segments was a mistake, and with the same ones encoded it was fine: a service decodes them.

So was a broken percent-encoding, with which every request to the endpoint got 400 from most servers.
"""

from __future__ import annotations

import pytest

from resilience.discovery.instance import url_mistake


@pytest.mark.parametrize("path", ["/..", "/a/../b", "/%2e%2e/x", "/.%2E", "/a/%2e/b", "/a%2f..%2fb"])
def test_dot_segments_are_a_mistake_in_every_spelling(path: str) -> None:
    assert "dot segments" in str(url_mistake(f"http://host{path}"))


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/a..b/%2ea", "/caf%C3%A9", "/..."])
def test_other_base_paths_are_fine(path: str) -> None:
    assert url_mistake(f"http://host{path}") is None


@pytest.mark.parametrize("path", ["/50%", "/%zz", "/a%2", "/a%/b"])
def test_a_broken_percent_encoding_is_a_mistake(path: str) -> None:
    assert "two hexadecimal digits follow each %" in str(url_mistake(f"http://host{path}"))
