"""The demo's processes: starting them, hearing of their death, and ending them."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

_PATIENCE_S: Final = 20.0

_GATEWAY: Final = """\
[gateway]
bind = "127.0.0.1:{gateway}"

[admin]
bind = "127.0.0.1:{admin}"
"""

_SERVICE: Final = """
[services.{name}]
endpoints = ["http://127.0.0.1:{port}"]

[services.{name}.command]
timeout = 0.5
max_concurrent = 20
breaker = {{ failure_rate = 0.3, min_calls = 20, window = 2.0, open_for = 4.0 }}

[[routes]]
path = "/{name}/*"
methods = ["GET"]
service = "{name}"
strip_prefix = "/{name}"
"""


class StageError(Exception):
    """A process of the demo could not be started, or died."""


class Stage:
    """Three services and a gateway, as processes of their own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="resilience-demo-")
        self.services: dict[str, asyncio.subprocess.Process] = {}
        self.gateway: asyncio.subprocess.Process | None = None

    async def start(self, names: tuple[str, ...], *, gateway_port: int, admin_port: int) -> Path:
        """Start everything; returns the gateway's configuration file.

        Raises:
            StageError: A port is taken, or a process did not come up.
        """
        for what, port in (("gateway", gateway_port), ("admin", admin_port)):
            _check_free(what, port)
        config = _GATEWAY.format(gateway=gateway_port, admin=admin_port)
        for name in names:
            service = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "resilience.demo.service", name, "0",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
            self.services[name] = service
            assert service.stdout is not None
            told = await asyncio.wait_for(service.stdout.readline(), _PATIENCE_S)
            if not told:
                raise StageError(f"the {name} service did not start")
            config += _SERVICE.format(name=name, port=int(told))
        file = Path(self._folder.name) / "gateway.toml"
        file.write_text(config, encoding="utf-8")
        self.gateway = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "resilience", "gateway", str(file), stdout=asyncio.subprocess.DEVNULL)
        await self._until_listening(gateway_port, admin_port)
        return file

    def order(self, name: str, mood: str) -> None:
        """Tell a service how to behave."""
        stdin = self.services[name].stdin
        assert stdin is not None
        stdin.write(f"{mood}\n".encode())

    async def end(self) -> None:
        """Stop every process: the gateway politely, then, if it will not, at once."""
        if self.gateway is not None and self.gateway.returncode is None:
            self.gateway.terminate()
            try:
                await asyncio.wait_for(self.gateway.wait(), 10.0)
            except TimeoutError:
                self.gateway.kill()
        for service in self.services.values():
            if service.stdin is not None:
                service.stdin.close()
            try:
                await asyncio.wait_for(service.wait(), 5.0)
            except TimeoutError:
                service.kill()
        self._folder.cleanup()

    async def _until_listening(self, *ports: int) -> None:
        assert self.gateway is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_S
        for port in ports:
            while True:
                if self.gateway.returncode is not None:
                    raise StageError(f"the gateway ended with status {self.gateway.returncode}; see its message above")
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    if loop.time() > deadline:
                        raise StageError(f"the gateway did not open port {port}") from None
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break


def _check_free(what: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StageError(f"the {what} port {port} cannot be used: {error.strerror}") from None
