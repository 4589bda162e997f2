"""/metrics told when the certificates of the workers end, and not those of the registry, which the parent serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resilience.gateway.admin.application import AdminApplication
from resilience.gateway.config.listeners import GatewaySettings
from resilience.gateway.config.registry import RegistryConfig
from resilience.gateway.supervision.supervisor import Supervisor
from tests.gateway.front.test_listener import LOCALHOST, tls
from tests.gateway.harness import free_port


async def scraped(supervisor: Supervisor) -> str:
    """What is on its /metrics."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def nothing(*_: Any) -> Any:
        return {"type": "http.request"}

    application = AdminApplication(supervisor, nothing)
    await application(
        {"type": "http", "method": "GET", "path": "/metrics", "query_string": b"", "headers": []}, nothing, send)
    application._background.shutdown()
    return b"".join(each.get("body", b"") for each in sent).decode()


async def test_they_are_there_for_as_long_as_there_is_a_registry(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("""routes = []\n[services.up]\nendpoints = ["http://127.0.0.1:9"]""")
    supervisor = Supervisor(file)
    shown = f'\nresilience_gateway_certificate_expiry_timestamp_seconds{{file="{LOCALHOST}"}} '
    for _ in range(2):
        await supervisor.registry.change(
            RegistryConfig(listener=GatewaySettings(bind=f"127.0.0.1:{free_port()}", tls=tls())))
        assert shown in await scraped(supervisor)
        await supervisor.registry.close()
        assert shown not in await scraped(supervisor)
