"""The registry's metrics, for Prometheus: read when they are scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from .instance_registry import InstanceRegistry
from .moment import Moment
from .peer import PeerState
from .peers import Peers

_PREFIX: Final = "resilience_registry_"
_REFUSED: Final = "refused_"
_PEER: Final = ("peer",)


class RegistryCollector(Collector):
    """What Prometheus is told of a registry.

    Args:
        registry: The instances.
        peers: The other registries.
        clock: Returns the time.
    """

    def __init__(self, registry: InstanceRegistry, peers: Peers, clock: Callable[[], Moment]) -> None:
        self._registry, self._peers, self._clock = registry, peers, clock

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment."""
        registry, now = self._registry, self._clock()
        snapshot, state = registry.snapshot(), registry.preservation
        instances = GaugeMetricFamily(f"{_PREFIX}instances", "Instances that are listed.", labels=["status"])
        statuses = [entry.statuses for entry in snapshot.applications.values()]
        for status in sorted({name for each in statuses for name in each}):
            instances.add_metric([status], sum(each.get(status, 0) for each in statuses))
        yield instances
        for name, text, value in (
                ("applications", "Applications with an instance.", len(snapshot.applications)),
                ("recent_changes", "Changes in the delta.", registry.recent_changes),
                ("left_instances", "Instances that have left, and are remembered.", registry.tombstones),
                ("expected_instances", "Instances that should renew.", state.expected),
                ("renewals_last_minute", "Renewals in the last 60 seconds.", registry.renewals_last_minute(now)),
                ("renewals_threshold", "Renewals a minute, of which more must come for evictions.", state.threshold),
                ("eviction_allowed", "0 while self-preservation keeps leases.", registry.allows_eviction(now))):
            yield GaugeMetricFamily(_PREFIX + name, text, value=value)
        done = CounterMetricFamily(f"{_PREFIX}operations", "What was done, by kind.", labels=["operation"])
        refused = CounterMetricFamily(f"{_PREFIX}refusals", "What was refused, by reason.", labels=["reason"])
        for name, count in sorted(registry.counts.items()):
            if name.startswith(_REFUSED):
                refused.add_metric([name.removeprefix(_REFUSED)], count)
            else:
                done.add_metric([name], count)
        yield from (done, refused)
        yield from self._of_peers(now)
        yield from self._of_storage(now)

    def _of_peers(self, now: Moment) -> Iterator[Metric]:
        registry = self._registry
        yield GaugeMetricFamily(f"{_PREFIX}complete", "0 while the list of another registry or of the shared "
                                "store is waited for.", value=registry.is_complete)
        up = GaugeMetricFamily(f"{_PREFIX}peer_up", "Whether the last exchange with a peer succeeded.", labels=_PEER)
        queue = GaugeMetricFamily(f"{_PREFIX}peer_queue", "Instances that a peer has to hear of.", labels=_PEER)
        lag = GaugeMetricFamily(f"{_PREFIX}peer_lag_seconds", "Since when the oldest of these is waiting.",
                                   labels=_PEER)
        events = CounterMetricFamily(f"{_PREFIX}peer_events", "What was sent, taken and refused.",
                                     labels=[*_PEER, "event"])
        for peer in self._peers:
            up.add_metric([peer.url], peer.state is PeerState.UP)
            queue.add_metric([peer.url], len(peer.queue))
            lag.add_metric([peer.url], peer.lag_s(now))
            for event, count in sorted({**peer.counts, "overflowed": peer.queue.overflows}.items()):
                events.add_metric([peer.url, event], count)
        yield from (up, queue, lag, events)

    def _of_storage(self, now: Moment) -> Iterator[Metric]:
        if self._peers.storage is None:
            return
        report = self._peers.storage.report(now)
        for name, text, value in (
                ("connected", "Whether the shared store answers.", report["is_connected"]),
                ("in_sync", "Whether the shared store has what is here.", report["in_sync"]),
                ("queue", "Instances that the shared store has to hear of.", report["queue"]),
                ("lag_seconds", "Since when the oldest of these is waiting.", report["lag_s"])):
            yield GaugeMetricFamily(f"{_PREFIX}shared_{name}", text, value=value)
        events = CounterMetricFamily(f"{_PREFIX}shared_events", "What was written, taken and refused.",
                                     labels=["event"])
        for event, count in sorted({**report["counts"], "lost": report["losses"],
                                    "overflowed": report["overflows"]}.items()):
            events.add_metric([event], count)
        yield events
