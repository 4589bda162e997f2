"""A reload that failed had replaced admission control, set other limits, and forgotten commands of endpoints with their circuits.

Here each step of a reload that changes everything fails, one after another, and the whole state is compared.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resilience import Registry
from resilience.commands.command import internals_of
from resilience.config import Document
from resilience.errors import ConfigError
from resilience.gateway import Gateway, inbound_filter
from resilience.gateway import generation as generations
from resilience.gateway.client_addresses import ClientAddresses
from resilience.gateway.composition import composer
from resilience.gateway.config import GatewayConfig, read
from resilience.gateway.filters import steps
from resilience.gateway.limits import admission_control, request_limit
from resilience.gateway.logs import request_statistics
from resilience.gateway.services import service as one_service
from resilience.gateway.services import services
from resilience.gateway.services.service import Service
from resilience.gateway.upstream.http1 import Http1Client
from resilience.metrics import prometheus

ONE, TWO, THREE = (f"http://127.0.0.1:{port}" for port in (7, 8, 9))
BEFORE: dict[str, Any] = {
    "gateway": {"filters": ["auth", "limit", "busy"], "statistics": False},
    "services": {
        "a": {"endpoints": [ONE, TWO], "command": {"timeout": 0.7, "rate_limit": {"calls": 5}, "per": "endpoint"}, "checks": {}},
        "b": {"endpoints": [ONE], "fallback": {"service": "a"}}, "gone": {"endpoints": [ONE]}},
    "routes": [{"path": "/a/*", "service": "a"}, {"path": "/b/*", "service": "b"}, {"path": "/c/*", "compose": "page"}],
    "compositions": {"page": {"timeout": 1.0, "parts": {"x": {"service": "a", "path": "/"}}}},
    "filters": {
        "auth": {"use": "forward_auth", "url": ONE, "timeout": 1.0}, "limit": {"use": "rate_limit", "rate": 5, "per": 3600.0},
        "busy": {"use": "shed", "initial": 5}},
    "shedding": {"initial": 5},
}


def after(log: Path) -> dict[str, Any]:
    """A configuration of which everything is another."""
    return {
        "gateway": {"filters": ["auth", "limit", "busy", "tokens"], "trusted_proxies": ["10.0.0.1"]},
        "services": {
            "a": {"endpoints": [ONE, THREE], "command": {"timeout": 0.5, "breaker": False, "per": "endpoint"}},
            "b": {"endpoints": [ONE], "connect_timeout": 0.1, "fallback": {"service": "c"}},
            "c": {"endpoints": [TWO, THREE]}},
        "routes": [{"path": "/a/*", "service": "a"}, {"path": "/c/*", "compose": "page"}],
        "compositions": {"page": {"timeout": 2.0, "parts": {"x": {"service": "c", "path": "/"}}},
                         "other": {"parts": {"x": {"service": "c", "path": "/"}}}},
        "filters": {
            "auth": {"use": "forward_auth", "url": ONE, "timeout": 2.0}, "limit": {"use": "rate_limit", "rate": 2},
            "busy": {"use": "shed", "initial": 3},
            "tokens": {"use": "jwt", "jwks": "http://127.0.0.1:9/keys", "algorithms": ["RS256"], "issuer": "i", "audience": ["a"]}},
        "shedding": {"initial": 3}, "access_log": {"to": str(log)},
        "private": {"bind": "127.0.0.1:8081", "trusted_proxies": ["10.0.0.1"], "routes": [{"path": "/*", "service": "c"}]},
    }


def from_source(file: str, **said: Any) -> dict[str, Any]:
    return {"source": {"use": "file", "path": file, "interval": 1000.0}, **said}


def with_services(tables: dict[str, Any], services: dict[str, Any]) -> dict[str, Any]:
    return {**tables, "services": {**tables["services"], **services}}


def sources_before(file: str) -> dict[str, Any]:
    return {"stays": from_source(file), "changed": from_source(file), "moved": from_source(file), "left": from_source(file),
            "settled": from_source(file), "turned": {"endpoints": [ONE, TWO]}}


def sources_after(file: str) -> dict[str, Any]:
    slower = {**from_source(file)["source"], "interval": 2000.0}
    return {"stays": from_source(file), "changed": from_source(file, connect_timeout=0.1), "moved": {"source": slower},
            "settled": {"endpoints": [ONE]}, "turned": from_source(file), "added": from_source(file)}


def watches(gateway: Gateway) -> dict[str, Any]:
    return {name: (each.watch, each.watch.follower, each.watch._task, each.endpoints.listed, list(each.endpoints.draining))
            for name, each in gateway.services.items() if each.watch is not None}


def configured(tables: dict[str, Any]) -> GatewayConfig:
    return read(Document.of(tables, "test"))


def state(gateway: Gateway, of_others: set[threading.Thread]) -> dict[str, Any]:
    """All that a reload may change. Threads *of_others*, such as idle ones of other tests, may end at any time."""
    registry, generation = gateway.registry, gateway._generation
    return {
        "generation": generation, "services": dict(gateway.services),
        "commands": {command.key: (command, command.settings, command.state, internals_of(command).runtime.circuit,
                                   command.__recorder__.totals()[0]) for command in registry},
        "service": {name: (each.config, each._checker, each.fallback_service, each.endpoints, each._commands)
                    for name, each in gateway.services.items()},
        "endpoints": {name: [(each, each.config, each.key, each.call, each.connect_timeout, each.statuses, each.is_healthy,
                              each.weight, each.rest) for each in service.endpoints.states] for name, service in gateway.services.items()},
        "watches": watches(gateway), "steps": {name: (step, step.run, step.others) for name, step in generation.parts.steps.items()},
        "composed": {name: (step, step.run) for name, step in generation.parts.composed.items()},
        "limits": {name: (each, each.policy, each._max_waiting) for name, each in request_limit._limits.of(registry).items()},
        "admission": {name: (each, each.priorities) for name, each in admission_control._known.of(registry).items()},
        "statistics": dict(request_statistics._listeners.of(registry)),
        "exported": list(prometheus._further.get(registry, ())), "threads": set(threading.enumerate()) - of_others,
        "files": len(os.listdir("/proc/self/fd")), "tasks": len(asyncio.all_tasks()),
    }


POINTS: tuple[tuple[Any, str], ...] = (
    *((generations, name) for name in ("steps_of", "endpoints", "observer_of", "statistics_of", "Admission", "Forwarder",
                                       "FilterRunner", "admission_control_of", "chain_of")),
    (ClientAddresses, "behind"),
    (steps, "step_of"), (composer, "step_of"), (steps, "FilterHost"), (services, "Service"), (Service, "successor"),
    (one_service, "watch_of"))
_successor = Service.successor


@pytest.mark.parametrize("has_sources", [False, True])
def test_whichever_step_of_a_reload_fails_nothing_has_changed(tmp_path: Path, has_sources: bool) -> None:  # noqa: FBT001
    file = tmp_path / "listed.json"
    file.write_text(json.dumps([ONE, TWO]))

    async def main() -> None:
        of_others = set(threading.enumerate())
        gateway = Gateway(configured(with_services(BEFORE, sources_before(str(file)) if has_sources else {})), registry=Registry())
        wanted = configured(with_services(after(tmp_path / "log"), sources_after(str(file))))
        await gateway.known()
        await asyncio.sleep(0)
        for thread in threading.enumerate():
            if thread.name == "resilience discovery call":
                thread.join()  # it has read the list, and has yet to end
        next(each for each in gateway.registry if each.key.startswith("a@")).force_open()
        next(iter(gateway.services["a"].endpoints.states)).is_healthy = False
        before, seen, failed = state(gateway, of_others), dict[str, int](), [0]
        for where, name in (*POINTS, (generations.Generation, "of")):
            while failed[0] >= seen.get(name, 0):
                with pytest.MonkeyPatch.context() as patched:
                    let_go: list[Any] = []
                    patched.setattr(Http1Client, "let_go", lambda client, endpoint, gone=let_go: gone.append(endpoint))
                    patched.setattr(generations.Generation, "of", failing(generations.Generation.of, 1, [0]))
                    failed = [0]
                    patched.setattr(where, name, failing(getattr(where, name), seen.get(name, 0) + 1, failed))
                    with pytest.raises(ConfigError, match="not to be"):
                        gateway.reload(wanted)
                    seen[name] = seen.get(name, 0) + 1
                found = state(gateway, of_others)
                assert {part for part in before if before[part] != found[part]} == set(), f"{name}, call {seen[name]}"
                assert [] == let_go
            failed = [0]
        assert all(number > 1 for number in seen.values()), seen
        del before, found
        gateway.reload(wanted)
        gc.collect()
        assert {name: each.endpoints for name, each in gateway.services.items() if each.watch is not None} == {
            name: follower for name, (_, follower, task, *_) in watches(gateway).items() if task is not None}
        await gateway.known()
        await asyncio.sleep(0)  # in which the watches end that a reload has ended
        assert ["added", "changed", "moved", "stays", "turned"] == sorted(
            each.get_name().removeprefix("source of ") for each in asyncio.all_tasks() if each.get_name().startswith("source of "))
        fresh = Gateway(wanted, registry=Registry())
        await fresh.known()
        assert {each.key: each.settings for each in fresh.registry} == {each.key: each.settings for each in gateway.registry}
        assert {name: each.policy for name, each in request_limit._limits.of(fresh.registry).items()} == {
            name: each.policy for name, each in request_limit._limits.of(gateway.registry).items()}
        gateway.close()
        fresh.close()

    asyncio.run(main())


def failing(real: Callable[..., Any], at: int, calls: list[int]) -> Callable[..., Any]:
    """The same, but its *at*-th call fails: after all has been done, unless nobody else could undo that."""
    def call(*args: Any, **said: Any) -> Any:
        calls[0] += 1
        made = None if calls[0] == at and real in (Service, _successor) else real(*args, **said)
        if calls[0] == at:
            raise ConfigError("not to be")
        return made

    return call


def reloaded(change: Callable[[dict[str, Any]], None]) -> Registry:
    """The registry of a gateway that was reloaded."""
    said: dict[str, Any] = {
        "gateway": {"filters": ["auth", "tokens"]}, "services": {"a": {"endpoints": [ONE]}},
        "routes": [{"path": "/*", "service": "a"}],
        "filters": {"auth": {"use": "forward_auth", "url": ONE, "timeout": 1.0},
                    "tokens": {"use": "jwt", "jwks": "http://127.0.0.1:9/keys", "fetch_timeout": 1.0, "algorithms": ["RS256"],
                               "issuer": "i", "audience": ["a"]}}}
    gateway = Gateway(configured(said), registry=Registry())
    gateway.registry["filter.auth.call"].force_open()
    change(said)
    gateway.reload(configured(said))
    gc.collect()
    gateway.close()
    return gateway.registry


def test_a_filter_that_asks_a_service_of_its_own_can_be_changed_and_removed_by_a_reload() -> None:
    def slower(said: dict[str, Any]) -> None:
        said["filters"]["auth"]["timeout"] = said["filters"]["tokens"]["fetch_timeout"] = 2.0

    def without(said: dict[str, Any]) -> None:
        del said["filters"], said["gateway"]

    registry = reloaded(slower)
    assert (2.0, 2.0) == (registry["filter.auth.call"].settings.timeout, registry["filter.tokens.keys"].settings.timeout)
    assert "forced_open" == registry["filter.auth.call"].state
    assert ["a"] == [each.key for each in reloaded(without)]


def test_admission_control_that_stays_finds_clients_by_the_proxies_that_are_trusted_now() -> None:
    def of(*proxies: str) -> GatewayConfig:
        return configured({
            "gateway": {"trusted_proxies": list(proxies)}, "services": {"a": {"endpoints": [ONE]}},
            "routes": [{"path": "/*", "service": "a"}], "shedding": {"tenant": ["address"], "lag": False}})

    gateway = Gateway(of(), registry=Registry())
    stays, knew = gateway._generation.public.admission_control, gateway._generation.public.admission_control.priorities  # type: ignore[union-attr]
    gateway.reload(of("10.0.0.1"))
    assert stays is gateway._generation.public.admission_control
    assert knew is not stays.priorities  # type: ignore[union-attr]


class Keeping:
    """A filter that keeps all that it was lent."""

    def bind(self, host: Any) -> Callable[[Any], None]:
        return lambda context: host.services


def test_a_filter_that_stays_keeps_no_service_that_a_reload_removes() -> None:
    def of(*names: str) -> GatewayConfig:
        return configured({
            "gateway": {"filters": ["known", "auth"]}, "services": {name: {"endpoints": [ONE]} for name in names},
            "routes": [{"path": f"/{name}/*", "service": name} for name in names],
            "filters": {"known": {"use": "access", "anonymous": True, "addresses": ["127.0.0.1"]},
                        "auth": {"use": "forward_auth", "service": "a", "path": "/x"}}})

    keeping = inbound_filter(name="keeping")(Keeping)()
    gateway = Gateway(of("a", "b"), registry=Registry(), filters=[keeping])
    steps = dict(gateway._generation.parts.steps)
    gateway.reload(of("a"))
    gc.collect()
    assert steps == gateway._generation.parts.steps
    assert {"a", "filter.known", "filter.auth", "filter.keeping"} == {each.key for each in gateway.registry}
    gateway.close()
