"""Our own metrics stream: what Hystrix's has no field for.

One ``ResilienceCommand`` message per command and tick: state with half-open and
forced, refused calls, percentiles in seconds, calls in flight, abandoned ones,
the last transitions. docs/reference/stream.md documents it; the dashboard reads
it, from any number of instances.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

from .snapshot import Snapshot
from .source import Source, Sources


def instance() -> str:
    """This process, as its messages name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Encoder:
    """Encodes the messages of one stream. Not thread-safe: one per ticker."""

    def __init__(self) -> None:
        self._instance = instance()
        self._keys: set[str] = set()

    def messages(self, registry: Sources, time_ms: int) -> Iterator[str]:
        """One tick: every command, and a word for each that has left; JSON texts."""
        keys = set()
        for command in registry:
            keys.add(command.key)
            yield self.command(command, command.snapshot(), time_ms)
        for gone in self._keys - keys:
            yield json.dumps({"type": "ResilienceRemoved", "key": gone, "instance": self._instance})
        self._keys = keys

    def command(self, command: Source, snapshot: Snapshot, time_ms: int) -> str:
        """A ResilienceCommand message."""
        settings, latency = command.settings, snapshot.latency
        retry_after = snapshot.retry_after
        message: dict[str, Any] = {
            "type": "ResilienceCommand",
            "key": snapshot.key,
            "group": snapshot.group,
            "instance": self._instance,
            "time_ms": time_ms,
            "state": snapshot.state,
            "retry_after_s": None if retry_after is None else round(retry_after, 3),
            "window_s": snapshot.window,
            "requests": snapshot.requests,
            "errors": snapshot.errors,
            "error_rate": round(snapshot.error_rate, 6),
            "rate": round(snapshot.rate, 3),
            "refused": snapshot.refused,
            "counts": snapshot.counts,
            "latency_s": {
                "mean": round(latency.mean, 6), "p0": round(latency.p0, 6), "p25": round(latency.p25, 6),
                "p50": round(latency.p50, 6), "p75": round(latency.p75, 6), "p90": round(latency.p90, 6),
                "p95": round(latency.p95, 6), "p99": round(latency.p99, 6), "p995": round(latency.p995, 6),
                "p100": round(latency.p100, 6),
            },
            "in_flight": snapshot.in_flight,
            "max_in_flight": snapshot.max_in_flight,
            "max_concurrent": snapshot.max_concurrent,
            "abandoned": snapshot.abandoned,
            "timeout_s": settings.timeout,
            "isolation": settings.isolation,
            "transitions": [
                {"term": event.term, "from": event.old, "to": event.new, "trigger": event.trigger,
                 "age_s": round(snapshot.at - event.at, 3)}
                for event in snapshot.transitions
            ],
        }
        return json.dumps(message, separators=(",", ":"))
