"""JSON whose Content-Type names another character set was checked, changed and counted as UTF-8.

A service that heeds the parameter reads something else: in UTF-7, which is ASCII to look at, ``+AGE-`` is the letter a.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience.gateway.messages.content import check_charset
from resilience.gateway.messages.unreadable_body import UnreadableBodyError
from tests.gateway.harness import Upstream, shared_upstream

from .test_gateway_two_content_types_hid_a_body_from_what_reads_it import asked, post

BODY = b'{"+AGEAZABtAGkAbg-": true, "n": 1}'
OTHERS = ["utf-7", '"UTF-7"', "utf-16", "utf-16le", "ibm037", "hz-gb-2312", "shift_jis", "utf-8; charset=utf-7", "utf-8x", ""]
PLAIN = ["utf-8", "UTF8", '"utf-8"', "us-ascii", "ISO-8859-1", "windows-1252", "utf-8; profile=x"]

upstream = shared_upstream()


@pytest.mark.parametrize("path", ["/json_body", "/json_schema", "/openapi", "/model", "/cost"])
def test_json_in_another_character_set_is_refused(upstream: Upstream, tmp_path: Path, path: str) -> None:
    requests = [post(path, (f"application/json; charset={each}",), BODY) for each in OTHERS]
    requests.append(post(path, ("application/json;Charset = utf-7",), BODY))
    requests.append(post(path, ("application/json; charset*=utf-7''x",), BODY))
    assert asked(upstream, tmp_path, *requests) == [415] * len(requests)
    well = [post(path, (f"application/json; charset={each}",), BODY) for each in PLAIN]
    assert asked(upstream, tmp_path, *well) == [200] * len(well)


def test_what_is_no_json_may_be_in_any_character_set(upstream: Upstream, tmp_path: Path) -> None:
    text = ("text/plain; charset=utf-7",)
    assert asked(upstream, tmp_path, *(post(path, text, BODY) for path in ("/json_body", "/model", "/cost"))) == [200] * 3


def test_a_content_type_without_a_character_set_is_fine() -> None:
    for headers in ([], [(b"content-type", b"application/json")], [(b"accept", b"x; charset=utf-7")]):
        check_charset(headers)
    with pytest.raises(UnreadableBodyError, match="UTF-8"):
        check_charset([(b"content-type", b"application/json"), (b"content-type", b"application/json;charset=utf-7")])
