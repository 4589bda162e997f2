"""API keys: long random strings, of which only hashes are kept.

A key is "ID.SECRET". The ID is public and finds the entry; the whole key is hashed and compared in constant time. A
plain SHA-256 is enough, since a key has 256 random bits, and nobody can try those; passwords would need a slow hash,
and have no place here. ``resilience api-key`` makes a key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import unquote_plus

import attrs

from ...config import Document
from ...core.checks import flag, text
from ...errors import ConfigError
from ..config.checks import checked
from ..config.observing import header_mistake
from .context import FilterContext, Identity
from .declare import FilterHost, inbound_filter
from .identity import absent, bearer, invalid, single
from .watched_file import WatchedFile

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_DIGEST: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_MAX_KEY: Final = 512
#: Compared with where there is no entry, so that an unknown ID takes as long as a wrong secret.
_NOBODY: Final = "0" * 64


def digest(key: str) -> str:
    """The hash of a whole *key*, as it is kept."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key(key_id: str) -> tuple[str, str]:
    """A fresh key with this ID, and its hash."""
    key = f"{key_id}.{secrets.token_urlsafe(32)}"
    return key, digest(key)


def id_mistake(value: Any) -> str | None:
    """What is wrong with the ID of a key; None if nothing is."""
    return None if isinstance(value, str) and _ID(value) else "must be 1 to 64 letters, digits, _ or -"


def _digest_mistake(value: Any) -> str | None:
    return None if isinstance(value, str) and _DIGEST(value) else \
        "must be the SHA-256 of the key, and not the key itself: 64 hexadecimal digits in lower case"


@attrs.frozen(kw_only=True)
class ApiKey:
    """One key.

    Attributes:
        id: The key's beginning, up to the dot.
        sha256: Hash of the whole key.
        consumer: Whose it is.
        scopes: What it may be used for.
        roles: What its consumer is.
        tenant: Whom its consumer belongs to.
        enabled: Whether it is valid.
    """

    id: str = attrs.field(validator=checked(id_mistake, is_shown=False))
    sha256: str = attrs.field(validator=checked(_digest_mistake, is_shown=False), repr=False)
    consumer: str = attrs.field(validator=text())
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tenant: str | None = attrs.field(default=None, validator=text(optional=True))
    enabled: bool = attrs.field(default=True, validator=flag)


@attrs.frozen(kw_only=True)
class _KeysFile:
    keys: tuple[ApiKey, ...]


def keys_of(content: bytes, file: str) -> tuple[ApiKey, ...]:
    """The keys in the *content* of a TOML file of ``[[keys]]`` tables.

    Raises:
        ConfigFileError: It has mistakes.
    """
    document = Document.parse(content, file)
    found = document.structure(_KeysFile, given=document.data)
    for index, key_id in _twice(found.keys if found is not None else ()):
        document.mistake(("keys", index, "id"), f"there are two keys {key_id}")
    document.finish()
    assert found is not None
    return found.keys


def _twice(keys: Sequence[ApiKey]) -> list[tuple[int, str]]:
    ids = [key.id for key in keys]
    return [(index, each) for index, each in enumerate(ids) if each in ids[:index]]


def _readable(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        try:
            WatchedFile(value, lambda content: keys_of(content, value))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{value} cannot be used: {getattr(error, 'strerror', None) or error}",
                              attribute.name) from None


def _distinct(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    for _index, key_id in _twice(value):
        raise ConfigError(f"there are two keys {key_id}", attribute.name)


@inbound_filter(name="api_keys", order=10, fail_closed=True, always=True)
@attrs.frozen(kw_only=True)
class ApiKeys:
    """The settings of an ``api_keys`` filter.

    Attributes:
        keys: The keys, if they stand in the gateway's file.
        keys_file: A TOML file of ``[[keys]]``, which is read again when it has changed.
        header: Header that has the key, after the word Bearer if it is Authorization.
        query: Parameter of the query that may have it; None: none may.
        forward_key: Whether the key is sent on to the service.
        optional: Whether a request without a key passes, with nobody's identity.
    """

    authenticates = True

    keys: tuple[ApiKey, ...] = attrs.field(default=(), validator=_distinct)
    keys_file: str | None = attrs.field(default=None, validator=_readable)
    header: str = attrs.field(default="X-API-Key", validator=checked(header_mistake))
    query: str | None = attrs.field(default=None, validator=text(optional=True))
    forward_key: bool = attrs.field(default=False, validator=flag)
    optional: bool = attrs.field(default=False, validator=flag)

    def __attrs_post_init__(self) -> None:
        if not self.keys and self.keys_file is None:
            raise ConfigError("there are no keys: write [[keys]] tables, or the name of a keys_file", "keys")

    @property
    def credential_headers(self) -> tuple[str, ...]:
        """Headers that no log may show."""
        return (self.header,)

    @property
    def credential_parameters(self) -> tuple[str, ...]:
        """Parameters of the query whose values no log may show."""
        return () if self.query is None else (self.query,)

    def bind(self, host: FilterHost) -> Callable[[FilterContext], None]:
        """The filter, which is a plain function."""
        return _Checking(self)


class _Checking:
    """An ``api_keys`` filter. For one event loop."""

    def __init__(self, settings: ApiKeys) -> None:
        self._settings, name = settings, settings.keys_file
        self._own = {key.id: key for key in settings.keys}
        self._file = None if name is None else WatchedFile(
            name, lambda content: {key.id: key for key in keys_of(content, name)})
        self._is_bearer = settings.header.lower() == "authorization"
        self._challenge = "Bearer" if self._is_bearer else f'ApiKey header="{settings.header}"'

    def __call__(self, context: FilterContext) -> None:
        settings = self._settings
        key = self._key(context)
        if context.refusal is not None:
            return
        if key is None:
            absent(context, self._challenge, optional=settings.optional)
            return
        entry = self._entry(key.partition(".")[0]) if len(key) <= _MAX_KEY else None
        is_right = hmac.compare_digest(digest(key), _NOBODY if entry is None else entry.sha256)
        if entry is None or not is_right or not entry.enabled:
            invalid(context, self._challenge, "the API key is not valid")
            return
        context.identity = Identity(consumer=entry.consumer, scopes=frozenset(entry.scopes), method="api_key",
                                    roles=frozenset(entry.roles), tenant=entry.tenant, claims={"key": entry.id})

    def _key(self, context: FilterContext) -> str | None:
        """The key of a request, which is not sent on; a second one is refused."""
        settings, request = self._settings, context.request
        found = single(context, settings.header)
        if found is not None and self._is_bearer:
            found = bearer(found)
        if found is not None and not settings.forward_key:
            del request.headers[settings.header]
        if settings.query is None or context.refusal is not None:
            return found
        mine, others = list[str](), list[str]()
        for part in request.query.split("&") if request.query else ():
            (mine if unquote_plus(part.partition("=")[0]) == settings.query else others).append(part)
        if mine and not settings.forward_key:
            request.query = "&".join(others)
        if len(mine) + (found is not None) > 1:
            context.refuse(400, "the request has more than one API key")
            return None
        return unquote_plus(mine[0].partition("=")[2]) if mine else found

    def _entry(self, key_id: str) -> ApiKey | None:
        entry = self._own.get(key_id)
        return self._file.current().get(key_id) if entry is None and self._file is not None else entry
