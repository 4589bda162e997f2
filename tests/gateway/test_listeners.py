"""What a process listens on changes while it serves: all or nothing, and without a connection, a limit or a task lost."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import attrs
import pytest

from resilience import Registry
from resilience.config import Document
from resilience.errors import ConfigError
from resilience.gateway import Gateway, server
from resilience.gateway.config import GatewayConfig, read
from resilience.gateway.listeners import Listeners, ServeError

from .harness import free_port

_PEM = str(Path(__file__).parent / "elsewhere.pem")
_OTHERS = {"certificates": [{"certificate_file": _PEM}]}


def config(public: int, private: int | None, path: str = "/p/*", **said: Any) -> GatewayConfig:
    """Two listeners whose services nobody needs to be: what has no route is answered with 404."""
    tables: dict[str, Any] = {
        "gateway": {"bind": f"127.0.0.1:{public}"}, "services": {"up": {"endpoints": ["http://127.0.0.1:9"]}},
        "routes": [{"path": "/u/*", "service": "up"}]}
    if private is not None:
        tables["private"] = {"bind": f"127.0.0.1:{private}", "routes": [{"path": path, "service": "up"}], **said}
    return read(Document.of(tables, "test"))


async def status(port: int, context: ssl.SSLContext | None = None) -> int:
    """One request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1])


async def refuses(port: int) -> bool:
    try:
        (await asyncio.open_connection("127.0.0.1", port))[1].close()
    except ConnectionRefusedError:
        return True
    return False


class Serving:
    """A gateway and its listeners, which reload together."""

    def __init__(self, config: GatewayConfig) -> None:
        self.gateway, self.listeners = Gateway(config, registry=Registry()), Listeners(drain_s=5.0, shared=True)

    async def reload(self, config: GatewayConfig, switch: Callable[[], object] | None = None) -> None:
        gateway = self.gateway
        await self.listeners.change(server.served_by(gateway, config), switch or (lambda: gateway.reload(config)))


def served(test: Callable[[Serving, int, int], Coroutine[Any, Any, None]], private: bool = True) -> None:
    """Run a *test* with a gateway that serves, on two ports."""

    async def main() -> None:
        public, port = free_port(), free_port()
        serving = Serving(config(public, port if private else None))
        await serving.listeners.change(server.served_by(serving.gateway))
        try:
            await test(serving, public, port)
        finally:
            await serving.listeners.close()
            serving.gateway.close()

    asyncio.run(main())


def test_a_taken_port_or_a_configuration_that_cannot_be_in_force_changes_nothing() -> None:
    async def test(serving: Serving, public: int, port: int) -> None:
        before, elsewhere = serving.gateway.config, free_port()
        files = len(os.listdir("/proc/self/fd"))
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            taken = stranger.getsockname()[1]
            with pytest.raises(ServeError, match=f"cannot listen on 127.0.0.1:{taken}: Address already in use"):
                await serving.reload(config(public, taken))

        def fails() -> None:
            raise ConfigError("not to be")

        for wanted in (config(public, elsewhere), config(public, port, tls=_OTHERS), config(public, None)):
            with pytest.raises(ConfigError, match="not to be"):
                await serving.reload(wanted, fails)
        assert (404, 404, True) == (await status(public), await status(port), await refuses(elsewhere))
        assert (before, files) == (serving.gateway.config, len(os.listdir("/proc/self/fd")))

    served(test)


def test_a_connection_that_waits_to_be_accepted_is_served_when_its_listener_begins_to_speak_tls() -> None:
    async def test(serving: Serving, public: int, port: int) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]  # the loop has not come round yet
        await serving.reload(config(public, port, tls=_OTHERS))
        for each in clients:
            reader, writer = await asyncio.open_connection(sock=each, ssl=context, server_hostname="x")
            writer.write(b"GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
            assert b"HTTP/1.1 404" in await reader.read()
            writer.close()
        assert 404 == await status(port, context)
        await serving.reload(config(public, port))
        assert 404 == await status(port)

    served(test)


def test_a_listener_that_moves_refills_no_limit() -> None:
    async def test(serving: Serving, public: int, port: int) -> None:
        limited: dict[str, Any] = {"client_rate": 0.001, "client_burst": 2}
        await serving.reload(config(public, port, **limited))
        assert [404, 404, 429] == [await status(port) for _ in range(3)]
        moved = free_port()
        await serving.reload(config(public, moved, **limited))
        assert (429, True) == (await status(moved), await refuses(port))

    served(test)


def test_a_request_that_comes_when_the_private_listener_is_gone_is_told_so_and_the_connection_closes() -> None:
    async def test(serving: Serving, public: int, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: gw\r\n")  # a request has begun, so the connection stays
        await asyncio.sleep(0)
        assert 404 == await status(public)
        await serving.reload(config(public, None))
        assert await refuses(port)
        writer.write(b"\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 404")
        assert b"connection: close" in answer
        assert b"the private listener is no more" in answer
        writer.close()

    served(test)


def test_hundreds_of_reloads_that_add_move_and_remove_a_side_leak_nothing() -> None:
    async def test(serving: Serving, public: int, port: int) -> None:
        other, seen = free_port(), []
        variants = [config(public, port), config(public, None), config(public, other), config(public, other, http2=False)]
        for n in range(200):
            await serving.reload(variants[n % 4])
            await asyncio.sleep(0)
            if n in (99, 199):
                for _ in range(5):
                    await asyncio.sleep(0)
                gc.collect()
                seen.append((len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), len(gc.get_objects())))
        (tasks, files, objects), (tasks_after, files_after, objects_after) = seen
        assert (tasks, files) == (tasks_after, files_after)
        assert objects_after < objects + 500

    served(test, private=False)


def test_a_reload_of_the_public_address_is_still_refused() -> None:
    async def test(serving: Serving, public: int, port: int) -> None:
        wanted = config(free_port(), port)
        with pytest.raises(ConfigError, match=r"gateway\.bind cannot change"):
            await serving.reload(wanted)
        assert 404 == await status(public)
        assert await refuses(int(wanted.gateway.bind.rpartition(":")[2]))
        assert serving.gateway.config == attrs.evolve(wanted, gateway=serving.gateway.config.gateway)

    served(test)
