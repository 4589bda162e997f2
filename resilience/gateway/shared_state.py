"""Shared state: the connection of a gateway to what it shares with others, as its ``[shared]`` table says."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from ..metrics.prometheus import OncePerRegistry
from ..registry import Registry
from ..shared.circuit_hints import CircuitHints
from ..shared.connection import CONNECT_S, KEY, Connection
from ..shared.redis_client import redis_module
from .change import Change, if_a_loop_runs
from .config.shared import SharedSettings


def connection_of(settings: SharedSettings | None, registry: Registry, change: Change, old: Connection | None,
                  before: SharedSettings | None) -> Connection | None:
    """The connection that *settings* ask for: the *old* one, if the settings *before* were the same.

    Its command leaves the *registry* when no connection takes the place of the *old* one.

    Raises:
        ConfigError: redis-py is missing, or another command has the key of the connection's.
    """
    if settings is None:
        if old is not None:
            change.once_in_force(functools.partial(registry.remove, KEY))
        return None
    if old is not None and before is not None and settings.connection == before.connection:
        return old
    name = settings.instance_name
    redis_module("redis.asyncio")
    connection = Connection(  # secrets are read again for each client, since they may change
        lambda: settings.address.client(name=f"resilience:{name}", connect_s=CONNECT_S), place=settings.url,
        name=f"{name}:{os.getpid()}", prefix=settings.prefix, timeout_s=settings.timeout, registry=registry,
        expected=settings.instances)
    if old is None:
        change.unless_in_force(functools.partial(registry.remove, KEY))

    def come_into_force() -> None:
        METRICS.of(registry).connection = weakref.ref(connection)
        if_a_loop_runs(connection.start)

    change.once_in_force(come_into_force)
    return connection


class SharedMetrics:
    """What Prometheus is told of the shared store. Written by one thread, read by any."""

    def __init__(self) -> None:
        self.connection: weakref.ref[Connection] | None = None
        self.hints: weakref.ref[CircuitHints] | None = None

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment."""
        connection = None if self.connection is None else self.connection()
        if connection is None:
            return
        report = connection.report()
        yield GaugeMetricFamily("resilience_shared_connected", "Workers that the shared store answers.",
                                value=float(report["is_connected"]))
        yield GaugeMetricFamily("resilience_shared_instances", "Instances that share, as the worker that knows of most "
                                "knows them.", value=report["instances"])
        yield CounterMetricFamily("resilience_shared_disconnects", "How often the shared store was lost.",
                                  value=report["losses"])
        yield CounterMetricFamily("resilience_shared_round_trips", "Questions to the shared store.",
                                  value=report["round_trips"])
        hints = None if self.hints is None else self.hints()
        if hints is not None:
            yield GaugeMetricFamily("resilience_shared_circuits_published", "Endpoints that the calls of this gateway "
                                    "have found down, as it tells the others.", value=hints.told)
            yield CounterMetricFamily("resilience_shared_hints", "Circuits that were opened because enough other "
                                      "gateways see the endpoint down.", value=hints.openings)


#: What Prometheus is told of what the gateways with one registry share.
METRICS: Final = OncePerRegistry(SharedMetrics)
