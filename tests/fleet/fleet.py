"""Gateways, registries and instances of a service, each on a host of its own, and what tests ask them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.gateway.harness import eventually

from . import load, service
from .network import Host, Network

REGISTRY_PORT = 8761
ADMIN_PORT = 8090
#: Longest time for a program to say that it listens, on a machine that is busy with other work.
START_S = 300.0
_TOKEN = "the-operator-of-the-tests"
_DIGEST = hashlib.sha256(_TOKEN.encode()).hexdigest()

_GATEWAY = """
[gateway]
bind = "{address}:{port}"
drain_timeout = 8.0

[admin]
bind = "{address}:{admin}"
tokens = {{ tests = "sha256:{digest}" }}

[process]
workers = {workers}
lame_duck = {lame_duck}

[services.shop]
connect_timeout = 0.5

[services.shop.source]
use = "eureka"
app = "SHOP"
servers = [{servers}]
interval = 0.4
timeout = 0.8
keep = "{keep}"

[services.shop.ejection]
rest = 1.0
max_rest = 2.0

[[routes]]
path = "/*"
service = "shop"
"""
_LIMIT = """
[shared]
url = "redis://{redis}:6379/0"
name = "{name}"
instances = 4
timeout = 0.1

[filters.together]
use = "rate_limit"
rate = {rate}
burst = {burst}
by = ["route"]
shared = true

[[routes]]
path = "/limited/*"
service = "shop"
strip_prefix = "/limited"
filters = ["together"]
"""
#: Requests a second that all gateways let through together, and at once.
RATE, BURST = 40, 40
_REGISTRY = """
[listener]
bind = "{address}:{port}"

[registry]
self_preservation = false
eviction_interval = 1.0
compare_interval = 1.0
start_wait = 1.0

{peers}
"""


class Node:
    """A host with one program on it, which can be started again."""

    def __init__(self, host: Host, folder: Path, *command: str) -> None:
        self.host, self.log, self.out = host, folder / f"{host.name}.log", folder / f"{host.name}.out"
        self.address = host.address
        self._command = command
        self.process: subprocess.Popen[str] | None = None

    def __repr__(self) -> str:
        return repr(self.host)

    def start(self, *, wait: bool = True) -> None:
        """Start it; wait until it says that it listens."""
        with self.log.open("a") as log, self.out.open("w") as out:  # no pipe: one that nobody reads is full in the end
            self.process = self.host.start(*self._command, stdout=out, stderr=log)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it has started."""
        assert self.process is not None
        end = time.monotonic() + START_S
        while not self._has_started():
            assert self.process.poll() is None, f"{self} did not start: {self.log.read_text()}"
            assert time.monotonic() < end, f"{self} did not start in {START_S:g} s: {self.log.read_text()}"
            time.sleep(0.01)

    def _has_started(self) -> bool:
        return self.out.stat().st_size > 0

    def terminate(self) -> None:
        """Tell it to end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        """Wait for its end; its exit status."""
        assert self.process is not None
        return self.process.wait(30)

    def restart(self) -> None:
        """End it as an operator does, and start it again."""
        self.terminate()
        assert 0 == self.ended(), self.log.read_text()
        self.start()

    def die(self) -> None:
        """Kill it."""
        self.host.kill()

    def mend(self) -> None:
        """Undo what was done to it."""
        self.host.heal()
        self.host.thaw()
        if self.process is None or self.process.poll() is not None:
            self.start()

    def ask(self, port: int, path: str, method: str = "GET", body: str = "") -> tuple[int, str]:
        """Ask it from its own host: status and body."""
        with self.host.inside():
            connection = http.client.HTTPConnection(self.address, port, timeout=5)
            try:
                connection.request(method, path, body or None, {"Accept": "application/json", "Authorization": f"Bearer {_TOKEN}"})
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()


class GatewayNode(Node):
    """A gateway."""

    def __init__(self, host: Host, folder: Path, text: str) -> None:
        self.file = folder / f"{host.name}.toml"
        self.file.write_text(text)
        super().__init__(host, folder, sys.executable, "-m", "resilience", "gateway", str(self.file))

    def _has_started(self) -> bool:
        return self.is_ready()

    def tells(self, path: str) -> Any:
        """What its admin API says."""
        return json.loads(self.ask(ADMIN_PORT, path)[1])

    def sources(self) -> list[dict[str, Any]]:
        """What each of its workers knows of the service's source."""
        return list(self.tells("/admin/sources").get("shop", {}).values())

    def listed(self) -> set[str]:
        """The endpoints that all its workers have from the registry."""
        found = [set(each["endpoints"]) for each in self.sources()]
        return set.intersection(*found) if found else set()

    def reloads(self) -> tuple[int, int]:
        """How many configurations it has put in force, and refused."""
        told = self.tells("/admin/workers")["reloads"]
        return told["applied"], told["rejected"]

    def reload(self) -> None:
        """Have it read its file again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def workers(self) -> list[int]:
        """The processes of its workers."""
        assert self.process is not None
        return list(map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()))

    def is_ready(self) -> bool:
        try:
            return self.ask(ADMIN_PORT, "/ready")[0] == 200
        except OSError:
            return False


class RedisNode(Node):
    """Redis, which keeps nothing over a restart."""

    def __init__(self, host: Host, folder: Path) -> None:
        super().__init__(host, folder, "redis-server", "--bind", host.address, "--protected-mode", "no", "--save", "",
                         "--appendonly", "no", "--dir", str(folder))

    def _has_started(self) -> bool:
        with contextlib.suppress(OSError), self.host.inside(), \
                socket.create_connection((self.address, 6379), 1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(64) == b"+PONG\r\n"
        return False


class Fleet:
    """The whole, which ends with its network.

    Attributes:
        client: The host that requests come from.
    """

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.client = network.hosts.get("client") or network.host("client")
        self.registries: dict[str, Node] = {}
        self.services: dict[str, Node] = {}
        self.gateways: dict[str, GatewayNode] = {}
        self.redis: RedisNode | None = None

    @classmethod
    def usual(cls, network: Network, folder: Path, *, registries: int = 1) -> Fleet:
        """A registry or several, Redis, three services and three gateways, one of them with two workers; they run."""
        made = cls(network, folder)
        made.add_registries(*(f"registry{number}" for number in range(1, registries + 1)))
        made.redis = RedisNode(network.host("redis"), folder)
        for number in (1, 2, 3):
            made.add_service(f"service{number}")
        for number in (1, 2, 3):
            made.add_gateway(f"gateway{number}", workers=2 if number == 3 else 1)
        made.start()
        return made

    def add_registries(self, *names: str) -> None:
        """Hosts with registries that are peers, and do not run yet."""
        hosts = [self.network.host(name) for name in names]
        for host in hosts:
            peers = "".join(f'[[peers]]\nurl = "http://{each.address}:{REGISTRY_PORT}/eureka"\ntimeout = 1.0\n'
                            for each in hosts if each is not host)
            file = self.folder / f"{host.name}.toml"
            file.write_text(_REGISTRY.format(address=host.address, port=REGISTRY_PORT, peers=peers))
            self.registries[host.name] = Node(host, self.folder, sys.executable, "-m", "resilience", "registry", str(file))

    def add_service(self, name: str) -> None:
        """A host with an instance of the service that does not run yet."""
        host = self.network.host(name)
        self.services[name] = Node(host, self.folder, sys.executable, service.__file__, name, "SHOP", host.address,
                                   *(f"{each.address}:{REGISTRY_PORT}" for each in self.registries.values()))

    def add_gateway(self, name: str, *, workers: int) -> None:
        """A host with a gateway that does not run yet."""
        host = self.network.host(name)
        servers = ", ".join(f'"http://{each.address}:{REGISTRY_PORT}/eureka"' for each in self.registries.values())
        text = _GATEWAY.format(address=host.address, port=load.PORT, admin=ADMIN_PORT, digest=_DIGEST,
                               keep=self.folder / f"{name}.kept", workers=workers, lame_duck=0.5, servers=servers)
        if self.redis is not None:
            text += _LIMIT.format(redis=self.redis.address, name=name, rate=RATE, burst=BURST)
        self.gateways[name] = GatewayNode(host, self.folder, text)

    @property
    def registered(self) -> set[str]:
        """The instances that there are."""
        return {f"{each.address}:{name}:{service.PORT}" for name, each in self.services.items()}

    def start(self) -> None:
        """Start everything."""
        for registry in self.registries.values():
            registry.start(wait=False)
        for registry in self.registries.values():
            registry.wait()
        if self.redis is not None:
            self.redis.start()
        for each in self.services.values():
            each.start()
        for gateway in self.gateways.values():
            gateway.start(wait=False)
        for gateway in self.gateways.values():
            gateway.wait()

    @property
    def nodes(self) -> list[Node]:
        """All that can have a fault."""
        redis = [] if self.redis is None else [self.redis]
        return [*self.registries.values(), *redis, *self.services.values(), *self.gateways.values()]

    def stop(self) -> None:
        """Tell everything to end, and look how it did."""
        nodes: list[Node] = [*self.gateways.values(), *self.registries.values()]
        for node in nodes:
            node.terminate()
        assert {repr(node): 0 for node in nodes} == {repr(node): node.ended() for node in nodes}
        assert {} == {repr(node): text for node in nodes if "Traceback" in (text := node.log.read_text())}

    def until_mended(self) -> None:
        """Undo all faults."""
        for node in self.nodes:
            node.mend()

    def until_well(self) -> None:
        """Undo all faults; wait until every gateway knows every service, and every service answers."""
        self.until_mended()
        names = {f"{each.address}:{service.PORT}" for each in self.services.values()}
        for gateway in self.gateways.values():
            eventually(lambda: gateway.listed() == names, f"{gateway} knows all services")  # noqa: B023 - it is over at once
        with self.load(clients=len(self.gateways), pause_s=0.01) as load:
            for each in self.services:
                load.go_on(1, until=lambda record: record.last.body.startswith(f"{each} "))  # noqa: B023

    def listed(self, registry: Node) -> set[str]:
        """The instances that a registry has."""
        return set(re.findall(r'"instanceId": ?"([^"]+)"', registry.ask(REGISTRY_PORT, "/eureka/apps")[1]))

    def load(self, **how: Any) -> load.Load:
        """Clients of the gateways; see Load."""
        return load.Load(self.client, [each.address for each in self.gateways.values()], **how)

    def reloads(self) -> list[tuple[int, int]]:
        """How many configurations each gateway has put in force, and refused."""
        return [each.reloads() for each in self.gateways.values()]

    @contextlib.contextmanager
    def readiness(self) -> Iterator[Callable[[str], bool]]:
        """What a load balancer knows that asks for readiness ten times a second: says whether a gateway, by address, is ready."""
        ready, stop = {each.address: True for each in self.gateways.values()}, threading.Event()

        def ask(gateway: GatewayNode) -> None:
            while not stop.wait(0.1):
                ready[gateway.address] = gateway.is_ready()

        threads = [threading.Thread(target=ask, args=(each,), daemon=True) for each in self.gateways.values()]
        for thread in threads:
            thread.start()
        try:
            yield ready.__getitem__
        finally:
            stop.set()
            for thread in threads:
                thread.join(10)
