"""Reloading in the process: what stays, what changes, what a failure leaves behind, and what a thousand reloads cost."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import Any

import pytest

from resilience import Registry
from resilience.commands.command import internals_of
from resilience.config import Document
from resilience.errors import ConfigError
from resilience.gateway import Gateway, inbound_filter
from resilience.gateway import generation as generation_module
from resilience.gateway.config import GatewayConfig, read

from .harness import Upstream


def config(url: str, *names: str, command: dict[str, Any] | None = None, **gateway: Any) -> GatewayConfig:
    """A configuration of services of these *names*, each at its own path."""
    return read(Document.of({
        "gateway": gateway,
        "services": {name: {"endpoints": [url], **({} if command is None else {"command": command})} for name in names},
        "routes": [{"path": f"/{name}/*", "service": name} for name in names],
    }, "test"))


async def status(gateway: Gateway, path: str) -> int:
    """One request, without a server."""
    found, asked = [], []

    async def receive() -> Any:
        if asked:
            await asyncio.Event().wait()  # the client stays
        asked.append(None)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    await gateway({
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path, "query_string": b"",
        "raw_path": path.encode(), "headers": [(b"host", b"gw")], "client": ("127.0.0.1", 9), "server": ("127.0.0.1", 1),
    }, receive, send)
    return int(found[0])


@inbound_filter
async def asynchronous(context: Any) -> None:
    """Look at nothing."""


async def closed(gateway: Gateway) -> None:
    """Close it, and let its transports end."""
    gateway.close()
    for _ in range(3):
        await asyncio.sleep(0)


def test_what_stays_the_same_is_the_same_and_what_changes_keeps_its_command() -> None:
    registry = Registry()
    gateway = Gateway(config("http://127.0.0.1:9", "a", "b", command={"timeout": 0.5}), registry=registry)
    services, commands = dict(gateway.services), {command.key: command for command in registry}
    registry["a"].force_open()
    gateway.reload(config("http://127.0.0.1:9", "a", "b", "c", command={"timeout": 0.5}))
    assert services["a"] is gateway.services["a"]
    assert ["a", "b", "c"] == [command.key for command in registry]
    gateway.reload(config("http://127.0.0.1:9", "a", "b", command={"timeout": 0.7, "max_concurrent": 3}))
    assert services["a"] is not gateway.services["a"]
    assert commands == {command.key: command for command in registry}
    assert (0.7, 3, "forced_open") == (registry["a"].settings.timeout, registry["a"].settings.max_concurrent, registry["a"].state)


def test_no_reload_refills_a_limit(upstream: Upstream) -> None:
    async def main() -> None:
        limited = {"rate_limit": {"calls": 3, "per": 3600.0}}
        gateway = Gateway(config(upstream.url, "up", command=limited), registry=Registry())
        assert [200, 200, 200, 429] == [await status(gateway, "/up/x") for _ in range(4)]
        for command in (limited, {**limited, "timeout": 0.9}, {**limited, "breaker": False}, {}, limited,
                        {"rate_limit": {"calls": 2, "per": 3600.0}}):
            gateway.reload(config(upstream.url, "up", command=command))
            assert (200 if not command else 429) == await status(gateway, "/up/x"), command
        await closed(gateway)

    asyncio.run(main())


def test_policies_come_and_go_with_a_reload_and_the_circuit_stays() -> None:
    registry = Registry()
    gateway = Gateway(config("http://127.0.0.1:9", "up"), registry=registry)
    circuit = internals_of(registry["up"]).runtime.circuit
    for said in ({"breaker": False}, {"rate_limit": {"calls": 5}}, {"adaptive_limit": {}}, {"throttle": {}}, {},
                 {"shadow": ["breaker"]}, {"failures": False}, {"max_concurrent": {"max_concurrent": 4, "max_wait": 0.1}}):
        gateway.reload(config("http://127.0.0.1:9", "up", command=said))
        fresh = Registry()
        Gateway(config("http://127.0.0.1:9", "up", command=said), registry=fresh)
        assert fresh["up"].settings == registry["up"].settings, said
        assert circuit is internals_of(registry["up"]).runtime.circuit


def test_a_reload_that_fails_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    old = config("http://127.0.0.1:9", "a", "b", command={"timeout": 0.5, "rate_limit": {"calls": 5}})
    gateway = Gateway(old, registry=registry)
    services = {name: service.config for name, service in gateway.services.items()}
    settings = {command.key: command.settings for command in registry}

    class Failing:
        def __init__(self, *_: Any, **__: Any) -> None:
            raise ConfigError("nobody is admitted")

    with monkeypatch.context() as patched:
        patched.setattr(generation_module, "Admission", Failing)
        with pytest.raises(ConfigError, match="nobody"):
            gateway.reload(config("http://127.0.0.1:9", "a", "c", command={"timeout": 0.7}))
    assert gateway.config is old
    assert services == {name: service.config for name, service in gateway.services.items()}
    assert settings == {command.key: command.settings for command in registry}
    gateway.reload(config("http://127.0.0.1:9", "b", command={"timeout": 0.7}))
    del services
    assert ["b"] == [command.key for command in registry]


def test_a_reload_that_fails_leaves_the_filters_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(limit: float) -> GatewayConfig:
        return read(Document.of({
            "services": {"a": {"endpoints": ["http://127.0.0.1:9"]}}, "routes": [{"path": "/*", "service": "a"}],
            "gateway": {"filters": ["slow"]}, "filters": {"slow": {"use": f"{__name__}:asynchronous", "time_limit": limit}},
        }, "test"))

    registry = Registry()
    gateway = Gateway(of(3.0), registry=registry)
    with monkeypatch.context() as patched:
        patched.setattr(generation_module, "Admission", None)
        with pytest.raises(TypeError):
            gateway.reload(of(7.0))
    assert 3.0 == registry["filter.slow"].settings.timeout
    gateway.reload(of(7.0))
    assert 7.0 == registry["filter.slow"].settings.timeout


def test_what_cannot_change_is_refused_with_the_reason() -> None:
    gateway = Gateway(config("http://127.0.0.1:9", "a"), registry=Registry())
    with pytest.raises(ConfigError, match=r"gateway\.bind cannot change from 127\.0\.0\.1:8080 to 127\.0\.0\.1:1.*restart"):
        gateway.reload(config("http://127.0.0.1:9", "b", bind="127.0.0.1:1"))
    with pytest.raises(ConfigError, match=r"drain_timeout cannot change from 5\.0 to 6\.0"):
        gateway.reload(config("http://127.0.0.1:9", "b", drain_timeout=6.0))
    assert ["a"] == list(gateway.services)


def test_a_removed_service_that_comes_back_while_it_ends_keeps_its_command(upstream: Upstream) -> None:
    async def main() -> None:
        registry, finish = Registry(), threading.Event()
        upstream.on("/a/slow-leaving", lambda call: (finish.wait(60), call.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
        gateway = Gateway(config(upstream.url, "a", "b", command={"timeout": 50.0}), registry=registry)
        command, running = registry["a"], asyncio.ensure_future(status(gateway, "/a/slow-leaving"))
        await asyncio.to_thread(upstream.called, "/a/slow-leaving")
        gateway.reload(config(upstream.url, "b"))
        assert registry["a"] is command
        assert 404 == await status(gateway, "/a/x")
        gateway.reload(config(upstream.url, "a", "b", command={"timeout": 40.0}))
        finish.set()
        assert 200 == await running
        await asyncio.sleep(0)
        assert registry["a"] is command
        assert 40.0 == command.settings.timeout
        await closed(gateway)

    asyncio.run(main())


def test_a_thousand_reloads_under_load_lose_no_request_and_leak_nothing(upstream: Upstream) -> None:
    async def main() -> None:
        gateway, stop = Gateway(config(upstream.url, "up"), registry=Registry()), asyncio.Event()
        patient = {"timeout": 10.0}
        variants = [
            *(config(upstream.url, "up", command={"timeout": 10.0 + n}, client_timeout=20.0 + n) for n in range(3)),
            config(upstream.url, "up", "extra", command=patient),
            config(upstream.url, "extra", "up", command={**patient, "rate_limit": {"calls": 10_000_000, "per": 1.0}}),
        ]
        answers: list[int] = []
        answered = asyncio.Event()

        async def client() -> None:
            while not stop.is_set():
                answers.append(await status(gateway, "/up/load"))
                answered.set()
                await asyncio.sleep(0)  # a refusal would not wait for anything

        clients = [asyncio.ensure_future(client()) for _ in range(4)]
        seen = []
        for n in range(1000):
            gateway.reload(variants[n % len(variants)])
            await asyncio.sleep(0)
            while 5 * len(answers) < n:  # however slow the machine is, there are requests among the reloads
                answered.clear()
                await answered.wait()
            if n in (299, 999):
                del upstream.calls[:]
                gc.collect()
                seen.append((len(asyncio.all_tasks()), threading.active_count(), len(os.listdir("/proc/self/fd")),
                             len(gc.get_objects())))
        stop.set()
        await asyncio.gather(*clients)
        await closed(gateway)
        assert {200} == set(answers)
        (tasks, threads, files, objects), (tasks_after, threads_after, files_after, objects_after) = seen
        assert abs(tasks_after - tasks) <= 4  # of the clients' requests, each of which may be connecting
        assert abs(threads_after - threads) <= 4  # the upstream's, one for each connection
        assert abs(files_after - files) <= 8
        assert objects_after < objects + 1000, "more than one object a reload"

    asyncio.run(main())
