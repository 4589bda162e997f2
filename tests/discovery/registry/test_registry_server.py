"""The registry as a process: what a client of Eureka does with it, its page and metrics, TLS, tokens, and its end."""

import base64
import gzip
import json
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from py_eureka_client import eureka_basic, eureka_client

from resilience import cli
from resilience.discovery.registry.server import load
from tests.discovery.registry.harness import RegistryProcess, RegistryWithoutFile
from tests.discovery.registry.test_eureka_rest import FULL
from tests.gateway.harness import everything, listens, parsed

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore:The 'warn' method:DeprecationWarning")]

CERTIFICATE = Path(__file__).parents[2] / "dashboard" / "localhost.pem"
#: What its clients do when they start, without its timers.
PULL, DELTA = "_EurekaClient__pull_full_registry", "_EurekaClient__fetch_delta"
PREPARE = "_EurekaClient__parepare_instance_info"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    process = RegistryProcess(tmp_path_factory.mktemp("registry"), "[registry]\nmax_body_bytes = 4096\n")
    yield process
    status, err = process.stop()
    assert (0, "") == (status, err)


def client_of(registry, app, port=9091, **more):
    return eureka_client.EurekaClient(
        eureka_server=f"{registry.url}/eureka/", app_name=app, instance_host="127.0.0.1", instance_ip="127.0.0.1",
        instance_port=port, **more)


async def test_py_eureka_client_registers_renews_fetches_and_leaves(registry):
    client = client_of(registry, "py-svc", metadata={"zone": "a"})
    path = "/registry/instances/PY-SVC/127.0.0.1%3Apy-svc%3A9091"
    await getattr(client, PREPARE)()
    await client.register()
    await client.send_heartbeat()
    assert 1 == json.loads(registry.ask("GET", path)[1])["lease"]["renewals"]

    await getattr(client, PULL)()
    found = client.applications.get_application("PY-SVC").up_instances
    assert [("127.0.0.1:py-svc:9091", "127.0.0.1", 9091, "a")] == [
        (each.instanceId, each.ipAddr, each.port.port, each.metadata["zone"]) for each in found]

    await client.register(status="DOWN")  # as its stop() does
    await client.cancel()
    assert 404 == registry.ask("GET", "/eureka/apps/PY-SVC")[0]


async def test_py_eureka_client_registers_again_when_it_is_not_known(registry):
    client = client_of(registry, "again")
    await getattr(client, PREPARE)()
    await client.register()
    registry.ask("DELETE", "/eureka/apps/AGAIN/127.0.0.1:again:9091")
    await client.send_heartbeat()

    assert 200 == registry.ask("GET", "/eureka/apps/AGAIN/127.0.0.1:again:9091")[0]
    await client.cancel()


async def test_py_eureka_client_sets_a_status_and_removes_it(registry):
    client = client_of(registry, "steered")
    await getattr(client, PREPARE)()
    await client.register()
    await client.status_update("OUT_OF_SERVICE")
    assert "OUT_OF_SERVICE" == (await eureka_basic.get_application(f"{registry.url}/eureka/", "steered")).instances[0].status
    await client.delete_status_override()
    await client.send_heartbeat()  # which is not found, and so it registers

    assert "UP" == (await eureka_basic.get_application(f"{registry.url}/eureka/", "steered")).instances[0].status
    await client.cancel()


async def test_py_eureka_client_follows_the_registry_by_deltas(registry):
    watcher = client_of(registry, "watcher", should_register=False)
    await getattr(watcher, PREPARE)()
    others = [client_of(registry, f"app{number % 2}", 9100 + number) for number in range(4)]
    for each in others:
        await getattr(each, PREPARE)()
    await others[0].register()
    await getattr(watcher, PULL)()
    for step in ((others[1].register, {}), (others[2].register, {"status": "DOWN"}), (others[3].register, {}),
                 (others[0].cancel, {}), (others[2].register, {"status": "UP"}), (others[1].cancel, {})):
        await step[0](**step[1])
        await getattr(watcher, DELTA)()
        full = await eureka_basic.get_applications(f"{registry.url}/eureka/")
        assert listed(full) == listed(watcher.applications)
    for each in others[2:]:
        await each.cancel()


def listed(applications):
    return {each.instanceId: each.status for application in applications.applications for each in application.instances}


def test_many_requests_are_answered_on_one_connection_and_each_as_it_asks(registry):
    requests = [("GET", "/eureka/apps", "Accept: application/json\r\nAccept-Encoding: gzip\r\n"), ("GET", "/eureka/v2/apps/", ""),
                ("PUT", "/eureka/apps/A/b", "Content-Length: 0\r\n"), ("HEAD", "/eureka/apps", ""),
                ("PUT", "/eureka/apps/A/b", 'Content-Length: 2\r\n\r\n{}'), ("GET", "/health", "Connection: close\r\n")]
    sent = "".join(f"{method} {path} HTTP/1.1\r\nHost: r\r\n{more}" + ("" if "\r\n\r\n" in more else "\r\n")
                   for method, path, more in requests)
    got = registry.raw(sent.encode())

    assert [b"200", b"200", b"404", b"200", b"404", b"200"] == [each[:3] for each in got.split(b"HTTP/1.1 ")[1:]]
    assert got.count(b"content-type: application/xml") == 2
    gzip.decompress(got[got.index(b"\x1f\x8b"):got.index(b"HTTP/1.1", 100)])


def test_a_registration_of_too_many_bytes_is_refused_and_its_connection_ends(registry):
    status, headers, _ = parsed(registry.raw(
        b"POST /eureka/apps/BIG HTTP/1.1\r\nHost: r\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000))

    assert (413, "close") == (status, headers["connection"])


def test_a_page_of_another_origin_cannot_register(registry):
    assert 403 == registry.ask("POST", "/eureka/apps/SHOP", {"instance": FULL}, headers={"Origin": "http://evil.example"})[0]
    assert 404 == registry.ask("GET", "/eureka/apps/SHOP")[0]


def test_the_page_shows_what_is_registered_and_nothing_that_is_registered_is_markup(registry):
    odd = {**FULL, "app": "<script>", "instanceId": "<img src=x>'\""}
    registry.ask("POST", "/eureka/apps/%3Cscript%3E", {"instance": odd})
    status, body = registry.ask("GET", "/")

    assert 200 == status
    assert b"Self-preservation" in body
    assert b"&lt;SCRIPT&gt;" in body
    assert b"<SCRIPT" not in body
    assert b"<img" not in body
    assert 200 == registry.ask("DELETE", "/eureka/apps/%3Cscript%3E/%3Cimg%20src%3Dx%3E'%22")[0]


def test_why_an_instance_is_listed_is_told_and_that_it_has_left(registry):
    registry.ask("POST", "/eureka/apps/SHOP", {"instance": FULL})
    path = "/registry/instances/shop/host%3Ashop%3A80"
    status, body = registry.ask("GET", path)
    told = json.loads(body)
    assert (200, True, 40, "127.0.0.1") == (status, told["listed"], told["lease"]["duration_s"], told["registered_by"])
    assert told["because"].startswith("it registered 0 s ago, and has not renewed since; the lease lasts for 40 s")
    assert "only if self-preservation ends: of more than" in told["evicted_by"]
    registry.ask("DELETE", "/eureka/apps/SHOP/host:shop:80")

    status, body = registry.ask("GET", path)
    assert (404, False) == (status, json.loads(body)["listed"])
    assert 404 == registry.ask("GET", "/registry/instances/SHOP/nobody")[0]


def test_metrics_and_figures_count_what_was_done_and_refused(registry):
    registry.ask("PUT", "/eureka/apps/NOBODY/x")
    registry.ask("POST", "/eureka/apps/NOBODY", b"junk")
    text = registry.ask("GET", "/metrics")[1].decode()

    assert 'resilience_registry_operations_total{operation="renewed_stranger"}' in text
    assert 'resilience_registry_refusals_total{reason="malformed"}' in text
    assert json.loads(registry.ask("GET", "/registry")[1])["counts"]["renewed_stranger"] >= 1
    assert 405 == registry.ask("POST", "/registry", b"")[0]
    assert 404 == registry.ask("GET", "/nothing")[0]


def test_tls_and_tokens_keep_strangers_out(tmp_path):
    tls = f'[[listener.tls.certificates]]\ncertificate_file = "{CERTIFICATE}"\n'
    for name in ("clients", "operators"):
        (tmp_path / name).write_text(f"{name}-token-0123456789")
    process = RegistryProcess(tmp_path, f"""{tls}
[tokens]
clients = {{ services = "file:{tmp_path}/clients" }}
operators = {{ ops = "file:{tmp_path}/operators" }}
""")
    try:
        context = ssl.create_default_context(cafile=str(CERTIFICATE))
        context.check_hostname = False

        def status(path, authorization=None):
            request = urllib.request.Request(f"https://127.0.0.1:{process.port}{path}",
                                             headers={} if authorization is None else {"Authorization": authorization})
            try:
                with urllib.request.urlopen(request, context=context, timeout=10) as reply:
                    return reply.status
            except urllib.error.HTTPError as error:
                return error.code

        clients, operators = "Bearer clients-token-0123456789", "Bearer operators-token-0123456789"
        basic = "Basic " + base64.b64encode(b"any:clients-token-0123456789").decode()
        paths = ("/eureka/apps", "/", "/registry", "/health")
        assert [401, 401, 401, 200] == [status(path) for path in paths]
        assert [401, 401, 401, 200] == [status(path, "Bearer wrong-token-012345678") for path in paths]
        assert [401, 401, 401, 200] == [status(path, "Basic !") for path in paths]
        assert [200, 401, 401, 200] == [status(path, clients) for path in paths] == [status(path, basic) for path in paths]
        assert [200, 200, 200, 200] == [status(path, operators) for path in paths]
    finally:
        assert 0 == process.stop()[0]


def test_a_request_under_way_is_answered_although_the_registry_is_told_to_end():
    process = RegistryWithoutFile()
    assert f"Registry    {process.url}/  (Eureka: {process.url}/eureka/, metrics: /metrics)\n" == process.line
    body = json.dumps({"instance": FULL}).encode()
    with process.connect() as client:
        client.sendall(b"POST /eureka/apps/SHOP HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert b"100" in client.recv(100)  # it is being served
        process.process.send_signal(signal.SIGTERM)
        while listens(process.port):
            pass
        client.sendall(body)
        assert everything(client).startswith(b"HTTP/1.1 204 ")
    assert (0, "") == process.ended()


@pytest.mark.parametrize(("config", "words"), [
    ("[registry]\nmax_instance = 5\n", "max_instances"), ("[registry]\ninstance_networks = ['10.0.0.1/8']\n", "networks"),
    ("[listener]\nfilters = ['x']\n", "listener.filters"), ("[listener]\nbind = 'x'\n", "listener.bind"),
    ("[tokens]\nclients = { a = 'secret' }\n", "sha256"), ("[registry]\n[peerz]\n", "unknown table")])
@pytest.mark.parametrize("command", ["registry", "check"])
def test_a_mistake_of_the_file_is_told_with_its_place(tmp_path, config, words, command, capsys):
    file = tmp_path / "registry.toml"
    file.write_text(config)
    with pytest.raises(SystemExit) as ended:
        cli.main([command, str(file)])
    told = capsys.readouterr().err

    assert 2 == ended.value.code
    assert "registry.toml" in told
    assert words in told


def test_a_file_without_a_mistake_is_fine(tmp_path, capsys):
    file = tmp_path / "registry.toml"
    file.write_text("[registry]\nmax_instances = 5\n")
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", str(file)])

    assert 0 == ended.value.code
    assert "fine" in capsys.readouterr().out
    assert (5, "127.0.0.1:8761") == (load(file).registry.max_instances, load(file).listener.bind)


def test_a_port_that_is_taken_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = subprocess.run([sys.executable, "-m", "resilience", "registry", "--port", str(taken.getsockname()[1])],
                             capture_output=True, text=True, timeout=60, check=False)

    assert 1 == run.returncode
    assert run.stderr.startswith("resilience: cannot listen on")
    assert 1 == run.stderr.count("\n")
