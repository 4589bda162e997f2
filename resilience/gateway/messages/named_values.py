"""Headers, cookies and fields of a query, by name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

from .exchange import Header


def header_values(headers: Iterable[Header], name: bytes) -> list[bytes]:
    """The values of a header, a line each; *name* in lower case."""
    return [value for each, value in headers if each == name]


def header_value(headers: Iterable[Header], name: bytes) -> bytes | None:
    """The value of the first line of a header; None: there is none. *name* in lower case."""
    return next((value for each, value in headers if each == name), None)


def cookies(headers: Iterable[Header]) -> Iterator[tuple[bytes, bytes]]:
    """The names of cookies, and their values without quotes. A cookie without ``=`` has no name."""
    for line in header_values(headers, b"cookie"):
        for pair in line.split(b";"):
            name, found, value = pair.partition(b"=")
            if found:
                yield name.strip(), value.strip().removeprefix(b'"').removesuffix(b'"')


def cookie_values(headers: Iterable[Header], name: bytes) -> Iterator[bytes]:
    """The values of a cookie, without their quotes."""
    return (value for each, value in cookies(headers) if each == name)


def query_values(query: bytes, name: bytes) -> Iterator[bytes]:
    """The values of a field of a query, decoded; empty if it has no ``=``."""
    for pair in query.split(b"&") if query else ():
        key, _, value = pair.partition(b"=")
        if key == name or _decoded(key) == name:
            yield _decoded(value)


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
