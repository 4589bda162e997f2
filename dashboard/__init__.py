"""The dashboard: a page that shows every command of one or more metrics streams, and the small server that carries it.

The page speaks the documented streams only (`/resilience.stream` of this project, `/hystrix.stream` of any Hystrix or
Turbine), so the package needs nothing but the standard library and nothing of `resilience`:

    from resilience_dashboard import app

    dashboard = app(["/resilience.stream", "http://10.0.0.7:8090/hystrix.stream"])   # an ASGI 3 application

Run it under any ASGI server, or mount it in another application beside the telemetry endpoints.
"""

from __future__ import annotations

from .server import Dashboard, app
from .source import StreamSource

__all__ = ["Dashboard", "StreamSource", "app"]
