"""Two gateways in processes of their own, with one limit in one redis-server."""

import hashlib
import json
import re
import socket

import pytest

from tests.gateway.harness import Gateway, eventually, parsed, problem, running, shared_upstream
from tests.shared.redis_server import RedisServer

CONFIG = """
[shared]
url = "{redis}"
timeout = 1.0
name = "{name}"
[filters.together]
use = "rate_limit"
rate = 30
per = 3600.0
by = ["address"]
shared = true
[filters.locked]
use = "rate_limit"
rate = 1000
by = ["address"]
shared = true
when_unavailable = "closed"
[services.up]
endpoints = ["{url}"]
[[routes]]
path = "/together"
service = "up"
filters = ["together"]
[[routes]]
path = "/locked"
service = "up"
filters = ["locked"]
"""

upstream = shared_upstream()


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def statuses(gateways, path, number):
    return [gateways[each % len(gateways)].get(path) for each in range(number)]


def test_two_gateways_share_a_limit_and_go_on_without_the_store(upstream, redis, tmp_path):
    def config(name):
        return CONFIG.format(redis=redis.url, name=name, url=upstream.url)

    with running(tmp_path, config("a")) as one, running(tmp_path, config("b")) as other:
        replies = statuses([one, other], "/together", 40)
        admitted = [reply for reply in replies if reply[0] == 200]
        assert 28 <= len(admitted) <= 31
        assert re.fullmatch(r'"together";r=\d+;t=\d+', admitted[0][1]["ratelimit"])
        refused = next(reply for reply in replies if reply[0] == 429)
        assert problem(refused)["detail"] == "the limit together is reached"
        metrics = one.admin_get("/metrics")
        assert "resilience_shared_connected 1.0" in metrics
        eventually(lambda: "resilience_shared_instances 2.0" in one.admin_get("/metrics"), "the other being known")
        assert 'resilience_shared_limit_decisions_total{by="store",limit="together",result="admitted"}' in metrics
        assert one.get("/locked")[0] == 200

        redis.kill()
        eventually(lambda: "resilience_shared_connected 0.0" in one.admin_get("/metrics"), "the loss being noticed")
        assert sum(reply[0] == 200 for reply in statuses([one, other], "/together", 20)) <= 2
        status, headers, body = one.get("/locked")
        assert (status, headers["retry-after"]) == (503, "1")
        assert problem((status, headers, body))["detail"] == "the limit locked cannot be checked now"

        redis.start()
        eventually(lambda: one.get("/locked")[0] == 200, "the store being found again")
        assert sum(reply[0] == 200 for reply in statuses([one, other], "/together", 20)) <= 2


def test_every_worker_is_an_instance_and_a_reload_keeps_its_connection(upstream, redis, tmp_path):
    token = f'tokens = {{ ops = "sha256:{hashlib.sha256(b"test").hexdigest()}" }}'
    gateway = Gateway(tmp_path, CONFIG.format(redis=redis.url, name="a", url=upstream.url), workers=2, admin=token)
    try:
        eventually(lambda: redis.say("ZCARD", "resilience:instances") == b":2", "two instances")
        before = shared(gateway)
        assert {each["is_connected"] for each in before.values()} == {True}
        text = gateway.file.read_text()
        gateway.file.write_text(text.replace("rate = 1000", "rate = 2000"))
        assert ask(gateway, "POST", "/admin/reload")[0] == 200
        after = shared(gateway)
        assert [each["losses"] for each in after.values()] == [0, 0]
        assert all(after[number]["since_s"] >= before[number]["since_s"] for number in before)
    finally:
        assert gateway.stop()[0] == 0
    assert redis.say("ZCARD", "resilience:instances") == b":0", "those that end say so"


def ask(gateway, method, path):

    with socket.create_connection(("127.0.0.1", gateway.admin), 30) as client:
        client.sendall((f"{method} {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nAuthorization: Bearer test\r\n"
                        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}").encode())
        data = b""
        while piece := client.recv(65536):
            data += piece
    return parsed(data)


def shared(gateway):
    status, _, body = ask(gateway, "GET", "/admin/shared")
    assert status == 200, body
    return json.loads(body)["store"]


def test_a_shared_limit_without_a_store_is_a_mistake_in_the_file(tmp_path):
    from resilience.config import ConfigFileError
    from resilience.gateway.config import load

    file = tmp_path / "gateway.toml"
    text = CONFIG.format(redis="redis://h", name="a", url="http://127.0.0.1:1")
    file.write_text(text.replace('[shared]\nurl = "redis://h"\ntimeout = 1.0\nname = "a"\n', ""))
    with pytest.raises(ConfigFileError, match=r"filters\.together\.shared: the filter together is shared, which needs a \[shared\] table"):
        load(file)
    file.write_text(text.replace('url = "redis://h"', 'url = "redis://user:secret@h"'))
    with pytest.raises(ConfigFileError, match="must have no credentials") as raised:
        load(file)
    assert "secret@" not in str(raised.value)
