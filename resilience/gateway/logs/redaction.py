"""Redaction: what an access log must not show of a request. Pure.

Values of parameters with certain names are replaced in the target of a request, and in URLs within headers, such as
Referer; so is what stands before the host of a URL. Of headers nothing is logged but what is asked for, and the ones
that carry credentials cannot be asked for.

Whatever a client sends costs time in proportion to its length, since lines are made while requests wait for the
interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from ..messages.headers import folded

REDACTED: Final = b"[redacted]"
_SEPARATORS: Final = re.compile(rb"([&;])")
_PARTS_OF_URL: Final = re.compile(rb"([?#])")
#: A name and a password before a host, also where the field was cut within them.
_USERINFO: Final = re.compile(rb"://[^/?#\s]*(?:@|\.\.\.\Z)")
#: Names of query parameters that commonly carry secrets.
SECRET_PARAMETERS: Final = (
    "access_token", "api_key", "apikey", "auth", "client_secret", "code", "id_token", "jwt", "key", "passwd",
    "password", "refresh_token", "secret", "session", "sig", "signature", "token", "x-amz-credential",
    "x-amz-security-token", "x-amz-signature", "x-goog-signature")
#: Headers that are never logged.
NEVER_LOGGED: Final = frozenset({
    "authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key", "api-key", "x-auth-token",
    "x-csrf-token", "x-amz-security-token"})


def may_be_logged(header: str, secret: Iterable[str] = NEVER_LOGGED) -> bool:
    """Whether the value of a *header* is no secret, in whatever spelling; *secret*: names of those that are."""
    return _spelt(header) not in {_spelt(each) for each in secret}


def _spelt(name: str) -> bytes:
    return folded(name.lower().encode())


class QueryRedactor:
    """Replaces the values of some parameters of a query. Immutable."""

    __slots__ = ("_names", "_suspicious")

    def __init__(self, names: Iterable[str]) -> None:
        """Remember the *names*, whose case does not matter."""
        self._names = frozenset(_plain(name.encode()) for name in names)
        any_of = b"|".join(re.escape(name).replace(rb"\ ", b"[ +]") for name in sorted(self._names)) or b"(?!)"
        # A name that stands there as it is, or one of which that cannot be said, as it is percent-encoded.
        self._suspicious = re.compile(rb"(?:^|[&;])(?:[ +]*(?:%b)[ +]*[\[=]|[^=&;%%]*%%[^=&;]*=)" % any_of, re.I).search

    def __call__(self, query: bytes) -> bytes:
        """The raw *query*, with the values that are nobody's business replaced.

        A name counts however it is spelt: percent-encoded, or as a list (``token[]``).
        """
        if self._suspicious(query) is None:
            return query
        parts = _SEPARATORS.split(query)  # some servers split at semicolons, too
        for at in range(0, len(parts), 2):
            name, equals, _ = parts[at].partition(b"=")
            if equals and _plain(name) in self._names:
                parts[at] = name + equals + REDACTED
        return b"".join(parts)


def redacted_urls(value: bytes, redacted: Callable[[bytes], bytes]) -> bytes:
    """The target of a request, or the value of a header, in which URLs may stand, without what is nobody's business.

    What follows their marks is *redacted* as queries are, and what stands before their hosts is replaced.
    """
    if b"://" in value:
        value = _USERINFO.sub(b"://%b@" % REDACTED, value)
    if b"?" not in value and b"#" not in value:
        return value
    parts = _PARTS_OF_URL.split(value)
    parts[2::2] = map(redacted, parts[2::2])
    return b"".join(parts)


def _plain(name: bytes) -> bytes:
    """What a *name* is to a server: a plus is a space, and a bracket begins a list."""
    name = name.replace(b"+", b" ")
    if b"%" in name:
        name = unquote_to_bytes(name)
    return name.partition(b"[")[0].strip(b" +").lower()
