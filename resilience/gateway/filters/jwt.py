"""JSON Web Tokens (RFC 7519, RFC 8725): who sent a request, by a signature of an issuer.

PyJWT verifies; what it is given is decided here. The algorithms are pinned by the configuration, and each key is bound
to those that suit its kind, so that no token chooses how it is verified. What a token says of where its key is (jku,
x5u, jwk, x5c) is never looked at, its kid is only looked up among the keys that there are, and a token with ``crit``
is refused: there is no extension that is understood here.

The result for a token is kept, by its hash, until the token expires or the keys change: what costs is to verify it
once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from time import time
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import jwt

from ...core.checks import flag, number, text
from ...errors import ConfigError
from ..config.checks import checked, filled, meaningless
from ..config.contents import contents_by, of_files, of_secrets
from ..config.identity import own_header_mistake
from ..config.observing import header_mistake
from ..config.secrets import secret_of, secret_place
from ..messages.json_pointer import MISSING, found, parsed
from .asked_url import service_of, url_mistake
from .context import FilterContext, Identity
from .declare import FilterHost, declare_anew, inbound_filter
from .identity import absent, bearer, invalid, quoted, single
from .key_cache import KeyCache
from .key_set import HMACS, KINDS, FileKeys, Key, KeysUnknownError, RemoteKeys

ALGORITHMS: Final = (*KINDS, *HMACS)
MAX_TOKEN: Final = 16 * 1024
MAX_KEPT: Final = 10_000
_MAX_KEY_ID: Final = 256
_TIME_LIMIT_S: Final = 6.0
_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+").fullmatch
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class _TokenError(Exception):
    """The token is not valid; says why, in words for its sender."""


def _url_mistake(value: Any) -> str | None:
    if url_mistake(value) is not None:
        return "must be an https:// URL"
    url = urlsplit(value)
    is_safe = url.scheme == "https" or url.hostname in _LOOPBACK
    return None if is_safe else "must be an https:// URL: over http://, anybody on the way could exchange the keys"


def _algorithm_mistake(value: Any) -> str | None:
    return None if value in ALGORITHMS else f"an algorithm must be one of {', '.join(ALGORITHMS)}"


def _optional_texts(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (not value or not all(isinstance(each, str) and each for each in value)):
        raise ConfigError(f"{attribute.name} must be strings, or false: any", attribute.name)


def _claim_headers(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    for name in value:
        mistake = own_header_mistake(name)
        if mistake is not None:
            raise ConfigError(f"a header of claim_headers {mistake}, not {name!r}", attribute.name)


@inbound_filter(name="jwt", order=10, fail_closed=True, always=True, time_limit=_TIME_LIMIT_S)
@attrs.frozen(kw_only=True, slots=False)
class Jwt:
    """The settings of a ``jwt`` filter. One of jwks, jwks_file and secret is needed.

    Attributes:
        issuer: What the token's iss must be; None (``false``): anything.
        audience: One of these must be in the token's aud; None (``false``): anything.
        algorithms: Those that a token may be signed with.
        jwks: URL of the issuer's keys.
        jwks_file: A file of keys, which is read again when it has changed.
        secret: Where the shared secret is, "env:NAME" or "file:PATH", for HS256, HS384 and HS512.
        ca_file: Certificates in PEM of the authorities that the URL is verified by; None: the system's.
        token_type: What the token's typ must be, such as "at+jwt"; None: anything.
        required_claims: Claims that a token must have.
        leeway: Seconds that clocks may differ by.
        consumer_claim: Claim that names the consumer.
        scopes_claim: Claim with the scopes: a list, or a string with spaces between them.
        roles_claim: Claim with the roles, as for scopes. A name that begins with a slash is a JSON pointer (RFC 6901).
        tenant_claim: Claim that names the tenant; None: none does.
        claim_headers: Headers to send on, by name, with the claims that they get.
        header: Header that has the token, after the word Bearer if it is Authorization.
        forward_token: Whether the token is sent on to the service.
        optional: Whether a request without a token passes, with nobody's identity.
        refresh: Seconds after which the keys of the URL are asked for again.
        min_interval: Seconds between two times that a token with an unknown key makes the gateway ask for keys.
        keep_for: Seconds that the last good keys stay if there are no others to be had; None (``false``): for ever.
        fetch_timeout: Seconds that the URL may take.
        contents: A hash of the secret and the certificates; see config.contents.
    """

    authenticates = True

    issuer: str | None = attrs.field(validator=text(optional=True))
    audience: tuple[str, ...] | None = attrs.field(validator=_optional_texts, metadata={"one_is_enough": True})
    algorithms: tuple[str, ...] = attrs.field(
        default=("RS256",), validator=attrs.validators.and_(filled, checked(_algorithm_mistake, each=True)))
    jwks: str | None = attrs.field(default=None, validator=checked(_url_mistake, optional=True))
    jwks_file: str | None = attrs.field(default=None, validator=text(optional=True))
    secret: str | None = attrs.field(default=None, validator=secret_place)
    ca_file: str | None = attrs.field(default=None, validator=text(optional=True))
    token_type: str | None = attrs.field(default=None, validator=text(optional=True))
    required_claims: tuple[str, ...] = ("exp",)
    leeway: float = attrs.field(default=10.0, validator=number(least=0, most=300.0))
    consumer_claim: str = attrs.field(default="sub", validator=text())
    scopes_claim: str = attrs.field(default="scope", validator=text())
    roles_claim: str = attrs.field(default="roles", validator=text())
    tenant_claim: str | None = attrs.field(default=None, validator=text(optional=True))
    claim_headers: Mapping[str, str] = attrs.field(factory=dict, validator=_claim_headers)
    header: str = attrs.field(default="Authorization", validator=checked(header_mistake))
    forward_token: bool = attrs.field(default=True, validator=flag)
    optional: bool = attrs.field(default=False, validator=flag)
    refresh: float = attrs.field(default=300.0, validator=number(above=0, most=86_400.0))
    min_interval: float = attrs.field(default=10.0, validator=number(least=1.0, most=3600.0))
    keep_for: float | None = attrs.field(default=86_400.0, validator=number(above=0, most=31_536_000.0, optional=True))
    fetch_timeout: float = attrs.field(default=5.0, validator=number(above=0, most=60.0))
    contents: bytes = contents_by(lambda jwt: (*of_secrets(jwt.secret), *of_files(jwt.ca_file)))

    def __attrs_post_init__(self) -> None:
        given = [name for name in ("jwks", "jwks_file", "secret") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigError(f"keys must come from one of jwks, jwks_file and secret, not from "
                              f"{' and '.join(given) or 'nowhere'}", given[-1] if given else "jwks")
        if self.jwks is None:
            meaningless(self, ("ca_file", "refresh", "min_interval", "keep_for", "fetch_timeout"),
                        f"with {given[0]}: no URL is asked for keys")
        secret = [each for each in self.algorithms if each in HMACS]
        if self.secret is not None and len(secret) < len(self.algorithms):
            raise ConfigError(f"with a secret, every algorithm must be one of {', '.join(HMACS)}", "algorithms")
        if self.secret is None and secret:
            raise ConfigError(f"{secret[0]} needs a shared secret, and the keys of an issuer are public", "algorithms")
        if self.jwks_file is not None:
            try:
                FileKeys.of_file(self.jwks_file, self.algorithms)
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                raise ConfigError(f"{self.jwks_file} cannot be used: {why}", "jwks_file") from None
        if self.jwks is not None:
            service_of(self.jwks, self.fetch_timeout, self.ca_file)  # finds mistakes in them
            declare_anew(self, time_limit=max(_TIME_LIMIT_S, self.fetch_timeout + 1.0))
        if self.secret is not None and len(secret_of(self.secret)) < 32:
            raise ConfigError("the secret must have at least 32 bytes (RFC 7518 3.2)", "secret")

    @property
    def own_headers(self) -> tuple[str, ...]:
        """Headers that the gateway alone sets."""
        return tuple(self.claim_headers)

    @property
    def credential_headers(self) -> tuple[str, ...]:
        """Headers that no log may show."""
        return (self.header,)

    def bind(self, host: FilterHost) -> Callable[[FilterContext], Any]:
        """The filter, which is a coroutine function with a memory."""
        keys: FileKeys | RemoteKeys
        if self.jwks is not None:
            cache = KeyCache[Key](refresh=self.refresh, min_interval=self.min_interval, keep_for=self.keep_for)
            service = service_of(self.jwks, self.fetch_timeout, self.ca_file)
            keys = RemoteKeys(self.jwks, self.algorithms, cache, host, service)
        elif self.jwks_file is not None:
            keys = FileKeys.of_file(self.jwks_file, self.algorithms)
        else:
            assert self.secret is not None
            key = Key("secret", frozenset(self.algorithms), secret_of(self.secret))
            only: dict[str | None, tuple[Key, ...]] = {None: (key,)}
            keys = FileKeys(lambda: only)
        return Verifying(self, keys)


class VerifiedTokens:
    """The identities of tokens that were verified, by the tokens' hashes, up to a number of them. Pure."""

    def __init__(self, most: int = MAX_KEPT) -> None:
        self._most = most
        self._found: dict[bytes, tuple[float, Identity]] = {}

    def get(self, digest: bytes, now: float) -> Identity | None:
        """The identity of a token; None if it is not known, or has expired."""
        known = self._found.get(digest)
        if known is None:
            return None
        if now >= known[0]:
            del self._found[digest]
            return None
        return known[1]

    def put(self, digest: bytes, identity: Identity, until: float) -> None:
        """Keep the identity of a token *until* then; the oldest makes room."""
        if len(self._found) >= self._most:
            del self._found[next(iter(self._found))]
        self._found[digest] = (until, identity)

    def clear(self) -> None:
        """Forget all."""
        self._found.clear()

    def __len__(self) -> int:
        return len(self._found)


class Verifying:
    """A ``jwt`` filter. For one event loop.

    Attributes:
        verified: How many signatures it has verified.
    """

    def __init__(self, settings: Jwt, keys: FileKeys | RemoteKeys, *, clock: Callable[[], float] = time) -> None:
        self._settings, self._keys, self._clock = settings, keys, clock
        self._kept, self._generation = VerifiedTokens(), keys.generation
        self._is_bearer = settings.header.lower() == "authorization"
        self.verified = 0

    async def __call__(self, context: FilterContext) -> None:
        settings = self._settings
        token = self._token(context)
        if context.refusal is not None:
            return
        if token is None:
            absent(context, "Bearer", optional=settings.optional)
            return
        try:
            identity = await self._identity(token)
        except _TokenError as error:
            challenge = f'Bearer error="invalid_token", error_description="{error}"'
            invalid(context, challenge, f"the token is not valid: {error}")
            return
        except KeysUnknownError:
            context.refuse(503, "the keys for your token are not known yet", {"retry-after": "1"})
            return
        context.identity = identity
        headers = context.request.headers
        for name, claim in settings.claim_headers.items():
            value = claim_of(identity.claims, claim)
            if value is not None:
                headers[name] = quoted(value if isinstance(value, str) else json.dumps(value))

    def close(self) -> None:
        """End what is under way."""
        self._keys.close()

    def _token(self, context: FilterContext) -> str | None:
        """The token of a request; None: it has none, or was refused."""
        value = single(context, self._settings.header)
        if value is None:
            return None
        token = bearer(value) if self._is_bearer else value
        if token is not None and not self._settings.forward_token:
            del context.request.headers[self._settings.header]
        return token

    async def _identity(self, token: str) -> Identity:
        now, digest = self._clock(), hashlib.sha256(token.encode("latin-1")).digest()
        self._keys.look()
        self._forget_if_keys_changed()
        identity = self._kept.get(digest, now)
        if identity is not None:
            return identity
        parts = _TOKEN(token) if len(token) <= MAX_TOKEN else None
        if parts is None:
            raise _TokenError("it is not three parts of base64url")
        algorithm, key_id = self._pinned(parts[1])
        keys = [key for key in await self._keys.find(key_id) if algorithm in key.algorithms]
        self._forget_if_keys_changed()
        if len(keys) != 1:
            raise _TokenError("its key is not known" if not keys else "it does not say which key it was signed with")
        claims = self._verified(token, algorithm, keys[0])
        identity = self._identity_of(claims)
        expires = claims.get("exp")
        if expires is not None:
            self._kept.put(digest, identity, float(expires) + self._settings.leeway)
        return identity

    def _forget_if_keys_changed(self) -> None:
        if self._keys.generation != self._generation:
            self._generation = self._keys.generation
            self._kept.clear()

    def _pinned(self, first: str) -> tuple[str, str | None]:
        """Algorithm and key ID of the token's header, if it asks for nothing else."""
        try:
            header = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
        except (ValueError, binascii.Error, RecursionError):
            raise _TokenError("its header is not JSON") from None
        if not isinstance(header, dict):
            raise _TokenError("its header is no object")
        if "crit" in header or "b64" in header:
            raise _TokenError("it has critical extensions, and none is understood here")
        if header.get("alg") not in self._settings.algorithms:
            raise _TokenError("its algorithm is not allowed")
        wanted = self._settings.token_type
        if wanted is not None and str(header.get("typ")).lower().removeprefix("application/") != wanted.lower():
            raise _TokenError("its type is not allowed")
        key_id = header.get("kid")
        if key_id is not None and (not isinstance(key_id, str) or len(key_id) > _MAX_KEY_ID):
            raise _TokenError("its key ID is not valid")
        return header["alg"], None if self._settings.secret is not None else key_id

    def _verified(self, token: str, algorithm: str, key: Key) -> dict[str, Any]:
        settings = self._settings
        self.verified += 1
        try:
            claims: dict[str, Any] = jwt.decode(
                token, key.material, algorithms=[algorithm], issuer=settings.issuer, audience=settings.audience,
                leeway=settings.leeway, options={"require": list(settings.required_claims),
                                                 "verify_aud": settings.audience is not None})
            float(claims.get("exp", 0))
        except jwt.ExpiredSignatureError:
            raise _TokenError("it has expired") from None
        except jwt.ImmatureSignatureError:
            raise _TokenError("it is not valid yet") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError, jwt.MissingRequiredClaimError) as error:
            raise _TokenError(_plain(str(error))) from None
        except Exception:  # noqa: BLE001 - whatever the token has made the library raise, it is not valid
            raise _TokenError("its signature or its claims are not valid") from None
        return claims

    def _identity_of(self, claims: Mapping[str, Any]) -> Identity:
        settings = self._settings
        consumer = claim_of(claims, settings.consumer_claim)
        if not isinstance(consumer, str) or not consumer:
            raise _TokenError("it names no consumer")
        tenant = None if settings.tenant_claim is None else claim_of(claims, settings.tenant_claim)
        return Identity(consumer=consumer, scopes=_words(claim_of(claims, settings.scopes_claim)),
                        roles=_words(claim_of(claims, settings.roles_claim)), method="jwt", claims=claims,
                        tenant=tenant if isinstance(tenant, str) and tenant else None)


def claim_of(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of this *name*, or, if it begins with a slash, at this JSON pointer; None if there is none."""
    if not name.startswith("/"):
        return claims.get(name)
    value = found(claims, parsed(name))
    return None if value is MISSING else value


def _words(value: Any) -> frozenset[str]:
    """The strings of a claim, which is a list of them, or one with spaces between them."""
    if isinstance(value, str):
        return frozenset(value.split())
    return frozenset(each for each in value if isinstance(each, str)) if isinstance(value, list) else frozenset()


def _plain(message: str) -> str:
    return re.sub(r'[^ A-Za-z0-9_.:-]', "", message)
