"""Registries as processes: three that replicate, are killed and started again; peers that lie; tokens; a gateway with one."""

import asyncio
import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from py_eureka_client import eureka_client

from tests.discovery.registry.harness import RegistryProcess
from tests.discovery.registry.test_eureka_rest import FULL
from tests.gateway.harness import Gateway, free_port

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore:The 'warn' method:DeprecationWarning")]

PREPARE, PULL = "_EurekaClient__parepare_instance_info", "_EurekaClient__pull_full_registry"
PATIENCE_S = 90.0


def until(holds):
    """Wait until *holds*; it may raise OSError as long as it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(OSError):
            if holds():
                return
        assert time.monotonic() < deadline, holds
        time.sleep(0.05)


class Replica(RegistryProcess):
    """One of several registries, whose ports are known before they start."""

    def __init__(self, directory, port, peers, more=""):
        self.port = self.admin = port
        self.file = directory / f"registry-{port}.toml"
        token = f'token = "file:{directory}/token"\n'
        (directory / "token").write_text("peers-token-0123456789")
        self.file.write_text(
            f'[listener]\nbind = "127.0.0.1:{port}"\n[registry]\nself_preservation = false\nstart_wait = 1\n'
            + f'[tokens]\npeers = {{ all = "file:{directory}/token" }}\n'
            + "".join(f'[[peers]]\nurl = "http://127.0.0.1:{each}/eureka"\ntimeout = 2\n{token}' for each in peers) + more)
        self.begin()

    def begin(self):
        """Start it, and do not wait until it listens."""
        self.process = subprocess.Popen([sys.executable, "-m", "resilience", "registry", str(self.file)], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def registers(self, identity, **more):
        said = {**FULL, "instanceId": identity, "ipAddr": "127.0.0.1", "hostName": "localhost", "homePageUrl": "",
                "lastDirtyTimestamp": str(time.time_ns() // 1_000_000), **more}
        return self.ask("POST", "/eureka/apps/SHOP", {"instance": said})[0]

    @property
    def figures(self):
        return json.loads(self.ask("GET", "/registry")[1])

    def has(self, identity):
        return self.ask("GET", f"/eureka/apps/SHOP/{identity}")[0] == 200

    def peer(self, other):
        return next(each for each in self.figures["peers"] if f":{other.port}/" in each["url"])


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    directory = tmp_path_factory.mktemp("registries")
    ports = [free_port() for _ in range(3)]
    found = [Replica(directory, port, [each for each in ports if each != port]) for port in ports]
    for each in found:
        until(lambda each=each: each.figures["complete"] and all(peer["state"] == "up" for peer in each.figures["peers"]))
    yield found
    for each in found:
        if each.process.returncode is None:
            status, err = each.stop()
            assert 0 == status, err


def test_what_is_accepted_at_one_registry_is_at_the_others_and_so_is_its_leaving(trio):
    a, b, c = trio
    assert 204 == a.registers("one", ipAddr="127.0.0.1")
    until(lambda: b.has("one") and c.has("one"))
    assert 200 == b.ask("PUT", "/eureka/apps/SHOP/one/status?value=OUT_OF_SERVICE")[0]
    until(lambda: "OUT_OF_SERVICE_1_" == a.figures["hash"] == c.figures["hash"])
    assert 200 == c.ask("DELETE", "/eureka/apps/SHOP/one/status?value=UP")[0]
    until(lambda: "UP_1_" == a.figures["hash"] == b.figures["hash"])
    assert 200 == c.ask("DELETE", "/eureka/apps/SHOP/one")[0]
    until(lambda: not a.has("one") and not b.has("one"))
    assert 409 == a.registers("one", lastDirtyTimestamp="1700000000000")  # it knows that it has left, too


def test_a_registry_that_was_killed_has_everything_again_and_the_others_noticed(trio):
    a, b, c = trio
    a.registers("before")
    until(lambda: b.has("before") and c.has("before"))
    c.kill()
    b.registers("meanwhile")
    assert 200 == a.ask("DELETE", "/eureka/apps/SHOP/before")[0]
    until(lambda: b.peer(c)["state"] == "failing" and a.has("meanwhile"))
    assert b.peer(c)["last_error"]
    assert b'data-field="state">failing' in b.ask("GET", "/")[1]
    assert f'resilience_registry_peer_up{{peer="http://127.0.0.1:{c.port}/eureka"}} 0.0' in b.ask("GET", "/metrics")[1].decode()

    c.begin()
    until(lambda: c.figures["complete"] and c.has("meanwhile"))
    assert not c.has("before")
    until(lambda: b.peer(c)["state"] == "up" and b.peer(c)["queue"] == 0)
    assert 200 == c.ask("DELETE", "/eureka/apps/SHOP/meanwhile")[0]
    until(lambda: not a.has("meanwhile") and not b.has("meanwhile"))


async def test_py_eureka_client_registers_at_one_registry_and_is_found_and_cancelled_at_another(trio):
    a, b, _ = trio
    first, second = (eureka_client.EurekaClient(
        eureka_server=f"{each.url}/eureka/", app_name="py-svc", instance_host="127.0.0.1", instance_ip="127.0.0.1",
        instance_port=9091) for each in (a, b))
    for each in (first, second):
        await getattr(each, PREPARE)()
    await first.register()
    await asyncio.to_thread(until, lambda: b.ask("GET", "/eureka/apps/PY-SVC")[0] == 200)
    assert 200 == b.ask("PUT", "/eureka/apps/PY-SVC/127.0.0.1:py-svc:9091")[0]  # as a client does whose server is gone
    await getattr(second, PULL)()
    assert ["127.0.0.1:py-svc:9091"] == [each.instanceId for each in second.applications.get_application("PY-SVC").up_instances]
    await second.cancel()
    await asyncio.to_thread(until, lambda: a.ask("GET", "/eureka/apps/PY-SVC")[0] == 404)


def test_only_who_has_a_peers_token_may_replicate(trio):
    a = trio[0]
    path, replication = "/eureka/peerreplication/batch/", {"x-netflix-discovery-replication": "true"}
    right = {"Authorization": "Bearer peers-token-0123456789"}
    assert 403 == a.ask("POST", path, {"replicationList": []})[0] == a.ask("GET", "/eureka/peerreplication/digest")[0]
    assert 403 == a.ask("POST", "/eureka/apps/SHOP", {"instance": FULL}, headers=replication)[0]
    assert 403 == a.ask("POST", path, {"replicationList": []}, headers={"Authorization": "Bearer wrong-token-0123456"})[0]
    assert 200 == a.ask("POST", path, {"replicationList": []}, headers=right)[0]
    assert a.figures["counts"]["refused_replication"] >= 4


class Liar(http.server.BaseHTTPRequestHandler):
    """Answers as its path says."""

    def do_GET(self):
        if self.path.startswith("/never"):
            threading.Event().wait(20)
        elif self.path.startswith("/large"):
            self.send_response(200)
            self.send_header("Content-Length", str(10 << 20))
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(10):
                    self.wfile.write(b"x" * (1 << 20))
        elif self.path.startswith("/redirects"):
            self.server.redirected += 1
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.wfile.write(b"\x00garbage\r\n\r\n")
            self.close_connection = True

    do_POST = do_GET

    def log_message(self, *_):
        pass


def test_peers_that_lie_over_the_wire_are_shown_and_delay_nobody(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    server.daemon_threads, server.redirected = True, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ports = free_port(), free_port()
    lies = ("never", "large", "redirects", "garbage")
    more = "".join(f'[[peers]]\nurl = "http://127.0.0.1:{server.server_address[1]}/{each}"\ntimeout = 1\n' for each in lies)
    a, b = Replica(tmp_path, ports[0], [ports[1]], more), Replica(tmp_path, ports[1], [ports[0]])
    try:
        until(lambda: a.figures["complete"])
        a.registers("one")
        until(lambda: b.has("one"))
        until(lambda: all(each["last_error"] for each in a.figures["peers"] if "eureka" not in each["url"]))
        told = {each["url"].rpartition("/")[2]: each for each in a.figures["peers"]}
        assert {"failing"} == {told[each]["state"] for each in lies}
        assert "larger than 65536 bytes" in told["large"]["last_error"] or "circuit" in told["large"]["last_error"].lower()
        assert "302" in told["redirects"]["last_error"]
        assert 200 == a.ask("GET", "/eureka/apps")[0]
        assert server.redirected < 40
    finally:
        server.shutdown()
        server.server_close()
        for each in (a, b):
            assert 0 == each.stop()[0]


def test_a_registry_among_its_own_peers_says_so(tmp_path):
    port = free_port()
    process = Replica(tmp_path, port, [port])
    try:
        until(lambda: process.figures["peers"][0]["state"] == "itself")
        assert b"it is this registry itself" in process.ask("GET", "/")[1]
    finally:
        process.stop()


CONFIG = """
[gateway]
bind = "127.0.0.1:{port}"
[admin]
bind = "127.0.0.1:{admin}"
[process]
workers = 2
[registry]
self_preservation = false
max_instances = {most}
[registry.listener]
bind = "127.0.0.1:{registry}"
[services.shop]
source = {{ use = "eureka", app = "shop", servers = ["http://127.0.0.1:{registry}/eureka"], interval = 0.2 }}
[[routes]]
path = "/*"
service = "shop"
"""


class WithRegistry(Gateway):
    """A gateway of two workers with a registry within, which one instance is in: *upstream*."""

    def __init__(self, directory, upstream):
        self.port, self.admin, self.registry = free_port(), free_port(), free_port()
        self.file = directory / "gateway.toml"
        self.write(100)
        self.process = subprocess.Popen([sys.executable, "-m", "resilience", "gateway", str(self.file)], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: self.status("PUT", "/apps/SHOP/one") == 404)  # the registry is there before the workers are
        assert 204 == self.status("POST", "/apps/SHOP", {
            "instanceId": "one", "hostName": "127.0.0.1", "app": "shop", "ipAddr": "127.0.0.1",
            "port": {"$": upstream, "@enabled": "true"}, "dataCenterInfo": {"name": "MyOwn"}})
        self.announced = next(line for line in self.process.stdout if line.startswith("Registry"))  # lists come before

    def write(self, most):
        self.file.write_text(CONFIG.format(port=self.port, admin=self.admin, registry=self.registry, most=most))

    def status(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.registry}/eureka{path}", None if body is None else json.dumps({"instance": body}).encode(),
            {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code


class Upstream(http.server.BaseHTTPRequestHandler):
    """Says hello."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


def test_a_gateway_with_a_registry_finds_its_services_there_and_keeps_it_over_reloads_and_dead_workers(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gateway = WithRegistry(tmp_path, server.server_address[1])
    try:
        assert f"http://127.0.0.1:{gateway.registry}/eureka/" in gateway.announced
        assert gateway.raw(b"GET / HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n").endswith(b"hello")

        gateway.write(1)
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: gateway.status("POST", "/apps/SHOP", {
            "instanceId": str(time.monotonic()), "hostName": "h", "app": "shop", "ipAddr": "127.0.0.1", "dataCenterInfo": {"name": "MyOwn"}}) == 429)
        assert 200 == gateway.status("GET", "/apps/SHOP/one")  # it is still there

        gateway.file.write_text(gateway.file.read_text().replace("max_instances = 1", "max_instances = 0"))
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: "max_instances" in gateway.process.stderr.readline())
        for worker in workers_of(gateway.process.pid):
            os.kill(worker, signal.SIGKILL)
        until(lambda: gateway.raw(b"GET / HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n").endswith(b"hello"))
        assert 200 == gateway.status("PUT", "/apps/SHOP/one")
    finally:
        server.shutdown()
        server.server_close()
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.communicate(timeout=30)
    assert 0 == gateway.process.returncode


def workers_of(parent):
    """The processes that *parent* has started."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(each) for each in found]
