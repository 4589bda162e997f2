"""Key sets: JSON Web Key Sets (RFC 7517), of an issuer's URL or of a file, as keys that can verify.

Nothing of a token leads anywhere: the one place that is asked is the configured one. Redirects are not followed, an
answer has a bound, and one flight at a time serves all who wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms

from ...errors import ResilienceError
from ..config import ServiceConfig
from ..messages.content import ASKED_PLAIN, decoded
from ..messages.exchange import Request, UpstreamError
from ..messages.problem import problem_of
from ..subrequest import asked
from .asked_url import target_of
from .declare import FilterHost
from .key_cache import Ask, KeyCache
from .watched_file import WatchedFile

MAX_SET_BYTES: Final = 256 * 1024
_MAX_KEYS: Final = 100
_MIN_RSA_BITS: Final = 2048
#: Kind, and curve, of the keys for each algorithm; RFC 7518, RFC 8037.
KINDS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None), "RS384": ("RSA", None), "RS512": ("RSA", None),
    "PS256": ("RSA", None), "PS384": ("RSA", None), "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521"), "EdDSA": ("OKP", "Ed25519")}
HMACS: Final = ("HS256", "HS384", "HS512")
_logger = logging.getLogger(__name__)
_Keys = Mapping[str | None, Sequence["Key"]]


@attrs.frozen
class Key:
    """A key that can verify signatures.

    Attributes:
        text: Its JSON, to tell keys apart.
        algorithms: Those that it may be used with, among the pinned.
        material: What the library of JWTs takes.
    """

    text: str
    algorithms: frozenset[str]
    material: Any = attrs.field(eq=False, repr=False)


def keys_of(content: bytes, pinned: Sequence[str]) -> dict[str | None, tuple[Key, ...]]:
    """The keys of a set by key ID, those without one under None. Keys that cannot verify are left out.

    Args:
        content: JSON.
        pinned: Algorithms that may be used.

    Raises:
        ValueError: It is no set of keys, or none of them suits.
    """
    try:
        entries = json.loads(content)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError('a set of keys must be JSON of the form {"keys": [...]}') from None
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise ValueError(f"a set of keys must be a list of at most {_MAX_KEYS}")
    found: dict[str | None, tuple[Key, ...]] = {}
    for entry in entries:
        key = _key(entry, pinned) if isinstance(entry, dict) else None
        if key is not None:
            key_id = entry.get("kid")
            key_id = key_id if isinstance(key_id, str) else None
            found[key_id] = (*found.get(key_id, ()), key)
    if not found:
        raise ValueError(f"no key of the set can verify {' or '.join(pinned)}")
    return found


def _key(entry: dict[str, Any], pinned: Sequence[str]) -> Key | None:
    """The key of an *entry*; None if it cannot verify. A secret (oct) never can: it would be everybody's secret."""
    uses = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        return None
    kind, own = (entry.get("kty"), entry.get("crv")), entry.get("alg")
    suited = [each for each in pinned if each in KINDS and KINDS[each][0] == kind[0]
              and KINDS[each][1] in (None, kind[1]) and own in (None, each)]
    if not suited:
        return None
    try:
        material = get_default_algorithms()[suited[0]].from_jwk(entry)
    except Exception:  # noqa: BLE001 - whatever an odd key makes the library raise, the others are good
        return None
    if hasattr(material, "private_numbers") or hasattr(material, "private_bytes_raw"):
        material = material.public_key()
    if isinstance(material, RSAPublicKey) and material.key_size < _MIN_RSA_BITS:
        return None
    return Key(json.dumps(entry, sort_keys=True), frozenset(suited), material)


class FileKeys:
    """The keys of a file, or of a secret, which are at hand. For one event loop."""

    def __init__(self, read: Callable[[], _Keys]) -> None:
        self._read, self._keys = read, read()
        self.generation = 0

    @classmethod
    def of_file(cls, path: str, pinned: Sequence[str]) -> FileKeys:
        """The keys of a JSON file, which is read again when it has changed."""
        return cls(WatchedFile(path, lambda content: keys_of(content, pinned)).current)

    async def find(self, key_id: str | None) -> Sequence[Key]:
        """The keys that may have signed a token."""
        keys = self._keys
        return [key for each in keys.values() for key in each] if key_id is None else keys.get(key_id, ())

    def look(self) -> None:
        """Read the file again, if it has changed."""
        keys = self._read()
        if keys is not self._keys:
            self._keys = keys
            self.generation += 1

    def close(self) -> None:
        """Nothing happens in the background."""


class KeysUnknownError(Exception):
    """The issuer has given no keys yet."""


class RemoteKeys:
    """The keys of an issuer's URL. For one event loop.

    Attributes:
        fetches: How often the issuer was asked.
    """

    def __init__(self, url: str, pinned: Sequence[str], cache: KeyCache[Key], host: FilterHost,
                 service: ServiceConfig) -> None:
        self._service = host.service("keys", service)
        self._request = Request(method="GET", target=target_of(url), host=None,
                                headers=[(b"accept", b"application/jwk-set+json, application/json"), ASKED_PLAIN])
        self._url, self._pinned = url, pinned
        self._cache = cache
        self._flight: asyncio.Task[None] | None = None
        self.fetches = 0

    @property
    def generation(self) -> int:
        """Changes with the keys."""
        return self._cache.generation

    async def find(self, key_id: str | None) -> Sequence[Key]:
        """The keys that may have signed a token.

        Raises:
            KeysUnknownError: There are none yet, and none are to be had.
        """
        ask = self._cache.ask(key_id, asyncio.get_running_loop().time())
        if ask is not Ask.NO:
            self._ask()
        flight = self._flight
        if flight is not None and not self._cache.find(key_id):  # it may bring the key
            await asyncio.wait((flight,))
        if self._cache.is_empty:
            raise KeysUnknownError(f"there are no keys of {self._url}")
        return self._cache.find(key_id)

    def look(self) -> None:
        """Ask in the background, if it is time."""
        if self._cache.ask(None, asyncio.get_running_loop().time()) is Ask.BEHIND:
            self._ask()

    def close(self) -> None:
        """End what is under way."""
        if self._flight is not None:
            self._flight.cancel()

    def _ask(self) -> None:
        if self._flight is None:
            self._cache.asked(asyncio.get_running_loop().time())
            # In a context of its own: the deadline of the one who asks first is not that of the others.
            self._flight = asyncio.get_running_loop().create_task(self._fetch(), context=contextvars.Context())

    async def _fetch(self) -> None:
        self.fetches += 1
        try:
            answer = await asked(self._service, self._request, MAX_SET_BYTES)
            if answer.status != 200:
                raise ValueError(f"the answer is {answer.status}, and no set of keys")
            text = decoded(answer.body, answer.headers, MAX_SET_BYTES)
            self._cache.answered(keys_of(text, self._pinned), asyncio.get_running_loop().time())
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the last good keys stay
            self._cache.failed()
            why = problem_of(error, "it").detail if isinstance(error, (UpstreamError, ResilienceError)) else error
            _logger.error("%s gives no keys: %s", self._url, why)
        finally:
            self._flight = None
