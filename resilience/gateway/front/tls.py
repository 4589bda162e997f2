"""TLS of a listener: a certificate for each name, client certificates, and new files while it runs.

One context is used by all handshakes that begin from now on. When a file has changed, a new one is made of all of
them, and takes its place if it can be made; connections that are there keep what they have.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from ...config.watcher import Signature, signature_of
from ...core.checks import text
from ...errors import ConfigError
from ..config.checks import checked, filled, one_of
from .certificates import Notices, Validity

#: Files are looked at no more often, and only when somebody connects.
LOOK_EVERY_S: Final = 1.0
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_ASKED: Final = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL}
_logger = logging.getLogger("resilience.gateway")


@attrs.frozen(kw_only=True)
class CertificateSettings:
    """A ``[[gateway.tls.certificates]]`` table.

    Attributes:
        certificate_file: The certificate and those between it and its authority, in PEM.
        key_file: Its private key, in PEM, unencrypted; None: in the same file.
        hosts: Names that it is for, ``*.`` for any one label; of the first table, for all others, too.
    """

    certificate_file: str = attrs.field(validator=text())
    key_file: str | None = attrs.field(default=None, validator=text(optional=True))
    hosts: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        self.load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def load(self, context: ssl.SSLContext) -> None:
        """Put it into *context*.

        Raises:
            ConfigError: It cannot be read, or is something else.
        """
        try:
            context.load_cert_chain(self.certificate_file, self.key_file, password=_no_password)
        except ssl.SSLError as error:
            why = f" ({error.reason})" if error.reason else ""
            raise ConfigError(f"{self.certificate_file} and {self.key_file or 'its key'} are no certificate and its "
                              f"private key in PEM{why}", "certificate_file") from None
        except OSError as error:
            raise ConfigError(f"{self.certificate_file} or {self.key_file or 'its key'} cannot be read "
                              f"({error.strerror})", "certificate_file") from None


@attrs.frozen(kw_only=True)
class TlsSettings:
    """The ``[gateway.tls]`` table.

    Attributes:
        certificates: At least one; the first serves whoever asks for no name, or for an unknown one.
        client_ca_file: Certificates in PEM of the authorities that clients' certificates are verified by; None: clients
            are not asked for any.
        client_crl_file: Lists in PEM of the clients' certificates that their authorities have revoked, one of each
            authority; None: none is.
        client_certificates: Whether a client must have one, with a client_ca_file: "required" (also None), or
            "optional".
        min_version: "1.2" or "1.3".
    """

    certificates: tuple[CertificateSettings, ...] = attrs.field(validator=filled)
    client_ca_file: str | None = attrs.field(default=None, validator=text(optional=True))
    client_crl_file: str | None = attrs.field(default=None, validator=text(optional=True))
    client_certificates: str | None = attrs.field(
        default=None, validator=checked(one_of(tuple(_ASKED), "client_certificates"), optional=True))
    min_version: str = attrs.field(default="1.2", validator=checked(one_of(tuple(_VERSIONS), "min_version")))

    def __attrs_post_init__(self) -> None:
        for name in ("client_certificates", "client_crl_file"):
            if self.client_ca_file is None and getattr(self, name) is not None:
                raise ConfigError(
                    f"{name} means nothing without client_ca_file: clients are not asked for certificates", name)
        context_of(self)

    def files(self) -> Iterator[str]:
        """The paths of all files."""
        for each in self.certificates:
            yield from (file for file in (each.certificate_file, each.key_file) if file is not None)
        yield from (file for file in (self.client_ca_file, self.client_crl_file) if file is not None)


def context_of(settings: TlsSettings, protocols: Sequence[str] = ("http/1.1",)) -> ssl.SSLContext:
    """A context for handshakes.

    Args:
        settings: Name the files.
        protocols: For ALPN, the best first.

    Raises:
        ConfigError: A file cannot be read, or is something else.
    """
    contexts = [_context(settings, each, protocols) for each in settings.certificates]
    by_name = {host.lower(): context for each, context in reversed([*zip(settings.certificates, contexts, strict=True)])
               for host in each.hosts}
    first = contexts[0]

    def choose(tls: Any, name: str | None, _: ssl.SSLContext) -> None:
        if name is not None:
            name = name.lower()
            chosen = by_name.get(name) or by_name.get(f"*.{name.partition('.')[2]}")
            if chosen is not None:
                tls.context = chosen

    if by_name:
        first.sni_callback = choose
    return first


def _context(settings: TlsSettings, certificate: CertificateSettings, protocols: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols([*protocols])
    certificate.load(context)
    if settings.client_ca_file is not None:
        _trust(context, settings.client_ca_file, "client_ca_file", "certificates")
        context.verify_mode = _ASKED[settings.client_certificates or "required"]
    if settings.client_crl_file is not None:
        _trust(context, settings.client_crl_file, "client_crl_file", "lists of revoked certificates")
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _trust(context: ssl.SSLContext, file: str, setting: str, what: str) -> None:
    before = context.cert_store_stats()
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise ConfigError(f"{file} has no {what} in PEM", setting) from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror})", setting) from None
    kind = "crl" if setting == "client_crl_file" else "x509"
    if context.cert_store_stats()[kind] == before[kind]:
        raise ConfigError(f"{file} has no {what} in PEM", setting)


def _no_password() -> str:
    """Fail, instead of asking the terminal for the password of a key."""
    raise ConfigError("the private key must not be encrypted", "key_file")


class TlsContexts:
    """The context in use. For one thread at a time.

    Attributes:
        validities: Of the certificates in use.
    """

    def __init__(self, settings: TlsSettings, *, http2: bool = False) -> None:
        """Read the files.

        Args:
            settings: Name them.
            http2: Whether clients may speak it.

        Raises:
            ConfigError: One cannot be read, or is something else.
        """
        self._settings = settings
        self._protocols = ("h2", "http/1.1") if http2 else ("http/1.1",)
        self._notices = Notices()
        self._refused: object = None  # the stamps of files that could not be read, and why
        self._looked_at = 0.0
        self._stamps = self._take()

    def current(self, now: float) -> ssl.SSLContext:
        """The context for a handshake that begins *now*, on the loop's clock."""
        if not 0.0 <= now - self._looked_at < LOOK_EVERY_S:
            self._looked_at = now
            self.reload()
            self._notices.tell(self.validities)
        return self._context

    def reload(self) -> bool:
        """Read the files anew if they have changed; whether they are in use. If not, the old certificates stay.

        What cannot be read is tried again at the next look: permissions, and a lack of open files, are mended without
        another change of the files.
        """
        stamps = _stamps([*self._settings.files()])
        if stamps == self._stamps:
            return True
        try:
            self._stamps = self._take()
        except ConfigError as error:
            if self._refused != (stamps, str(error)):
                self._refused = stamps, str(error)
                _logger.error("the gateway keeps its old certificates: %s", error)
            return False
        _logger.log(logging.WARNING if self._refused else logging.INFO, "the gateway's certificates were read anew")
        self._refused = None
        return True

    def _take(self) -> list[Signature | None]:
        """Use what the files say now; their stamps, from before they were read."""
        stamps = _stamps([*self._settings.files()])
        self._context = context_of(self._settings, self._protocols)
        found = (Validity.of(each.certificate_file) for each in self._settings.certificates)
        self.validities = [each for each in found if each is not None]
        self._notices.tell(self.validities)
        return stamps


def _stamps(files: Sequence[str]) -> list[Signature | None]:
    return [signature_of(file) for file in files]
