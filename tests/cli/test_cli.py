"""The ``resilience`` command: what it prints, serves, and exits with; as a process wherever it serves or waits."""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from resilience import cli
from resilience.cli import check
from resilience.gateway.config import file as gateway_file
from resilience.gateway.config import registry as registry_file
from tests.drivers.until import until

pytestmark = pytest.mark.process

CONFIG = """
[gateway]
bind = "127.0.0.1:{gateway}"

[admin]
bind = "127.0.0.1:{admin}"

[services.inventory]
endpoints = ["http://127.0.0.1:1"]

[[routes]]
path = "/inventory/*"
service = "inventory"
"""


def process(*arguments):
    """A finished run in a process of its own."""
    return subprocess.run([sys.executable, "-m", "resilience", *arguments], capture_output=True, text=True, timeout=120,
                          check=False)


@pytest.fixture
def resilience(tmp_path, monkeypatch, capsys):
    """A finished run in this process, in a folder of the test's own: the import of the library is the cost of another one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code, printed.out, printed.err)

    return run


def told(run):
    return run.returncode, run.stdout, run.stderr


def free_ports(n):
    """Ports that are free, and that no outgoing connection will be given."""
    while True:
        first = random.randrange(15_000, 30_000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + n):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return list(range(first, first + n))


def get(url):
    """The body of *url*, as soon as it answers."""
    bodies = []

    def answers():
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                bodies.append(answer.read())
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            if not isinstance(getattr(error, "reason", error), ConnectionError):
                raise
        return bodies

    until(answers, 60)
    return bodies[0]


def until_ready(admin):
    """Wait until the gateway with this admin port serves."""
    def is_ready():
        try:
            return get(f"http://127.0.0.1:{admin}/ready")
        except urllib.error.HTTPError as error:
            error.close()
            return False

    until(is_ready, 60)


@contextlib.contextmanager
def running(*arguments):
    process = subprocess.Popen([sys.executable, "-m", "resilience", *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize(("arguments", "word"), [
    ((), "COMMAND"), (("nothing",), "nothing"), (("demo", "--gateway-port", "70000"), "65535"),
    (("demo", "--duration", "-1"), "seconds"), (("gateway",), "CONFIG.toml"), (("gateway", "x.toml", "--workers", "0"), "256"),
    (("dashboard",), "--stream"), (("dashboard", "--stream", "file:///etc/passwd"), "file"),
    (("dashboard", "--stream", "/s", "--host", ""), "host"), (("dashboard", "--stream", "/s", "--host", "http://a"), "host"),
    *[(("dashboard", "--stream", "/s", "--host", host), "--host") for host in ("999.1.1.1", "a..b", "x" * 300, "\u00fcn\u00ef", "[::z]")],
    (("registry", "--port", "9" * 5_000), "is not a port"), (("gateway", "x.toml", "--workers", "9" * 5_000), "is not a number of workers"),
    (("check", "missing.toml"), "missing.toml"), (("gateway", "missing.toml"), "missing.toml")])
def test_a_bad_argument_is_a_clear_line_and_status_2(resilience, arguments, word):
    run = resilience(*arguments)

    assert (2, "") == (run.returncode, run.stdout)
    assert word in run.stderr
    assert len(run.stderr) < 1_000


def test_an_interrupt_before_anything_is_ready_is_no_traceback(resilience, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "run", interrupted)
    run = resilience("check", "x.toml")
    assert (130, "", "") == (run.returncode, run.stdout, run.stderr)


def test_check_lists_every_mistake_by_file_line_and_key(resilience, tmp_path):
    (tmp_path / "bad.toml").write_text("""[gateway]
bind = "nowhere"
colour = "red"

[services.inventory]
endpoints = ["ftp://x", "http://127.0.0.1:9001"]

[services.inventory.command]
timeout = -1

[[routes]]
path = "/a/*"
service = "inventry"
""")
    run = resilience("check", "bad.toml")

    assert 2 == run.returncode
    for line, word in ((2, "bind"), (3, "colour"), (6, "endpoints"), (9, "timeout"), (13, "inventory")):
        assert any(text.startswith((f"bad.toml:{line}:", f"resilience: bad.toml:{line}:")) and word in text
                   for text in run.stderr.splitlines()), (line, run.stderr)


def test_check_explains_a_file_for_the_library_too(resilience, tmp_path):
    file = tmp_path / "resilience.toml"
    file.write_text("[defaults]\ntimeout = 2.0\n")
    run = resilience("check", str(file))
    assert (0, f"{file}: fine\n") == (run.returncode, run.stdout)
    file.write_text('[defaults]\ntimeout = -1\n\n[guards]\n"json:dumpz" = {}\n')
    run = resilience("check", str(file))

    assert 2 == run.returncode
    assert f"{file}:2: defaults.timeout" in run.stderr
    assert f"{file}:5: guards" in run.stderr


def test_check_prints_the_schema_of_the_librarys_file(resilience):
    run = resilience("check", "--schema")

    assert 0 == run.returncode
    assert "defaults" in json.loads(run.stdout)["properties"]


def test_check_without_a_file_says_what_it_needs():
    run = process("check")

    assert (2, "", "resilience: check needs a file, or --schema\n") == (run.returncode, run.stdout, run.stderr)


def test_check_tells_files_apart_by_the_tables_that_they_may_have():
    assert {*check.GATEWAY_TABLES, "registry", "shared"} == {*gateway_file.TABLES}
    assert {*check.REGISTRY_TABLES} == {*registry_file.TABLES}


def test_check_says_that_a_good_file_is_fine(resilience, tmp_path):
    file = CONFIG.format(gateway=8080, admin=8090)
    (tmp_path / "good.toml").write_text(file)
    assert (0, "good.toml: fine (1 service, 1 route)\n", "") == told(resilience("check", "good.toml"))

    (tmp_path / "good.toml").write_text(file + '[private]\nbind = "127.0.0.1:8081"\n[[private.routes]]\npath = "/*"\nservice = "inventory"\n')
    assert (0, "good.toml: fine (1 service, 2 routes)\n", "") == told(resilience("check", "good.toml"))


@pytest.mark.parametrize("file", ['[shared]\nurl = "redis://127.0.0.1:1"\n',
                                  CONFIG.format(gateway=8080, admin=8090) + '[registry.shared]\nurl = "redis://127.0.0.1:1"\n'])
def test_check_says_that_a_registry_lacks_what_its_start_needs(resilience, tmp_path, monkeypatch, file):
    (tmp_path / "registry.toml").write_text(file)
    assert 0 == resilience("check", "registry.toml").returncode
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    run = resilience("check", "registry.toml")

    assert (2, "") == (run.returncode, run.stdout)
    assert "install it: pip install" in run.stderr


def test_what_is_in_force_is_printed_with_the_options_of_the_command_line(resilience, tmp_path):
    (tmp_path / "gateway.toml").write_text(CONFIG.format(gateway=8080, admin=8090))
    assert "workers = 4  # --workers\n" in resilience("gateway", "gateway.toml", "--workers", "4", "--print-config").stdout
    assert "workers = 1  # default\n" in resilience("gateway", "gateway.toml", "--print-config").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_gateway_prints_its_urls_serves_and_stops_cleanly(tmp_path, number):
    gateway, admin = free_ports(2)
    (tmp_path / "gateway.toml").write_text(CONFIG.format(gateway=gateway, admin=admin))
    with running("gateway", str(tmp_path / "gateway.toml")) as process:
        until_ready(admin)
        health = json.loads(get(f"http://127.0.0.1:{admin}/health"))
        page = get(f"http://127.0.0.1:{admin}/")
        metrics = get(f"http://127.0.0.1:{admin}/metrics")
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"http://127.0.0.1:{gateway}/inventory/1")
        refused.value.close()
        stream = urllib.request.urlopen(f"http://127.0.0.1:{admin}/hystrix.stream", timeout=10)
        stream.readline()
        process.send_signal(number)
        told = process.communicate(timeout=60)
        stream.close()

    assert {"status": "ok", "circuits": {"closed": 1}} == health
    assert b"<!doctype html>" in page.lower()
    assert b'resilience_circuit_state{command="inventory"' in metrics
    assert 502 == refused.value.code
    assert f"http://127.0.0.1:{gateway}/" in told[0]
    assert f"http://127.0.0.1:{admin}/" in told[0]
    assert (0, "") == (process.returncode, told[1])


def test_a_taken_port_is_one_clear_line(tmp_path):
    gateway, admin, private, registry = free_ports(4)
    ports = ("--registry-port", str(registry))
    (tmp_path / "gateway.toml").write_text(CONFIG.format(gateway=gateway, admin=admin))
    with socket.create_server(("127.0.0.1", gateway)):
        run = process("gateway", str(tmp_path / "gateway.toml"))
        demo = process("demo", "--gateway-port", str(gateway), "--admin-port", str(admin), "--private-port", str(private), *ports)
        other = process("demo", "--gateway-port", str(private), "--admin-port", str(admin), "--private-port", str(gateway), *ports)

        same = process("demo", "--gateway-port", str(admin), "--admin-port", str(private), "--private-port", str(admin), *ports)

    assert f"the private port {admin} is also the gateway port" in same.stderr
    assert 1 == len(same.stderr.splitlines())
    for each in (run, demo, other):
        assert 0 != each.returncode
        assert 1 == len(each.stderr.splitlines()), each.stderr
        assert str(gateway) in each.stderr


def test_the_dashboard_command_serves_the_page():
    (port,) = free_ports(1)
    with running("dashboard", "--stream", "http://127.0.0.1:1/hystrix.stream", "--port", str(port)) as process:
        page = get(f"http://127.0.0.1:{port}/")
        config = json.loads(get(f"http://127.0.0.1:{port}/config.json"))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)

    assert b"<!doctype html>" in page.lower()
    assert 1 == len(config["streams"])
    assert (0, "") == (process.returncode, err)
    assert f"http://127.0.0.1:{port}/" in out


def test_the_dashboard_listens_where_it_is_told_and_has_the_title_that_it_is_given():
    (port,) = free_ports(1)
    with running("dashboard", "--stream", "http://127.0.0.1:1/hystrix.stream", "--port", str(port),
                 "--host", "127.0.0.2", "--title", "a <b>shop</b>") as process:
        config = json.loads(get(f"http://127.0.0.2:{port}/config.json"))
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), 5).close()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)

    assert "a <b>shop</b>" == config["title"]
    assert (0, "") == (process.returncode, err)
    assert f"http://127.0.0.2:{port}/" in out


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_host_may_stand_in_brackets(host):
    options = cli._parser().parse_args(["dashboard", "--stream", "/s", "--host", host])

    assert "[::1]" == options.host


@pytest.mark.parametrize("name", ["demo", "gateway", "registry", "check", "dashboard"])
def test_the_help_of_a_command_says_what_it_does_and_what_each_argument_is(name):
    (commands,) = [action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction)]
    parser = commands.choices[name]

    assert parser.description.endswith(".")
    for action in parser._actions:
        assert action.help, action.dest
        if action.default not in (None, False, argparse.SUPPRESS):
            assert f"(default: {action.default})" in " ".join(parser.format_help().split()), action.dest


def test_the_demo_tells_its_story_and_ends_with_a_table():
    """The whole of it, for as long as its first illness takes: real services, gateway, traffic and stream."""
    gateway, private, admin, registry = free_ports(4)
    run = process("demo", "--gateway-port", str(gateway), "--private-port", str(private), "--admin-port", str(admin),
                  "--registry-port", str(registry), "--duration", "9")

    assert (0, "") == (run.returncode, run.stderr)
    assert f"http://127.0.0.1:{admin}/" in run.stdout
    assert f"http://127.0.0.1:{private}/ledger/" in run.stdout
    assert f"http://127.0.0.1:{registry}/" in run.stdout
    assert "inventory hangs" in run.stdout
    assert "inventory: circuit opened after" in run.stdout
    rows = {line.split()[0]: line.split() for line in run.stdout.splitlines()
            if line.startswith(("inventory ", "orders ", "pricing ", "ledger "))}
    assert {"inventory", "orders", "pricing", "ledger"} == rows.keys()
    for healthy in ("orders", "pricing", "ledger"):
        assert int(rows[healthy][1]) > 0
        assert int(rows[healthy][2]) <= 1, "every answer but one under way at the end"
    assert int(rows["inventory"][4]) > 0, "503 while the circuit is open"


def test_a_key_is_shown_once_and_its_entry_has_the_hash_alone(resilience):
    done = resilience("api-key", "till-1", "--consumer", 'the "till"', "--scope", "a", "--scope", "b", "--tenant", "acme")
    key = done.stderr.strip().rpartition(" ")[2]

    assert 0 == done.returncode
    assert key.startswith("till-1.")
    assert key not in done.stdout
    from resilience.gateway.filters.api_keys import digest, keys_of

    [entry] = keys_of(done.stdout.encode(), "keys.toml")
    assert (entry.id, entry.sha256, entry.consumer, entry.scopes, entry.tenant) == (
        "till-1", digest(key), 'the "till"', ("a", "b"), "acme")


def test_an_id_that_no_key_can_have_is_one_clear_line(resilience):
    done = resilience("api-key", "a.b")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "must be 1 to 64 letters" in done.stderr
