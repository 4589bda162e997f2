"""Predicates: what a route asks of a request beside host and path. Pure.

A request has a value if the header, field of the query or cookie is there at least once, and *every* one of that name
has a value that the route names: a request that says two things cannot be one thing to the gateway and the other to
an upstream.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import attrs

from ..messages.headers import values_of
from ..messages.inbound import RequestHead
from ..messages.named_values import cookie_values, query_values

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Check = Callable[[RequestHead], bool]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
STANDARD_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def is_token(text: str) -> bool:
    """Whether *text* may be a method, or the name of a header (RFC 9110, 5.6.2)."""
    return _TOKEN(text) is not None


def method_mistake(method: Any) -> str | None:
    """What is wrong with a method in a file; None if nothing is."""
    if not isinstance(method, str) or not is_token(method):
        return "a method must be a token, such as GET or PROPFIND"
    if method.upper() in STANDARD_METHODS and method != method.upper():
        return f"methods are case-sensitive: write {method.upper()}"
    return "the gateway opens no tunnels, so no route can have this method" if method == "CONNECT" else None


def wanted_mistake(wanted: Any) -> str | None:
    """What is wrong with the table of a route's headers, query or cookies; None if nothing is."""
    if not isinstance(wanted, Mapping):
        return "must be a table of names and values"
    for name, value in wanted.items():
        if not isinstance(name, str) or not name:
            return "must have names that are not empty"
        several = isinstance(value, (list, tuple)) and value and all(isinstance(each, str) for each in value)
        if not several and not isinstance(value, (str, bool)):
            return f"{name} must be a value, a list of values, true (it is there) or false (it is not)"
    return None


def names_mistake(wanted: Any) -> str | None:
    """What is wrong with the table of a route's headers or cookies, whose names are tokens; None if nothing is."""
    mistake = wanted_mistake(wanted)
    if mistake is None:
        odd = next((name for name in wanted if not is_token(name)), None)
        return None if odd is None else f"{odd!r} can be no name of a header or cookie"
    return mistake


@attrs.frozen
class Wanted:
    """What is asked of one name: one of *values*; None: any, it must be there; empty: it must not be there."""

    values: frozenset[bytes] | None

    def takes(self, found: Collection[bytes]) -> bool:
        """Whether the values that a request has are those that are asked for."""
        if not found:
            return self.values == frozenset()
        return self.values is None or self.values.issuperset(found)

    def excludes(self, other: Wanted) -> bool:
        """Whether no request can be what both ask for."""
        if self.values is None or other.values is None:
            return self.values == frozenset() or other.values == frozenset()
        return not self.values & other.values and bool(self.values or other.values)

    def implies(self, other: Wanted) -> bool:
        """Whether every request that this takes is one that *other* takes."""
        if self.values is None or other.values is None:
            return other.values is None and self.values != frozenset()
        return self.values <= other.values and bool(self.values) == bool(other.values)


def _wanted(value: Any) -> Wanted:
    if isinstance(value, bool):
        return Wanted(None if value else frozenset())
    return Wanted(frozenset(each.encode() for each in ((value,) if isinstance(value, str) else value)))


@attrs.frozen
class Predicates:
    """What a route asks of a request, beside host and path.

    Attributes:
        methods: None: any.
        named: By ("header" | "query" | "cookie", name).
        sources: Networks of the client's address; empty: any.
    """

    methods: frozenset[str] | None
    named: Mapping[tuple[str, bytes], Wanted]
    sources: tuple[Network, ...]

    @classmethod
    def of(cls, *, methods: Iterable[str] | None = None, headers: Mapping[str, Any] | None = None,
           query: Mapping[str, Any] | None = None, cookies: Mapping[str, Any] | None = None,
           sources: Iterable[str] = ()) -> Predicates:
        """From what a file says. GET brings HEAD along."""
        accepted = None if methods is None else frozenset(methods)
        if accepted is not None and "GET" in accepted:
            accepted |= {"HEAD"}
        named = {("header", name.lower().encode()): _wanted(value) for name, value in (headers or {}).items()}
        named |= {("query", name.encode()): _wanted(value) for name, value in (query or {}).items()}
        named |= {("cookie", name.encode()): _wanted(value) for name, value in (cookies or {}).items()}
        return cls(accepted, named, tuple(ipaddress.ip_network(each) for each in sources))

    @property
    def count(self) -> int:
        """How many there are; the more, the earlier is the route tried."""
        return (self.methods is not None) + len(self.named) + bool(self.sources)

    def excludes(self, other: Predicates) -> bool:
        """Whether no request can be for both."""
        if self.methods is not None and other.methods is not None and not self.methods & other.methods:
            return True
        if any(name in other.named and wanted.excludes(other.named[name]) for name, wanted in self.named.items()):
            return True
        return bool(self.sources and other.sources) and not any(
            one.version == another.version and one.overlaps(another)
            for one in self.sources for another in other.sources)

    def implies(self, other: Predicates) -> bool:
        """Whether every request that this takes is one that *other* takes."""
        if other.methods is not None and (self.methods is None or not self.methods <= other.methods):
            return False
        if not all(name in self.named and self.named[name].implies(wanted) for name, wanted in other.named.items()):
            return False
        return not other.sources or (bool(self.sources) and all(
            any(one.version == wide.version and one.subnet_of(wide) for wide in other.sources)  # type: ignore[arg-type]
            for one in self.sources))

    def checks(self, source: Callable[[RequestHead], Address | None]) -> tuple[Check, ...]:
        """Functions that look at a request, but for its method.

        Args:
            source: Says what the client's address is; None: unknown.
        """
        made = [_check(kind, name, wanted) for (kind, name), wanted in self.named.items()]
        if self.sources:
            networks = self.sources
            made.append(lambda head: within(source(head), networks))
        return tuple(made)


def _check(kind: str, name: bytes, wanted: Wanted) -> Check:
    return functools.partial({"header": _header_is, "query": _query_has, "cookie": _cookie_is}[kind], wanted, name)


def _header_is(wanted: Wanted, name: bytes, head: RequestHead) -> bool:
    return wanted.takes(values_of(head.headers, name))


def _query_has(wanted: Wanted, name: bytes, head: RequestHead) -> bool:
    return wanted.takes(list(query_values(head.query, name)))


def _cookie_is(wanted: Wanted, name: bytes, head: RequestHead) -> bool:
    return wanted.takes(list(cookie_values(head.headers, name)))


def address_of(text: str) -> Address | None:
    """An address, an IPv4 one out of its IPv6 mapping; None if *text* is none."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:  # a Unix socket's peer has no address
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def within(address: Address | None, networks: Iterable[Network]) -> bool:
    """Whether *address* is in one of *networks*."""
    return address is not None and any(address in network for network in networks)
