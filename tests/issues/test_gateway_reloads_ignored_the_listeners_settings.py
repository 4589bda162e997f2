"""A reload that changed how a listener treats its clients was said to be in force, and changed nothing."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import attrs
import pytest

from resilience import Registry
from resilience.errors import ConfigError
from resilience.gateway import Gateway, server
from resilience.gateway.config import GatewayConfig
from resilience.gateway.front.peers import Peers
from resilience.gateway.front.tls import CertificateSettings, TlsSettings
from resilience.gateway.listeners import Listeners
from tests.gateway.harness import free_port

from .gateway_parts import OK, asked, configured, upstream

_PEM = str(Path(__file__).parents[1] / "gateway" / "elsewhere.pem")


def _config(url: str, port: int, **gateway: Any) -> GatewayConfig:
    return configured({"endpoints": [url]}, gateway={"bind": f"127.0.0.1:{port}", **gateway})


def test_new_connections_are_served_by_the_settings_of_the_last_reload() -> None:
    async def main() -> None:
        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(OK)

        async def answer(*lines: str) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(asked("/x", *lines))
            try:
                return (await reader.read())[9:12]
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

        port, stop, ready = free_port(), asyncio.Event(), asyncio.Event()
        async with upstream(script) as url:
            gateway = Gateway(_config(url, port), registry=Registry())
            task = asyncio.ensure_future(server.listen(server.served_by(gateway), stop, ready.set, Listeners(drain_s=1.0)))
            await ready.wait()
            many = [f"X-{number}: y" for number in range(10)]
            assert b"200" == await answer(*many)
            gateway.reload(_config(url, port, max_headers=5))
            assert b"431" == await answer(*many)
            gateway.reload(_config(url, port, client_rate=0.001, client_burst=1))
            assert [b"200", b"429"] == [await answer(*many), await answer()]
            gateway.reload(_config(url, port, client_rate=0.001, client_burst=1, trusted_proxies=["127.0.0.1"]))
            assert b"200" == await answer()
            gateway.reload(_config(url, port, max_connections_per_client=1))
            keeping = await asyncio.open_connection("127.0.0.1", port)
            keeping[1].write(asked().replace(b"close", b"keep-alive"))
            await keeping[0].readuntil(b"ok")
            assert b"429" == await answer()
            gateway.reload(_config(url, port))
            assert b"200" == await answer()
            keeping[1].close()
            await keeping[1].wait_closed()
            stop.set()
            await task
            gateway.close()

    asyncio.run(main())


@pytest.mark.parametrize("change", [
    {"proxy_protocol": True, "trusted_proxies": ("127.0.0.1",)},
    {"tls": TlsSettings(certificates=(CertificateSettings(certificate_file=_PEM),))}])
def test_how_connections_begin_cannot_change_and_the_reload_says_so(change: dict[str, Any]) -> None:
    gateway = Gateway(_config("http://127.0.0.1:9", 8080), registry=Registry())
    before = gateway.config
    with pytest.raises(ConfigError, match=f"gateway.{next(iter(change))} cannot change"):
        gateway.reload(attrs.evolve(before, gateway=attrs.evolve(before.gateway, **change)))
    assert before is gateway.config


def test_another_rate_neither_refills_nor_lengthens_what_was_used() -> None:
    for rate, again in ((0.5, 0.5), (0.5, 100.0), (100.0, 0.5)):
        peers = Peers(max_connections=None, rate=rate, burst=4)
        assert [0, 0, 0] == [peers.wait("a", 1000.0) for _ in range(3)]
        peers.configure(max_connections=None, rate=again, burst=4, now=1000.0)
        assert peers.wait("a", 1000.0) == 0
        assert peers.wait("a", 1000.0) == max(1, round(1 / again))


def test_connections_that_came_before_the_bound_count_for_it() -> None:
    peers = Peers(max_connections=None, rate=None, burst=1)
    assert all(peers.enter("a") for _ in range(3))
    peers.configure(max_connections=2, rate=None, burst=1, now=0.0)
    assert not peers.enter("a")
    peers.leave("a")
    assert not peers.enter("a")
    peers.leave("a")
    assert peers.enter("a")
