"""The demo's processes: starting them, hearing of their death, and ending them."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .gateway_file import applications_of, commands_of, gateway_file
from .script import Service

_PATIENCE_S: Final = 20.0


class StageError(Exception):
    """A process of the demo could not be started, or died."""


class Stage:
    """The services' programs and a gateway, as processes of their own.

    Attributes:
        programs: By name.
        gateway: None: it has not been started.
        commands: The programs by the keys of the gateway's commands.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="resilience-demo-")
        self.programs: dict[str, asyncio.subprocess.Process] = {}
        self.commands: dict[str, str] = {}
        self.gateway: asyncio.subprocess.Process | None = None

    async def start(self, services: tuple[Service, ...], *, gateway_port: int, private_port: int,
                    admin_port: int, registry_port: int) -> Path:
        """Start everything; returns the gateway's configuration file.

        Raises:
            StageError: A port is taken, or a process did not come up.
        """
        check_free({"gateway": gateway_port, "private": private_port, "admin": admin_port,
                    "registry": registry_port})
        names = applications_of(services)
        registry = f"http://127.0.0.1:{registry_port}/eureka"
        found = await asyncio.gather(*(self._program(name, registry, *names[name]) for name in names))
        ports = dict(zip(names, found, strict=True))
        self.commands = commands_of(services, ports)
        file = Path(self._folder.name) / "gateway.toml"
        file.write_text(gateway_file(services, gateway=gateway_port, private=private_port, admin=admin_port,
                                     registry=registry_port), encoding="utf-8")
        self.gateway = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "resilience", "gateway", str(file), stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True)  # a terminal sends an interrupt to all of its group, and this one is the demo's
        await self._until_listening(gateway_port, private_port, admin_port)
        return file

    async def _program(self, name: str, registry: str, application: str, instance: str) -> int:
        """Start one, which registers; returns its port."""
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "resilience.demo.service", name, "0", registry, application, instance,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True)
        self.programs[name] = program
        assert program.stdout is not None
        try:
            told = await asyncio.wait_for(program.stdout.readline(), _PATIENCE_S)
        except TimeoutError:
            told = b""
        if not told:
            raise StageError(f"the {name} service did not start")
        return int(told)

    def order(self, name: str, mood: str) -> None:
        """Tell a program how to behave."""
        stdin = self.programs[name].stdin
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
        for program in self.programs.values():
            if program.stdin is not None:
                program.stdin.close()
            try:
                await asyncio.wait_for(program.wait(), 5.0)
            except TimeoutError:
                program.kill()
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


def check_free(ports: Mapping[str, int]) -> None:
    """Make sure that nobody has these *ports*, each said by what it is for.

    Raises:
        StageError: One is taken, or there twice.
    """
    taken: dict[int, str] = {}
    for what, port in ports.items():
        if port in taken:
            raise StageError(f"the {what} port {port} is also the {taken[port]} port; give each a port of its own")
        taken[port] = what
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise StageError(f"the {what} port {port} cannot be used: {error.strerror}") from None
