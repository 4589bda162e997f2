"""Limits of a front: what its clients may ask of it, by time, bytes, count and rate."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Limits:
    """What the clients of one listener may ask for. The configuration checks the values.

    Attributes:
        connections: At a time, of all clients together.
        client_connections: Of one address at a time; None: any number.
        client_rate: Requests a second of one address in the long run; None: any.
        client_burst: Requests of one address at once.
        requests: On one connection; None: any number.
        head_bytes: Of a request's line and headers together.
        headers: Of one request.
        head_timeout: Longest time for a whole head to arrive, seconds.
        keep_alive_timeout: Longest time that a connection may be idle between requests, seconds.
        client_timeout: Longest wait for a client to take what was sent to it, seconds.
    """

    connections: int = 20_000
    client_connections: int | None = None
    client_rate: float | None = None
    client_burst: int = 100
    requests: int | None = None
    head_bytes: int = 64 * 1024
    headers: int = 256
    head_timeout: float = 10.0
    keep_alive_timeout: float = 75.0
    client_timeout: float = 30.0
