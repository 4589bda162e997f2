"""Applications that hold the dashboard; here, because a server's process must be able to import them."""

from __future__ import annotations

import asyncio
from typing import Any

from resilience_dashboard import app

from tests.browser.messages import resilience
from tests.dashboard.servers import event


def mounted(prefix: str) -> Any:
    """An application with its own stream, and the dashboard below `prefix`."""
    dashboard = app(["/resilience.stream"], title="mounted")

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/resilience.stream":
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": event(resilience("stock")), "more_body": True})
            await asyncio.Event().wait()
        elif scope["type"] == "http" and not scope["path"].startswith(prefix):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await dashboard({**scope, "root_path": prefix}, receive, send)

    return application
