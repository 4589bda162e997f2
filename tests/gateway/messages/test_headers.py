"""Headers on their way through; incident classes 3 and 4 of the field's proxies."""

from __future__ import annotations

import random

import pytest

from resilience.gateway.messages.headers import HOP_BY_HOP, Origin, set_apart, to_client, to_upstream

Pairs = list[tuple[str, str]]


def raw(headers: Pairs) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


def forwarded(headers: Pairs, *, trusted: bool = False) -> Pairs:
    origin = Origin(client=b"192.0.2.7", scheme=b"http", host=b"shop", port=b"8080", version=b"1.1", trusted=trusted)
    result = to_upstream(set_apart(raw([("host", "shop"), *headers])), origin, b"gw")
    return [(name.decode(), value.decode()) for name, value in result]


OURS = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "shop"),
        ("x-forwarded-port", "8080"), ("via", "1.1 gw")]


def test_end_to_end_headers_pass_in_order_with_their_duplicates() -> None:
    headers = [("accept", "a"), ("cookie", "x=1"), ("x-a", "1"), ("accept", "b"), ("x-a", "2")]
    assert forwarded(headers) == headers + OURS


@pytest.mark.parametrize("name", sorted(name.decode() for name in HOP_BY_HOP))
def test_hop_by_hop_headers_stay_behind(name: str) -> None:
    assert forwarded([(name, "x"), ("accept", "a")]) == [("accept", "a"), *OURS]


def test_what_connection_names_stays_behind() -> None:
    assert forwarded([("connection", "close, X-Private"), ("x-private", "1"), ("connection", "x-b"), ("x-b", "2"),
                      ("x-c", "3")]) == [("x-c", "3"), *OURS]


@pytest.mark.parametrize("trusted", [False, True])
def test_connection_cannot_name_away_what_the_gateway_adds(trusted: bool) -> None:
    """Connection-nominated removal must not delete gateway-added headers (incident class 3)."""
    names = ", ".join(name for name, _ in OURS)
    assert dict(forwarded([("connection", f"{names}, host, content-length")], trusted=trusted)) == dict(OURS)


@pytest.mark.parametrize("name", [
    "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-user", "forwarded",
    "x-real-ip", "x-original-url", "x-rewrite-url", "true-client-ip",
    "x-forwarded", "forwarded-for", "client-ip", "remote-user", "x-remote-user", "x-original-uri", "x-original-forwarded-for",
    "x.forwarded.for", "x_forwarded.proto", "remote_user", "x~real~ip", "x!original^url", "transfer.encoding",
    "client-cert", "client-cert-chain", "x-ssl-client-dn", "x_ssl_client_verify", "x-client-cert", "front-end-https",
    "x_forwarded_for", "x-forwarded_for", "x_real_ip", "x_original_url", "content_length", "transfer_encoding", "host_",
])
def test_ghsa_5m6w_and_6384_a_stranger_cannot_say_where_it_comes_from(name: str) -> None:
    """Also CVE-2022-24112 (X-Real-IP), and aliases by underscore."""
    expected = [("host_", "10.0.0.1"), *OURS] if name == "host_" else OURS
    assert forwarded([(name, "10.0.0.1")]) == expected


def test_what_a_trusted_proxy_says_is_kept_and_extended() -> None:
    assert forwarded([("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "10.0.0.2"),
                      ("x-forwarded-proto", "https"), ("x-real-ip", "198.51.100.1")], trusted=True) == [
        ("x-forwarded-proto", "https"), ("x-real-ip", "198.51.100.1"),
        ("x-forwarded-for", "198.51.100.1, 10.0.0.2, 192.0.2.7"),
        ("x-forwarded-host", "shop"), ("x-forwarded-port", "8080"), ("via", "1.1 gw")]


def test_aliases_by_underscore_are_dropped_from_trusted_proxies_too() -> None:
    assert dict(forwarded([("x_forwarded_for", "1.1.1.1")], trusted=True)) == dict(OURS)


@pytest.mark.parametrize("trusted", [False, True])
def test_via_is_appended_to(trusted: bool) -> None:
    assert dict(forwarded([("via", "1.0 a"), ("via", "1.1 b")], trusted=trusted))["via"] == "1.0 a, 1.1 b, 1.1 gw"


def test_cve_2026_26308_and_31838_all_values_of_a_header_pass_not_just_the_first() -> None:
    headers = [("x-role", "guest"), ("x-role", "admin")]
    assert forwarded(headers)[:2] == headers


def test_an_answer_keeps_duplicates_and_loses_what_is_hop_by_hop() -> None:
    answer = raw([("set-cookie", "a"), ("connection", "x-hop, keep-alive"), ("set-cookie", "b"), ("x-hop", "1"),
                  ("transfer-encoding", "chunked"), ("content-length", "5"), ("trailer", "x"), ("server", "s")])
    assert to_client(answer, b"1.1 gw") == raw(
        [("set-cookie", "a"), ("set-cookie", "b"), ("content-length", "5"), ("trailer", "x"), ("server", "s"), ("via", "1.1 gw")])


def test_random_headers_agree_with_a_plain_filter() -> None:
    rng = random.Random(3)
    names = ["accept", "x-a", "x-b", "te", "connection", "upgrade", "x-forwarded-for", "via", "x_real_ip", "forwarded"]
    for _ in range(500):
        headers = [(name, rng.choice(["x-a", "x-b, close", "v"])) for name in rng.choices(names, k=rng.randrange(7))]
        named = {part.strip() for name, value in headers if name == "connection" for part in value.split(",")}
        passing = [(name, value) for name, value in headers if name in ("accept", "x-a", "x-b") and name not in named]
        assert forwarded(headers)[: len(passing)] == passing
        assert [name for name, _ in forwarded(headers)[len(passing) :]] == [name for name, _ in OURS]
