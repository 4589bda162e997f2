"""Services of a gateway whose endpoints are in Redis or Kubernetes: the file, and a change that comes within an interval."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from resilience.config import ConfigFileError
from resilience.discovery import KubernetesSource, RedisSource
from resilience.gateway import Gateway
from resilience.gateway.config import load
from tests.discovery.kubernetes import ApiServer, endpoint, endpoint_slice
from tests.discovery.test_kubernetes_source import api_server

from .harness import DEADLINE_S

ROUTE = '\n[[routes]]\npath = "/*"\nservice = "orders"\n'


def table(path: Path, text: str) -> Path:
    path.write_text(f"[services.orders.source]\n{text}\n{ROUTE}")
    return path


async def follows(file: Path, first: set[str], change: Callable[[], Any], then: set[str]) -> Any:
    """A gateway with this file has the *first* endpoints, and after the *change* those of *then*. Its source."""
    app = Gateway.from_file(file)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await app.known()
            assert first == {each.name for each in app.services["orders"].endpoints.states}
            change()
            while {each.name for each in app.services["orders"].endpoints.states} != then:
                await asyncio.sleep(0.005)
        watch = app.services["orders"].watch
        assert watch is not None
        return watch.source
    finally:
        app.close()


async def test_endpoints_in_redis_come_and_go(redis_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{redis_server[0]}")
    with redis.Redis(unix_socket_path=str(redis_server[0])) as client:
        def come(name: str) -> None:
            client.set(f"mine:{{orders}}:{name}", f'{{"url": "http://{name}"}}', ex=90)
            client.sadd("mine:{orders}", name)

        def change() -> None:
            come("10.0.0.2:80")
            client.delete("mine:{orders}:10.0.0.1:80")

        come("10.0.0.1:80")
        file = table(tmp_path / "gateway.toml", 'use = "redis"\napp = "orders"\nurl = "env:REDIS_URL"\nprefix = "mine"\ninterval = 0.05')
        assert isinstance(await follows(file, {"10.0.0.1:80"}, change, {"10.0.0.2:80"}), RedisSource)


async def test_endpoints_in_kubernetes_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token")
    api = ApiServer(endpoint_slice("a", endpoint("10.0.0.1"), endpoint("10.0.0.2")))

    def change() -> None:
        api.slices = [endpoint_slice("a", endpoint("10.0.0.1", ready=False, serving=True, terminating=True), endpoint("10.0.0.2")),
                      endpoint_slice("b", endpoint("10.0.0.3"))]

    with api_server(api) as url:
        file = table(tmp_path / "gateway.toml", f'use = "kubernetes"\nservice = "orders"\nnamespace = "shop"\nport = "http"\napi = "{url}"\n'
                                                f'token_file = "{tmp_path / "token"}"\ninterval = 0.05')
        assert isinstance(await follows(file, {"10.0.0.1:8080", "10.0.0.2:8080"}, change, {"10.0.0.2:8080", "10.0.0.3:8080"}),
                          KubernetesSource)


@pytest.mark.parametrize(("text", "message"), [
    ('use = "redis"\napp = "orders"', "url"), ('use = "redis"\napp = "orders"\nurl = "http://x"', "redis://redis-1:6379/0"),
    ('use = "redis"\napp = "orders"\nurl = 7', "must be a string"), ('use = "redis"\napp = "orders"\nurl = "env:NOT_THERE"', "the environment has no NOT_THERE"),
    ('use = "redis"\napp = "orders"\nurl = "redis://any:hunter2@x"', "url has a password in it"),
    ('use = "redis"\napp = "orders"\nurl = "redis://x/0?password=hunter2"', "url has a password in it"),
    ('use = "redis"\napp = "orders"\nurl = "unix:///x?db=1&pass%77ord=hunter2"', "url has a password in it"),
    ('use = "kubernetes"', "service"), ('use = "kubernetes"\nservice = "Orders!"', "small letters"),
    ('use = "kubernetes"\nservice = "a"\nport = 0', "name of a port"), ('use = "kubernetes"\nservice = "a"\nport = true', "name of a port"),
    ('use = "kubernetes"\nservice = "a"\napi = "ftp://x"', "http"), ('use = "kubernetes"\nservice = "a"\nfamily = "ipv5"', "ipv4")])
def test_a_mistake_in_the_table_is_told_of_with_its_place_and_without_a_secret(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError) as caught:
        load(table(tmp_path / "gateway.toml", text))
    assert message in f"{caught.value}"
    assert "hunter2" not in f"{caught.value}"
    assert "gateway.toml:" in f"{caught.value}"


def test_a_source_that_cannot_be_opened_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    file = table(tmp_path / "gateway.toml", 'use = "kubernetes"\nservice = "orders"')
    assert load(file).services["orders"].source is not None, "the file may be checked anywhere"
    with pytest.raises(Exception, match="this is no pod of Kubernetes"):
        Gateway.from_file(file)
