"""Headers of the PROXY protocol: read strictly, and not a byte more than the header."""

from __future__ import annotations

import random

import pytest

from resilience.gateway.front.proxy_protocol import MAX_BYTES, Proxied, ProxyProtocolError, header_length, proxied
from tests.seeds import over_seeds

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + (4711).to_bytes(2, "big") + (443).to_bytes(2, "big")
TLV = b"\x04\0\x02xy"


def v2(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", Proxied(("192.0.2.7", 4711), ("198.51.100.1", 443))),
    (b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", Proxied(("2001:db8::1", 1), ("::1", 65535))),
    (b"PROXY UNKNOWN\r\n", None), (b"PROXY UNKNOWN what ever\r\n", None),
    (v2(0x21, 0x11, V4), Proxied(("192.0.2.7", 4711), ("198.51.100.1", 443))),
    (v2(0x21, 0x11, V4 + TLV), Proxied(("192.0.2.7", 4711), ("198.51.100.1", 443))),
    (v2(0x21, 0x21, bytes(15) + b"\1" + bytes(15) + b"\2" + b"\0\1\0\2"), Proxied(("::1", 1), ("::2", 2))),
    (v2(0x20, 0x00, b""), None), (v2(0x20, 0x11, V4), None), (v2(0x21, 0x00, b""), None), (v2(0x21, 0x31, bytes(216)), None),
]


@over_seeds(10)
def test_a_header_is_read_to_its_end_and_no_further_however_it_is_cut(seed: int) -> None:
    random_ = random.Random(seed)
    for header, expected in GOOD:
        stream = header + b"GET / HTTP/1.1\r\n\r\n"
        seen = 0
        while True:
            seen = min(len(stream), seen + random_.randint(1, 20))
            length = header_length(stream[:seen])
            if length is not None and length <= seen:
                break
            assert seen <= len(header), "bytes of the request were taken for the header's"
        assert (len(header), expected) == (length, proxied(header))


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\n", b"PROXX", b"\r\n\r\n\0\r\nQUIT\r", b"PROXY TCP4 " + b"x" * 100, b"proxy TCP4",
    v2(0x21, 0x11, bytes(MAX_BYTES))])
def test_what_is_no_header_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        header_length(data)


@pytest.mark.parametrize("header", [
    b"PROXY \r\n", b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n", b"PROXY TCP4 ::1 ::1 1 2\r\n", b"PROXY TCP4 192.0.2.256 1.1.1.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 1.1.1.1 01 2\r\n", b"PROXY TCP4 192.0.2.7 1.1.1.1 65536 2\r\n", b"PROXY TCP4 192.0.2.7 1.1.1.1 +1 2\r\n",
    b"PROXY TCP4  192.0.2.7 1.1.1.1 1 2\r\n", b"PROXY TCP4 192.0.2.7 1.1.1.1 1 2 3\r\n", b"PROXY UDP4 192.0.2.7 1.1.1.1 1 2\r\n",
    b"PROXY TCP4 \xff 1.1.1.1 1 2\r\n", v2(0x31, 0x11, V4), v2(0x22, 0x11, V4), v2(0x21, 0x13, V4), v2(0x21, 0x11, V4[:-1])])
def test_a_malformed_header_is_refused(header: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        proxied(header)
