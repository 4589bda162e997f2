"""Clients known by their certificates, from the connection or from a trusted proxy, and liars who send the proxy's header."""

import base64
import datetime
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from resilience import Registry
from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.config import FilterConfig
from resilience.gateway.filters import FilterHost
from resilience.gateway.filters.chain import chain_of
from resilience.gateway.filters.client_certificate import (
    CertificateIdentity,
    ClientCertificates,
    described,
    name_of,
    parsed,
)
from resilience.gateway.filters.step import step_of
from resilience.gateway.messages.exchange import Request
from resilience.gateway.messages.inbound import ClientCertificate, RequestHead
from tests.gateway.filters import tokens
from tests.gateway.filters.chains import Bench, Client, admitted
from tests.gateway.harness import Upstream, running


def certificate(*common_names, names=()):
    key = tokens.private("ec-client")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common_names])
    now = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()) \
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=3650))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return builder.sign(key, hashes.SHA256())


BILLING = certificate("billing", names=[x509.DNSName("billing.internal"), x509.UniformResourceIdentifier("spiffe://shop/billing")])


def der(each):
    return f":{base64.b64encode(each.public_bytes(serialization.Encoding.DER)).decode()}:"


def pem(each):
    return quote(each.public_bytes(serialization.Encoding.PEM))


async def outcome(settings, certificate=None, *, trusted=False, headers=()):
    bench = Bench()
    host = FilterHost(name="mtls", services={}, registry=Registry(), client=None, service=None, addresses=ClientAddresses(lambda peer: trusted))
    found = []
    call = settings.bind(host)

    def run(context):
        call(context)
        found.append(context.identity)

    chain = chain_of([step_of(FilterConfig.of(settings), run, bench.registry)])
    head = RequestHead("GET", b"/x", b"", "1.1", "https", [(b"host", b"gw")], ("127.0.0.1", 1), None, certificate)
    client = Client(head)
    request = Request(method="GET", target=b"/x", host=None, headers=list(headers))
    await bench.runner.serve(chain, admitted(chain, request), client)
    return client.status, found[0]


@pytest.mark.parametrize(("part", "name"), [
    ("common_name", "billing"), ("dns", "billing.internal"), ("uri", "spiffe://shop/billing"), ("subject", "CN=billing"),
    pytest.param("fingerprint", BILLING.fingerprint(hashes.SHA256()).hex(), id="fingerprint"), ("email", None)])
async def test_a_part_of_the_certificate_names_the_client(part, name):
    status, identity = await outcome(ClientCertificates(name=part), described(BILLING))

    assert (status, identity and identity.consumer) == ((200, name) if name else (401, None))


async def test_only_known_clients_pass_where_they_are_listed():
    settings = ClientCertificates(identities=(
        CertificateIdentity(name="billing", consumer="the till", scopes=("pay",), roles=("r",), tenant="t"),))

    status, identity = await outcome(settings, described(BILLING))
    assert (status, identity.consumer, identity.scopes, identity.roles, identity.tenant) == (200, "the till", {"pay"}, {"r"}, "t")
    assert (await outcome(settings, described(certificate("stranger"))))[0] == 401
    assert (await outcome(settings))[0] == 401
    assert (await outcome(ClientCertificates(optional=True)))[0] == 200


async def test_a_certificate_with_two_names_of_one_kind_names_nobody():
    for each in (certificate("billing", "admin"), certificate()):
        assert (await outcome(ClientCertificates(), described(each)))[0] == 401
    assert name_of(ClientCertificate(subject="CN=a\\,CN\\=admin"), "common_name") == "a,CN=admin"
    assert name_of(ClientCertificate(subject="nonsense"), "common_name") is None
    assert name_of(ClientCertificate(subject="", names=("DNS:a", "DNS:b")), "dns") is None


async def test_a_trusted_proxy_hands_the_certificate_on_and_nobody_else_can():
    settings = ClientCertificates(header="Client-Cert")
    proxys_own = described(certificate("proxy"))

    for text in (der(BILLING), pem(BILLING)):
        line = [(b"client-cert", text.encode())]
        assert (await outcome(settings, proxys_own, trusted=True, headers=line))[1].consumer == "billing"
        assert (await outcome(settings, None, headers=line))[0] == 401
        assert (await outcome(settings, described(certificate("me")), headers=line))[1].consumer == "me"
        assert (await outcome(settings, proxys_own, trusted=True, headers=line * 2))[0] == 400
    assert (await outcome(settings, proxys_own, trusted=True))[0] == 401  # the proxy itself is not the client
    for wrong in ("x", ":AAAA:", ":%:", "%ff", ":" * 20_000):
        assert (await outcome(settings, proxys_own, trusted=True, headers=[(b"client-cert", wrong.encode())]))[0] == 401
    assert parsed("") is None


CONFIG = """
trusted_proxies = [{trusted}]
[services.up]
endpoints = ["{url}"]
[filters.mtls]
use = "client_certificate"
header = "Client-Cert"
[[routes]]
path = "/mtls/*"
service = "up"
filters = ["mtls"]
[[routes]]
path = "/open/*"
service = "up"
"""


@pytest.mark.parametrize("trusted", [True, False])
def test_the_header_of_a_proxy_is_taken_from_strangers_on_every_route(tmp_path, trusted):
    upstream = Upstream()
    config = CONFIG.format(url=upstream.url, trusted='"127.0.0.1"' if trusted else '"192.0.2.1"')
    with running(tmp_path, config) as gateway:
        for name in ("Client-Cert", "client_cert"):
            status = gateway.get("/mtls/x", headers=f"{name}: {der(BILLING)}\r\n")[0]
            assert status == (200 if trusted and name == "Client-Cert" else 401)
            gateway.get("/open/x", headers=f"{name}: {der(BILLING)}\r\nX-Consumer: forged\r\n")
            call = upstream.calls[-1]
            assert call.target == "/open/x"
            assert call.header(b"x-consumer") == []
            if not trusted:
                assert call.header(name.lower().encode()) == []
        if trusted:
            call = upstream.called("/mtls/x")
            assert (call.header(b"x-consumer"), call.header(b"client-cert")) == ([b"billing"], [])
    upstream.close()
