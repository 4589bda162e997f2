"""Mistakes in the use of guarded methods, which mypy and pyright report; and what they report though it is right.

Read by both, never run. An ignored error that is none any more is an error itself to mypy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, assert_type

from resilience import Command, circuit_breaker, command, retry


class Base(ABC):
    @abstractmethod
    def get(self, sku: str) -> int: ...
    @staticmethod
    @abstractmethod
    def free(n: int) -> str: ...


class Shop(Base):
    @command
    def get(self, sku: str) -> int:
        return len(sku)

    @retry(attempts=2)
    async def fetch(self, sku: str, *, deep: bool = False) -> int:
        return len(sku)

    @circuit_breaker(key=lambda self, /, n: str(n))
    def positional(self, /, n: int) -> str:
        return str(n)

    @classmethod
    @command
    def make(cls, n: int) -> int:
        return n

    @command
    @classmethod
    def made(cls, n: int) -> int:
        return n

    # See docs/explanation/limits.md: a static method is what any plain function is.
    @staticmethod
    @command
    def free(n: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return str(n)

    @staticmethod
    @command
    def shown(what: object) -> str:
        return str(what)


class Wrong(Base):
    @command
    def get(self, sku: int) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return sku


class Fetcher(Protocol):
    async def fetch(self, sku: bytes) -> int: ...


def fetched_by(fetcher: Fetcher) -> None: ...


async def methods(shop: Shop) -> None:
    shop.get(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    shop.get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    shop.get("a", 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await shop.fetch("a", deeep=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    fetched_by(shop)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    shop.positional("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Shop.make("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    shop.made("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    shop.free("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Shop.free()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    shop.get.nothing  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]  # noqa: B018


def right_and_reported(shop: Shop) -> None:
    shop.get.resilience  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]  # noqa: B018
    shop.shown(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(Shop.shown(1), str)


@command
def with_defaults(n: int = 1, *, name: str = "") -> float:
    return n + len(name)


@command
def nothing() -> float:
    return 1.0


@command
def anything(*args: Any, **kwargs: Any) -> float:
    return 1.0


def functions(gradual: Callable[..., int]) -> None:
    assert_type(anything(1, a=2), float)
    assert_type(anything.resilience, Command)
    assert_type(command(gradual)(1), int)
    assert_type(command(gradual).resilience, Command)
    with_defaults("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with_defaults(nam="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    nothing(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
