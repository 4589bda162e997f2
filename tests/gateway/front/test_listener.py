"""What comes before a request: TLS with names and clients' certificates, new files, and the PROXY protocol."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from resilience import ConfigError
from resilience.gateway.config import CertificateSettings, TlsSettings
from resilience.gateway.config.listeners import GatewaySettings
from resilience.gateway.front.tls import TlsContexts
from resilience.gateway.messages.inbound import Inbound

from .serving import Serving, eventually, serving

LOCALHOST = Path(__file__).parents[2] / "dashboard" / "localhost.pem"
ELSEWHERE = Path(__file__).parents[1] / "elsewhere.pem"
ASK = b"GET /x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"


async def who(inbound: Inbound) -> None:
    """Answer with what the gateway is told of the connection."""
    head = inbound.head
    subject = "" if head.certificate is None else head.certificate.subject.removeprefix("CN=")
    client = head.client or ("", 0)
    inbound.body_is_over()
    await inbound.respond(200, [], f"{head.scheme} {client[0]} {client[1]} {(head.server or ('', 0))[1]} {subject}.".encode())


def tls(**changes: Any) -> TlsSettings:
    return TlsSettings(**{"certificates": (
        CertificateSettings(certificate_file=str(LOCALHOST)),
        CertificateSettings(certificate_file=str(ELSEWHERE), hosts=("elsewhere.example", "*.wild.example"))), **changes})


def trusting(*files: Path, own: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    for file in files:
        context.load_verify_locations(file)
    if own is not None:
        context.load_cert_chain(own)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def certificate(front: Serving, name: str | None) -> str:
    """The common name in the certificate that is shown to who asks for *name*."""
    client = await front.client(ssl=trusting(LOCALHOST, ELSEWHERE), server_hostname=name or "")
    found = client.writer.get_extra_info("peercert")["subjectAltName"][0][1]
    assert "http/1.1" == client.writer.get_extra_info("ssl_object").selected_alpn_protocol()
    client.leave()
    return str(found)


async def test_https_is_served_with_the_certificate_of_the_name_that_is_asked_for() -> None:
    async with serving(who, tls=tls()) as front:
        assert (await front.ask(ASK, ssl=trusting(LOCALHOST))).split(b"\r\n\r\n")[1].startswith(b"https 127.0.0.1 ")
        names = [await certificate(front, name) for name in ("localhost", "elsewhere.example", "ELSEWHERE.example", "a.wild.example",
                                                             "a.b.wild.example", "unknown.example", None)]
        await eventually(lambda: front.front.connections == 0)
    first, second = names[0], names[1]
    assert (True, [second, second, first, first, first]) == (first != second, names[2:])


async def test_a_connection_that_is_made_when_the_listener_ends_is_served_whichever_turn_of_the_loop_it_is() -> None:
    for turns in range(5):
        async with serving(who, tls=tls()) as front:
            await asyncio.sleep(0.001)
            plain = socket.socket()
            plain.setblocking(False)
            plain.connect_ex(("127.0.0.1", front.port))
            for _ in range(turns):
                await asyncio.sleep(0)
            draining = asyncio.create_task(front.listener.drain(5.0))
            assert b" 200 " in await front.ask(ASK, ssl=trusting(LOCALHOST), server_hostname="x", sock=plain), turns
            await draining


async def test_a_client_without_the_certificate_that_is_asked_for_gets_nothing() -> None:
    async with serving(who, tls=tls(client_ca_file=str(ELSEWHERE))) as front:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client = await front.client(ASK, ssl=trusting(LOCALHOST))
            if b"" == await client.reader.read(100):
                raise ConnectionError
        reply = await front.ask(ASK, ssl=trusting(LOCALHOST, own=ELSEWHERE))
        assert b"elsewhere.example." in reply
    async with serving(who, tls=tls(client_ca_file=str(ELSEWHERE), client_certificates="optional")) as front:
        assert (await front.ask(ASK, ssl=trusting(LOCALHOST))).endswith(b" .")


async def test_new_files_are_used_for_new_connections_and_bad_ones_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "certificate.pem"
    shutil.copy(LOCALHOST, file)
    settings = TlsSettings(certificates=(CertificateSettings(certificate_file=str(file)),))
    async with serving(who, tls=settings) as front:
        old = await front.client(ssl=trusting(LOCALHOST, ELSEWHERE), server_hostname="x")
        first = await certificate(front, "x")
        contexts = front.listener.tls
        assert contexts is not None
        file.write_text("nonsense")
        assert (False, first) == (contexts.reload(), await certificate(front, "x"))
        assert "keeps its old certificates" in caplog.text
        shutil.copy(ELSEWHERE, file)
        assert contexts.reload()
        assert first != await certificate(front, "x")
        assert b" 200 " in await old.send(ASK).all(), "connections that are there go on"
        await eventually(lambda: front.front.connections == 0)


def test_changed_files_are_seen_at_the_next_handshake_but_not_looked_at_for_each(tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    shutil.copy(LOCALHOST, file)
    contexts = TlsContexts(TlsSettings(certificates=(CertificateSettings(certificate_file=str(file)),)))
    first = contexts.current(100.0)
    shutil.copy(ELSEWHERE, file)
    os.utime(file, ns=(1, 1))
    assert first is contexts.current(100.5)
    second = contexts.current(101.5)
    assert (False, True) == (first is second, second is contexts.current(200.0))


async def test_a_client_that_never_shakes_hands_is_cut_and_holds_nobody_up() -> None:
    async with serving(who, tls=tls(), header_timeout=0.5, max_connections_per_client=2) as front:
        silent = [await front.client(), await front.client(b"GET / HTTP/1.1\r\n\r\n")]
        assert [b"", b""] == [await client.all() for client in silent]
        await eventually(lambda: front.front.peers.connections == 0, "the counts back")
        assert b" 200 " in await front.ask(ASK, ssl=trusting(LOCALHOST))
        await eventually(lambda: front.front.connections == 0)


@pytest.mark.parametrize(("changes", "message"), [
    ({"certificate_file": "/nowhere.pem"}, "cannot be read"), ({"certificate_file": __file__}, "no certificate and its private key in PEM$")])
def test_a_file_that_is_no_certificate_is_a_mistake(changes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TlsSettings(certificates=(CertificateSettings(**changes),))
    with pytest.raises(ConfigError, match="client_ca_file|cannot be read"):
        tls(client_ca_file="/nowhere.pem")


# -- PROXY protocol


PROXY = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"


@pytest.mark.parametrize("cut", [0, 1, 20, len(PROXY) - 1, len(PROXY), len(PROXY) + 5])
async def test_a_trusted_proxy_says_whose_connection_it_is(cut: int) -> None:
    async with serving(who, proxy_protocol=True, trusted_proxies=("127.0.0.1",)) as front:
        client = await front.client((PROXY + ASK)[:cut])
        await asyncio.sleep(0.01)
        assert (await client.send((PROXY + ASK)[cut:]).all()).endswith(b"http 192.0.2.7 4711 443 .")


async def test_a_proxy_in_front_of_tls_says_whose_connection_it_is() -> None:
    async with serving(who, tls=tls(), proxy_protocol=True, trusted_proxies=("127.0.0.1",)) as front:
        plain = socket.create_connection(("127.0.0.1", front.port))
        plain.sendall(PROXY)
        plain.setblocking(False)
        assert (await front.ask(ASK, ssl=trusting(LOCALHOST), server_hostname="x", sock=plain)).endswith(b"https 192.0.2.7 4711 443 .")


async def test_a_trusted_proxy_that_says_nothing_is_cut_and_its_own_connections_pass() -> None:
    async with serving(who, proxy_protocol=True, trusted_proxies=("127.0.0.1",), header_timeout=0.5) as front:
        assert [b"", b""] == [await front.ask(ASK), await front.ask(b"")]
        assert b"http 127.0.0.1 " in await front.ask(b"PROXY UNKNOWN\r\n" + ASK)


async def test_nobody_else_is_believed() -> None:
    async with serving(who, proxy_protocol=True, trusted_proxies=("192.0.2.0/24",)) as front:
        assert b"http 127.0.0.1 " in await front.ask(ASK)
        assert b" 400 " in await front.ask(PROXY + ASK)


async def test_clients_behind_a_proxy_are_counted_by_their_own_address() -> None:
    async with serving(who, proxy_protocol=True, trusted_proxies=("127.0.0.1",), max_connections_per_client=1) as front:
        first = await front.client(PROXY)
        await eventually(lambda: front.front.peers.connections == 1)
        assert b"" == await front.ask(PROXY + ASK)
        assert b" 200 " in await front.ask(PROXY.replace(b"192.0.2.7", b"192.0.2.8") + ASK)
        first.leave()
        await eventually(lambda: front.front.peers.connections == 0)


def test_the_proxy_protocol_needs_somebody_to_believe() -> None:
    with pytest.raises(ConfigError, match="needs trusted_proxies"):
        GatewaySettings(proxy_protocol=True)
