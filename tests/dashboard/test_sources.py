"""What may be named as a stream, and what a refusal says."""

from __future__ import annotations

import pytest
from resilience_dashboard import StreamSource, app


def test_a_path_is_left_to_the_browser() -> None:
    source = StreamSource.parse("/resilience.stream?x=1")
    assert (source.relayed, source.label) == (False, "/resilience.stream?x=1")


@pytest.mark.parametrize(
    ("address", "host", "port", "target", "authority", "tls"),
    [
        ("http://127.0.0.1:8090/hystrix.stream", "127.0.0.1", 8090, "/hystrix.stream", "127.0.0.1:8090", False),
        ("https://m.example/t.stream?cluster=a", "m.example", 443, "/t.stream?cluster=a", "m.example", True),
        ("http://[::1]:81", "::1", 81, "/", "[::1]:81", False),
        ("HTTP://Host/a#frag", "host", 80, "/a", "Host", False),
    ],
)
def test_a_url_is_taken_apart(address: str, host: str, port: int, target: str, authority: str, tls: bool) -> None:
    source = StreamSource.parse(address)
    assert source.relayed
    found = (source.host, source.port, source.target, source.authority, source.tls)
    assert (host, port, target, authority, tls) == found


def test_credentials_become_a_header_and_are_shown_nowhere() -> None:
    source = StreamSource.parse("http://joe:p%40ss@h/x")
    assert source.authorization == "Basic am9lOnBAc3M="
    assert source.label == "http://h/x"
    assert "am9l" not in repr(source)
    assert "joe" not in repr(source)


@pytest.mark.parametrize(
    "address",
    [
        "", "resilience.stream", "localhost:8090/x", "//evil.example/x", "/\\evil.example", "ftp://h/x", "http://",
        "http:///x", "file:///etc/passwd", "http://h:0/", "http://h:99999/", "http://h:x/", "http://h/a b",
        "http://h/\r\nX: y", "/a\nb", "http://h/ü", "javascript:alert(1)", "http://[::1/", "/" + "a" * 3000,
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_a_sentence(address: str) -> None:
    with pytest.raises(ValueError, match="stream"):
        app([address])


def test_a_refusal_hides_the_password() -> None:
    with pytest.raises(ValueError, match="stream") as caught:
        app(["http://joe:s3cret@h:0/x"])
    assert "s3cret" not in str(caught.value)


def test_a_string_is_no_list_of_streams() -> None:
    with pytest.raises(TypeError, match="list"):
        app("/resilience.stream")


def test_no_stream_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        app([])


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", None, 1e9])
def test_times_must_be_sensible(value: object) -> None:
    with pytest.raises(ValueError, match="stale_after"):
        app(["/x"], stale_after=value)  # type: ignore[arg-type]
