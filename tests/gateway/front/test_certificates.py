"""Until when certificates are good, whom a list of revoked ones keeps out, and what is told of both."""

from __future__ import annotations

import datetime as dt
import logging
import ssl
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from resilience import ConfigError, Registry
from resilience.cli import check
from resilience.gateway.config import CertificateSettings, TlsSettings
from resilience.gateway.config.listeners import GatewaySettings
from resilience.gateway.front.certificates import Notices, Validity
from resilience.gateway.front.tls import context_of
from resilience.gateway.listener_metrics import METRICS
from resilience.gateway.listeners import Listeners, Served

from ..harness import free_port
from .serving import eventually, serving
from .test_listener import ASK, ELSEWHERE, LOCALHOST, tls, trusting, who

DAY = 86400.0
BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@attrs.frozen
class Authority:
    """Signs certificates for clients, and says which of them it has revoked."""

    folder: Path
    key: Any = attrs.field(factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def _name(self, name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def certificate(self, name: str, days: float, begin: dt.datetime = BEGIN) -> Path:
        """A file with a certificate for *name*, which lasts for some *days*, and its key."""
        key, is_own = ec.generate_private_key(ec.SECP256R1()), name == "authority"
        made = (x509.CertificateBuilder().subject_name(self._name(name)).issuer_name(self._name("authority"))
                .public_key((self.key if is_own else key).public_key()).serial_number(len(name))
                .not_valid_before(begin).not_valid_after(begin + dt.timedelta(days=days))
                .add_extension(x509.BasicConstraints(ca=is_own, path_length=None), critical=True)
                .sign(self.key, hashes.SHA256()))
        file = self.folder / f"{name}.pem"
        file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return file

    def revoked(self, *names: str) -> Path:
        """A file with the list of those that are revoked."""
        now = dt.datetime.now(dt.UTC)
        made = (x509.CertificateRevocationListBuilder().issuer_name(self._name("authority")).last_update(now)
                .next_update(now + dt.timedelta(days=1)))
        for name in names:
            made = made.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(len(name)).revocation_date(now).build())
        file = self.folder / "revoked.pem"
        file.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return file


def handshake(settings: TlsSettings, client: ssl.SSLContext, hello: bytes = b"") -> None:
    """Shake hands in memory, with another beginning if there is a *hello*; raises what the server raises."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context_of(settings).wrap_bio(up, down, server_side=True)
    mine = client.wrap_bio(down, up, server_hostname="name")
    if hello:
        up.write(hello)
    for _ in range(4):
        for end in (mine, server) if not hello else (server,):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass


@pytest.mark.parametrize(("days", "at_day", "level", "text"), [
    (90, 10, None, ""), (90, 75.9, None, ""),
    (90, 76.1, logging.WARNING, "expires on 2026-04-01 00:00 UTC: replace the file before"),
    (6, 4, None, ""), (6, 5, logging.WARNING, "expires on 2026-01-07 00:00 UTC"),
    (90, 90, logging.ERROR, "has expired on 2026-04-01 00:00 UTC, and clients reject it"),
    (90, -1, logging.ERROR, "is not valid before 2026-01-01 00:00 UTC"),
])
def test_who_runs_a_gateway_is_told_once_before_a_certificate_ends(
        tmp_path: Path, caplog: pytest.LogCaptureFixture, days: float, at_day: float, level: int | None,
        text: str) -> None:
    file = Authority(tmp_path).certificate("client", days)
    validity, notices = Validity.of(str(file)), Notices()
    assert validity is not None
    now = BEGIN.timestamp() + at_day * DAY
    for _ in range(3):
        notices.tell([validity], now)
    assert ([] if level is None else [level]) == [record.levelno for record in caplog.records]
    assert text in caplog.text
    assert level is None or f"the certificate in {file} " in caplog.text


@pytest.mark.parametrize("table", ["gateway.tls", "registry.listener.tls"])
def test_check_warns_of_a_certificate_that_has_ended(
        tmp_path: Path, caplog: pytest.LogCaptureFixture, table: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f"""
[{table}]
certificates = [{{ certificate_file = "{Authority(tmp_path).certificate("server", 30, BEGIN - dt.timedelta(days=365))}" }}]
[services.up]
endpoints = ["http://127.0.0.1:9001"]
[[routes]]
path = "/*"
service = "up"
""")
    assert " (1 service, 1 route)" == check._check_gateway(str(file))
    assert "has expired on 2025-01-31 00:00 UTC" in caplog.text


def test_of_what_is_no_certificate_nobody_can_tell(tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    assert [None, None] == [Validity.of(str(tmp_path / "other.pem")), Validity.of(str(tmp_path / "nowhere"))]


def test_a_revoked_certificate_is_rejected_and_another_one_is_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    now = dt.datetime.now(dt.UTC)
    own, good, bad = (authority.certificate(name, 30, now) for name in ("authority", "good", "bad"))
    settings = tls(client_ca_file=str(own), client_crl_file=str(authority.revoked("bad")))
    assert str(tmp_path / "revoked.pem") in [*settings.files()]
    handshake(settings, trusting(LOCALHOST, own=good))
    with pytest.raises(ssl.SSLCertVerificationError, match="revoked"):
        handshake(settings, trusting(LOCALHOST, own=bad))
    handshake(attrs.evolve(settings, client_crl_file=None), trusting(LOCALHOST, own=bad))


@pytest.mark.parametrize(("changes", "message"), [
    ({"client_crl_file": "x"}, "client_crl_file means nothing without client_ca_file"),
    ({"client_certificates": "optional"}, "client_certificates means nothing without client_ca_file"),
    ({"client_ca_file": str(LOCALHOST), "client_crl_file": str(LOCALHOST)}, "has no lists of revoked certificates"),
    ({"client_ca_file": str(LOCALHOST), "client_crl_file": "/nowhere"}, "/nowhere cannot be read"),
    ({"client_ca_file": __file__}, "has no certificates in PEM"),
])
def test_a_list_that_is_none_is_a_mistake(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tls(**changes)


async def test_handshakes_that_came_to_nothing_are_counted_and_bad_certificates_named_now_and_then(
        caplog: pytest.LogCaptureFixture) -> None:
    async with serving(who, tls=tls(client_ca_file=str(ELSEWHERE))) as front:
        for own in (None, LOCALHOST, LOCALHOST):
            client = await front.client(ssl=trusting(LOCALHOST, own=own), server_hostname="x")
            await client.send(ASK).all()
        await eventually(lambda: sum(front.front.failed_handshakes.values()) == 3)
        assert {"client_certificate": 2, "other": 1} == front.front.failed_handshakes
    assert 1 == caplog.text.count("the certificate of a client, 127.0.0.1, was rejected: self-signed certificate; 1 so far")


async def test_prometheus_is_told_when_certificates_end_and_of_failed_handshakes() -> None:
    registry, listeners = Registry(), Listeners()
    METRICS.of(registry).adopt(listeners)
    settings = GatewaySettings(tls=TlsSettings(certificates=(CertificateSettings(certificate_file=str(LOCALHOST)),)))
    try:
        await listeners.change([Served("gateway", who, f"127.0.0.1:{free_port()}", settings)])
        [(_, listener)] = listeners.open()
        listener.front.failed_handshakes["timeout"] = 2
        ends, failed = METRICS.of(registry).collect()
        known = Validity.of(str(LOCALHOST))
        assert known is not None
        assert [({"file": str(LOCALHOST)}, known.ends_at)] == [(each.labels, each.value) for each in ends.samples]
        assert [({"reason": "timeout"}, 2)] == [(each.labels, each.value) for each in failed.samples]
    finally:
        await listeners.close()
