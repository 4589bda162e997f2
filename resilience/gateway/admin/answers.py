"""Answers of the admin application."""

from __future__ import annotations

import json
from typing import Any

from ...asgi import Send
from ..messages.problem import Problem


async def respond(send: Send, status: int, value: Any) -> None:
    """Answer with a *value* as JSON."""
    body = json.dumps(value, indent=2, default=str).encode() + b"\n"
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store")]})
    await send({"type": "http.response.body", "body": body})


async def respond_problem(send: Send, problem: Problem) -> None:
    """Answer with a *problem*."""
    headers, body = problem.response()
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
