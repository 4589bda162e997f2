"""Hosts on a network of their own: network namespaces that are joined by a bridge, which has a namespace, too.

Nothing of it is in the machine's own network, so that two runs can use the same addresses beside each other, and so
that deleting the namespaces leaves nothing behind. Their names say which process made them: what a run has left that
was killed is ended by the next one.

What can happen to a host, and what others notice:

    kill()       its processes end; the host says so to whoever is connected (RST)
    cut_off()    its cable is pulled: nothing answers, and nobody says so; heal() puts it back
    freeze()     its processes stand still: connections are still taken, by the kernel; thaw() lets them go on
    lose_power() as if the cable and the plug were pulled: nobody says anything, and nothing is left of its processes
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_PREFIX = "resilience-fleet-"
_SUBNET = "10.77.0"
_CLONE_NEWNET = 0x40000000
_NAMES = Path("/run/netns")
_PATIENCE_S = 30.0
_numbers = itertools.count(1)


def ip(*arguments: str) -> str:
    """Run `ip`; what it prints."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=_PATIENCE_S)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def is_possible() -> bool:
    """Whether this process may make namespaces, and all is there that runs in them."""
    if shutil.which("redis-server") is None:
        return False
    name = f"{_PREFIX}{os.getpid()}-probe"
    try:
        ip("netns", "add", name)
        ip("netns", "delete", name)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


class Host:
    """A namespace with one address, and the processes that were started in it."""

    def __init__(self, network: Network, name: str, number: int) -> None:
        self.name, self.address = name, f"{_SUBNET}.{number}"
        self._namespace, self._switch, self._port = network.namespace(name), network.switch, f"port{number}"
        self.processes: list[subprocess.Popen[str]] = []
        ip("netns", "add", self._namespace)
        try:
            ip("-n", self._switch, "link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self._namespace)
            ip("-n", self._switch, "link", "set", self._port, "master", "bridge", "up")
            ip("-n", self._namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
            ip("-n", self._namespace, "link", "set", "eth0", "up")
            ip("-n", self._namespace, "link", "set", "lo", "up")
        except BaseException:
            self.end()
            raise

    def __repr__(self) -> str:
        return f"{self.name} ({self.address})"

    def start(self, *command: str, **how: Any) -> subprocess.Popen[str]:
        """Start a process on this host; it ends with the host at the latest."""
        process = subprocess.Popen(["ip", "netns", "exec", self._namespace, *command], text=True, **how)
        self.processes.append(process)
        return process

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Have the sockets that this thread opens meanwhile on this host."""
        before = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        try:
            there = os.open(_NAMES / self._namespace, os.O_RDONLY)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def pids(self) -> list[int]:
        """All processes of this host, those too that its processes have started."""
        return [int(pid) for pid in ip("netns", "pids", self._namespace).split()]

    def signal(self, number: signal.Signals, pids: Sequence[int] | None = None) -> None:
        """Send a signal to processes of this host; None: all of them."""
        for pid in self.pids() if pids is None else pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End all processes of this host at once, and those that they start meanwhile."""
        end = time.monotonic() + _PATIENCE_S
        while pids := self.pids():
            assert time.monotonic() < end, f"processes {pids} on {self} do not end"
            self.signal(signal.SIGKILL, pids)
            self._reap()
        self._reap()

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def cut_off(self) -> None:
        ip("-n", self._switch, "link", "set", self._port, "down")

    def heal(self) -> None:
        ip("-n", self._switch, "link", "set", self._port, "up")

    def lose_power(self) -> None:
        self.cut_off()
        self.kill()

    def end(self) -> None:
        """End its processes and the host itself."""
        try:
            self.kill()
        finally:
            ip("netns", "delete", self._namespace)

    def _reap(self) -> None:
        """Collect those of our own processes that have been killed."""
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)


class Network:
    """A bridge, and the hosts on it. A context manager, which ends them all."""

    def __init__(self) -> None:
        end_what_was_left()
        self._prefix = f"{_PREFIX}{os.getpid()}-{next(_numbers)}-"
        self.hosts: dict[str, Host] = {}
        self.switch = self.namespace("switch")
        ip("netns", "add", self.switch)
        try:
            ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.switch, "link", "set", "bridge", "up")
        except BaseException:
            ip("netns", "delete", self.switch)
            raise

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def namespace(self, name: str) -> str:
        """The name of a namespace of this network."""
        return self._prefix + name

    def host(self, name: str) -> Host:
        """A new host."""
        made = self.hosts[name] = Host(self, name, 10 + len(self.hosts))
        return made

    def end(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(ip, "netns", "delete", self.switch)
            for host in self.hosts.values():
                stack.callback(host.end)


def end_what_was_left() -> None:
    """End the namespaces, and the processes in them, of runs that were killed."""
    for path in _NAMES.glob(f"{_PREFIX}*"):
        maker = path.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", maker).exists():
            with contextlib.suppress(OSError):
                for pid in ip("netns", "pids", path.name).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                ip("netns", "delete", path.name)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
