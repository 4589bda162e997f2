"""Tokens of the admin API and of service registries: who may use them. No token itself is kept, only its hash."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from ...errors import ConfigError
from .secrets import secret_of

#: A shorter one could be guessed.
LEAST_BYTES: Final = 16
_NAME: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}").fullmatch
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})").fullmatch


def hashed(place: str) -> bytes:
    """The SHA-256 of the token at a *place*: "env:NAME", "file:PATH", or "sha256:HEX", which is it.

    Raises:
        ConfigError: There is none, or it is too short.
    """
    found = _HASH(place)
    if found is not None:
        return bytes.fromhex(found[1])
    try:
        token = secret_of(place)
    except ConfigError as error:
        raise ConfigError(str(error).replace('"env:NAME" or "file:PATH"', '"env:NAME", "file:PATH" or "sha256:HEX"')) \
            from None
    if len(token) < LEAST_BYTES:
        raise ConfigError(f"the token at {place} is shorter than {LEAST_BYTES} bytes")
    return hashlib.sha256(token).digest()


def tokens_checked(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that these are places of tokens by name.

    Raises:
        ConfigError: They are not, or there is no token at one of them.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f'{attribute.name} must be a table of names and places, such as {{ ops = "env:OPS_TOKEN" }}, '
                          f"not {value!r}", attribute.name)
    for name, place in value.items():
        if not isinstance(name, str) or not _NAME(name):
            raise ConfigError(f"{attribute.name}: {name!r} is no name: letters, digits, and _ . @ -", attribute.name)
        if not isinstance(place, str):
            raise ConfigError(f'{attribute.name}: {name} must be "env:NAME", "file:PATH" or "sha256:HEX"',
                              attribute.name)
        try:
            hashed(place)
        except ConfigError as error:
            raise ConfigError(f"{attribute.name}: {name}: {error}", attribute.name) from None


class TokenOwners:
    """Knows who a token belongs to.

    Args:
        tokens: Places by name; see hashed().
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._hashes = {name: hashed(place) for name, place in tokens.items()}

    def owner(self, token: bytes) -> str | None:
        """The name that *token* belongs to; None: to nobody. Takes the same time whatever it is like."""
        wanted, found = hashlib.sha256(token).digest(), None
        for name, known in self._hashes.items():
            if hmac.compare_digest(wanted, known):
                found = name
        return found
