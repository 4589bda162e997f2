"""Listener metrics: what Prometheus is told of certificates, and of connections that came to nothing."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from math import inf
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from ..metrics.exports import as_utf8
from ..metrics.prometheus import OncePerRegistry
from .listeners import PUBLIC, Listeners


class ListenerMetrics:
    """What Prometheus is told of the listeners of gateways with one registry. Written by one thread, read by any."""

    def __init__(self) -> None:
        """None is there yet."""
        self._known: list[weakref.ref[Listeners]] = []

    def adopt(self, listeners: Listeners) -> None:
        """Export what there is to say of *listeners*, for as long as they are there."""
        self._known = [*(each for each in self._known if each() is not None), weakref.ref(listeners)]

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment. The files of certificates are looked at, if that was not done just before."""
        ends = GaugeMetricFamily(
            "resilience_gateway_certificate_expiry_timestamp_seconds",
            "When a certificate in use ends, or one that it comes with.", labels=["file"])
        failed = CounterMetricFamily(
            "resilience_gateway_failed_handshakes", "Connections that ended before their first request could come.",
            labels=["reason"])
        opened = {name: listener for known in self._known if (each := known()) is not None
                  for name, listener in each.open()}
        files = dict[str, float]()
        for name, listener in opened.items():
            if listener.tls is not None:
                listener.tls.current(listener.front.loop.time())
                for validity in listener.tls.validities:
                    files[validity.file] = min(validity.ends_at, files.get(validity.file, inf))
            own = {} if name == PUBLIC else {"listener": name}
            for reason, number in list(listener.front.failed_handshakes.items()):
                failed.add_sample(f"{failed.name}_total", {**own, "reason": reason}, number)
        for file, ends_at in files.items():
            ends.add_metric([as_utf8(file)], ends_at)
        yield from (ends, failed)


#: The metrics of the listeners of gateways with one registry.
METRICS: Final = OncePerRegistry(ListenerMetrics)
