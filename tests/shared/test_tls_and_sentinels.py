"""Stores behind TLS and behind Sentinels: real ones, asked, taken away, and replaced."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from resilience import Registry
from resilience.shared.connection import Connection
from resilience.shared.redis_client import StoreAddress
from resilience.shared.store import StoreUnavailableError
from tests.gateway.harness import free_port

from .redis_server import RedisServer, Sentinel
from .test_connection import ask, becomes, closed

#: A throw-away certificate with its key, and so its own authority: for localhost and 127.0.0.1.
LOCALHOST = Path(__file__).parents[1] / "dashboard" / "localhost.pem"
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
        await becomes(lambda: replica.say("ROLE") == b"*3" and b"master" in replica.lines("ROLE"))

        async def answers():
            while True:
                try:
                    return await ask(connection)
                except StoreUnavailableError:
                    await asyncio.sleep(0.01)

        assert await asyncio.wait_for(answers(), 60) == [b"hello", 7]
        await closed(connection)

    asyncio.run(scenario())
