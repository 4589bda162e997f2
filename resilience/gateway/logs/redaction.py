"""Redaction: what an access log must not show of a request. Pure.

A query's values are replaced by their names; of headers nothing is logged but what is asked for, and the ones that
carry credentials cannot be asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

REDACTED: Final = b"[redacted]"
_SEPARATORS: Final = re.compile(rb"([&;])")
#: Names of query parameters that commonly carry secrets.
SECRET_PARAMETERS: Final = (
    "access_token", "api_key", "apikey", "auth", "client_secret", "code", "id_token", "jwt", "key", "passwd",
    "password", "refresh_token", "secret", "session", "sig", "signature", "token", "x-amz-credential",
    "x-amz-security-token", "x-amz-signature", "x-goog-signature")
#: Headers that are never logged.
NEVER_LOGGED: Final = frozenset({
    "authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key", "api-key", "x-auth-token",
    "x-csrf-token", "x-amz-security-token"})


class QueryRedactor:
    """Replaces the values of some parameters of a query. Immutable."""

    __slots__ = ("_names", "_suspicious")

    def __init__(self, names: Iterable[str]) -> None:
        """Remember the *names*, whose case does not matter."""
        self._names = frozenset(name.lower().encode() for name in names)
        any_of = b"|".join(re.escape(name) for name in sorted(self._names)) or b"(?!)"
        # A name that stands there as it is, or one of which that cannot be said, as it is percent-encoded.
        self._suspicious = re.compile(rb"(?:^|[&;])(?:[ +]*(?:%b)[ +]*[\[=]|[^=&;]*%%[^=&;]*=)" % any_of, re.I).search

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


def _plain(name: bytes) -> bytes:
    if b"%" in name:
        name = unquote_to_bytes(name)
    return name.partition(b"[")[0].strip(b" +").lower()
