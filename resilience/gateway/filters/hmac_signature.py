"""HMAC signatures: HTTP Message Signatures (RFC 9421) with hmac-sha256, so that a secret never goes over the wire.

What must be signed is the configuration's choice: a signature that leaves a part out is refused, however good it is.
A body must be covered by Content-Digest (RFC 9530), which is compared with it. A signature is taken within a window of
time, and once: those of the window are remembered, up to a number for each key, beyond which that key's requests
are refused (seen_signatures.py). Two equal requests within one second need a nonce, or are taken for a replay.

What is remembered is the text that was signed (the signature base), of which there is one signature only. The header
Signature can be written in many ways without the secret: neither the label nor parameters of its member are signed
(RFC 9421, 2.5), and base64 has bits that mean nothing.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from time import time
from typing import Any, Final

import attrs
from http_message_signatures.algorithms import HMAC_SHA256  # pyright: ignore[reportPrivateImportUsage]
from http_message_signatures.exceptions import InvalidSignature
from http_message_signatures.resolvers import HTTPSignatureKeyResolver
from http_message_signatures.signatures import HTTPMessageVerifier
from http_message_signatures.structures import VerifyResult

from ...core.checks import flag, number, text
from ...errors import ConfigError
from ..config.checks import checked, filled
from ..config.contents import contents_by, of_secrets
from ..config.secrets import secret_of, secret_place
from ..messages.headers import values_of
from .context import FilterContext, FilterRequest, Identity
from .declare import FilterDeclaration, FilterHost, FilterKind, FilterPart, inbound_filter
from .identity import absent, invalid, single
from .seen_signatures import SignatureMemory, memory_named

Configure = Callable[[SignatureMemory], object]

_CHALLENGE: Final = "Signature"
_COMPONENTS: Final = ("@method", "@authority", "@path", "@query")
_MAX_FIELD: Final = 8192


def _component_mistake(value: Any) -> str | None:
    return None if isinstance(value, str) and value and value == value.lower() and '"' not in value else \
        "a component must be a name of RFC 9421, such as @method or content-type"


@attrs.frozen(kw_only=True)
class HmacKey:
    """One key.

    Attributes:
        id: What the signature's keyid says.
        secret: Where the secret is: "env:NAME" or "file:PATH"; at least 32 bytes.
        consumer: Whose it is.
        scopes: What it may be used for.
        roles: What its consumer is.
        tenant: Whom its consumer belongs to.
        contents: A hash of the secret; see config.contents.
    """

    id: str = attrs.field(validator=text())
    secret: str = attrs.field(validator=secret_place)
    consumer: str = attrs.field(validator=text())
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tenant: str | None = attrs.field(default=None, validator=text(optional=True))
    contents: bytes = contents_by(lambda key: of_secrets(key.secret))

    def __attrs_post_init__(self) -> None:
        if len(secret_of(self.secret)) < 32:
            raise ConfigError("the secret must have at least 32 bytes", "secret")


def _distinct(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    ids = [key.id for key in value]
    for each in ids:
        if ids.count(each) > 1:
            raise ConfigError(f"there are two keys {each}", attribute.name)


@inbound_filter(name="hmac", order=10, fail_closed=True, always=True)
@attrs.frozen(kw_only=True)
class HmacSignature:
    """The settings of an ``hmac`` filter.

    Attributes:
        keys: The keys.
        components: What every signature must cover, beside the digest of a body.
        window: Seconds that a signature is valid from its creation on.
        leeway: Seconds that clocks may differ by.
        tag: What the signature's tag must be; None: anything, and the request has one signature only.
        max_body: Bytes of a body that is compared with its digest; a larger one is refused.
        max_remembered: Signatures of one key that are remembered, so that none is taken twice.
        optional: Whether a request without a signature passes, with nobody's identity.
    """

    authenticates = True
    credential_headers = ("Signature",)

    keys: tuple[HmacKey, ...] = attrs.field(validator=attrs.validators.and_(filled, _distinct))
    components: tuple[str, ...] = attrs.field(default=_COMPONENTS, validator=checked(_component_mistake, each=True))
    window: float = attrs.field(default=300.0, validator=number(least=1.0, most=3600.0))
    leeway: float = attrs.field(default=5.0, validator=number(least=0, most=300.0))
    tag: str | None = attrs.field(default=None, validator=text(optional=True))
    max_body: int = attrs.field(default=1024 * 1024, validator=number(least=0, most=1 << 30, whole=True))
    max_remembered: int = attrs.field(default=100_000, validator=number(least=1, most=10_000_000, whole=True))
    optional: bool = attrs.field(default=False, validator=flag)

    def parts(self, host: FilterHost) -> Sequence[FilterPart]:
        """The filters of signatures, and of bodies, which nobody has taken in whose signature does not hold."""
        return Signed(self, functools.partial(
            memory_named, host.name, host.registry, once_in_force=host.once_in_force), name=host.name).parts()


class _Fields:
    """Header lines as the library of signatures reads them."""

    def __init__(self, lines: Sequence[tuple[str, str]]) -> None:
        self._lines = lines

    def items(self) -> Iterator[tuple[str, str]]:
        return iter(self._lines)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._lines)

    def __contains__(self, name: str) -> bool:
        return any(each == name.lower() for each, _ in self._lines)


class _Message:
    """A request as the library of signatures reads it."""

    def __init__(self, request: FilterRequest) -> None:
        self.method = request.method
        query = f"?{request.query}" if request.query else ""
        self.url = f"{request.scheme}://{request.host}{request.path}{query}"
        lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.lines]
        self.headers = _Fields([("host", request.host), *lines])


class _Secrets(HTTPSignatureKeyResolver):
    def __init__(self, keys: Sequence[HmacKey]) -> None:
        self._secrets = {key.id: secret_of(key.secret) for key in keys}

    def resolve_public_key(self, key_id: str) -> bytes:
        secret = self._secrets.get(key_id)
        if secret is None:
            raise InvalidSignature("there is no such key")
        return secret

    def resolve_private_key(self, key_id: str) -> bytes:
        raise InvalidSignature("nothing is signed here")


def _signed(result: VerifyResult) -> bytes:
    """A hash of the text that was signed."""
    text = "\n".join(f"{component}: {value}" for component, value in result.covered_components.items())
    return hashlib.sha256(text.encode()).digest()


def _is_spelt_twice(component: str, context: FilterContext) -> bool:
    """Whether a service may take a header that is not signed (X_User) for one that is (X-User)."""
    name = component.split('"')[1]
    return not name.startswith("@") and len(values_of(context.request.headers.lines, name.encode("latin-1"))) > \
        len(context.request.headers.all(name))


def _own_memory(configure: Configure) -> SignatureMemory:
    memory = SignatureMemory()
    configure(memory)
    return memory


class Signed:
    """An ``hmac`` filter. For one event loop.

    A body is taken in once its signature holds: strangers can have none kept. The signature counts as used when the
    body has come, so that a request whose upload broke off can be sent again.
    """

    def __init__(self, settings: HmacSignature, remembering: Callable[[Configure], SignatureMemory] | None = None, *,
                 clock: Callable[[], float] = time, name: str = "") -> None:
        """A filter that has not run yet.

        Args:
            settings: Of the filter.
            remembering: Finds the memory that is to be told how long to remember; None: it has one of its own.
            clock: Seconds since 1970.
            name: Of the filter.
        """
        self._settings, self._clock, self._key = settings, clock, f"hmac {name}"
        self._keys = {key.id: key for key in settings.keys}
        self._verifier = HTTPMessageVerifier(signature_algorithm=HMAC_SHA256, key_resolver=_Secrets(settings.keys))
        self._verifier.max_clock_skew = datetime.timedelta(seconds=settings.leeway)
        self._seen = (_own_memory if remembering is None else remembering)(self._remember)

    def _remember(self, memory: SignatureMemory) -> None:
        settings = self._settings
        memory.configure(settings.window + settings.leeway, settings.max_remembered, self._clock())

    def parts(self) -> Sequence[FilterPart]:
        """The two filters that it is made of."""
        declared = functools.partial(FilterDeclaration, kind=FilterKind.INBOUND, fail_closed=True, always=True)
        return [FilterPart(call=self.check_signature, said=declared(name="signature")),
                FilterPart(call=self.check_body, said=declared(
                    name="body", body=self._settings.max_body, when=lambda context: self._key in context.attributes))]

    def check_signature(self, context: FilterContext) -> None:
        """Look at a request's signature; without a body, that is all."""
        signature, said = single(context, "signature"), single(context, "signature-input")
        if context.refusal is not None:
            return
        if signature is None and said is None:
            absent(context, _CHALLENGE, optional=self._settings.optional)
            return
        if signature is None or said is None or len(signature) + len(said) > _MAX_FIELD:
            invalid(context, _CHALLENGE, "Signature and Signature-Input do not belong together")
            return
        result = self._verified(context)
        if result is not None and context.request.length == 0:
            self._admit(context, result)
        elif result is not None:
            context.attributes[self._key] = result

    def check_body(self, context: FilterContext) -> None:
        """Compare the body of a request, whose signature holds, with the digest that was signed."""
        result, body = context.attributes.pop(self._key), context.request.body
        try:
            if body:
                self._verifier.verify_body(_Message(context.request), [result], body)
        except Exception:  # noqa: BLE001 - whatever the request has made the library raise, it is not valid
            invalid(context, _CHALLENGE, "the body must have the Content-Digest that was signed")
        else:
            self._admit(context, result)

    def _admit(self, context: FilterContext, result: VerifyResult) -> None:
        """Let a request pass whose signature holds, unless that was used before."""
        key = self._keys[str(result.parameters["keyid"])]
        taken = self._seen.take(key.id, _signed(result), float(result.parameters["created"]), self._clock())
        if taken is None:
            context.refuse(503, "there are too many signatures of this key", {"retry-after": "1"})
        elif not taken:
            invalid(context, _CHALLENGE, "the signature was used before, or may have been; sign again, with a nonce")
        else:
            context.identity = Identity(consumer=key.consumer, scopes=frozenset(key.scopes), method="hmac",
                                        roles=frozenset(key.roles), tenant=key.tenant, claims={"key": key.id})

    def _verified(self, context: FilterContext) -> VerifyResult | None:
        """What a signature that holds says; None: it does not hold, and was refused."""
        settings = self._settings
        components = [*settings.components, *(["content-digest"] if context.request.length else [])]
        try:
            results = self._verifier.verify(
                _Message(context.request), max_age=datetime.timedelta(seconds=settings.window), expect_tag=settings.tag,
                require_components=components)
            (result,) = results
            if any(_is_spelt_twice(component, context) for component in result.covered_components):
                raise InvalidSignature("a header that is signed has another spelling, which is not")
            return result
        except Exception:  # noqa: BLE001 - whatever the request has made the library raise, it is not valid
            covered = " ".join(components)
            invalid(context, _CHALLENGE, f"the signature must be valid, fresh, by hmac-sha256, and cover {covered}")
            return None
