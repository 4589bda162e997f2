"""Mutual TLS: who sent a request, by the certificate of the client's connection.

The server has verified it when it gets here. A proxy in front, which ends TLS, may hand it on in a header: only if the
file names the header, and only from a trusted proxy; from anybody else the header is taken away, on every route. It
is Client-Cert of RFC 9440, or a percent-encoded PEM, as nginx and Traefik send it.
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from ...core.checks import flag, one_of, text
from ...errors import ConfigError
from ..config.checks import checked
from ..config.identity import own_header_mistake
from ..messages.inbound import ClientCertificate
from .context import FilterContext, Identity
from .declare import FilterHost, inbound_filter
from .identity import absent, invalid, single

_CHALLENGE: Final = "ClientCertificate"
_MAX_HEADER: Final = 16 * 1024
_PREFIXES: Final = {"dns": "DNS:", "uri": "URI:", "email": "EMAIL:"}


@attrs.frozen(kw_only=True)
class CertificateIdentity:
    """Who one certificate stands for.

    Attributes:
        name: What the certificate says, in the part that the filter's ``name`` chooses.
        consumer: Who it is; None: the same.
        scopes: What the consumer may do.
        roles: What the consumer is.
        tenant: Whom the consumer belongs to.
    """

    name: str = attrs.field(validator=text())
    consumer: str | None = attrs.field(default=None, validator=text(optional=True))
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tenant: str | None = attrs.field(default=None, validator=text(optional=True))


def _distinct(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    names = [each.name for each in value]
    for each in names:
        if names.count(each) > 1:
            raise ConfigError(f"there are two identities {each}", attribute.name)


@inbound_filter(name="client_certificate", order=10, fail_closed=True, always=True)
@attrs.frozen(kw_only=True)
class ClientCertificates:
    """The settings of a ``client_certificate`` filter.

    Attributes:
        name: What of a certificate names the client: "common_name", "dns", "uri", "email", "subject" or "fingerprint".
        identities: The clients that there are; none: every certificate that the server has verified is one.
        header: Header by which a trusted proxy hands the client's certificate on; None: none does.
        optional: Whether a request without a certificate passes, with nobody's identity.
    """

    authenticates = True

    name: str = attrs.field(
        default="common_name", validator=one_of("common_name", "dns", "uri", "email", "subject", "fingerprint"))
    identities: tuple[CertificateIdentity, ...] = attrs.field(default=(), validator=_distinct)
    header: str | None = attrs.field(default=None, validator=checked(own_header_mistake, optional=True))
    optional: bool = attrs.field(default=False, validator=flag)

    @property
    def proxies_headers(self) -> tuple[str, ...]:
        """Headers that only trusted proxies may send."""
        return () if self.header is None else (self.header,)

    def bind(self, host: FilterHost) -> Callable[[FilterContext], None]:
        """The filter, which is a plain function."""
        known = {each.name: each for each in self.identities}

        def client_certificate(context: FilterContext) -> None:
            certificate = self._certificate(context, host)
            if context.refusal is not None:
                return
            if certificate is None:
                absent(context, _CHALLENGE, optional=self.optional)
                return
            name = name_of(certificate, self.name)
            each = CertificateIdentity(name=name) if name and not known else known.get(name or "")
            if each is None:
                invalid(context, _CHALLENGE, "the client certificate is of nobody who is known here")
                return
            context.identity = Identity(consumer=each.consumer or each.name, scopes=frozenset(each.scopes),
                                        roles=frozenset(each.roles), tenant=each.tenant, method="client_certificate",
                                        claims={"subject": certificate.subject, "fingerprint": certificate.fingerprint})

        return client_certificate

    def _certificate(self, context: FilterContext, host: FilterHost) -> ClientCertificate | None:
        request = context.request
        if self.header is None or not host.addresses.is_trusted(request.peer or ""):
            return request.certificate
        value = single(context, self.header, as_written=True)
        del request.headers[self.header]
        if not value:
            return None
        found = parsed(value) if len(value) <= _MAX_HEADER else None
        if found is None:
            invalid(context, _CHALLENGE, "the client certificate cannot be read")
        return found


@functools.lru_cache(maxsize=256)
def parsed(value: str) -> ClientCertificate | None:
    """The certificate in a header's *value*; None if there is none in it."""
    try:
        if value.startswith(":") and value.endswith(":"):
            certificate = x509.load_der_x509_certificate(base64.b64decode(value[1:-1], validate=True))
        else:
            certificate = x509.load_pem_x509_certificate(unquote_to_bytes(value))
        return described(certificate)
    except (ValueError, binascii.Error, TypeError):
        return None


def described(certificate: x509.Certificate) -> ClientCertificate:
    """What filters need to know of a *certificate*."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    kinds = ((x509.DNSName, "DNS:"), (x509.UniformResourceIdentifier, "URI:"), (x509.RFC822Name, "EMAIL:"))
    found = tuple(f"{prefix}{each.value}" for each in names for kind, prefix in kinds if isinstance(each, kind))
    return ClientCertificate(subject=certificate.subject.rfc4514_string(), names=found,
                             fingerprint=certificate.fingerprint(hashes.SHA256()).hex())


def name_of(certificate: ClientCertificate, part: str) -> str | None:
    """What of a certificate names the client; None if nothing does, or several do."""
    if part == "fingerprint":
        return certificate.fingerprint or None
    if part == "subject":
        return certificate.subject or None
    if part == "common_name":
        try:
            name = x509.Name.from_rfc4514_string(certificate.subject)
        except ValueError:
            return None
        found = [str(each.value) for each in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    else:
        prefix = _PREFIXES[part]
        found = [each.removeprefix(prefix) for each in certificate.names if each.startswith(prefix)]
    return found[0] if len(found) == 1 and found[0] else None
