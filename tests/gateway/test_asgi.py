"""The gateway as an ASGI 3 application, under whatever server or framework calls it."""

from __future__ import annotations

import asyncio
import json
import types
from typing import Any

import attrs
import pytest

from resilience import AdaptiveLimit, Chaos, ConfigError, RateLimit, Registry, Retry, custom_policy
from resilience.gateway import Gateway, GatewayConfig
from resilience.gateway.asgi import AsgiInbound
from resilience.gateway.config import GatewaySettings, RouteConfig, ServiceConfig
from resilience.gateway.config.balancing import BalancingConfig
from resilience.gateway.config.fallbacks import FallbackConfig
from resilience.policies import order

from .harness import OK, Call, Upstream


def app_for(upstream: Upstream, registry: Registry | None = None, **command: Any) -> Gateway:
    return Gateway(GatewayConfig(
        gateway=GatewaySettings(client_timeout=0.2),
        services={"up": ServiceConfig(endpoints=(upstream.url,), command=command)},
        routes=(RouteConfig(path="/api/*", service="up"),)), registry=Registry() if registry is None else registry)


async def ask(app: Gateway, body: list[bytes] | None = None, **changes: Any) -> tuple[int, dict[bytes, bytes], bytes]:
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/api/x",
             "query_string": b"", "headers": [(b"host", b"gw")], "client": ("192.0.2.1", 1), "server": ("gw", 80)}
    pieces = list(body or [b""])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({**scope, **changes}, receive, send)
    app.close()
    await asyncio.sleep(0)  # for the transports to close
    if not sent:
        return 0, {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each["body"] for each in sent[1:])


async def test_a_server_without_raw_path_is_served_too(upstream: Upstream) -> None:
    assert 200 == (await ask(app_for(upstream), path="/api/caf\xe9 x"))[0]
    assert 1 == upstream.count("/api/caf%C3%A9%20x")


async def test_mounted_it_routes_what_is_below_its_mount(upstream: Upstream) -> None:
    assert 200 == (await ask(app_for(upstream), raw_path=b"/mount/api/mounted", root_path="/mount"))[0]
    assert 1 == upstream.count("/api/mounted")


async def test_a_mount_is_taken_off_however_it_is_spelt_and_by_whole_segments(upstream: Upstream) -> None:
    found = [(await ask(app_for(upstream), raw_path=path, root_path=root))[0] for path, root in [
        (b"/%6dount/api/spelt", "/mount"), (b"/a%20b/c/api/spelt", "/a b/c"), (b"/mount/api/spelt", "/mount/"), (b"/mountx/api/spelt", "/mount"),
        (b"/mount", "/mount"), (b"/api/spelt", "/mount")]]
    assert ([200, 200, 200, 404, 404, 200], 4) == (found, upstream.count("/api/spelt"))


async def test_a_websocket_is_refused(upstream: Upstream) -> None:
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    await app_for(upstream)({"type": "websocket"}, receive, send)
    assert ["websocket.close"] == sent


async def test_a_large_answer_is_bytes_for_the_server(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    size, kinds, taken = 5_000_000, set[type](), AsgiInbound._taken

    async def noted(inbound: AsgiInbound, message: Any) -> None:
        kinds.add(type(message.get("body", b"")))
        await taken(inbound, message)

    monkeypatch.setattr(AsgiInbound, "_taken", noted)
    upstream.on("/api/large", lambda call: call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)))
    status, _, body = await ask(app_for(upstream), path="/api/large")
    assert (200, bytes(size), {bytes}) == (status, body, kinds)


async def test_lifespan_starts_and_ends(upstream: Upstream) -> None:
    messages, sent = ["lifespan.startup", "lifespan.shutdown"], []

    async def receive() -> dict[str, Any]:
        return {"type": messages.pop(0)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    await app_for(upstream)({"type": "lifespan"}, receive, send)
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent


@pytest.mark.parametrize(("length", "body"), [
    (5, [b"abc"]), (2, [b"abc"]), (200_000, [b"a" * 100_000]), (70_000, [b"a" * 70_000, b"b"])])
async def test_a_server_that_does_not_check_lengths_cannot_smuggle(
        upstream: Upstream, length: int, body: list[bytes]) -> None:
    status, _, found = await ask(app_for(upstream), body, method="POST",
                                 headers=[(b"host", b"gw"), (b"content-length", b"%d" % length)])
    assert (400, 400) == (status, json.loads(found)["status"])


@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("body", [[b"hello"], [b"", b"hello"], [b"hel", b"lo"], [b"a" * 70_000, b"b" * 70_000]])
async def test_a_body_whose_length_no_header_says_reaches_the_service(
        upstream: Upstream, version: str, body: list[bytes]) -> None:
    """HTTP/2 and 3 need no header for it."""
    came: list[tuple[list[bytes], bytes]] = []

    def take(call: Call) -> None:
        came.append((call.header(b"transfer-encoding"), call.body()))
        call.send(OK)

    upstream.on("/api/unsized", take)
    assert 200 == (await ask(app_for(upstream), body, method="POST", path="/api/unsized", http_version=version))[0]
    ((coding, raw),) = came
    assert [b"chunked"] == coding
    assert b"".join(body) == b"".join(raw.split(b"\r\n")[1::2])


async def test_a_request_of_such_a_version_without_a_body_has_none_at_the_service(upstream: Upstream) -> None:
    for version in ("2", "3"):
        path = f"/api/bodyless/{version}"
        assert 200 == (await ask(app_for(upstream), http_version=version, path=path))[0]
        assert [] == upstream.called(path).header(b"transfer-encoding")


async def test_a_client_that_neither_sends_a_body_nor_says_that_there_is_none_is_late(upstream: Upstream) -> None:
    sent = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    app = app_for(upstream)
    await app({"type": "http", "http_version": "2", "method": "POST", "scheme": "http", "path": "/api/x", "query_string": b"",
               "headers": [(b"host", b"gw")], "client": ("192.0.2.1", 1), "server": ("gw", 80)}, receive, send)
    app.close()
    await asyncio.sleep(0)
    assert 408 == sent[0]["status"]


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\rb", b"a\0b"])
async def test_a_server_that_does_not_check_headers_cannot_split_requests(upstream: Upstream, value: bytes) -> None:
    split, fence = f"/api/split/{value.hex()}", f"/api/fence/{value.hex()}"
    assert 400 == (await ask(app_for(upstream), path=split, headers=[(b"host", b"gw"), (b"x-a", value)]))[0]
    assert 200 == (await ask(app_for(upstream), path=fence))[0]
    assert (0, 1) == (upstream.count(split), upstream.count(fence))


async def test_services_are_commands_of_the_registry_and_count_a_client_s_fault_as_nobody_s(upstream: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, registry)
    await ask(app)
    await ask(app, headers=[(b"host", b"gw"), (b"x-a", b"a\nb")])
    snapshot = registry["up"].snapshot()
    assert ("gateway", 1, 1, 0) == (snapshot.group, snapshot.counts["success"], snapshot.counts["bad_request"],
                                    snapshot.in_flight)


def test_two_gateways_that_disagree_about_a_service_cannot_share_a_registry(upstream: Upstream) -> None:
    registry = Registry()
    app_for(upstream, registry)
    other = ServiceConfig(endpoints=(upstream.url,), command={"timeout": 9.0})
    with pytest.raises(ConfigError, match="timeout"):
        Gateway(GatewayConfig(services={"up": other}), registry=registry)


async def test_a_rate_limit_refuses_with_status_429(upstream: Upstream) -> None:
    app = app_for(upstream, rate_limit=RateLimit(1, per=60.0))
    assert [200, 429] == [(await ask(app))[0], (await ask(app))[0]]


async def test_a_policy_in_shadow_mode_refuses_nothing_and_counts(upstream: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, registry, rate_limit=RateLimit(1, per=60.0), shadow="rate_limit")
    assert [200, 200] == [(await ask(app))[0], (await ask(app))[0]]
    assert 1 == registry["up"].snapshot().counts["shadow_rejected"]


async def test_an_adaptive_limit_takes_the_place_of_the_bulkhead_and_holds_a_slot_until_the_response_ends(
        upstream: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, registry, adaptive_limit=AdaptiveLimit(initial=1, min_limit=1))
    assert (None, [200, 200]) == (registry["up"].settings.max_concurrent, [(await ask(app))[0] for _ in range(2)])
    assert 0 == registry["up"].snapshot().in_flight


async def test_chaos_looks_like_a_fault_of_the_service(upstream: Upstream) -> None:
    registry = Registry()
    app = app_for(upstream, registry, chaos=Chaos(error_rate=1.0))
    registry.start_chaos(60.0)
    assert 502 == (await ask(app))[0]
    assert 1 == registry["up"].snapshot().counts["failure"]


def test_a_policy_of_a_user_s_own_guards_a_service_too(upstream: Upstream) -> None:
    @custom_policy("visiting_hours", about="Refuses calls outside of the hours.")
    @attrs.frozen
    class VisitingHours:
        def machine(self, key: str, now: float) -> Any:
            return types.SimpleNamespace(acquire=lambda now, call: None, settle=lambda *how: None)

    try:
        registry = Registry()
        app_for(upstream, registry, visiting_hours=VisitingHours())
        assert VisitingHours() == registry["up"].settings.visiting_hours
    finally:
        order.discard("visiting_hours")


@pytest.mark.parametrize(("command", "message"), [
    ({"retry": Retry()}, "in the table retry"), ({"timeut": 1.0}, "did you mean timeout"), ({"timeout": -1.0}, "timeout"),
    ({"max_concurrent": 3, "adaptive_limit": AdaptiveLimit()}, "both say how many"), (7, "settings by name")])
def test_settings_that_no_service_can_have_are_refused_in_code_too(command: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServiceConfig(endpoints=("http://h",), command=command)


@pytest.mark.parametrize("leaves", ["before the answer", "while it waits"])
async def test_a_client_that_left_is_answered_for_the_sake_of_middlewares_that_wait_for_an_answer(upstream: Upstream, leaves: str) -> None:
    """Starlette's BaseHTTPMiddleware raises "No response returned" else."""
    app, sent, gone = app_for(upstream, timeout=30.0), list[dict[str, Any]](), asyncio.Event()
    upstream.on("/api/left", lambda call: call.until_closed())
    pieces = [] if leaves == "before the answer" else [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if pieces:
            return pieces.pop(0)
        if leaves == "while it waits":
            await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        raise OSError("the client has left")

    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/api/left", "query_string": b"",
             "headers": [(b"host", b"gw")], "client": ("192.0.2.1", 1), "server": ("gw", 80)}
    serving = asyncio.ensure_future(app(scope, receive, send))
    if leaves == "while it waits":
        await asyncio.to_thread(upstream.called, "/api/left")
        gone.set()
    await asyncio.wait_for(serving, 10)
    assert [("http.response.start", 499)] == [(each["type"], each["status"]) for each in sent]
    app.close()
    await asyncio.sleep(0)


async def test_the_last_good_answer_of_a_service_with_sticky_sessions_is_kept_for_clients_without_a_cookie(upstream: Upstream) -> None:
    registry = Registry()
    service = ServiceConfig(endpoints=(upstream.url,), balancing=BalancingConfig(sticky="srv"), fallback=FallbackConfig(stale=60.0))
    config = GatewayConfig(services={"up": service}, routes=(RouteConfig(path="/*", service="up"),))
    app = Gateway(config, registry=registry)
    upstream.on("/kept", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")

    async def asked() -> tuple[int, dict[bytes, bytes], bytes]:
        return await ask(app, raw_path=b"/kept")

    status, headers, body = await asked()
    assert (200, b"good", True) == (status, body, headers[b"set-cookie"].startswith(b"srv="))
    upstream.on("/kept", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    status, headers, body = await asked()
    assert (200, b"good", False) == (status, body, b"set-cookie" in headers)
