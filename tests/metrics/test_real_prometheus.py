"""A real Prometheus scrapes /metrics of a running application, and is asked over its HTTP API what it has understood."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process

DEADLINE_S = 60.0
NAMES = [
    "plain.name", 'quo"ted', "apo'strophe", "new\nline", "tab\tcarriage\rreturn", "<script>alert(1)</script>", "back\\slash",
    "ends\\", "trailing\\n", "{a=\"b\"}", "caf\xe9 \u4e16\u754c \U0001f4a5", "x" * 500, " spaces ", "# HELP nonsense",
]

APP = """
import sys
from resilience import Bulkhead, Registry, command
from resilience.asgi import telemetry
from resilience.gateway.server import run_app

def answer(fails):
    if fails:
        raise OSError

names = eval(sys.argv[2])
registry = Registry()
for number, name in enumerate(names, 1):
    call = command(key=name, group=name[::-1], registry=registry, timeout=None,
                   max_concurrent=Bulkhead(10, max_wait=1.0))(answer)
    for _ in range(number):
        call(False)
    try:
        call(True)
    except OSError:
        pass
app = telemetry(registry)
run_app(app, sys.argv[1], ready=lambda: print("ready", flush=True))
"""

PROMETHEUS = """
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
- job_name: app
  static_configs: [{{ targets: ["{app}"] }}]
"""


def eventually(check: Callable[[], Any], what: str) -> Any:
    """Ask until it is true; the test's deadline is the only clock."""
    end, found = time.monotonic() + DEADLINE_S, None
    while time.monotonic() < end:
        try:
            found = check()
        except OSError as error:
            found, last = None, error
        else:
            last = found
        if found:
            return found
        threading.Event().wait(0.02)
    raise AssertionError(f"{what} did not come true; last: {last!r}")


def free_port() -> int:
    """A port that is free, and that no outgoing connection will be given."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    """host:port of an application whose commands have been called, each as often as its place in NAMES, and failed once."""
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen([sys.executable, "-c", APP, address, repr(NAMES)], stdout=subprocess.PIPE, text=True,
                               cwd=Path(__file__).parents[2])
    try:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def prometheus(app: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Asks a Prometheus that scrapes the application: a path of its API, and what is in the answer's data."""
    directory, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (directory / "prometheus.yml").write_text(PROMETHEUS.format(app=app))
    program = shutil.which("prometheus")
    assert program is not None, "there is no prometheus"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], stdout=log, stderr=subprocess.STDOUT, cwd=directory)

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=DEADLINE_S) as reply:
            return json.loads(reply.read())["data"]

    try:
        yield ask
    finally:
        process.terminate()
        process.communicate(timeout=20)


def query(prometheus: Callable[[str], Any], expression: str) -> list[dict[str, Any]]:
    """The samples that *expression* has now."""
    found: list[dict[str, Any]] = prometheus(f"query?{urllib.parse.urlencode({'query': expression})}")["result"]
    return found


@pytest.fixture
def scraped(prometheus: Callable[[str], Any]) -> Callable[[str], list[dict[str, Any]]]:
    """Asks for an expression, after a few scrapes that all went well."""
    eventually(lambda: [each for each in query(prometheus, "count_over_time(up[5m])") if int(each["value"][1]) >= 3],
               "three scrapes")
    [target] = prometheus("targets")["activeTargets"]
    assert ("", "up") == (target["lastError"], target["health"])
    return lambda expression: query(prometheus, expression)


def test_every_scrape_went_well(scraped: Callable[[str], list[dict[str, Any]]]) -> None:
    [up] = scraped("min_over_time(up[5m])")
    assert "1" == up["value"][1]


def test_every_name_survives(scraped: Callable[[str], list[dict[str, Any]]]) -> None:
    found = scraped('resilience_command_events_total{event="success"}')
    assert {name: (name[::-1], str(number)) for number, name in enumerate(NAMES, 1)} == {
        each["metric"]["command"]: (each["metric"]["group"], each["value"][1]) for each in found}


@pytest.mark.parametrize("name", NAMES)
def test_a_series_is_found_by_its_name(scraped: Callable[[str], list[dict[str, Any]]], name: str) -> None:
    [sample] = scraped(f"resilience_command_events_total{{event=\"failure\",command={json.dumps(name, ensure_ascii=False)}}}")
    assert "1" == sample["value"][1]


def test_the_latency_is_a_histogram_that_prometheus_can_read(scraped: Callable[[str], list[dict[str, Any]]]) -> None:
    counts = {each["metric"]["command"]: each["value"][1] for each in scraped("resilience_command_latency_seconds_count")}
    infinite = {each["metric"]["command"]: each["value"][1]
                for each in scraped('resilience_command_latency_seconds_bucket{le="+Inf"}')}
    assert set(NAMES) == set(counts)
    assert counts == infinite
    quantiles = scraped("histogram_quantile(0.99, resilience_command_latency_seconds_bucket)")
    assert set(NAMES) == {each["metric"]["command"] for each in quantiles}
    assert all(0 < float(each["value"][1]) < 1 for each in quantiles)


def test_each_circuit_is_in_exactly_one_state(scraped: Callable[[str], list[dict[str, Any]]]) -> None:
    found = scraped("sum by (command) (resilience_circuit_state)")
    assert dict.fromkeys(NAMES, "1") == {each["metric"]["command"]: each["value"][1] for each in found}


def test_prometheus_knows_the_types(prometheus: Callable[[str], Any], scraped: object) -> None:
    types = {name.removesuffix("_total"): found[0]["type"]  # which OpenMetrics leaves out
             for name, found in prometheus("metadata").items() if name.startswith("resilience_")}
    assert {"resilience_command_events": "counter", "resilience_command_latency_seconds": "histogram",
            "resilience_command_in_flight": "gauge", "resilience_circuit_state": "gauge"}.items() <= types.items()


def test_promtool_finds_nothing_wrong(app: str, prometheus: object) -> None:
    with urllib.request.urlopen(f"http://{app}/metrics", timeout=DEADLINE_S) as reply:
        text = reply.read()
    program = shutil.which("promtool")
    assert program is not None, "promtool comes with prometheus"
    done = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, check=False, timeout=DEADLINE_S)
    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)
