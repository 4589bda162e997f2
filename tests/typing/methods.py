"""Guarded methods are methods to type checkers: they fit protocols and abstract classes, and may be overridden.

Read by mypy, pyright and ty, never run.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, assert_type, overload

from resilience import (
    CircuitBreaker,
    Command,
    Fallback,
    KeyedCommands,
    Pipeline,
    bulkhead,
    cache,
    circuit_breaker,
    command,
    fallback,
    handle_of,
    handles_of,
    retry,
)

P = ParamSpec("P")
T = TypeVar("T")

piped = Pipeline(CircuitBreaker())


class Stock(Protocol):
    """What a shop is to its users."""

    @property
    def size(self) -> int: ...
    def get(self, sku: str) -> int: ...
    async def fetch(self, sku: str, *, deep: bool = False) -> int: ...
    def pages(self, n: int) -> Iterator[bytes]: ...
    def stream(self, n: int) -> AsyncIterator[bytes]: ...
    def by_key(self, sku: str) -> int: ...
    def again(self) -> Self: ...
    @classmethod
    def make(cls, n: int) -> Stock: ...
    @classmethod
    def made(cls, n: int) -> Stock: ...
    @staticmethod
    def free(n: int) -> str: ...
    @staticmethod
    def freed(n: int) -> str: ...


class Base(ABC):
    """The same as an abstract class."""

    @property
    @abstractmethod
    def size(self) -> int: ...
    @abstractmethod
    def get(self, sku: str) -> int: ...
    @abstractmethod
    async def fetch(self, sku: str, *, deep: bool = False) -> int: ...
    @abstractmethod
    def pages(self, n: int) -> Iterator[bytes]: ...
    @abstractmethod
    def stream(self, n: int) -> AsyncIterator[bytes]: ...
    @abstractmethod
    def by_key(self, sku: str) -> int: ...
    @abstractmethod
    def again(self) -> Self: ...
    @classmethod
    @abstractmethod
    def make(cls, n: int) -> Base: ...
    @classmethod
    @abstractmethod
    def made(cls, n: int) -> Base: ...


class Shop(Base):
    """All of them guarded, with every kind of decorator."""

    @property
    @command
    def size(self) -> int:
        return 1

    @command
    def get(self, sku: str) -> int:
        return len(sku)

    @fallback(lambda self, sku, *, deep=False: 0)
    @retry(attempts=2)
    @circuit_breaker
    async def fetch(self, sku: str, *, deep: bool = False) -> int:
        return len(sku)

    @bulkhead(20)
    def pages(self, n: int) -> Iterator[bytes]:
        yield b"" * n

    @command(timeout=1.0)
    async def stream(self, n: int) -> AsyncIterator[bytes]:
        yield b"" * n

    @circuit_breaker(key=lambda self, sku: sku)
    def by_key(self, sku: str) -> int:
        return len(sku)

    @piped
    def again(self) -> Self:
        return self

    @classmethod
    @command
    def make(cls, n: int) -> Self:
        return cls()

    @command
    @classmethod
    def made(cls, n: int) -> Shop:
        return cls()

    @staticmethod
    @command
    def free(n: int) -> str:
        return str(n)

    @command(timeout=1.0)
    @staticmethod
    def freed(n: int) -> str:
        return str(n)

    @cache(ttl=5.0)
    def positional(self, /, n: int) -> str:
        return str(n)

    @overload
    def either(self, what: int) -> int: ...
    @overload
    def either(self, what: str) -> str: ...
    @command
    def either(self, what: int | str) -> int | str:
        return what

    @command
    def same(self, what: T) -> T:
        return what

    @command
    def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return fn(*args, **kwargs)


class FakeShop(Shop):
    """What a test puts in its place, without a guard."""

    @property
    def size(self) -> int:
        return 2

    def get(self, sku: str) -> int:
        return super().get(sku)

    async def fetch(self, sku: str, *, deep: bool = False) -> int:
        return await super().fetch(sku, deep=deep)

    def pages(self, n: int) -> Iterator[bytes]:
        return super().pages(n)

    async def stream(self, n: int) -> AsyncIterator[bytes]:
        yield b""

    def by_key(self, sku: str) -> int:
        return 2

    def again(self) -> Self:
        return super().again()

    @classmethod
    def make(cls, n: int) -> Self:
        return super().make(n)

    @classmethod
    def made(cls, n: int) -> FakeShop:
        return cls()


class GuardedAgain(Shop):
    """A guard over a guard."""

    @command
    def get(self, sku: str) -> int:
        return super().get(sku)

    @retry(attempts=2)
    async def fetch(self, sku: str, *, deep: bool = False) -> int:
        return await super().fetch(sku, deep=deep)

    @classmethod
    @command
    def make(cls, n: int) -> Self:
        return super().make(n)


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content

    @command
    def get(self) -> T:
        return self.content

    @command
    async def swapped(self, other: T) -> tuple[T, T]:
        return other, self.content

    @command
    def __call__(self, more: int) -> T:
        return self.content


class Meta(type):
    @command
    def make(cls, n: int) -> str:
        return cls.__name__ * n


class Made(metaclass=Meta):
    pass


stock: Stock = Shop()
fake: Stock = FakeShop()


async def methods(shop: Shop, other: FakeShop, box: Box[int], data: bytes) -> None:
    assert_type(shop.size, int)
    assert_type(shop.get("a"), int)
    assert_type(shop.get(sku="a"), int)
    assert_type(Shop.get(shop, "a"), int)
    assert_type(await shop.fetch("a", deep=True), int)
    assert_type(shop.pages(1), Iterator[bytes])
    assert_type(shop.stream(1), AsyncIterator[bytes])
    assert_type(shop.by_key("a"), int)
    assert_type(other.again(), FakeShop)
    coroutine: Coroutine[Any, Any, int] = shop.fetch("a")
    assert_type(await coroutine, int)
    assert_type(shop.positional(1), str)
    assert_type(Shop.positional(shop, 1), str)
    assert_type(shop.either(1), int)
    assert_type(shop.either("a"), str)
    assert_type(shop.same(data), bytes)
    assert_type(shop.run(len, "a"), int)
    assert_type(box.get(), int)
    assert_type(await box.swapped(1), tuple[int, int])
    assert_type(box(1), int)
    assert_type(Made.make(2), str)
    assert_type(GuardedAgain().get("a"), int)


def class_and_static_methods(shop: Shop) -> None:
    assert_type(Shop.make(1), Shop)
    assert_type(shop.make(1), Shop)
    assert_type(GuardedAgain.make(1), GuardedAgain)
    assert_type(Shop.made(1), Shop)
    assert_type(shop.made(1), Shop)
    assert_type(Shop.free(1), str)
    assert_type(shop.free(1), str)
    assert_type(Shop.freed(1), str)
    assert_type(shop.freed(1), str)


def handles(shop: Shop) -> None:
    assert_type(handle_of(shop.get), Command)
    assert_type(handle_of(Shop.make), Command)
    assert_type(handles_of(Shop.by_key), KeyedCommands)
    assert_type(handle_of(with_defaults), Command)
    assert_type(Shop.positional.resilience, Command)


@command
def with_defaults(n: int = 1, *, name: str = "") -> float:
    return n + len(name)


@command
def nothing() -> float:
    return 1.0


@retry(attempts=2)
def many(*args: int, **names: str) -> float:
    return 1.0


@circuit_breaker(key=lambda n=1: str(n))
def keyed_with_defaults(n: int = 1) -> float:
    return n


@overload
def either(what: int) -> int: ...
@overload
def either(what: str) -> str: ...
@command
def either(what: int | str) -> int | str:
    return what


@command
def same(what: T) -> T:
    return what


def wrapped(fn: Callable[P, T]) -> Callable[P, T]:
    """A decorator of the user's own, which guards what it makes."""

    @command
    @functools.wraps(fn)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        return fn(*args, **kwargs)

    assert_type(inner.resilience, Command)
    return inner


def functions(shop: Shop, data: bytes) -> None:
    assert_type(with_defaults(), float)
    assert_type(with_defaults(2, name="a"), float)
    assert_type(with_defaults.resilience, Command)
    assert_type(nothing(), float)
    assert_type(nothing.resilience, Command)
    assert_type(many(1, a="2"), float)
    assert_type(many.resilience, Command)
    assert_type(keyed_with_defaults(2), float)
    assert_type(keyed_with_defaults.resilience, KeyedCommands)
    assert_type(either(1), int)
    assert_type(either("a"), str)
    assert_type(same(data), bytes)
    assert_type(wrapped(len)([]), int)
    assert_type(command(shop.get)("a"), int)
    assert_type(command(shop.get).resilience, Command)
    assert_type(command(functools.partial(shop.get, "a"))(), int)
    assert_type(Pipeline(Fallback(len)).call(shop.get, "a"), int)
