"""What the gateway's front refused by itself was neither logged nor counted: no HTTP, heads too large, floods of a client.

"Each request is one line", and those that fail are always logged; a flood that ``client_rate`` refused was invisible.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from resilience import Registry
from resilience.gateway import Gateway
from resilience.gateway.config import GatewayConfig
from resilience.gateway.logs.entry import clf_line
from resilience.gateway.logs.observed_request import ObservedRequest
from resilience.gateway.messages.inbound import RefusedRequest, RequestHead
from resilience.gateway.server import served_by
from tests.gateway.front.serving import Serving, serving
from tests.gateway.front.test_http2 import HEAD, raw
from tests.issues.gateway_parts import configured

DEAD = {"endpoints": ["http://127.0.0.1:9"]}
FINE = b"GET /fine HTTP/1.1\r\nHost: gw\r\n\r\n"


class Log:
    """The access log of a gateway that has ended."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def shown(self, *keys: str) -> list[tuple[Any, ...]]:
        return [tuple(line.get(key) for key in keys) for line in self.lines]


@contextlib.asynccontextmanager
async def logging(tmp_path: Path, gateway: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[
        tuple[Gateway, Serving, Log]]:
    """A gateway with a log and statistics behind its front; the log is whole in the end."""
    log = Log(tmp_path / "access.log")
    made = Gateway(configured(DEAD, access_log={"to": f"{log.path}"}, gateway=gateway or {}), registry=Registry())
    async with serving(made.serve, made.refused, **settings) as front:
        yield made, front, log
    made.close()


def counted(gateway: Gateway) -> dict[str, float]:
    assert gateway.observer is not None
    assert gateway.observer.statistics is not None
    return {sample.labels["status"]: sample.value for metric in gateway.observer.statistics.collect()
            for sample in metric.samples
            if sample.name == "resilience_gateway_requests_total" and sample.labels["route"] == "none"}


@pytest.mark.parametrize(("sent", "said"), [
    (b"GET /odd?a=1 HTTP/1.1\r\nHost : gw\r\n\r\n", ("GET", "/odd?a=1", "1.1", 400, "bad_request")),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ("-", "-", "-", 400, "bad_request")),
    (b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", ("CONNECT", "x:1", "1.1", 501, "not_implemented")),
    (b"BREW /pot HTTP/1.1\r\nHost : gw\r\n\r\n", ("BREW", "/pot", "1.1", 400, "bad_request")),
    (b"GET /large HTTP/1.1\r\nHost: gw\r\n" + b"A: b\r\n" * 300 + b"\r\n", ("GET", "/large", "1.1", 431, "head_too_large")),
    (b"GET /2 HTTP/2.0\r\nHost: gw\r\n\r\n", ("GET", "/2", "2.0", 505, "version_not_supported")),
    (b"POST /two HTTP/1.1\r\nHost: gw\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     ("POST", "/two", "1.1", 400, "bad_request"))])
async def test_what_is_no_request_is_logged_with_what_was_read_of_it(
        tmp_path: Path, sent: bytes, said: tuple[Any, ...]) -> None:
    async with logging(tmp_path) as (gateway, front, log):
        assert b"HTTP/1.1 %d " % said[3] in await front.ask(sent)
        assert {f"{said[3] // 100}xx": 1.0} == counted(gateway)
    assert [("127.0.0.1", *said)] == log.shown("client", "method", "path", "version", "status", "refused")
    assert 0 < log.lines[0]["bytes_out"]
    assert "complete" not in log.lines[0]


async def test_a_target_that_is_too_long_is_cut_in_the_log(tmp_path: Path) -> None:
    async with logging(tmp_path) as (_, front, log):
        assert b"HTTP/1.1 414 " in await front.ask(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: gw\r\n\r\n")
    assert [("GET", 414, "target_too_long", 2048)] == [
        (line["method"], line["status"], line["refused"], len(line["path"])) for line in log.lines]


async def test_a_head_that_does_not_come_and_one_connection_too_many_are_logged(tmp_path: Path) -> None:
    async with logging(tmp_path, header_timeout=0.1, max_connections_per_client=1) as (gateway, front, log):
        slow = await front.client(b"GET /slow HT")
        assert b"HTTP/1.1 429 " in await front.ask(b"")
        assert b"HTTP/1.1 408 " in await slow.all()
        assert {"4xx": 2.0} == counted(gateway)
    assert [("-", 429, "too_many_connections"), ("/slow", 408, "slow_head")] == log.shown("path", "status", "refused")


async def test_a_flood_that_client_rate_refuses_is_logged_and_counted_with_both_protocols(tmp_path: Path) -> None:
    async with logging(tmp_path, client_rate=0.001, client_burst=1) as (gateway, front, log):
        assert b"HTTP/1.1 502 " in await front.ask(b"GET /x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
        for _ in range(3):
            await (await front.client(FINE)).until(b"429 Too Many Requests")
        client = await raw(front)
        assert [429] * 2 == [(await client.answer(client.ask()))[0] for _ in range(2)]
        assert {"4xx": 5.0} == counted(gateway)
    assert [("/x", 502, "1.1")] + [("/fine", 429, "1.1")] * 3 + [("/x", 429, "2")] * 2 == \
        log.shown("path", "status", "version")
    assert {"unreachable", "rate_limited"} == {line["refused"] for line in log.lines}


async def test_what_is_refused_of_http2_is_logged(tmp_path: Path) -> None:
    async with logging(tmp_path) as (gateway, front, log):
        client = await raw(front)
        connect = [(b":method", b"CONNECT"), (b":authority", b"x:1")]
        differs = [*HEAD, (b"host", b"other")]
        many = [*HEAD, *((b"x-%d" % each, b"y") for each in range(300))]
        assert [501, 400, 431] == [(await client.answer(client.ask(head)))[0] for head in (connect, differs, many)]
        assert {"4xx": 2.0, "5xx": 1.0} == counted(gateway)
    assert [("CONNECT", "*", 501), ("GET", "/x", 400), ("GET", "/x", 431)] == log.shown("method", "path", "status")


async def test_a_refusal_behind_requests_that_are_served_comes_after_them(tmp_path: Path) -> None:
    async with logging(tmp_path) as (_, front, log):
        assert b"HTTP/1.1 400" in await front.ask(FINE * 2 + b"GET /odd HTTP/1.1\r\nHost : gw\r\n\r\n")
    assert ["/fine", "/fine", "/odd"] == [line["path"] for line in log.lines]


async def test_what_a_trusted_proxy_had_begun_to_say_of_the_client_is_not_believed(tmp_path: Path) -> None:
    async with logging(tmp_path, {"trusted_proxies": ["127.0.0.1"]}) as (_, front, log):
        await front.ask(b"GET /odd HTTP/1.1\r\nX-Forwarded-For: 198.51.100.7\r\nHost : gw\r\n\r\n")
    assert ["127.0.0.1"] == [line["client"] for line in log.lines]


async def test_a_failure_of_the_gateway_itself_is_logged_as_500_and_not_as_a_client_that_left(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with logging(tmp_path) as (gateway, front, log):
        def fail(*_: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(type(gateway._generation.public.admission), "admit", fail)
        assert b"HTTP/1.1 500 " in await front.ask(FINE)
    assert [("/fine", 500, "gateway_failed", False)] == log.shown("path", "status", "refused", "complete")


def test_both_sides_of_a_gateway_are_told_of_what_their_fronts_refuse() -> None:
    config: GatewayConfig = configured(DEAD, private={"bind": "127.0.0.1:8081", "routes": [{"path": "/*", "service": "up"}]})
    gateway = Gateway(config, registry=Registry())
    assert [gateway.refused, gateway.refused_private] == [each.refused for each in served_by(gateway)]
    head = RequestHead("-", b"-", b"", "-", "http", (), None, None)
    gateway.refused_private(RefusedRequest(head, 400, "bad_request", 10))
    statistics = gateway._generation.private.observer.statistics  # type: ignore[union-attr]
    assert statistics is not None
    assert ["private"] == [sample.labels["listener"] for metric in statistics.collect() for sample in metric.samples
                           if sample.name == "resilience_gateway_requests_total"]
    gateway.close()


def test_what_is_no_request_has_a_hyphen_for_its_line_in_the_formats_of_apache() -> None:
    class Nothing:
        hop, head = None, RequestHead("-", b"-", b"", "-", "http", (), None, None)

    observed: Any = ObservedRequest(Nothing(), lambda: 0.0)  # type: ignore[arg-type]
    observed.status, observed.sent = 400, 12
    assert '] "-" 400 12\n' in clf_line(observed)
