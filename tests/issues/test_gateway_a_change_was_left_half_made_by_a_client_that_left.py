"""A client of the admin API that hung up while workers took its change: they had it, and the supervisor did not.

What is in force was shown as it had been, and a worker that was started later began with that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from resilience.errors import ConfigError
from resilience.gateway.admin.api import AdminApi

TOKEN = "t" * 32


class Supervisor:
    """Takes a change when it is let to, or refuses it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RESILIENCE_TEST_TOKEN", TOKEN)
        self.config = SimpleNamespace(admin=SimpleNamespace(tokens={"ops": "env:RESILIENCE_TEST_TOKEN"}))
        self.data: dict[str, Any] = {"services": {"up": {}}, "routes": []}
        self.begun, self.goes_on, self.mistake = asyncio.Event(), asyncio.Event(), ""

    async def change(self, change: Any, what: str) -> None:
        self.begun.set()
        await self.goes_on.wait()
        if self.mistake:
            raise ConfigError(self.mistake)
        self.data = change(self.data)


def patch(supervisor: Any) -> tuple[asyncio.Task[None], list[int]]:
    """A request that changes the routes, and the status of its answer."""
    statuses = list[int]()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps([{"path": "/new", "service": "up"}]).encode()}

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    scope = {"type": "http", "method": "PUT", "path": "/admin/routes", "raw_path": b"/admin/routes", "client": ("10.0.0.1", 1),
             "headers": [(b"authorization", f"Bearer {TOKEN}".encode()), (b"content-type", b"application/json")]}
    return asyncio.ensure_future(AdminApi(supervisor)(scope, receive, send)), statuses


@pytest.mark.parametrize("mistake", ["", "no"])
async def test_it_is_made_to_its_end_and_logged(
        mistake: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor(monkeypatch)
    supervisor.mistake = mistake
    request, statuses = patch(supervisor)
    await supervisor.begun.wait()
    request.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await request
    supervisor.goes_on.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert [] == statuses
    assert ([] if mistake else [{"path": "/new", "service": "up"}]) == supervisor.data["routes"]
    assert ([] if mistake else ["PUT /admin/routes by ops from 10.0.0.1"]) == [
        each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize(("mistake", "status"), [("", 200), ("no", 422)])
async def test_who_waits_is_told_what_has_become_of_it(mistake: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(monkeypatch)
    supervisor.mistake = mistake
    supervisor.goes_on.set()
    request, statuses = patch(supervisor)
    await request
    assert [status] == statuses
