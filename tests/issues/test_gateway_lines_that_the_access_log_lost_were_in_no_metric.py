"""Lines that the access log had no room for, or that could not be written, were told of in another log, and in no metric."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest

from resilience import Registry
from resilience.gateway import Gateway
from resilience.gateway.logs.lost_lines import LostLines, LostLinesMetrics
from resilience.metrics.prometheus import Collector

from .gateway_parts import configured

UP = {"endpoints": ["http://127.0.0.1:9"]}


def lost(registry: Registry) -> dict[str, float]:
    name = "resilience_gateway_access_log_lost_total"
    lines = [line.split() for line in generate_latest(Collector(registry)).decode().splitlines() if line.startswith(name)]
    return {of.removeprefix(name): float(value) for of, value in lines}


async def test_they_are_counted_by_reason_and_a_reload_forgets_none(tmp_path: Path) -> None:
    registry = Registry()
    log: dict[str, Any] = {"to": str(tmp_path / "access.log"), "max_queue": 1}
    gateway = Gateway(configured(UP, access_log=log), registry=registry)
    writer = gateway.observer.access_log.writer  # type: ignore[union-attr]
    assert lost(registry) == {'{reason="queue_full"}': 0, '{reason="not_written"}': 0}
    writer._start = lambda: None  # type: ignore[method-assign] - nobody writes
    for _ in range(4):
        writer.put(object())
    writer.lost.failed += 2
    assert lost(registry) == {'{reason="queue_full"}': 3, '{reason="not_written"}': 2}
    del writer
    gateway.reload(configured(UP, access_log={**log, "max_queue": 2}))
    gateway.observer.access_log.writer.lost.failed += 1  # type: ignore[union-attr]
    assert lost(registry) == {'{reason="queue_full"}': 3, '{reason="not_written"}': 3}
    gateway.close()


def test_a_gateway_without_an_access_log_has_no_such_metric() -> None:
    registry = Registry()
    Gateway(configured(UP), registry=registry).close()
    assert not lost(registry)


def test_what_logs_that_are_gone_have_lost_is_kept_in_one_place() -> None:
    metrics = LostLinesMetrics()

    class Writer:
        """Whatever writes."""

    for _ in range(100):
        metrics.adopt(writer := Writer(), counts := LostLines())
        counts.dropped += 1
        del writer
        gc.collect()
    assert 100 == sum(each.dropped for _, each in metrics._known)
    assert len(metrics._known) <= 3

