"""What a filter set of a request (path, method, host, parameters) went nowhere, and nobody was told.

A service that there is not was 500 without a line in the log.
"""

from __future__ import annotations

import asyncio
import logging

import pytest

from resilience.gateway import Gateway, inbound_filter
from resilience.gateway.filters import FilterContext
from resilience.registry import Registry
from tests.gateway.filters.chains import Bench
from tests.gateway.front.serving import serving

from .gateway_parts import OK, asked, configured, upstream


@pytest.mark.parametrize(("name", "value", "instead"), [
    ("path", "/other", "set request.upstream_path"), ("parameters", {"id": "7"}, "set request.upstream_path"),
    ("method", "PUT", "its retries were chosen by it"), ("headers", {}, "change its items"),
    ("length", 7, "set request.body"), ("scheme", "https", "how the request came"), ("peer", "::1", "how the request came")])
async def test_what_cannot_be_set_says_what_can(name: str, value: object, instead: str,
                                                caplog: pytest.LogCaptureFixture) -> None:
    @inbound_filter
    def sets(context: FilterContext) -> None:
        setattr(context.request, name, value)

    bench = Bench(sets)
    assert 200 == (await bench.get()).status
    assert (b"/x", "GET") == (bench.sent.target, bench.sent.method)
    assert f"a filter cannot set request.{name}: " in caplog.text
    assert instead in caplog.text


async def test_the_route_of_a_request_is_chosen(caplog: pytest.LogCaptureFixture) -> None:
    @inbound_filter
    def sets(context: FilterContext) -> None:
        context.route = "other"  # type: ignore[misc]

    assert 200 == (await Bench(sets).get()).status
    assert "a filter cannot set context.route: set context.service" in caplog.text


async def test_parameters_are_read_only() -> None:
    @inbound_filter
    def sets(context: FilterContext) -> None:
        context.request.parameters["id"] = "7"  # type: ignore[index]

    bench = Bench(sets)
    await bench.get()
    assert 1 == bench.registry["filter.sets"].snapshot().counts["failure"]


@inbound_filter
def moves(context: FilterContext) -> None:
    request = context.request
    assert (request.path, request.upstream_path, request.host) == ("/shop/apples", "/apples", "gw")
    request.upstream_path = f"/v2{request.upstream_path}/%66resh%2f1"
    request.host = "Fruit.Example"
    assert (request.path, request.upstream_path, request.host) == ("/shop/apples", "/v2/apples/fresh%2F1", "fruit.example")


@pytest.mark.parametrize("query", ["", "?a=1"])
async def test_the_path_and_the_host_that_a_service_gets_can_be_set(query: str) -> None:
    heads: list[bytes] = []

    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(OK)

    async with upstream(script) as url:
        config = configured({"endpoints": [f"{url}/base"]}, routes=[
            {"path": "/shop/*", "service": "up", "strip_prefix": "/shop"}])
        gateway = Gateway(config, registry=Registry(), filters=[moves])
        async with serving(gateway.serve) as front:
            assert b" 200 " in await front.ask(asked(f"/shop/apples{query}"))
        gateway.close()
    assert heads[0].startswith(f"GET /base/v2/apples/fresh%2F1{query} HTTP/1.1\r\n".encode())
    assert b"\r\nhost: fruit.example\r\n" in heads[0].lower()


@pytest.mark.parametrize(("name", "value"), [
    ("upstream_path", "x"), ("upstream_path", "/a b"), ("upstream_path", "/a/../b"), ("upstream_path", "//host/x"),
    ("upstream_path", "/a\r\nX: y"), ("upstream_path", "/a?b=c"), ("host", "a b"), ("host", "a\r\nX: y"), ("host", "")])
async def test_what_is_no_path_or_host_is_an_error_of_the_filter(name: str, value: str) -> None:
    @inbound_filter
    def sets(context: FilterContext) -> None:
        setattr(context.request, name, value)

    bench = Bench(sets)
    await bench.get()
    assert (b"/x", None) == (bench.sent.target, bench.sent.host)
    assert 1 == bench.registry["filter.sets"].snapshot().counts["failure"]


@pytest.mark.parametrize(("kind", "near"), [("service", "did you mean up?"), ("endpoint", "and there is none")])
async def test_a_service_or_an_endpoint_that_there_is_not_is_told_once_in_a_while(
        kind: str, near: str, caplog: pytest.LogCaptureFixture) -> None:
    @inbound_filter
    def sets(context: FilterContext) -> None:
        setattr(context, kind, "upp\n" if kind == "endpoint" else "upp")

    bench = Bench(sets)
    with caplog.at_level(logging.ERROR):
        for _ in range(20):
            client = await bench.get()
            assert 500 == client.status
    assert f"there is no {kind} upp" in client.answer[2].decode()
    [record] = caplog.records
    assert f"a filter of the route route has set context.{kind} to 'upp" in record.getMessage()
    assert near in record.getMessage()
    assert "\n" not in record.getMessage()
