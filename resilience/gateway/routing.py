"""Routing: from method, host and raw path to a route, by dictionary look-ups.

One raw path is matched, rewritten and forwarded, byte for byte: what the gateway
decided about is what the upstream sees. A path that upstreams could read in more
than one way (an encoded slash, a dot segment, a double encoding) is refused
before it is matched, so that no two parties can see different paths in it.

A table maps exact paths to nodes and, for ``/inventory/*``, stems to nodes; a stem
matches itself and everything below it. Candidates are tried from the most to the
least specific: this host before any host, the exact path before a stem, a longer
stem before a shorter one; the first that has the method wins. The cost does not
grow with the number of routes, only with the depth of the deepest stem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

import attrs

T = TypeVar("T")

#: RFC 3986 pchar without "%"; a segment must not begin with a dot to pass without a closer look.
_PCHAR: Final = rb"A-Za-z0-9_~!$&'()*+,;=:@\-"
_PLAIN: Final = re.compile(rb"/(?:[%b][%b.]*/)*(?:[%b][%b.]*)?" % (_PCHAR, _PCHAR, _PCHAR, _PCHAR)).fullmatch
_LEGAL: Final = re.compile(rb"(?:[%b./]|%%[0-9A-Fa-f]{2})*" % _PCHAR).fullmatch
_DOTS: Final = re.compile(rb"/(?:\.|%2[eE]){1,2}(?:;[^/]*)?(?=/|\Z)").search  # "..;x" is ".." to Tomcat
#: RFC 3986 query, and the marks that browsers leave as they are.
_QUERY: Final = re.compile(rb"[%b./?%%\[\]|^`{}\"<>\\]*" % _PCHAR).fullmatch
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?").fullmatch

#: Encodings that some upstream decodes before it splits the path, and some does not.
_AMBIGUOUS: Final = (b"%2f", b"%5c", b"%25")


def path_mistake(pattern: Any) -> str | None:
    """What is wrong with a route's path; None if nothing is."""
    if not isinstance(pattern, str) or not pattern.startswith("/"):
        return "path must begin with a slash"
    stem = pattern[:-2] if pattern.endswith("/*") else pattern
    if "*" in stem:
        return "path may have a wildcard only as /* at its end"
    raw = stem.encode()
    if stem and (ambiguity(raw) is not None or b"//" in raw):
        return "path must be a plain path: no %2f, %5c, %25, %00, dot segments, empty segments, spaces or query"
    return None


def host_mistake(host: Any) -> str | None:
    """What is wrong with a route's host; None if nothing is."""
    if isinstance(host, str) and host.isascii() and _HOST(host.encode()) and not re.search(r":\d*$", host):
        return None
    return "host must be a host name or address without a port"


def ambiguity(path: bytes, allowed: Iterable[bytes] = ()) -> str | None:
    """Why a raw path must not be forwarded; None if it may.

    Args:
        path: As it stands in the request line, without the query.
        allowed: Of ``%2f``, ``%5c`` and ``%25``, those to let pass; lower case.
    """
    if _PLAIN(path):
        return None
    if not path.startswith(b"/"):
        return "the path must begin with a slash"
    if path.startswith(b"//"):
        return "a path that begins with two slashes can be read as a host name"
    if b"\\" in path:
        return "the path has a backslash"
    if not _LEGAL(path):
        return "the path has characters that must be percent-encoded, or a broken percent-encoding"
    return _encoded_ambiguity(path.lower(), allowed)


def _encoded_ambiguity(path: bytes, allowed: Iterable[bytes]) -> str | None:
    if re.search(rb"%[01][0-9a-f]|%7f", path):
        return "the path has an encoded control character"
    for encoded in _AMBIGUOUS:
        if encoded in path and encoded not in allowed:
            return f"the path has {encoded.decode()}, which servers read differently"
    read = path.replace(b"%2f", b"/").replace(b"%5c", b"/")  # as the most eager of servers would
    if _DOTS(read):
        return "the path has a dot segment"
    if read.startswith(b"//"):
        return "a path that begins with two slashes can be read as a host name"
    return None


def query_is_legal(query: bytes) -> bool:
    """Whether a raw query has only characters that are safe to forward as they are."""
    return _QUERY(query) is not None


def host_is_legal(host: bytes) -> bool:
    """Whether a Host header is a host name or address, with or without a port, and nothing else."""
    return _HOST(host) is not None


def host_name(host: bytes) -> bytes:
    """A Host header without its port, in lower case."""
    name, colon, port = host.rpartition(b":")
    return (name if colon and not port.endswith(b"]") else host).lower()


class MethodNotAllowedError(Exception):
    """The path has routes, but none for this method.

    Attributes:
        allow: The methods that it has, sorted.
    """

    def __init__(self, allow: tuple[str, ...]) -> None:
        super().__init__(allow)
        self.allow = allow


class NoRouteError(Exception):
    """No route has the path."""


@attrs.define
class _Table(Generic[T]):
    """The routes of one host."""

    exact: dict[bytes, dict[str, T]] = attrs.field(factory=dict)
    stems: dict[bytes, dict[str, T]] = attrs.field(factory=dict)
    depth: int = 0  # slashes in the longest stem

    def candidates(self, path: bytes) -> list[dict[str, T]]:
        """What has the path, the most specific first."""
        node = self.exact.get(path)
        found = [] if node is None else [node]
        stems, depth = self.stems, self.depth
        if not stems:
            return found
        below: list[dict[str, T]] = []
        node = stems.get(b"")
        if node is not None:
            below.append(node)
        end = 0
        while depth and end >= 0:
            depth -= 1
            end = path.find(b"/", end + 1)
            node = stems.get(path if end < 0 else path[:end])
            if node is not None:
                below.append(node)
        below.reverse()
        return found + below


class Router(Generic[T]):
    """Finds what was added for a request. Filled once, then only read: by any thread."""

    def __init__(self) -> None:
        self._any = _Table[T]()
        self._hosts: dict[bytes, _Table[T]] = {}

    def add(self, path: str, methods: Iterable[str], target: T, host: str | None = None) -> None:
        """Lead *methods* of *path*, which may end in ``/*``, to *target*."""
        table = self._any if host is None else self._hosts.setdefault(host.lower().encode(), _Table[T]())
        if path.endswith("/*"):
            stem = path[:-2].encode()
            node = table.stems.setdefault(stem, {})
            table.depth = max(table.depth, stem.count(b"/"))
        else:
            node = table.exact.setdefault(path.encode(), {})
        for method in methods:
            node[method] = target

    def find(self, method: str, path: bytes, host: bytes) -> T:
        """The target for a request.

        Args:
            method: In capitals.
            path: Raw, and not ambiguous.
            host: The Host header.

        Raises:
            MethodNotAllowedError: The path has routes, but not for this method.
            NoRouteError: No route has the path.
        """
        others: set[str] = set()
        if self._hosts:
            table = self._hosts.get(host_name(host))
            if table is not None:
                for node in table.candidates(path):
                    if method in node:
                        return node[method]
                    others.update(node)
        for node in self._any.candidates(path):
            if method in node:
                return node[method]
            others.update(node)
        if others:
            raise MethodNotAllowedError(tuple(sorted(others)))
        raise NoRouteError


def stripped(path: bytes, prefix: bytes) -> bytes:
    """*path* without *prefix*, which it begins with, by whole segments."""
    return path[len(prefix) :] or b"/"
