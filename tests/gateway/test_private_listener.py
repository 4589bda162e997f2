"""The private listener: a listener with routes of its own, which nobody reaches from the public one."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from resilience.config import ConfigFileError, Document
from resilience.gateway.config import GatewayConfig, read

from .harness import OK, Call, Gateway, Upstream, eventually, everything, free_port, listens, parsed, running

GOOD = {
    "services": {"shop": {"endpoints": ["http://127.0.0.1:1"]}, "stock": {"endpoints": ["http://127.0.0.1:1"]}},
    "routes": [{"path": "/*", "service": "shop"}],
    "private": {"bind": "127.0.0.1:8081", "routes": [{"path": "/*", "service": "stock"}]},
}


def config(**private: Any) -> GatewayConfig:
    return read(Document.of({**GOOD, "private": {**GOOD["private"], **private}}, "test"))


@pytest.mark.process
def test_each_side_has_its_own_routes_and_both_are_reloaded_and_counted(tmp_path: Path, upstream: Upstream) -> None:
    private = free_port()
    text = f"""
[services.shop]
endpoints = ["{upstream.url}"]
[services.stock]
endpoints = ["{upstream.url}"]
[[routes]]
path = "/shop/*"
service = "shop"
[private]
bind = "127.0.0.1:{private}"
[[private.routes]]
path = "/stock/*"
service = "stock"
"""
    with running(tmp_path, text, workers=1) as gateway:
        public_port = gateway.port

        def ask(port: int, path: str) -> int:
            gateway.port = port
            try:
                return Gateway.get(gateway, path)[0]
            finally:
                gateway.port = public_port

        eventually(lambda: listens(private))
        assert (200, 404) == (ask(public_port, "/shop/1"), ask(public_port, "/stock/1"))
        assert (404, 200) == (ask(private, "/shop/1"), ask(private, "/stock/1"))
        assert 1 == gateway.metric("success", "stock")
        gateway.file.write_text(gateway.file.read_text().replace("/stock/*", "/new/*"))
        gateway.process.send_signal(1)
        eventually(lambda: ask(private, "/stock/1") == 404)
        assert (200, 404) == (ask(private, "/new/1"), ask(public_port, "/new/1"))


@pytest.mark.process
def test_a_reload_adds_moves_and_removes_the_private_listener_whose_statistics_are_apart(tmp_path: Path, upstream: Upstream) -> None:
    first, second, finish = free_port(), free_port(), threading.Event()
    upstream.on("/slow-private", lambda call: hold(call, finish))
    public = PUBLIC.format(url=upstream.url)
    with (running(tmp_path, public, workers=2) as gateway, socket.create_server(("127.0.0.1", 0)) as stranger,
          contextlib.ExitStack() as stack):
        only_public = gateway.file.read_text()

        def reload(text: str, result: str = "applied") -> None:
            metric = f'resilience_gateway_reloads_total{{result="{result}"}}'
            before = counted(gateway, metric)
            gateway.file.write_text(text)
            gateway.process.send_signal(signal.SIGHUP)
            eventually(lambda: counted(gateway, metric) == before + 1, f"a reload that is {result}")

        assert not listens(first)
        reload(only_public + PRIVATE.format(port=first, path="/*"))
        before = gateway.metric("success", "up")
        assert [200] * 8 == [ask(first, "/x") for _ in range(8)], "both workers listen"
        assert [200] * 3 == [ask(gateway.port, "/x") for _ in range(3)]
        requests = 'resilience_gateway_requests_total{%sroute="/*",service="up",status="2xx"}'
        eventually(lambda: counted(gateway, requests % 'listener="private",') == 8)
        eventually(lambda: counted(gateway, requests % "") == 3)
        assert before + 11 == gateway.metric("success", "up"), "one service has one circuit, and one command"
        under_way = stack.enter_context(socket.create_connection(("127.0.0.1", first), 10))
        under_way.sendall(b"GET /slow-private HTTP/1.1\r\nHost: gw\r\n\r\n")
        upstream.called("/slow-private")
        reload(only_public + PRIVATE.format(port=second, path="/new/*"))
        assert ([200] * 8, False) == ([ask(second, "/new/x") for _ in range(8)], listens(first))
        assert (404, 200) == (ask(second, "/x"), ask(gateway.port, "/x"))
        finish.set()
        status, headers, _ = parsed(everything(under_way))
        assert (200, "close") == (status, headers["connection"])

        taken = stranger.getsockname()[1]
        reload(only_public.replace('path = "/*"', 'path = "/other/*"') + PRIVATE.format(port=taken, path="/*"), "rejected")
        assert (200, 200) == (ask(second, "/new/x"), ask(gateway.port, "/x")), "nothing has changed"
        reload(only_public)
        assert (False, 200) == (listens(second), ask(gateway.port, "/x"))
        _, error = gateway.stop()
    assert f"cannot listen on 127.0.0.1:{taken}: Address already in use" in error


PUBLIC = '''
[services.up]
endpoints = ["{url}"]
command.timeout = 60.0
[[routes]]
path = "/*"
service = "up"
'''
PRIVATE = '''
[private]
bind = "127.0.0.1:{port}"
[[private.routes]]
path = "{path}"
service = "up"
'''


def ask(port: int, path: str) -> int:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n".encode())
        return parsed(everything(client))[0]


def counted(gateway: Gateway, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (.*)$", gateway.admin_get("/metrics"), re.M)
    return float(found.group(1)) if found else 0.0


def hold(call: Call, finish: threading.Event) -> None:
    finish.wait(30)
    call.send(OK)


def test_a_mistake_on_the_private_listener_is_found_like_any_other() -> None:
    assert config().private is not None
    for private, word in (
            ({"routes": []}, "at least one"), ({"routes": [{"path": "/x", "service": "nobody"}]}, "unknown service"),
            ({"bind": "127.0.0.1:8080"}, "itself listens"), ({"bnd": "x"}, "did you mean bind"),
            ({"routes": [{"path": "/x", "service": "shop"}] * 2}, "duplicate route"), ({"routes": 3}, "list of tables")):
        with pytest.raises(ConfigFileError, match=word):
            config(**private)
    with pytest.raises(ConfigFileError, match="needs an address"):
        read(Document.of({**GOOD, "private": {"routes": GOOD["private"]["routes"]}}, "test"))
