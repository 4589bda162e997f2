"""Stores behind TLS, behind Sentinels and with users: real ones, asked, taken away, and replaced."""

import asyncio
import contextlib
import re
import socket
import ssl
from pathlib import Path

import pytest

from resilience import Registry
from resilience.discovery import Registrant, Registration
from resilience.shared.connection import Connection
from resilience.shared.redis_client import StoreAddress
from resilience.shared.store import StoreUnavailableError
from tests.gateway.harness import Upstream, eventually, free_port, running

from .redis_server import RedisServer, Sentinel
from .test_connection import ask, becomes, closed

#: A throw-away certificate with its key, and so its own authority: for localhost and 127.0.0.1.
LOCALHOST = Path(__file__).parents[1] / "dashboard" / "localhost.pem"
DOCS = Path(__file__).parents[2] / "docs"
ELSEWHERE = Path(__file__).parents[1] / "gateway" / "elsewhere.pem"


class TlsRedisServer(RedisServer):
    """One that speaks TLS, on a second port."""

    def __init__(self, directory):
        self.tls_port = free_port()
        super().__init__(directory, arguments=(
            "--tls-port", str(self.tls_port), "--tls-cert-file", str(LOCALHOST), "--tls-key-file", str(LOCALHOST),
            "--tls-ca-cert-file", str(LOCALHOST), "--tls-auth-clients", "no"))


def connection_to(url, **said):
    address = StoreAddress(url=url, **said)
    return Connection(lambda: address.client(name="one", connect_s=2.0), place=url, name="one", prefix="test:",
                      timeout_s=2.0, registry=Registry())


@pytest.fixture
def servers(tmp_path):
    started = []
    yield started
    for each in started:
        each.kill()


def test_a_store_behind_tls_is_verified_before_it_is_asked(servers, tmp_path):
    servers.append(server := TlsRedisServer(tmp_path))
    with socket.create_connection(("127.0.0.1", server.tls_port), 10) as client, pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(client, server_hostname="127.0.0.1")

    async def scenario():
        for scheme in ("rediss", "valkeys"):
            good = connection_to(f"{scheme}://127.0.0.1:{server.tls_port}/0", ca_file=str(LOCALHOST))
            await good.known()
            assert await ask(good) == [b"hello", 7]
            await closed(good)
        for ca_file in (str(ELSEWHERE), None):
            bad = connection_to(f"rediss://127.0.0.1:{server.tls_port}/0", ca_file=ca_file)
            with pytest.raises(StoreUnavailableError):
                await ask(bad)
            assert not bad.is_connected
            await closed(bad)

    asyncio.run(scenario())


def is_primary(server):
    with contextlib.suppress(ConnectionError):  # a Sentinel closes the connections of whom it appoints
        return server.lines("ROLE")[::2][:2] == [b"*3", b"master"]
    return False


def test_sentinels_say_which_server_is_the_primary_and_which_one_takes_its_place(servers, tmp_path):
    directories = [tmp_path / name for name in ("primary", "replica", "sentinel")]
    for each in directories:
        each.mkdir()
    servers.append(primary := RedisServer(directories[0]))
    servers.append(replica := RedisServer(directories[1], of=primary))
    servers.append(sentinel := Sentinel(directories[2], primary))

    async def scenario():
        connection = connection_to(f"redis+sentinel://127.0.0.1:{sentinel.port}/main")
        await connection.known()
        assert await ask(connection) == [b"hello", 7]
        await becomes(lambda: sentinel.say("SENTINEL", "REPLICAS", "main") == b"*1")
        primary.kill()
        await becomes(lambda: is_primary(replica))

        async def answers():
            while True:
                try:
                    return await ask(connection)
                except StoreUnavailableError:
                    await asyncio.sleep(0.01)

        assert await asyncio.wait_for(answers(), 60) == [b"hello", 7]
        await closed(connection)

    asyncio.run(scenario())


def test_sentinels_and_the_server_may_each_want_a_password(servers, tmp_path):
    for name in ("primary", "sentinel"):
        (tmp_path / name).mkdir()
    servers.append(primary := RedisServer(tmp_path / "primary"))
    primary.say("ACL", "SETUSER", "gateway", "on", ">secret", "~*", "+@all")
    primary.say("ACL", "SETUSER", "default", "off")
    servers.append(sentinel := Sentinel(tmp_path / "sentinel", primary, password="watch"))
    said = {"username": "gateway", "password": "secret", "sentinel_password": "watch"}

    async def scenario():
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main"
        good = connection_to(url, **said)
        await good.known()
        assert await ask(good) == [b"hello", 7]
        await closed(good)
        for wrong in ("username", "password", "sentinel_password"):
            for value in ("other", None):
                bad = connection_to(url, **{**said, wrong: value})
                with pytest.raises(StoreUnavailableError):
                    await ask(bad)
                await closed(bad)

    asyncio.run(scenario())


CONFIG = """
[registry.listener]
bind = "127.0.0.1:{registry}"
[registry.shared]
url = "{url}"
username = "gateway"
password = "env:STORE_PASSWORD"
[shared]
url = "{url}"
username = "gateway"
password = "env:STORE_PASSWORD"
fleet_secret = "env:STORE_SECRET"
timeout = 1.0
[shared.circuits]
[services.up]
endpoints = ["{upstream}", "http://127.0.0.1:1"]
[services.found]
source = {{ use = "redis", url = "env:STORE_URL", app = "shop", required = false }}
[filters.together]
use = "rate_limit"
rate = 5
per = 3600.0
by = ["address"]
shared = true
[[routes]]
path = "/*"
service = "up"
filters = ["together"]
[[routes]]
path = "/found/*"
service = "found"
"""


def test_a_user_of_the_gateways_own_needs_no_more_than_the_guide_says(servers, tmp_path, monkeypatch):
    servers.append(server := RedisServer(tmp_path))
    guide = (DOCS / "howto" / "limit-rates-at-the-gateway.md").read_text(encoding="utf-8")
    user, = re.findall(r"^ACL (SETUSER gateway .*)$", guide, re.M)
    assert server.say("ACL", *user.replace("PASSWORD", "secret").split()) == b"+OK"
    monkeypatch.setenv("STORE_PASSWORD", "secret")
    monkeypatch.setenv("STORE_SECRET", "s" * 40)
    monkeypatch.setenv("STORE_URL", f"redis://gateway:secret@127.0.0.1:{server.port}/0")
    upstream, registry = Upstream(), free_port()
    with contextlib.closing(upstream), running(
            tmp_path, CONFIG.format(url=server.url, upstream=upstream.url, registry=registry), workers=2) as gateway:
        assert 429 in {gateway.get("/x")[0] for _ in range(12)}
        eventually(lambda: server.say("EXISTS", "resilience:circuits:gateways") == b":1", "hints of circuits")
        eventually(lambda: server.say("EXISTS", "resilience:fleet:reports") == b":1", "reports to the fleet")
        with Registration(Registrant(app="shop", host="127.0.0.1", port=1),
                          f"redis://gateway:secret@127.0.0.1:{server.port}/0"):
            eventually(lambda: gateway.get("/found/x")[0] == 502, "the instance is listed, and refuses")
        eventually(lambda: server.say("EXISTS", "resilience:registry:state") == b":1", "the registry's list")
        assert gateway.metric("failure", "shared") == 0
    assert server.say("ACL", "LOG") == b"*0", "what it is not allowed to do it has not tried"
