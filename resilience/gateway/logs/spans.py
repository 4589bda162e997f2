"""Spans for OpenTelemetry: one for each request that the gateway serves, where the API is installed and wanted.

The request's span is the current one while it is served, so that what the gateway's commands report
(integrations.opentelemetry.add_span_events) becomes events of it. Its ids are what upstreams are told. Names and
attributes follow OpenTelemetry's semantic conventions for HTTP servers. Without an SDK the API does nothing, and the
gateway's own ids are used.
"""

from __future__ import annotations

from typing import Any

from ...errors import ConfigError
from ..routing.authority import path_of
from .observed_request import ObservedRequest
from .trace_context import Trace

_ERROR_FROM = 500


class Spans:
    """Makes the spans of requests. For one event loop."""

    def __init__(self, provider: Any = None) -> None:
        """Find OpenTelemetry.

        Args:
            provider: A tracer provider; None: the global one.

        Raises:
            ConfigError: It is not installed.
        """
        try:
            from opentelemetry import context, trace
        except ImportError:
            raise ConfigError("opentelemetry needs the package opentelemetry-api, and an SDK that is set up",
                              "opentelemetry") from None
        self._trace, self._context = trace, context
        self._tracer = trace.get_tracer("resilience.gateway", tracer_provider=provider)

    def begin(self, observed: ObservedRequest, trace: Trace) -> Trace:
        """Begin the span of a request. Return its *trace* as OpenTelemetry goes on with it."""
        api = self._trace
        parent = self._context.Context()
        if trace.parent_id is not None:
            parent = api.set_span_in_context(api.NonRecordingSpan(api.SpanContext(
                int(trace.trace_id, 16), int(trace.parent_id, 16), is_remote=True,
                trace_flags=api.TraceFlags(trace.flags), trace_state=_state(api, trace.state))), parent)
        span = self._tracer.start_span(observed.head.method, parent, kind=api.SpanKind.SERVER)
        observed.span = span, self._context.attach(api.set_span_in_context(span))
        own = span.get_span_context()
        if not own.is_valid or f"{own.span_id:016x}" == trace.parent_id:  # without an SDK
            return trace
        return Trace(f"{own.trace_id:032x}", f"{own.span_id:016x}", trace.parent_id,
                     (trace.flags & ~1) | (own.trace_flags & 1), trace.state)

    def end(self, observed: ObservedRequest) -> None:
        """End the span of a request that is over."""
        if observed.span is None:
            return
        span, token = observed.span
        observed.span = None
        self._context.detach(token)
        if span.is_recording():
            head, status = observed.head, observed.status
            if observed.route is not None:
                span.update_name(f"{head.method} {observed.route}")
            said = {"http.request.method": head.method, "url.path": path_of(head.path).decode("latin-1"),
                    "url.scheme": head.scheme, "network.protocol.version": head.version,
                    "http.route": observed.route, "http.response.status_code": status or None,
                    "resilience.service": observed.service, "server.address": observed.endpoint,
                    "error.type": observed.refused}
            span.set_attributes({name: value for name, value in said.items() if value is not None})
            if status >= _ERROR_FROM or not observed.complete:
                span.set_status(self._trace.StatusCode.ERROR)
        span.end()


def _state(api: Any, state: bytes) -> Any:
    return api.TraceState.from_header([state.decode("ascii")]) if state else None
