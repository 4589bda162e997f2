"""Hosts and ports, as they are matched and forwarded."""

from __future__ import annotations

import pytest

from resilience.gateway.routing.authority import AuthorityError, absolute, authority, host_mistake


@pytest.mark.parametrize(("host", "name", "text"), [
    (b"h", b"h", b"h"), (b"h:80", b"h", b"h:80"), (b"H.Example:80", b"h.example", b"h.example:80"),
    (b"h.example.", b"h.example", b"h.example"), (b"h.example.:8443", b"h.example", b"h.example:8443"),
    (b"[::1]", b"[::1]", b"[::1]"), (b"[0:0::0:1]:80", b"[::1]", b"[::1]:80"), (b"[2001:DB8::1]", b"[2001:db8::1]", b"[2001:db8::1]"),
    (b"a-b.c_d", b"a-b.c_d", b"a-b.c_d"), (b"h:", b"h", b"h"), (b"127.0.0.1:1", b"127.0.0.1", b"127.0.0.1:1")])
def test_a_host_has_one_form(host: bytes, name: bytes, text: bytes) -> None:
    found = authority(host)
    assert (name, text) == (found.name, found.text)


@pytest.mark.parametrize("host", [
    b"", b"h h", b"h/x", b"u@h", b"h:80:80", b"h:x", b"a,b", b"h\\x", b"[::1", b"h:999999", b"h:70000", b".", b"..", b"h..",
    b"a..b", b".h", b"[:::1]", b"[::1].", b"%68", b"h\0", "\u0661".encode()])
def test_what_is_no_host_is_refused(host: bytes) -> None:
    with pytest.raises(AuthorityError):
        authority(host)


@pytest.mark.parametrize(("target", "found"), [
    (b"/x", None), (b"*", None), (b"h:80", None), (b"", None), (b"http://h/x", (b"h", b"/x")),
    (b"HTTPS://h:1/x//y", (b"h:1", b"/x//y")), (b"http://h", (b"h", b"")), (b"http://u@h/x", (b"u@h", b"/x"))])
def test_an_absolute_target_has_an_authority_and_a_path(target: bytes, found: tuple[bytes, bytes] | None) -> None:
    assert found == absolute(target, is_secured=True)


@pytest.mark.parametrize("target", [b"ftp://h/x", b"file:///etc/passwd", b"gopher://h"])
def test_other_schemes_than_those_of_http_are_refused(target: bytes) -> None:
    with pytest.raises(AuthorityError, match="neither http nor https"):
        absolute(target, is_secured=True)


def test_an_https_target_must_have_come_by_tls() -> None:
    assert (b"h", b"/x") == absolute(b"http://h/x", is_secured=False)
    with pytest.raises(AuthorityError, match="without TLS"):
        absolute(b"HTTPS://h/x", is_secured=False)


@pytest.mark.parametrize(("host", "fine"), [
    ("h", True), ("*.example.com", True), ("[::1]", True), ("10.0.0.1", True), ("H.Example.", True),
    ("h:80", False), ("h:", False), ("*", False), ("*.", False), ("a.*", False), ("*.*.h", False), ("*.0.0.1", False),
    ("*.[::1]", False), ("*h", False), ("h/x", False), ("", False), ("b\u00fccher.example", False), (7, False)])
def test_the_host_of_a_route_is_one_host_or_all_below_a_domain(host: object, fine: bool) -> None:
    assert fine is (host_mistake(host) is None)
