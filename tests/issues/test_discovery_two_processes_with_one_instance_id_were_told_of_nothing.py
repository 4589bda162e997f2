"""Two processes that register with one instance ID: the list had now the one and now the other, and no log said why."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from resilience.discovery import InstanceStatus, RedisRegistrar, Registrant
from tests.discovery.registry.plain_registry import EPOCH_MS
from tests.discovery.registry.test_eureka_rest import JSON, LEAST, Api


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_a_registry_logs_once_that_one_is_renewed_by_who_has_registered_before_from_elsewhere(
        caplog: pytest.LogCaptureFixture) -> None:
    api = Api()

    def registers(dirty_ms: int, peer: str) -> None:
        said = {**LEAST, "instanceId": "a", "lastDirtyTimestamp": EPOCH_MS + dirty_ms}
        assert 204 == api.status("POST", "/apps/SHOP", said, headers=JSON, peer=peer)

    def renews(dirty_ms: int, peer: str) -> None:
        assert 200 == api.status("PUT", f"/apps/SHOP/a?lastDirtyTimestamp={EPOCH_MS + dirty_ms}", peer=peer)

    registers(1, "10.0.0.1")
    registers(2, "10.0.0.3")  # it has moved, say
    renews(2, "10.0.0.3")
    renews(2, "10.0.0.4")  # through another proxy
    renews(1, "10.0.0.3")
    assert [] == warnings(caplog)
    for _ in range(3):
        renews(1, "10.0.0.1")
    assert ["SHOP a, which was registered from 10.0.0.3, is also renewed from 10.0.0.1: two processes register with one "
            "instance ID, and only the last one is listed"] == warnings(caplog)


def test_a_process_that_registers_in_redis_logs_once_that_another_one_does_by_its_id(
        caplog: pytest.LogCaptureFixture, redis_server: Any) -> None:
    url, up = f"unix://{redis_server[0]}", InstanceStatus.UP
    one, two = (Registrant("orders", host, 80, instance_id="id") for host in ("10.0.0.1", "10.0.0.2"))
    first, second = RedisRegistrar(url), RedisRegistrar(url)
    first.register(one, up, 90.0, 30.0)
    assert first.renew(one, up, 90.0, 30.0)
    second.register(two, up, 90.0, 30.0)  # the first one has ended, say
    assert second.renew(two, up, 90.0, 30.0)
    assert [] == warnings(caplog)
    for _ in range(2):
        assert first.renew(one, up, 90.0, 30.0)
    (told,) = warnings(caplog)
    assert told.startswith("id: another process registers with Redis")
    assert "http://10.0.0.2:80" in told
    assert first.renew(one, InstanceStatus.DOWN, 90.0, 30.0)
