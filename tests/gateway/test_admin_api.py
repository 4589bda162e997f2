"""The admin API: off by default, behind tokens, out of a browser's reach; it shows and changes all workers at once."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from resilience.errors import ConfigError
from resilience.gateway.config.effective import HIDDEN, shown
from resilience.gateway.supervision.patches import check_patch, merged

from .harness import Gateway, Upstream, eventually, running

pytestmark = pytest.mark.process

TOKEN = "correct horse battery staple"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()
CONFIG = """
[services.up]
endpoints = ["{url}"]
command = {{ timeout = 5.0 }}
[[routes]]
path = "/*"
service = "up"
"""


class Operator:
    """Talks to the admin API of a gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN,
            kind: str = "application/json", **headers: str) -> tuple[int, Any]:
        client = http.client.HTTPConnection("127.0.0.1", self.gateway.admin, timeout=20)
        sent = {"Authorization": f"Bearer {token}"} if token is not None else {}
        client.request(method, path, None if body is None else json.dumps(body).encode(),
                       {**sent, **({} if body is None else {"Content-Type": kind}), **headers})
        reply = client.getresponse()
        found = reply.read()
        client.close()
        return reply.status, json.loads(found)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Operator]:
    directory = tmp_path_factory.mktemp("api")
    with running(directory, CONFIG.format(url=upstream.url), workers=2,
                 admin=f'tokens = {{ ops = "sha256:{HASH}" }}') as made:
        yield Operator(made)


def test_without_tokens_there_is_no_api(tmp_path: Path, upstream: Upstream) -> None:
    with running(tmp_path, CONFIG.format(url=upstream.url), workers=1) as gateway:
        status, told = Operator(gateway).ask("GET", "/admin/config")
    assert (404, True) == (status, "off" in told["detail"])


@pytest.mark.parametrize("token", [None, "", "x", HASH, TOKEN + "x", TOKEN[:-1], "Bearer " + TOKEN])
def test_nothing_is_told_or_changed_without_a_valid_token(operator: Operator, token: str | None) -> None:
    for method, path, body in (("GET", "/admin/", None), ("GET", "/admin/config", None), ("PATCH", "/admin/config", {}),
                               ("POST", "/admin/reload", None), ("GET", "/admin/nowhere", None)):
        assert 401 == operator.ask(method, path, body, token=token)[0], (method, path)


def test_a_page_of_another_origin_and_a_form_are_refused_even_with_a_token(operator: Operator) -> None:
    assert 403 == operator.ask("GET", "/admin/config", Origin="http://evil.example")[0]
    assert 403 == operator.ask("GET", "/admin/config", Origin="null")[0]
    assert 403 == operator.ask("GET", "/admin/config", Origin="http://[")[0], "no URL at all"
    assert 200 == operator.ask("GET", "/admin/config", Origin=f"http://127.0.0.1:{operator.gateway.admin}")[0]
    assert 415 == operator.ask("PATCH", "/admin/config", {}, kind="text/plain")[0]
    assert 405 == operator.ask("OPTIONS", "/admin/config")[0]


def test_everything_can_be_read(operator: Operator) -> None:
    paths = operator.ask("GET", "/admin/")[1]["paths"]
    for each in paths:
        method, _, path = each.partition(" ")
        if method == "GET":
            assert 200 == operator.ask("GET", path.replace("{name}", "up"))[0], each
    assert 200 == operator.gateway.get("/read")[0]
    services = operator.ask("GET", "/admin/services")[1]
    assert services["up"]["commands"]["up"]["requests"] >= 1
    assert 2 == len(operator.ask("GET", "/admin/workers")[1]["workers"])
    assert "of no fleet" in operator.ask("GET", "/admin/fleet")[1]["trouble"]
    status, told = operator.ask("PATCH", "/admin/services/up?fleet=true", {"idle_timeout": 7.0})
    assert (503, True) == (status, "of no fleet" in told["detail"])


def test_a_change_is_in_force_in_every_worker_until_the_file_is_reloaded(operator: Operator) -> None:
    gateway = operator.gateway
    status, told = operator.ask("PUT", "/admin/routes", [{"path": "/only/*", "service": "up"}])
    assert (200, True) == (status, told["applied"]), told
    assert "reloaded" in told["until"]
    assert [404] * 10 == [gateway.get("/x")[0] for _ in range(10)]
    assert operator.ask("GET", "/admin/config")[1]["changed_by_api"]
    assert 200 == operator.ask("PATCH", "/admin/services/up", {"command": {"timeout": 3.0}})[0]
    assert 3.0 == operator.ask("GET", "/admin/services")[1]["up"]["config"]["command"]["timeout"]
    gateway.process.send_signal(signal.SIGHUP)
    eventually(lambda: not operator.ask("GET", "/admin/config")[1]["changed_by_api"])
    assert [200] * 10 == [gateway.get("/x")[0] for _ in range(10)]


def test_a_change_with_a_mistake_changes_nothing_and_names_it(operator: Operator) -> None:
    before = operator.ask("GET", "/admin/config")[1]
    for method, path, body, word in (
            ("PUT", "/admin/routes", [{"path": "/x", "service": "nobody"}], "unknown service"),
            ("PUT", "/admin/routes", 7, "list of tables"),
            ("PATCH", "/admin/config", {"services": {"up": {"endpoints": ["ftp://x"]}}}, "endpoint"),
            ("PATCH", "/admin/config", {"services": {"up": None}}, "unknown service"),
            ("PATCH", "/admin/config", [], "JSON object"),
            ("PATCH", "/admin/config", {"admin": {"tokens": {}}}, "cannot be changed"),
            ("PATCH", "/admin/config", {"gateway": {"bind": "0.0.0.0:1"}}, "cannot be changed"),
            ("PATCH", "/admin/services/up", {"ca_file": "/etc/passwd"}, "ca_file"),
            ("PATCH", "/admin/services/up", {"headers": {"x": "file:/etc/passwd"}}, "cannot be used")):
        status, told = operator.ask(method, path, body)
        assert (422, True) == (status, word in told["detail"]), told
    assert 404 == operator.ask("PATCH", "/admin/services/nobody", {})[0]
    assert before == operator.ask("GET", "/admin/config")[1]


def test_a_circuit_is_steered_in_every_worker(operator: Operator) -> None:
    gateway = operator.gateway
    assert "forced_open" == operator.ask("POST", "/admin/commands/up", {"order": "force_open"})[1]["state"]
    assert [503] * 10 == [gateway.get("/x")[0] for _ in range(10)]
    killed = gateway.workers()[0]
    os.kill(killed, signal.SIGKILL)  # its successor is told, too
    eventually(lambda: killed not in gateway.workers() and 2 == sum(
        each["listens"] for each in operator.ask("GET", "/admin/workers")[1]["workers"]))
    eventually(lambda: {503} == {gateway.get("/x")[0] for _ in range(10)})
    assert 200 == operator.ask("POST", "/admin/commands/up", {"order": "release"})[0]
    assert [200] * 10 == [gateway.get("/x")[0] for _ in range(10)]
    assert 422 == operator.ask("POST", "/admin/commands/up", {"order": "explode"})[0]
    assert 422 == operator.ask("POST", "/admin/commands/nobody", {"order": "release"})[0]
    assert 404 == operator.ask("GET", "/admin/commands/nobody")[0]


def test_a_command_with_any_name_is_found_by_its_percent_encoded_name(tmp_path: Path, upstream: Upstream) -> None:
    services = f'''
[services."50%41"]
endpoints = ["{upstream.url}/one", "{upstream.url}/two"]
[[routes]]
path = "/*"
service = "50%41"
'''
    with running(tmp_path, services, workers=1, admin=f'tokens = {{ ops = "sha256:{HASH}" }}') as gateway:
        operator = Operator(gateway)
        keys = {"50%41", *(f"50%41@127.0.0.1:{upstream.port}/{each}" for each in ("one", "two"))}
        assert keys == operator.ask("GET", "/admin/commands")[1].keys()
        for key in keys:
            path = f"/admin/commands/{quote(key, safe='')}"
            assert (200, key) == ((found := operator.ask("GET", path))[0], found[1].get("key")), found
            assert "forced_open" == operator.ask("POST", path, {"order": "force_open"})[1]["state"]
        assert 200 == operator.ask("PATCH", "/admin/services/50%2541", {"idle_timeout": 7.0})[0]


def test_no_change_names_code() -> None:
    """What a patch of the failure rules names would be imported, and called for each exchange, in every process."""
    for said in ("os:abort", ["os:abort"], ["ValueError", "os:abort"]):
        for key in ("judge", "results", "items", "exceptions", "refused", "caller_faults", "busy"):
            with pytest.raises(ConfigError, match=f"failures.{key} names code"):
                check_patch({"services": {"up": {"command": {"failures": {key: said}}}}})
    check_patch({"services": {"up": {"command": {"failures": {"exceptions": ["ValueError"], "status": ["5xx"]},
                                                 "timeout": 3.0, "breaker": False, "no_such": {"judge": "a:b"}}}}})


def test_a_service_may_have_the_name_of_a_setting() -> None:
    check_patch({"services": {"source": {"idle_timeout": 7.0}, "ca_file": {"idle_timeout": 7.0}}})


def test_every_change_is_logged_with_who_made_it(tmp_path: Path, upstream: Upstream) -> None:
    with running(tmp_path, CONFIG.format(url=upstream.url), workers=1,
                 admin=f'tokens = {{ ops = "sha256:{HASH}" }}') as gateway:
        operator = Operator(gateway)
        assert 200 == operator.ask("POST", "/admin/commands/up", {"order": "reset"})[0]
        assert 401 == operator.ask("GET", "/admin/config", token="wrong")[0]
        _, err = gateway.stop()
    assert "POST /admin/commands/up by ops from 127.0.0.1" in err
    assert "from 127.0.0.1 had no valid token" in err
    assert TOKEN not in err


@pytest.mark.parametrize(("target", "patch", "result"), [  # RFC 7396, appendix A
    ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}), ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}), ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}), ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]), ({"a": "b"}, ["c"], ["c"]), ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}), ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}})])
def test_a_merge_patch_does_what_its_standard_says(target: Any, patch: Any, result: Any) -> None:
    assert result == merged(target, patch)


def test_secrets_are_not_shown() -> None:
    assert {"headers": {"Authorization": HIDDEN, "x": "y"}, "api_key": "env:KEY", "urls": [f"http://{HIDDEN}@x/"]} == shown(
        {"headers": {"Authorization": "Bearer abc", "x": "y"}, "api_key": "env:KEY", "urls": ["http://user:pass@x/"]})
