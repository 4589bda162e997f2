"""A user's own error page answered for routes alone: 404, 405, a bad request and an overload had the gateway's form.

The headers that every route's outbound filters add, such as those for the safety of browsers, were missing there, too.
"""

from __future__ import annotations

from typing import Any

import pytest
from h2.events import ResponseReceived

from resilience.gateway import endpoint_filter, outbound_filter
from resilience.gateway.filters import FilterContext
from tests.gateway.front.test_http2 import POST, raw

from .gateway_parts import asked, configured, served

#: Nobody listens there, and nobody is asked.
SERVICE = {"endpoints": ["http://127.0.0.1:1"], "max_body": 10}
ROUTES = [{"path": "/shop/*", "service": "up", "methods": ["GET"], "name": "shop"}]


@endpoint_filter
def page(context: FilterContext) -> None:
    refusal, request = context.refusal, context.request
    assert refusal is not None
    context.answer(refusal.status, f"<p>{refusal.status} {refusal.reason} {request.method} {request.path} {request.host}"
                   f" {request.headers.get('accept')} {request.headers.get('x-consumer')} {context.route}</p>",
                   {"Content-Type": "text/html"})


@endpoint_filter
def broken(context: FilterContext) -> None:
    raise LookupError


@outbound_filter
def safety(context: FilterContext) -> None:
    assert context.response is not None
    context.response.headers["strict-transport-security"] = f"max-age={context.response.status}"


@outbound_filter
def forbids(context: FilterContext) -> None:
    context.refuse(451, "not here")


def config(error_endpoint: str | None = "page", filters: tuple[str, ...] = (), **tables: Any) -> Any:
    gateway = {} if error_endpoint is None else {"error_endpoint": error_endpoint}
    named = {name: {"use": f"{__name__}:{name}"} for name in ("page", "broken", "safety", "forbids")}
    named["keys"] = {"use": "api_keys", "keys": [{"id": "k", "sha256": "0" * 64, "consumer": "ada"}]}  # type: ignore[dict-item]
    return configured(SERVICE, routes=ROUTES, filters=named, gateway={**gateway, "filters": [*filters]}, **tables)


def parsed(answer: bytes) -> tuple[int, dict[str, str], str]:
    head, _, body = answer.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return int(first.split(" ")[1]), dict(line.lower().split(": ", 1) for line in lines), body


BAD = [
    (asked("/nowhere", "Accept: text/html", "X-Consumer: root"), 404, "no_route GET /nowhere gw text/html None "),
    (asked("/shop/a", method="DELETE"), 405, "method_not_allowed DELETE /shop/a gw None None "),
    (asked("/shop/../a"), 400, "bad_request GET /shop/../a gw None None "),
    (asked("/shop/a", "Host: two"), 400, "bad_request GET /shop/a gw None None "),
    (asked("/shop/a", "Content-Length: 11", "", "01234567890"), 413, "body_too_large GET /shop/a gw None None "),
]


@pytest.mark.parametrize(("request_bytes", "status", "said"), BAD)
async def test_the_error_endpoint_answers_requests_that_no_route_takes(request_bytes: bytes, status: int, said: str) -> None:
    async with served(config()) as (_, front):
        found, headers, body = parsed(await front.ask(request_bytes))
    assert (status, f"<p>{status} {said}</p>", "text/html") == (found, body, headers["content-type"])
    assert headers["content-length"] == f"{len(body)}"
    assert ("get" in headers.get("allow", "")) is (status == 405)


@pytest.mark.parametrize("error_endpoint", ["page", None, "broken"])
async def test_they_pass_the_outbound_filters_of_every_route(error_endpoint: str | None) -> None:
    async with served(config(error_endpoint, ("safety", "keys"))) as (_, front):
        status, headers, body = parsed(await front.ask(asked("/nowhere")))
        options = parsed(await front.ask(asked("*", method="OPTIONS")))
    assert (404, "max-age=404") == (status, headers["strict-transport-security"])
    assert ("text/html" if error_endpoint == "page" else "application/problem+json") == headers["content-type"]
    assert len(body) == int(headers["content-length"])
    assert (200, "") == (options[0], options[2]), "that is no error"


async def test_the_connection_is_closed_or_kept_as_ever_and_heads_have_no_body() -> None:
    async with served(config()) as (_, front):
        client = await front.client(b"HEAD /nowhere HTTP/1.1\r\nHost: gw\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: gw\r\n\r\n"
                                    b"GET /shop/../a HTTP/1.1\r\nHost: gw\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: gw\r\n\r\n")
        text = await client.all()
    assert [b"404", b"404", b"400"] == [part[:3] for part in text.split(b"HTTP/1.1 ")[1:]], "nothing after what is doubtful"
    assert 2 == text.count(b"<p>"), text


@pytest.mark.parametrize("error_endpoint", ["page", None])
async def test_nothing_is_read_behind_what_is_doubtful_though_a_filter_refuses_its_answer(error_endpoint: str | None) -> None:
    async with served(config(error_endpoint, ("forbids",))) as (_, front):
        text = await front.ask(b"GET /shop/a HTTP/1.1\r\nHost: gw\r\nHost: two\r\n\r\n" + asked("/smuggled"))
    assert [b"451"] == [part[:3] for part in text.split(b"HTTP/1.1 ")[1:]]
    assert b"connection: close" in text


@pytest.mark.parametrize(("error_endpoint", "told"), [
    ("page", "<p>503 shed GET /shop/a gw None None shop</p>"), (None, "there is too much to do; try again later")])
async def test_who_is_turned_away_by_an_overload_gets_it_and_grpc_its_own_form(error_endpoint: str | None, told: str) -> None:
    grpc_get = [(b":method", b"GET"), POST[1], (b":path", b"/shop/a"), *POST[3:], (b"content-type", b"application/grpc")]
    async with served(config(error_endpoint, shedding={"min_limit": 1, "initial": 1, "max_limit": 1, "max_queue": 0})) as (
            gateway, front):
        control = gateway._generation.public.admission_control
        assert control is not None
        control._limit("up").limiter.acquire(0.0)
        status, headers, body = parsed(await front.ask(asked("/shop/a")))
        grpc = await raw(front)
        number = grpc.ask(grpc_get)
        await grpc.answer(number)
        fields = dict(grpc.of(ResponseReceived, number)[0].headers)
    assert (503, "1") == (status, headers["retry-after"])
    assert told in body
    assert (b"14", b"1000") == (fields[b"grpc-status"], fields[b"grpc-retry-pushback-ms"])
