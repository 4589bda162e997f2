"""The framing guard; incident class 1 (request smuggling), as far as a server lets it through."""

from __future__ import annotations

import pytest

from resilience.gateway.messages.framing import framing_of
from resilience.gateway.messages.problem import Problem

H = ("host", "h")
TE, CL = "transfer-encoding", "content-length"


@pytest.mark.parametrize(("headers", "length"), [
    ([H], 0), ([H, (CL, "0")], 0), ([H, (CL, "17")], 17), ([H, (TE, "chunked")], None), ([H, (TE, "Chunked")], None),
    ([H, ("expect", "100-Continue"), (CL, "1")], 1)])
def test_a_plain_framing_is_understood(headers: list[tuple[str, str]], length: int | None) -> None:
    framing = framing_of([(name.encode(), value.encode()) for name, value in headers], "1.1")
    assert (framing.host, framing.length) == (b"h", length)


@pytest.mark.parametrize(("what", "headers", "version"), [
    ("no Host", [], "1.1"), ("empty Host", [("host", "")], "1.1"), ("two Hosts", [H, H], "1.1"),
    ("CL + TE", [H, (CL, "3"), (TE, "chunked")], "1.1"),
    ("TE twice", [H, (TE, "chunked"), (TE, "chunked")], "1.1"),
    ("TE chunked twice in one", [H, (TE, "chunked, chunked")], "1.1"),
    ("TE ,chunked", [H, (TE, ",chunked")], "1.1"), ("TE xchunked", [H, (TE, "xchunked")], "1.1"),
    ("TE with a tab", [H, (TE, "\tchunked")], "1.1"), ("TE gzip", [H, (TE, "gzip, chunked")], "1.1"),
    ("TE identity", [H, (TE, "identity")], "1.1"), ("TE empty", [H, (TE, "")], "1.1"),
    ("TE on HTTP/1.0", [H, (TE, "chunked")], "1.0"), ("TE on HTTP/1.0 as granian says it", [H, (TE, "chunked")], "1"),
    ("TE on HTTP/2", [H, (TE, "chunked")], "2"),
    ("two equal CL", [H, (CL, "5"), (CL, "5")], "1.1"), ("two CL", [H, (CL, "5"), (CL, "6")], "1.1"),
    ("CL list", [H, (CL, "5, 5")], "1.1"), ("CL empty", [H, (CL, "")], "1.1"), ("CL +", [H, (CL, "+5")], "1.1"),
    ("CL -", [H, (CL, "-5")], "1.1"), ("CL _", [H, (CL, "1_0")], "1.1"), ("CL 0x", [H, (CL, "0x5")], "1.1"),
    ("CL with a space", [H, (CL, "5 ")], "1.1"), ("CL that no integer holds", [H, (CL, "9" * 19)], "1.1"),
    ("CL of other digits", [H, (CL, "٣")], "1.1"),
])
def test_a_doubtful_framing_is_refused_and_the_connection_closed(
        what: str, headers: list[tuple[str, str]], version: str) -> None:
    with pytest.raises(Problem) as caught:
        framing_of([(name.encode(), value.encode()) for name, value in headers], version)
    assert (caught.value.status, caught.value.close) == (400, True), what


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2", ""])
def test_a_version_of_http_that_is_not_served_is_505(version: str) -> None:
    with pytest.raises(Problem) as caught:
        framing_of([(b"host", b"h")], version)
    assert (505, True) == (caught.value.status, caught.value.close)


@pytest.mark.parametrize("version", ["1", "1.0"])
def test_http_1_0_needs_no_host(version: str) -> None:
    assert [b"", b"", b"h"] == [framing_of(special, version).host for special in ([], [(b"host", b"")], [(b"host", b"h")])]


def test_an_expectation_that_nobody_can_meet_is_417() -> None:
    with pytest.raises(Problem) as caught:
        framing_of([(b"host", b"h"), (b"expect", b"tea")], "1.1")
    assert caught.value.status == 417
