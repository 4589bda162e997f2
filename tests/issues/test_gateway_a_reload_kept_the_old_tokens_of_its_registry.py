"""Secrets of the registry within a gateway are read again when the file is reloaded, though the file says the same."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from resilience import ConfigError
from resilience.gateway.config.listeners import GatewaySettings
from resilience.gateway.config.registry import PeerSettings, RegistryConfig, TokenSettings
from resilience.gateway.supervision.embedded_registry import EmbeddedRegistry
from tests.gateway.harness import free_port


async def status(port: int, token: str) -> int:
    """What the registry answers to whoever has a *token*."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /eureka/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    head = await reader.read()
    writer.close()
    return int(head.split()[1])


async def test_tokens_that_have_changed_are_in_force_after_a_reload_and_peers_go_on(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    port, old, new = free_port(), "first-token-0123456789", "second-token-0123456789"
    file, ours = tmp_path / "clients", tmp_path / "ours"
    file.write_text(old)
    ours.write_text("ours-0123456789-012345")
    config = RegistryConfig(
        listener=GatewaySettings(bind=f"127.0.0.1:{port}"), tokens=TokenSettings(clients={"all": f"file:{file}"}),
        peers=(PeerSettings(url="http://127.0.0.1:1/eureka", token=f"file:{ours}"), PeerSettings(url="http://127.0.0.1:2/eureka")))
    registry = EmbeddedRegistry()
    with caplog.at_level(logging.WARNING):
        await registry.change(config)
        assert registry._host is not None
        peers = list(registry._host.application.peers)
        assert "ours-0123456789" not in f"{registry._host._places(config)}"
        assert [200, 401] == [await status(port, each) for each in (old, new)]
        file.write_text(new)
        await registry.change(config)
        assert [401, 200] == [await status(port, each) for each in (old, new)]
        assert peers == list(registry._host.application.peers)
        ours.write_text("ours-that-is-another-one")
        await registry.change(config)
        assert [False, True] == [each in peers for each in sorted(registry._host.application.peers, key=lambda each: each.url)]
        file.unlink()
        with pytest.raises(ConfigError):
            await registry.change(config)
        assert 200 == await status(port, new)
    await registry.close()
    assert 1 == sum("nobody may replicate" in each.getMessage() for each in caplog.records)


async def test_a_registry_whose_peers_token_is_gone_does_not_begin_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.write_text("ours-0123456789-012345")
    config = RegistryConfig(listener=GatewaySettings(bind=f"127.0.0.1:{free_port()}"),
                            peers=(PeerSettings(url="http://127.0.0.1:1/eureka", token=f"file:{ours}"),))
    ours.unlink()
    registry, tasks = EmbeddedRegistry(), asyncio.all_tasks()
    with pytest.raises(ConfigError):
        await registry.change(config)
    assert tasks == asyncio.all_tasks()
    await registry.close()
