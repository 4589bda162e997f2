"""Headers on their way through, per RFC 9110 7.6. Pure.

Most headers of most requests are nobody's business here. One pass sets apart the
few *special* ones, by one dictionary look-up each; only these are looked at
again. What the gateway adds is added last, so that no Connection header can
name it away.

Trust: a peer that is not a trusted proxy can say nothing about where a request
came from. Its X-Forwarded-*, Forwarded and X-Real-IP headers are dropped, and so
is everything that a CGI-like upstream would fold into the same name (underscores
for hyphens). Those of a trusted proxy are kept and extended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from .exchange import Header
from .framing import BODILESS
from .problem import Problem

#: Never forwarded; RFC 9110 7.6.1, RFC 9113 8.2.2, and "Proxy", which CGI takes for HTTP_PROXY. Not so Trailer, which
#: tells of what trailers there were, even to those whom these do not reach (RFC 9110, 6.6.2).
HOP_BY_HOP: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"te", b"upgrade", b"http2-settings",
    b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info", b"expect", b"proxy",
})
#: Written anew from what the gateway itself knows.
_FRAMING: Final = frozenset({b"host", b"content-length"})
#: What proxies that end TLS tell of the client's certificate: RFC 9440, nginx, HAProxy and Traefik.
OF_CERTIFICATES: Final = frozenset({
    b"client-cert", b"client-cert-chain", b"x-client-cert", b"x-client-verify", b"x-client-dn", b"ssl-client-cert",
    b"ssl-client-verify", b"ssl-client-subject-dn", b"ssl-client-issuer-dn", b"x-ssl-client-cert",
    b"x-ssl-client-verify", b"x-ssl-client-dn", b"x-ssl-client-s-dn", b"x-ssl-client-i-dn", b"x-ssl-client-cn",
    b"x-ssl-client-serial", b"x-ssl-client-sha1", b"x-ssl-cert", b"x-ssl-issuer", b"x-amzn-mtls-clientcert",
})
#: Claims about where a request came from, or about its target; only a trusted proxy may make them.
CLAIMS: Final = OF_CERTIFICATES | frozenset({
    b"forwarded", b"forwarded-for", b"x-forwarded", b"x-real-ip", b"x-client-ip", b"client-ip", b"x-remote-ip",
    b"x-remote-addr", b"x-originating-ip", b"x-cluster-client-ip", b"true-client-ip", b"cf-connecting-ip",
    b"fastly-client-ip", b"x-original-forwarded-for", b"x-envoy-external-address", b"x-original-url", b"x-original-uri",
    b"x-original-method", b"x-rewrite-url", b"x-original-host", b"x-host", b"remote-user", b"x-remote-user",
    b"front-end-https",
})
_CLAIM_PREFIX: Final = b"x-forwarded-"
_FORWARDED_FOR: Final = b"x-forwarded-for"
_SPECIAL: Final = HOP_BY_HOP | _FRAMING | CLAIMS | {b"via"}
#: What nearly every Connection header says.
_NAMES_NOTHING: Final = (b"keep-alive", b"close", b"Keep-Alive", b"Close")
#: What a Connection header cannot name away: framing is ours, and Via is everybody's.
_NOT_NOMINABLE: Final = _FRAMING | {b"via"}
#: What most names consist of, and what any may (RFC 9110, 5.6.2), in lower case as servers must give them.
_USUAL: Final = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_TOKEN: Final = _USUAL + b"!#$%&'*+.^_`|~"
#: What CGI-like upstreams make of a name: they cannot tell a hyphen from an underscore, and some from no mark at all.
_FOLDED: Final = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)


@attrs.define
class Sorted:
    """Request headers set apart: *plain* ones pass as they are."""

    plain: list[Header]
    special: list[Header]


def set_apart(headers: Sequence[Header]) -> Sorted:
    """Sort request *headers*, names in lower case. Aliases of special names, with other marks for hyphens, are dropped.

    Raises:
        Problem: 400, closing: a name is none, and the server has let it pass.
    """
    plain: list[Header] = []
    special: list[Header] = []
    names = b"".join([header[0] for header in headers])
    odd, claims = names.translate(None, _USUAL), names.find(_CLAIM_PREFIX) >= 0
    if odd and odd.translate(None, _TOKEN):
        raise Problem(400, "the request has a header whose name is none", close=True)
    for header in headers:
        name = header[0]
        if name in _SPECIAL or (claims and name.startswith(_CLAIM_PREFIX)):
            special.append(header)
        elif not odd or not _is_special(name.translate(_FOLDED)):
            plain.append(header)
        if not name:
            raise Problem(400, "the request has a header without a name", close=True)
    return Sorted(plain, special)


def size_of(headers: Iterable[Header]) -> int:
    """Bytes of *headers*, as HTTP/1.1 would have them."""
    return sum(len(name) + len(value) + 4 for name, value in headers)


def folded(name: bytes) -> bytes:
    """A header's *name* as the most eager of upstreams reads it: every mark is the same."""
    return name.translate(_FOLDED)


def values_of(headers: Iterable[Header], name: bytes) -> list[bytes]:
    """The values of a header, *name* in lower case, in every spelling that an upstream may take for it."""
    size, wanted = len(name), folded(name)
    return [value for each, value in headers if len(each) == size and (each == name or folded(each) == wanted)]


def without(headers: Sequence[Header], names: frozenset[bytes]) -> list[Header]:
    """The *headers* but for those of these *names*, which are folded, and their aliases."""
    return [header for header in headers if header[0].translate(_FOLDED) not in names]


def _is_special(name: bytes) -> bool:
    return name in _SPECIAL or name.startswith(_CLAIM_PREFIX)


def _claims_of(origin: Origin) -> tuple[Header, ...]:
    host = ((b"x-forwarded-host", origin.host),) if origin.host else ()
    return ((_FORWARDED_FOR, origin.client), (b"x-forwarded-proto", origin.scheme), *host,
            (b"x-forwarded-port", origin.port))


@attrs.frozen(kw_only=True)
class Origin:
    """Where a request came from, as the server saw it. To be kept for the next request from there.

    Attributes:
        client: Address of the peer.
        scheme: b"http" or b"https".
        host: The host that it is for, and perhaps the port; empty: it named none.
        port: Of the gateway's own socket.
        version: Of HTTP, for Via: b"1.1".
        trusted: Whether the peer is a trusted proxy.
        stated: The headers that say it.
    """

    client: bytes
    scheme: bytes
    host: bytes
    port: bytes
    version: bytes
    trusted: bool
    stated: tuple[Header, ...] = attrs.field(
        init=False, default=attrs.Factory(_claims_of, takes_self=True))


def to_upstream(headers: Sorted, origin: Origin, via: bytes) -> list[Header]:
    """The headers to send upstream, without Host and framing, which the client of the upstream writes.

    Args:
        headers: Those of the request.
        origin: Where it came from.
        via: The gateway's name in Via.
    """
    result, special = headers.plain, headers.special
    if len(special) != 1 or special[0][0] != b"host":
        named = _nominated(special)
        if named:
            result = [header for header in result if header[0] not in named]
        if origin.trusted:
            return result + _extended(special, named, origin, via)
        stated = [value for name, value in special if name == b"via"]
        via_line = _joined(stated, origin.version + b" " + via)
    else:
        via_line = origin.version + b" " + via
    return [*result, *origin.stated, (b"via", via_line)]


def _extended(special: Sequence[Header], named: frozenset[bytes], origin: Origin, via: bytes) -> list[Header]:
    """The special headers of a trusted proxy, completed."""
    kept = [header for header in special
            if header[0] not in HOP_BY_HOP and header[0] not in _FRAMING and header[0] not in named
            and header[0] not in (_FORWARDED_FOR, b"via")]
    has = {name for name, _ in kept}
    stated = [value for name, value in special if name == _FORWARDED_FOR and name not in named]
    kept.append((_FORWARDED_FOR, _joined(stated, origin.client)))
    kept.extend(header for header in origin.stated[1:] if header[0] not in has)
    kept.append((b"via", _joined([value for name, value in special if name == b"via"], origin.version + b" " + via)))
    return kept


def to_client(headers: Sequence[Header], via: bytes, status: int = 200) -> list[Header]:
    """The headers to send back, from those of an upstream's answer, names in lower case.

    Args:
        headers: Of the answer.
        via: The whole element to add to Via: version and name.
        status: Of the answer. One with status 204 or 304 has no body, and loses its length: the former must not have
            one (RFC 9110, 8.6), and servers wait in vain for what the latter may announce. 426 must say what to
            upgrade to (15.5.22).
    """
    result: list[Header] = []
    nominating = False
    for header in headers:
        name = header[0]
        if name not in HOP_BY_HOP or (name == b"upgrade" and status == 426):
            result.append(header)
        elif name == b"connection" and header[1] not in _NAMES_NOTHING:
            nominating = True
    if nominating:
        named = _nominated(headers) - HOP_BY_HOP  # of which it is said above what becomes of them
        result = [header for header in result if header[0] not in named]
    if status in BODILESS:
        result = [header for header in result if header[0] != b"content-length"]
    result.append((b"via", via))
    return result


def interim_to_client(headers: Sequence[Header]) -> list[Header]:
    """The headers of an interim response (1xx) to send back: end to end, and without a length, as it has no body.

    Args:
        headers: Of the interim response, names in lower case.
    """
    *result, _ = to_client(headers, b"", 204)
    return result


def _nominated(headers: Iterable[Header]) -> frozenset[bytes]:
    names = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    return frozenset(names - _NOT_NOMINABLE - {b"", b"close", b"keep-alive"})


def _joined(values: Sequence[bytes], last: bytes) -> bytes:
    return b", ".join([*values, last]) if values else last
