"""SIGUSR1, which log rotation sends to servers, and SIGUSR2 ended a gateway, and SIGHUP a registry."""

from __future__ import annotations

import asyncio
import functools
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resilience import Registry, cli
from resilience.config import Document
from resilience.discovery.registry.server import load, reload
from resilience.gateway import Gateway, server
from resilience.gateway.config import read
from resilience.gateway.listeners import Listeners
from resilience.gateway.registry_host import RegistryHost
from resilience.gateway.reloads import Reloads
from resilience.gateway.supervision.supervisor import Supervisor
from resilience.gateway.supervision.worker import Answers
from resilience.gateway.supervision.worker_process import _CODE
from tests.gateway.harness import free_port

SIGNALS = "for each in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2): os.kill(os.getpid(), each)"
#: A worker's start, which gets the signals at the first import of what is not Python's own.
WORKER = f"""
import os, signal, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "resilience":
            {SIGNALS}
            sys.exit(7)

sys.meta_path.insert(0, Finder())
""" + _CODE.format(path=sys.path, descriptor=0)
GATEWAY = '[services.up]\nendpoints = ["http://127.0.0.1:9"]\n[[routes]]\npath = "/*"\nservice = "up"\n'
REGISTRY = '[listener]\nbind = "127.0.0.1:{port}"\n[registry]\nmax_instances = {most}\n'


def test_they_do_not_end_a_worker() -> None:
    run = subprocess.run([sys.executable, "-c", WORKER], stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert 7 == run.returncode


def test_they_do_not_end_a_command_that_serves() -> None:
    asking = (signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in asking}
    try:
        cli._go_on_at_signals()
        assert [signal.SIG_IGN] * 2 == [signal.getsignal(number) for number in asking]
    finally:
        for number, act in before.items():
            signal.signal(number, act)
        assert signal.SIGHUP in signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


async def test_a_gateway_has_its_workers_reopen_the_access_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "gateway.toml").write_text(GATEWAY)
    supervisor, asked, heard = Supervisor(file), list[tuple[Any, ...]](), dict[signal.Signals, Any]()

    async def ask(*question: Any) -> None:
        asked.append(question)

    supervisor.workers[1] = SimpleNamespace(ask=ask)  # type: ignore[assignment]
    monkeypatch.setattr(server, "signals_heard", heard.update)
    supervisor._signals()
    heard[signal.SIGUSR1]()
    await asyncio.gather(*supervisor._jobs)
    assert ["reopen"] == [verb for verb, *_ in asked]


async def test_a_worker_writes_to_the_new_file_at_once(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    config = read(Document.of({
        "services": {"up": {"endpoints": ["http://127.0.0.1:9"]}}, "routes": [{"path": "/*", "service": "up"}],
        "access_log": {"to": str(log)}}, "test"))
    gateway = Gateway(config, registry=Registry())
    answers = Answers(None, gateway, None)  # type: ignore[arg-type]
    sink = gateway.observer.access_log.writer._sink  # type: ignore[union-attr]
    sink.write(b"old\n")
    log.rename(tmp_path / "access.log.1")
    await answers._reopen(lambda _: None, None)
    sink.write(b"new\n")
    assert "new\n" == log.read_text()
    sink.rest()
    gateway.close()


async def test_a_registry_reads_its_file_again_all_or_nothing(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, ports, listeners = tmp_path / "registry.toml", (free_port(), free_port()), Listeners()

    def write(port: int, most: object) -> None:
        file.write_text(REGISTRY.format(port=port, most=most))

    async def reloaded() -> Any:
        reloads.soon("the registry's configuration")
        reloads.soon("the registry's configuration")
        await asyncio.gather(*reloads.jobs)
        return host.application.registry.settings.max_instances

    write(ports[0], 7)
    host = RegistryHost(load(file))
    reloads = Reloads(functools.partial(reload, host, listeners, lambda: load(file)), asyncio.Lock())
    host.start()
    await listeners.change([host.served()])
    write(ports[1], 8)
    assert 8 == await reloaded()
    with await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{ports[1]}/eureka/apps") as answer:
        assert 200 == answer.status
    write(ports[1], '"many"')
    assert 8 == await reloaded()
    file.unlink()
    assert 8 == await reloaded()
    assert {f"the configuration stays as it is: {why}" for why in (
        f"{file}:4: registry.max_instances: must be a whole number, not 'many'",
        f"{file}: cannot be read: No such file or directory")} == {
            record.message for record in caplog.records if record.levelname == "ERROR"}
    await listeners.close()
    await host.close()
