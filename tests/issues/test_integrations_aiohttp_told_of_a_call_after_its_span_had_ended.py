"""A call of aiohttp ended one turn of the event loop after its body had come, also if that had come with the head. A span
around the call had ended by then, so its events were lost, and a snapshot showed the call in flight.
"""

import asyncio

import aiohttp
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from resilience.integrations.aiohttp import ResilienceMiddleware
from resilience.integrations.opentelemetry import add_span_events


async def answer(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops")
    writer.close()


async def test_the_span_around_a_request_has_its_events(registry):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    add_span_events(registry)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, aiohttp.ClientSession(middlewares=[ResilienceMiddleware(registry=registry)]) as session:
        with provider.get_tracer("test").start_as_current_span("order"):
            response = await session.get(f"http://{host}:{port}/")
        assert registry[f"{host}:{port}"].in_flight == 0
        assert await response.read() == b"oops"
    (span,) = exporter.get_finished_spans()
    assert ["resilience.call.failed"] == [event.name for event in span.events]
