"""A registry in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.gateway.harness import Gateway, free_port


class RegistryProcess(Gateway):
    """`resilience registry` with a file; *listener* are lines of its [listener] table."""

    def __init__(self, directory: Path, config: str = "", listener: str = "") -> None:
        self.port = self.admin = free_port()
        self.file = directory / f"registry-{self.port}.toml"
        self.file.write_text(f'[listener]\nbind = "127.0.0.1:{self.port}"\n{listener}\n{config}')
        self.start([sys.executable, "-X", "dev", "-W", "error", "-m", "resilience", "registry", str(self.file)])

    def start(self, command, *, cwd=Path(__file__).parents[3]):
        """Start it, and wait until it says that it listens."""
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)
        self.line = self.process.stdout.readline()
        assert self.line, self.process.communicate()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


class RegistryWithoutFile(RegistryProcess):
    """`resilience registry --port`."""

    def __init__(self) -> None:
        self.port = self.admin = free_port()
        self.start([sys.executable, "-X", "dev", "-W", "error", "-m", "resilience", "registry", "--port", str(self.port)])
