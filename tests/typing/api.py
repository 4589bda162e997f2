"""What type checkers see of the public API; read by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from typing import Any, assert_type

import attrs

from resilience import (
    Block,
    BlockCall,
    Bulkhead,
    CircuitBreaker,
    Command,
    Failover,
    Fallback,
    KeyedCommands,
    Pipeline,
    PolicyMachine,
    Retry,
    Snapshot,
    State,
    StateChanged,
    Timeout,
    block,
    bulkhead,
    circuit_breaker,
    collapse,
    command,
    default_registry,
    failover,
    fallback,
    guard_class,
    handle_of,
    handles_of,
    http_status,
    retry,
    timeout,
)


@command
def bare(x: int, y: str = "") -> float:
    return x + len(y)


@command(key="k", timeout=0.5, max_concurrent=None, breaker=None, fallback=lambda sku: 0)
async def stock(sku: str) -> int:
    return len(sku)


@command(timeout=None)
def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@command
async def rows(n: int) -> AsyncIterator[bytes]:
    yield b"" * n


@command(key=lambda host, path: host, max_keys=50, idle=60.0)
async def fetched(host: str, path: str = "") -> bytes:
    return path.encode()


@circuit_breaker(key=str.lower, failure_rate=0.3, idle=60.0)
def asked(host: str) -> int:
    return len(host)


@command(key="k", timeout=0.5, failover=Failover(("eu", "us"), argument="region"))
async def from_region(path: str, *, region: str = "eu") -> bytes:
    return path.encode()


@failover(["eu", "us"], argument="region", grace=10.0)
def from_vendor(path: str, *, region: str = "eu") -> bytes:
    return path.encode()


@command(key=lambda host: f"shop {host}", max_keys=10, failover=Failover(("eu", "us"), argument="region"))
async def from_host(host: str, *, region: str = "eu") -> bytes:
    return host.encode()


@failover(("eu", "us"), key=lambda host: f"shop {host}", idle=60.0, argument="region")
def from_shop(host: str, *, region: str = "eu") -> bytes:
    return host.encode()


@bulkhead(20, key=lambda shard: f"shard {shard}")
def counted(shard: int) -> Iterator[int]:
    yield shard


class Sharded:
    @retry(key=lambda self, shard: f"{self} {shard}", attempts=2)
    def read(self, shard: int) -> str:
        return str(shard)


@circuit_breaker
def broken(x: int) -> bytes:
    return b"" * x


@fallback(lambda sku: 0)
@circuit_breaker(failure_rate=0.3)
@bulkhead(20)
@timeout(0.5)
async def stacked(sku: str) -> int:
    return len(sku)


class Client:
    @command
    def read(self, n: int) -> bytes:
        return b"" * n

    @command(timeout=0.5)
    async def fetch(self, url: str) -> str:
        return url

    @staticmethod
    @command
    def free(n: int) -> str:
        return str(n)

    @command
    @staticmethod
    def freed(n: int) -> str:
        return str(n)

    @classmethod
    @command(timeout=0.5)
    async def make(cls, n: int) -> str:
        return cls.__name__ * n

    @command(timeout=0.5)
    @classmethod
    async def made(cls, n: int) -> str:
        return cls.__name__ * n

    @fallback(lambda self, n: iter([b""]))
    @circuit_breaker
    def pages(self, n: int) -> Iterator[bytes]:
        yield b"" * n

    @bulkhead(20)
    async def stream(self, n: int) -> AsyncIterator[bytes]:
        yield b"" * n

    @Pipeline(CircuitBreaker(), Timeout(0.5))
    async def piped(self, n: int, *, deep: bool = False) -> bytes:
        return b"" * n


class SubClient(Client):
    @command
    def read(self, n: int) -> bytes:
        return super().read(n)


guarded = Pipeline(Fallback(lambda *a: None), CircuitBreaker(), Bulkhead(20), Timeout(0.5), key="inventory")


@guarded
async def price(sku: str) -> float:
    return float(len(sku))


def functions() -> None:
    assert_type(bare(1, y="z"), float)
    assert_type(broken(1), bytes)
    assert_type(numbers(3), Iterator[int])
    assert_type(rows(3), AsyncIterator[bytes])
    coroutines_stay_coroutines: list[Coroutine[Any, Any, float]] = [stock("a"), stacked("a"), price("a")]
    assert coroutines_stay_coroutines
    bare("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def coroutines() -> None:
    assert_type(await stock("a"), int)
    assert_type(await asyncio.create_task(stock("a")), int)
    assert_type(await asyncio.create_task(stacked("a")), int)
    assert_type(await guarded.call(price, "sku"), float)
    assert_type(guarded.call(bare, 1, "x"), float)


async def by_key(sharded: Sharded) -> None:
    assert_type(await asyncio.create_task(fetched("a", path="b")), bytes)
    assert_type(asked("a"), int)
    assert_type(counted(1), Iterator[int])
    assert_type(sharded.read(1), str)
    assert_type(asked.resilience, KeyedCommands)
    assert_type(await from_region("/"), bytes)
    assert_type(from_region.resilience, KeyedCommands)
    assert_type(from_vendor("/"), bytes)
    assert_type(from_shop("a"), bytes)
    assert_type(from_host.resilience, KeyedCommands)
    assert_type(from_shop.resilience["shop a[eu]"], Command)
    assert_type(from_vendor.resilience["eu"], Command)
    failover(["eu"], grce=3.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(handles_of(sharded.read)["a"], Command)
    assert_type([handle.state for handle in fetched.resilience], list[State])
    asked(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    sharded.read()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def methods(client: Client) -> None:
    assert_type(client.read(1), bytes)
    assert_type(Client.read(client, 1), bytes)
    assert_type(await client.fetch("u"), str)
    assert_type(await asyncio.create_task(client.fetch("u")), str)
    assert_type(Client.free(1), str)
    assert_type(client.free(1), str)
    assert_type(Client.freed(1), str)
    assert_type(client.freed(1), str)
    assert_type(await client.make(1), str)
    assert_type(await Client.make(1), str)
    assert_type(await Client.made(1), str)
    assert_type(await SubClient.make(1), str)
    assert_type(handle_of(Client.make), Command)
    assert_type(await asyncio.create_task(client.made(1)), str)
    assert_type(client.pages(1), Iterator[bytes])
    assert_type(client.stream(1), AsyncIterator[bytes])
    assert_type(await client.piped(1, deep=True), bytes)
    assert_type(await Client.piped(client, 1), bytes)
    assert_type(handle_of(client.read), Command)
    assert_type(handle_of(Client.read).state, State)
    assert_type(SubClient().read(1), bytes)
    await client.piped("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.piped(1, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Client.made("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.read("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def mistakes() -> None:
    command(timeout="1")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    command(tiemout=1.0)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    command(isolation="process")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    circuit_breaker(failure_rte=0.5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    command(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    Pipeline(0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Pipeline(Retry(), gruop="shop")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    stock.resilience.configure(tiemout=0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stock.resilience.configure(timeout="0.5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fetched.resilience.configure(retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    guarded.call(bare, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare.nothing  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]  # noqa: B018


@attrs.frozen
class Cap:
    """A policy of a user's own."""

    units: int = 5

    def machine(self, key: str, now: float, /) -> PolicyMachine:
        raise NotImplementedError


def changes() -> None:
    stock.resilience.configure(timeout=0.5, max_concurrent=Bulkhead(3), breaker=None, failures=[OSError, http_status()])
    fetched.resilience.configure(max_concurrent=3, retry=Retry(), shadow=["breaker"], spending_cap=Cap(3))
    handle_of(bare).configure(shadow="spending_cap", timeout=None, spending_cap=None)


def handles() -> None:
    assert_type(stock.resilience, Command)
    assert_type(stock.resilience.state, State)
    assert_type(stock.resilience.snapshot(), Snapshot)
    assert_type(stock.resilience.snapshot().latency.p99, float)
    for handle in default_registry:
        assert_type(handle, Command)
    assert_type(default_registry.get("k"), Command | None)
    default_registry.subscribe(StateChanged, lambda event: print(event.new, event.nothing))  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


@collapse
def users(ids: list[int]) -> dict[int, str]:
    return {each: str(each) for each in ids}


@collapse(window=0.002, max_batch=10, scope="request", key=str)
@command
async def orders(ids: Sequence[int]) -> list[float | BaseException]:
    return [KeyError(each) for each in ids]


class Store:
    @collapse
    async def item(self, ids: list[str]) -> Mapping[str, bytes]:
        return {each: each.encode() for each in ids}


async def collapsed() -> None:
    assert_type(users(1), str)
    assert_type(await orders(1), float)
    assert_type(await Store().item("a"), bytes)


class Shelf:
    """A class whose methods are guarded at once."""

    def size(self, shelf: int) -> int:
        return shelf


@guard_class(timeout=None, only=["size"])
class Warehouse:
    """The same as a decorator."""

    def size(self, shelf: int) -> int:
        return shelf


def a_guarded_class_stays_itself() -> None:
    assert_type(guard_class(Shelf, timeout=1.0), type[Shelf])
    assert_type(Warehouse().size(1), int)


payments = block("payments", timeout=2.0, max_concurrent=Bulkhead(3), breaker=CircuitBreaker(), ignore=KeyError)
block("payments", retry=Retry())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
block("payments", isolation="thread")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def a_block_is_entered() -> int:
    assert_type(payments, Block)
    assert_type(payments.resilience, Command)
    assert_type(Pipeline(Bulkhead(3), key="payments").block(), Block)
    with payments as call:
        assert_type(call, BlockCall)
        call.result = 1
    with payments("tenant", priority=1) as call:
        return 1  # nothing is swallowed: a checker knows that nobody comes below


async def an_async_block_is_entered() -> int:
    async with payments as call:
        assert_type(call, BlockCall)
    async with payments() as call:
        return 1
