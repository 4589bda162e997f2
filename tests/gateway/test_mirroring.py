"""Copies of requests to another service: bounded, and nothing that the client could notice."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import attrs
import pytest
from prometheus_client import generate_latest

from resilience import Registry
from resilience.config import Document
from resilience.gateway import Gateway, GatewayConfig
from resilience.gateway.config import RouteConfig, ServiceConfig, read
from resilience.gateway.config.routes import MirrorConfig
from resilience.metrics.prometheus import Collector

from .harness import Call, Upstream, eventually
from .test_asgi import ask


def app_for(upstream: Upstream, shadow: str, registry: Registry, **mirror: Any) -> Gateway:
    services = {"up": ServiceConfig(endpoints=(upstream.url,)),
                "shadow": ServiceConfig(endpoints=(shadow,), idle_timeout=0.2, command={"timeout": 0.2})}
    routes = (RouteConfig(path="/api/*", service="up", mirror=MirrorConfig(service="shadow", **mirror)),)
    return Gateway(GatewayConfig(services=services, routes=routes), registry=registry)


@pytest.fixture
def shadow() -> Any:
    made = Upstream()
    yield made
    made.close()


async def copies_ended(app: Gateway, registry: Registry) -> None:
    entries = app._generation.public.admission._router._any.root.literals[b"api"].below
    mirrors = [entry.target.mirror for entry in entries]
    await asyncio.wait_for(asyncio.gather(*[task for mirror in mirrors for task in mirror.copies.in_flight]), 10)
    app.close()
    assert 0 == registry["shadow"].snapshot().in_flight


async def test_a_copy_goes_to_the_other_service_with_body_and_headers(upstream: Upstream, shadow: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, shadow.url, registry)
    seen: list[bytes] = []
    shadow.on("/api/copied", lambda call: (seen.append(call.body()), call.send(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nsomething")))
    headers = [(b"host", b"gw"), (b"content-length", b"5"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert (200, b"ok") == (await ask(app, [b"hello"], raw_path=b"/api/copied", method="POST", headers=headers))[::2]
    await copies_ended(app, registry)
    assert ([b"hello"], [b"1", b"2"]) == (seen, shadow.called("/api/copied").header(b"x-a"))
    assert 1 == registry["shadow"].snapshot().counts["failure"]


@pytest.mark.parametrize(("answer", "counts_as"), [
    (None, "timeout"), (b"", "failure"), (b"nonsense\r\n\r\n", "failure"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", "failure"), (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "success")])
async def test_whatever_becomes_of_a_copy_the_client_has_its_answer_and_the_other_service_is_told(
        upstream: Upstream, shadow: Upstream, answer: bytes | None, counts_as: str) -> None:
    registry = Registry()
    app = app_for(upstream, shadow.url, registry)
    shadow.on("/api/x", (lambda call: call.until_closed()) if answer is None else answer)
    assert (200, b"ok") == (await ask(app))[::2]
    await copies_ended(app, registry)
    assert 1 == registry["shadow"].snapshot().counts[counts_as]


async def test_a_service_that_is_not_there_harms_nobody(upstream: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, "http://127.0.0.1:1", registry)
    assert (200, b"ok") == (await ask(app))[::2]
    await copies_ended(app, registry)


async def test_a_long_answer_to_a_copy_is_cut_off(upstream: Upstream, shadow: Upstream) -> None:
    registry, cut = Registry(), threading.Event()
    app = app_for(upstream, shadow.url, registry)

    def flood(call: Call) -> None:
        try:
            call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
            for _ in range(1 << 10):
                call.send(bytes(1 << 20))
        except OSError:
            cut.set()

    shadow.on("/api/x", flood)
    assert 200 == (await ask(app))[0]
    await copies_ended(app, registry)
    await asyncio.to_thread(cut.wait, 10)
    assert cut.is_set()


async def test_copies_are_bounded_in_number(upstream: Upstream, shadow: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, shadow.url, registry, max_concurrent=2)
    shadow.on("/api/x", lambda call: call.until_closed())
    assert [200] * 5 == [(await ask(app))[0] for _ in range(5)]
    [entry] = app._generation.public.admission._router._any.root.literals[b"api"].below
    assert (2, 3) == (len(entry.target.mirror.copies.in_flight), entry.target.mirror.copies.dropped)
    await copies_ended(app, registry)
    assert 2 == shadow.count("/api/x")


async def test_bodies_that_are_streamed_are_not_copied(upstream: Upstream, shadow: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, shadow.url, registry)
    await ask(app, [b"a" * 70_000], method="POST", headers=[(b"host", b"gw"), (b"content-length", b"70000")])
    await ask(app, [b"abc"], method="POST", headers=[(b"host", b"gw"), (b"transfer-encoding", b"chunked")])
    assert (200, b"ok") == (await ask(app, raw_path=b"/api/after"))[::2]
    await copies_ended(app, registry)
    assert ["/api/after"] == [call.target for call in shadow.calls]


async def test_a_share_of_the_requests_is_copied(upstream: Upstream, shadow: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, shadow.url, registry, share=0.5)
    for _ in range(40):
        await ask(app)
    await copies_ended(app, registry)
    assert 5 <= shadow.count("/api/x") <= 35


async def test_the_copy_of_a_request_goes_on_when_its_client_leaves(upstream: Upstream, shadow: Upstream) -> None:
    registry = Registry()
    app, held = app_for(upstream, shadow.url, registry), threading.Event()
    upstream.on("/api/left", lambda call: held.wait(60))
    task = asyncio.ensure_future(ask(app, raw_path=b"/api/left"))
    await asyncio.to_thread(lambda: eventually(lambda: shadow.count("/api/left")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held.set()
    await copies_ended(app, registry)
    assert 1 == registry["shadow"].snapshot().counts["success"]


async def test_copies_that_were_dropped_are_shown_and_go_on_being_counted_after_a_reload(upstream: Upstream, shadow: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, shadow.url, registry, max_concurrent=1)
    shadow.on("/api/x", lambda call: call.until_closed())
    for _ in range(2):
        await ask(app)
    changed = attrs.evolve(app.config, routes=(attrs.evolve(
        app.config.routes[0], mirror=MirrorConfig(service="shadow", max_concurrent=2)),))
    app.reload(changed)
    for _ in range(3):
        await ask(app)
    assert {"/api/*": {"service": "shadow", "in_flight": 2, "max_concurrent": 2, "dropped": 3}} == {
        name: each.report() for name, each in app.mirrors.items()}
    assert ('resilience_gateway_mirror_dropped_total{route="/api/*",service="shadow"} 3.0'
            in generate_latest(Collector(registry)).decode().splitlines())
    await copies_ended(app, registry)


async def test_the_private_listener_s_mirrors_have_a_label_more(upstream: Upstream, shadow: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, shadow.url, registry)
    mirrored = [{"path": "/api/*", "service": "up", "mirror": {"service": "shadow"}}]
    app.reload(read(Document.of({
        "services": {"up": {"endpoints": [upstream.url]}, "shadow": {"endpoints": [shadow.url]}}, "routes": mirrored,
        "private": {"bind": "127.0.0.1:8081", "routes": mirrored}}, "test")))
    assert ["/api/*", "private//api/*"] == list(app.mirrors)
    assert {f'resilience_gateway_mirror_dropped_total{{{labels}}} 0.0' for labels in (
        'route="/api/*",service="shadow"', 'listener="private",route="/api/*",service="shadow"')} <= set(
            generate_latest(Collector(registry)).decode().splitlines())
    app.close()
