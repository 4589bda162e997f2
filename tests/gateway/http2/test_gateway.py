"""The whole gateway in front of services that speak HTTP/2: clients of both versions, and what else a service may have."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from resilience import Registry
from resilience.gateway import Gateway
from resilience.gateway.config import load
from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import Client, Serving, eventually, serving
from tests.gateway.front.test_connection import echo

from .peer import Connection, peer

FILE = """
[services.up]
endpoints = [{urls}]
http2 = true
balancer = "first"
{said}
[[routes]]
path = "/*"
service = "up"
"""


@contextlib.asynccontextmanager
async def gateway(directory: Path, *urls: str, said: str = "") -> AsyncIterator[Serving]:
    file = directory / "gateway.toml"
    file.write_text(FILE.format(urls=", ".join(f'"{each}"' for each in urls), said=said))
    registry = Registry()
    made = Gateway(load(str(file)), registry=registry)
    try:
        async with serving(made.serve) as front:
            yield front
        await eventually(lambda: all(command.snapshot().in_flight == 0 for command in registry), "every permit back")
    finally:
        made.close()


@pytest.mark.parametrize("version", [1, 2])
async def test_bodies_of_any_framing_pass_both_ways(tmp_path: Path, version: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 10_000

    async with serving(echo) as up, gateway(tmp_path, f"http://127.0.0.1:{up.port}") as front, \
            httpx.AsyncClient(http1=version == 1, http2=version == 2) as client:
        url = f"http://127.0.0.1:{front.port}/x"
        for body in (b"", b"abc", b"y" * 1_000_000):
            assert b"/x|" + body == (await client.post(url, content=body)).content
        assert b"/x|" + b"x" * 400_000 == (await client.post(url, content=pieces())).content
        assert [b"/x|"] * 20 == [each.content for each in await asyncio.gather(*(client.get(url) for _ in range(20)))]
        head = await client.head(url)
        assert (200, b"") == (head.status_code, head.content)
        assert 1 == up.front.connections


async def test_trailers_pass_to_a_client_of_http1_that_takes_them(tmp_path: Path) -> None:
    async def serve(inbound: Inbound) -> None:
        await inbound.start(200, [])
        await inbound.write(b"abc")
        await inbound.end(b"", [(b"x-sum", b"7")])

    async with serving(serve) as up, gateway(tmp_path, f"http://127.0.0.1:{up.port}") as front:
        said = await front.ask(b"GET / HTTP/1.1\r\nHost: gw\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n")
        assert said.endswith(b"3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n")


async def test_a_client_that_leaves_resets_the_stream_alone(tmp_path: Path) -> None:
    begun: list[Inbound] = []
    cancelled: list[Inbound] = []

    async def serve(inbound: Inbound) -> None:
        if inbound.head.path == b"/hang":
            begun.append(inbound)
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(inbound)
        await inbound.respond(200, [], b"ok")

    async with serving(serve) as up, gateway(tmp_path, f"http://127.0.0.1:{up.port}") as front:
        client: Client = await front.client(b"GET /hang HTTP/1.1\r\nHost: gw\r\n\r\n")
        await eventually(lambda: begun)
        client.reset()
        await eventually(lambda: cancelled)
        assert (await front.ask(b"GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")).endswith(b"ok")
        assert 1 == up.front.connections


async def test_checks_rules_held_answers_and_retries_work_as_over_http1(tmp_path: Path) -> None:
    def first(connection: Connection, number: int) -> None:
        path = connection.headers(number)[b":path"]
        if path == b"/busy":
            connection.answer(number, b'{"code": "quota"}', 429)
        elif path == b"/ill":
            connection.answer(number, b"", 503)
        else:
            connection.head(number)
            connection.data(number, b"begun")
            connection.reset(number, 2)

    def second(connection: Connection, number: int) -> None:
        asked.append(connection.headers(number)[b":path"])
        connection.answer(number, b"second")

    asked: list[bytes] = []
    said = """hold = 1000
rules = [{ status = 429, json = { "/code" = "quota" }, then = "next", counts = "failure" }]
checks = { path = "/healthy", interval = 0.05, unhealthy = 1000 }
ejection = false
command.breaker = false"""
    async with peer(first) as ill, peer(second) as well, gateway(tmp_path, ill.url, well.url, said=said) as front, \
            httpx.AsyncClient() as client:
        for path in ("/busy", "/ill", "/broken"):
            assert b"second" == (await client.get(f"http://127.0.0.1:{front.port}{path}")).content, path
        await eventually(lambda: b"/healthy" in asked)


async def test_an_upgrade_is_not_asked_of_a_service_that_has_none(tmp_path: Path) -> None:
    async with serving(echo) as up, gateway(tmp_path, f"http://127.0.0.1:{up.port}") as front:
        said = await front.ask(b"GET /ws HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n")
        assert (b"HTTP/1.1 200", b"/ws|") == (said[:12], said[-4:])


async def test_a_slow_reader_of_one_answer_holds_up_no_other_of_the_same_connection(tmp_path: Path) -> None:
    async def serve(inbound: Inbound) -> None:
        await inbound.respond(200, [], b"x" * (8_000_000 if inbound.head.path == b"/large" else 2))

    async with serving(serve) as up, gateway(tmp_path, f"http://127.0.0.1:{up.port}") as front:
        slow = [await front.client(b"GET /large HTTP/1.1\r\nHost: gw\r\n\r\n") for _ in range(6)]
        for each in slow:
            await each.until(b"\r\n\r\n")
            each.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(20):
            assert (await front.ask(b"GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")).endswith(b"xx")
        assert 1 == up.front.connections
        for each in slow:
            each.reset()


