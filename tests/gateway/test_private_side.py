"""The private side: a listener with routes of its own, which nobody reaches from the public one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resilience.config import ConfigFileError, Document
from resilience.gateway.config import GatewayConfig, read

from .harness import Gateway, Upstream, eventually, free_port, running

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


def listens(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_a_mistake_on_the_private_side_is_found_like_any_other() -> None:
    assert config().private is not None
    for private, word in (
            ({"routes": []}, "at least one"), ({"routes": [{"path": "/x", "service": "nobody"}]}, "unknown service"),
            ({"bind": "127.0.0.1:8080"}, "itself listens"), ({"bnd": "x"}, "did you mean bind"),
            ({"routes": [{"path": "/x", "service": "shop"}] * 2}, "duplicate route"), ({"routes": 3}, "list of tables")):
        with pytest.raises(ConfigFileError, match=word):
            config(**private)
    with pytest.raises(ConfigFileError, match="needs an address"):
        read(Document.of({**GOOD, "private": {"routes": GOOD["private"]["routes"]}}, "test"))
