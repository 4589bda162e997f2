"""The processes of the demo's fleet: starting them, restarting them, hearing of their death, and ending them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

from .fleet_files import fleet_gateway_file, registry_file
from .fleet_script import GATEWAYS, INSTANCES, REDIS, REGISTRY, Act, FleetCue
from .stage import StageError, check_free

_PATIENCE_S: Final = 30.0
_END_S: Final = 10.0


class FleetStage:
    """A registry, instances, gateways, and Redis if there is one, as processes of their own.

    They have sessions of their own: the terminal's Ctrl-C is for the demo, which ends them in turn.

    Attributes:
        gateways: The base URLs of the gateways, by name.
        admins: Those of their admin ports.
        has_redis: Whether there is a redis-server on this machine.
    """

    def __init__(self, *, gateway_port: int, admin_port: int, registry_port: int) -> None:
        """Nothing runs yet.

        Args:
            gateway_port: Of the first gateway; the others have the next ones.
            admin_port: Likewise.
            registry_port: Of the registry.

        Raises:
            StageError: A port is taken.
        """
        self._ports = {REGISTRY: registry_port, **{name: gateway_port + at for at, name in enumerate(GATEWAYS)}}
        admins = {name: admin_port + at for at, name in enumerate(GATEWAYS)}
        check_free({**self._ports, **{f"{name} admin": port for name, port in admins.items()}})
        self._redis = shutil.which("redis-server")
        if self._redis is not None:
            self._ports[REDIS] = _free_port()
        self.gateways = {name: f"http://127.0.0.1:{self._ports[name]}" for name in GATEWAYS}
        self.admins = {name: f"http://127.0.0.1:{port}" for name, port in admins.items()}
        self._folder = tempfile.TemporaryDirectory(prefix="resilience-demo-")
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._acts: set[asyncio.Task[None]] = set()
        self._started: list[asyncio.subprocess.Process] = []
        self._up = set[str]()
        self._reading: set[asyncio.Task[None]] = set()
        folder = Path(self._folder.name)
        (folder / "registry.toml").write_text(registry_file(registry_port), encoding="utf-8")
        for name in GATEWAYS:
            (folder / f"{name}.toml").write_text(fleet_gateway_file(
                name, folder, gateway=self._ports[name], admin=admins[name], registry=registry_port,
                redis=self._ports.get(REDIS), gateways=len(GATEWAYS)), encoding="utf-8")

    @property
    def has_redis(self) -> bool:
        """See the class."""
        return self._redis is not None

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return Path(self._folder.name)

    async def start(self) -> None:
        """Start everything but the last instance.

        Raises:
            StageError: A process did not come up.
        """
        await asyncio.gather(*(self._start(name) for name in (REGISTRY, *([REDIS] if self.has_redis else []))))
        await asyncio.gather(*(self._start(name) for name in INSTANCES[:-1]))
        await asyncio.gather(*(self._start(name) for name in GATEWAYS))

    def do(self, cue: FleetCue) -> None:
        """Begin what a cue says."""
        task = asyncio.ensure_future(self._act(cue.program, cue.act))
        self._acts.add(task)

    @property
    def is_busy(self) -> bool:
        """Whether something is being started, or is ending."""
        return bool(self._acts)

    def runs(self, name: str) -> bool:
        """Whether a program has started, and runs."""
        process = self._processes.get(name)
        return name in self._up and process is not None and process.returncode is None

    def look(self) -> None:
        """Raise what has gone wrong.

        Raises:
            StageError: A program ended by itself, or did not start.
        """
        for task in [each for each in self._acts if each.done()]:
            self._acts.discard(task)
            task.result()
        for name, process in self._processes.items():
            if process.returncode is not None:
                raise StageError(f"{name} ended with status {process.returncode}{self._last_words(name)}")

    async def end(self) -> None:
        """Stop every process, politely, and those that will not, at once."""
        if self._acts:
            await asyncio.wait(self._acts, timeout=_END_S)  # so that each process that it starts is known
        for task in self._acts:
            task.cancel()
        await asyncio.gather(*self._acts, return_exceptions=True)
        for names in (GATEWAYS, INSTANCES, (REGISTRY, REDIS)):
            await asyncio.gather(*(self._stop(name) for name in names))
        for process in self._started:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self._folder.cleanup()

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _last_words(self, name: str) -> str:
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        return f": {lines[-1]}" if lines else ""

    async def _act(self, name: str, act: Act) -> None:
        self._up.discard(name)
        if act is Act.KILL:
            await self._kill(name)
        elif act is Act.STOP or act is Act.RESTART:
            await self._stop(name)
        if act is Act.START or act is Act.RESTART:
            await self._start(name)

    async def _start(self, name: str) -> None:
        """Start a program, and wait until it listens."""
        await self._begin(name)
        self._up.add(name)

    async def _begin(self, name: str) -> None:
        command, is_python = self._command(name)
        with self._log(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *([sys.executable, "-m"] if is_python else []), *command, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE if is_python else log, stderr=log)
        self._processes[name] = process
        self._started = [each for each in self._started if each.returncode is None] + [process]
        if process.stdout is None:
            await self._until_listening(name, process)
            return
        told = b""
        with contextlib.suppress(TimeoutError):
            told = await asyncio.wait_for(process.stdout.readline(), _PATIENCE_S)
        if not told:
            raise StageError(f"{name} did not start{self._last_words(name)}")
        reading = asyncio.ensure_future(_discard(process.stdout))
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)

    def _command(self, name: str) -> tuple[list[str], bool]:
        if name in GATEWAYS:
            return ["resilience", "gateway", str(self.folder / f"{name}.toml")], True
        if name == REGISTRY:
            return ["resilience", "registry", str(self.folder / "registry.toml")], True
        if name == REDIS:
            assert self._redis is not None
            return [self._redis, "--bind", "127.0.0.1", "--port", str(self._ports[REDIS]), "--save", "",
                    "--appendonly", "no", "--dir", str(self.folder)], False
        return ["resilience.demo.fleet_instance", name, str(self._ports[REGISTRY])], True

    async def _until_listening(self, name: str, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE_S
        while process.returncode is None and loop.time() < end:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._ports[name])
                writer.close()
                return
            await asyncio.sleep(0.05)
        raise StageError(f"{name} did not start{self._last_words(name)}")

    async def _stop(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _END_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _kill(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()


async def _discard(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
