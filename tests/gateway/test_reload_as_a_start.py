"""Random files, loaded one after the other, end where a start with the last one begins: the oracle of a reload is a start."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from typing import Any, Final

from resilience import ConfigError, Registry, State
from resilience.commands.command import internals_of
from resilience.config import Document
from resilience.gateway import Gateway
from resilience.gateway.config import GatewayConfig, read
from resilience.gateway.services.service import Service
from tests.seeds import over_seeds

_URLS: Final = [f"http://127.0.0.1:{9000 + number}" for number in range(5)]
_SETTINGS: Final[dict[str, list[Any]]] = {
    "connect_timeout": [1.0, 3.0], "idle_timeout": [5.0], "max_body": [1000], "deadline": [3.0, 9.0], "pass_deadline": [True],
    "preserve_host": [True], "hedge": [0.1], "min_rate": [10], "http2": [True, False], "first_item": [2.0],
    "ejection": [False, {"consecutive": 2}, {"rest": 5.0}], "rules": [[{"status": [503], "then": "next"}]],
    "retry": [False, {"attempts": 3}, {"statuses": [503], "budget": {"ratio": 0.5}}],
    "fallback": [{"body": "x"}, {"stale": 5.0}, {"stale": 7.0}]}
_COMMAND: Final[dict[str, list[Any]]] = {
    "per": ["service", "endpoint", "both"], "max_concurrent": [False, 5, {"max_concurrent": 3, "max_wait": 0.1}],
    "timeout": [False, 1.0], "breaker": [False, {"min_calls": 3}, {"open_for": 9.0}], "adaptive_limit": [False, {}],
    "throttle": [False, {}]}
_BALANCERS: Final = ("round_robin", "random", "first", "least_request", "peak_ewma", "ring_hash", "maglev", "rendezvous")


def _some(dice: random.Random, choices: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: dice.choice(values) for name, values in choices.items() if dice.random() < 0.35}


def _service(dice: random.Random) -> dict[str, Any]:
    endpoints = [{"url": url, **_some(dice, {"weight": [0.5, 2.0], "zone": ["a", "b"], "priority": [0, 1]})}
                 for url in dice.sample(_URLS, dice.randrange(1, 5))]
    balancer = dice.choice(_BALANCERS)
    balancing = _some(dice, {"subset": [2, 3], "slow_start": [{"window": 9.0}]})
    if balancer in _BALANCERS[-3:]:
        balancing["hash_by"] = dice.choice(("path", "client"))
    elif dice.random() < 0.3:
        balancing["sticky"] = "seat"
    return {"endpoints": endpoints, "balancer": balancer, "balancing": balancing, "command": _some(dice, _COMMAND),
            **_some(dice, _SETTINGS)}


def _file(dice: random.Random) -> dict[str, Any]:
    names = dice.sample(["up", "other", "third"], dice.randrange(1, 4))
    routes: list[dict[str, Any]] = []
    for path in dice.sample(["/a/*", "/b/*", "/c"], dice.randrange(1, 4)):
        to: dict[str, Any] = {"service": dice.choice(names)} if dice.random() < 0.5 else {
            "services": {name: dice.choice((1, 2, 5)) for name in names}, **_some(dice, {"sticky": ["address", "cookie:x"]})}
        copies = {"mirror": {"service": dice.choice(names), **_some(dice, {"max_concurrent": [3, 7]})}}
        routes.append({"path": path, **to, **(copies if dice.random() < 0.5 else {})})
    filters = {"limit": {"use": "rate_limit", "rate": dice.choice((5, 50)), "per": 60.0}}
    more = {"filters": filters} if dice.random() < 0.4 else {}
    if more:
        routes[0]["filters"] = ["limit"]
    return {"services": {name: _service(dice) for name in names}, "routes": routes, **more,
            **_some(dice, {"shedding": [{}], "access_log": [{"format": "json"}]})}


def _files(dice: random.Random) -> Iterator[GatewayConfig]:
    """Configurations without mistakes."""
    while True:
        try:
            yield read(Document.of(_file(dice), "test"))
        except ConfigError:
            continue


def _of_service(service: Service) -> dict[str, Any]:
    retry, outcomes = service.retry, service.outcomes
    own = service.circuit if service.circuit is not None and service.circuit.circuit.state is not State.DISABLED else None
    return {
        "endpoints": [(each.name, each.config, each.weight, each.zone, each.priority, each.in_flight, each.is_healthy,
                       each.rest.state, each.circuit is None, each.key, each.connect_timeout, each.statuses, each.needs_body)
                      for each in service.endpoints.states],
        "config": service.config, "listed": service.endpoints.listed, "draining": service.endpoints.draining, "is_per_endpoint": service.is_per_endpoint,
        "circuit": own is None, "uploads": service.uploads.most, "limit": service.endpoints.balanced.limit,
        "balancer": type(service.endpoints.balanced.balancer), "ejection": service.endpoints.balanced.ejector.config,
        "retry": (retry.settings, retry.takes_in, None if retry.budget is None else retry.budget.config),
        "fallbacks": None if service.fallbacks is None else service.fallbacks.config, "outcomes": outcomes.statuses}


def _of(gateway: Gateway) -> dict[str, Any]:
    """All that can be seen of a gateway, but for what it has learnt or counted, and which endpoints start slowly."""
    found: dict[str, Any] = {}
    for command in gateway.registry:
        runtime = internals_of(command).runtime
        found[f"command {command.key}"] = (command.group, repr(command.settings), command.state, runtime.slots.limit,
                                           runtime.slots.shadow is None, type(runtime.slots), type(runtime.recorder))
    found |= {f"service {name}": _of_service(service) for name, service in gateway.services.items()}
    public = gateway._generation.public
    return {**found, "mirrors": {name: each.report() for name, each in gateway.mirrors.items()},
            "public": (public.observer is None, public.admission_control is None), "filters": sorted(each.name for each in gateway._generation.parts.filters)}


@over_seeds(40)
def test_a_gateway_that_was_reloaded_is_as_one_that_was_started(seed: int) -> None:
    dice = random.Random(seed)
    configs = [config for config, _ in zip(_files(dice), range(dice.randrange(2, 5)), strict=False)]
    reloaded = Gateway(configs[0], registry=Registry())
    for config in configs[1:]:
        reloaded.reload(config)
    gc.collect()  # services that were removed end
    started = Gateway(configs[-1], registry=Registry())
    one, other = _of(reloaded), _of(started)
    reloaded.close()
    started.close()
    assert other == one
