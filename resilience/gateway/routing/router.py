"""Routing: from host, path, method and predicates to a route, by dictionary look-ups.

Candidates are tried from the most to the least specific; the first that takes the request wins:

1. a route for this very host, then one for the longest ``*.domain`` that it is in, then one for any host;
2. the paths of these, compared segment by segment from the left: a literal segment before a parameter (of kind int,
   then uuid, then word, then of none), a parameter before a wildcard, the end of the path before a wildcard;
3. of the routes with the same path, the one of the highest priority, then the one with the most predicates.

Routes that this leaves undecided, for a request that both take, are a mistake of the configuration (config/routes.py).

A path without parameters is one look-up in a dictionary of whole paths; the others stand in a tree of segments, of
which each node is visited once at most. So the cost does not grow with the number of routes, but for those that
have the same host and path, which are tried in turn.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable
from typing import Any, Final, Generic, TypeVar

import attrs

from ..messages.inbound import RequestHead
from .authority import authority
from .patterns import KINDS, Parameter, Pattern
from .predicates import Check

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)

_NOTHING: Final[dict[bytes, Any]] = {}  # what a node has none of; nothing is ever put there
_PERCENT, _SEMICOLON = b"%;"  # looking for one byte in others is ten times as fast as for bytes


@functools.lru_cache(maxsize=4096)
def _shared(said: H) -> H:
    """One object for what many routes say, so that a request to any of them finds it in the processor's caches."""
    return said


class MethodNotAllowedError(Exception):
    """The path has routes, but none for this method.

    Attributes:
        allow: The methods that it has, sorted.
    """

    def __init__(self, allow: tuple[str, ...]) -> None:
        super().__init__(allow)
        self.allow = allow


class NoRouteError(Exception):
    """No route takes the request."""


@attrs.frozen
class Entry(Generic[T]):
    """A route among those of the same host and path.

    Attributes:
        target: What the router finds.
        methods: None: any.
        checks: Its predicates, but for the method.
        priority: The higher is tried first.
        count: How many predicates it has; with the same priority, the more, the earlier it is tried.
    """

    target: T
    methods: frozenset[str] | None = None
    checks: tuple[Check, ...] = ()
    priority: int = 0
    count: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts entries in the order in which they are tried."""
        return -self.priority, -self.count


Entries = tuple[Entry[T], ...]  # in the order in which they are tried


def _with(entries: Entries[T], entry: Entry[T]) -> Entries[T]:
    return tuple(sorted((*entries, entry), key=lambda each: each.rank))


@attrs.define(weakref_slot=False)  # which makes each of them fit into one line of a cache
class _Node(Generic[T]):
    """The routes whose paths begin with the same segments. Of what it has none of it has no object of its own."""

    literals: dict[bytes, _Node[T]] = _NOTHING
    parameters: tuple[tuple[str, _Node[T]], ...] = ()  # by kind, in the order of KINDS
    here: Entries[T] = ()
    below: Entries[T] = ()

    def after(self, segment: bytes | Parameter) -> _Node[T]:
        if isinstance(segment, Parameter):
            known = dict(self.parameters)
            node = known.setdefault(segment.kind, _Node())
            self.parameters = tuple((kind, known[kind]) for kind in KINDS if kind in known)
            return node
        if self.literals is _NOTHING:
            self.literals = {}
        return self.literals.setdefault(_shared(segment), _Node())


@attrs.define
class _Table(Generic[T]):
    """The routes of one host."""

    exact: dict[bytes, Entries[T]] = attrs.field(factory=dict)
    root: _Node[T] = attrs.field(factory=lambda: _Node())  # noqa: PLW0108 - what it is a node of is known only so
    depth: int = 0  # segments of the longest pattern in the tree

    def add(self, pattern: Pattern, entry: Entry[T]) -> None:
        entry = attrs.evolve(entry, methods=_shared(entry.methods))
        whole = pattern.exact
        if whole is not None:
            self.exact[whole] = _with(self.exact.get(whole, ()), entry)
            return
        node = self.root
        for segment in pattern.segments:
            node = node.after(segment)
        if pattern.wildcard:
            node.below = _with(node.below, entry)
        else:
            node.here = _with(node.here, entry)
        self.depth = max(self.depth, len(pattern.segments))

    def find(self, path: bytes, head: RequestHead, others: set[str]) -> T | None:
        entries = self.exact.get(path)
        if entries is not None:
            found = _first(entries, head, others)
            if found is not None:
                return found
        return _walk(self.root, path.split(b"/", self.depth + 1), 1, head, others)


def _first(entries: Entries[T], head: RequestHead, others: set[str]) -> T | None:
    """The first that takes the request. *others*: the methods of those that do not for its method alone."""
    for entry in entries:
        for check in entry.checks:
            if not check(head):
                break
        else:
            if entry.methods is None or head.method in entry.methods:
                return entry.target
            others.update(entry.methods)
    return None


def _walk(node: _Node[T], segments: list[bytes], position: int, head: RequestHead, others: set[str]) -> T | None:
    """Along literal segments as far as they lead; then back, by parameters and wildcards, the last node first."""
    way, end, found = [node], len(segments), None
    while position < end and (child := node.literals.get(segments[position])) is not None:
        way.append(child)
        node, position = child, position + 1
    if position == end and node.here:
        found = _first(node.here, head, others)
    while found is None and way:
        node = way.pop()
        if node.parameters and position < end:
            found = _by_parameter(node, segments, position, head, others)
        if found is None and node.below:
            found = _first(node.below, head, others)
        position -= 1
    return found


def _by_parameter(node: _Node[T], segments: list[bytes], position: int, head: RequestHead,
                  others: set[str]) -> T | None:
    segment = segments[position]
    if segment and _PERCENT not in segment and _SEMICOLON not in segment:
        for kind, child in node.parameters:
            if KINDS[kind](segment):
                found = _walk(child, segments, position + 1, head, others)
                if found is not None:
                    return found
    return None


class Router(Generic[T]):
    """Finds what was added for a request. Filled once, then only read: by any thread."""

    def __init__(self) -> None:
        self._any = _Table[T]()
        self._hosts: dict[bytes, _Table[T]] = {}
        self._domains: dict[bytes, _Table[T]] = {}

    def add(self, pattern: Pattern, entry: Entry[T], host: str | None = None) -> None:
        """Lead what *pattern* takes, and *entry*, to the entry's target; *host* may begin with ``*.``."""
        if host is None:
            table = self._any
        elif host.startswith("*."):
            table = self._domains.setdefault(authority(host[2:].encode()).name, _Table())
        else:
            table = self._hosts.setdefault(authority(host.encode()).name, _Table())
        table.add(pattern, entry)

    def find(self, path: bytes, host: bytes, head: RequestHead) -> T:
        """The target for a request.

        Args:
            path: The name of its path; see paths.Path.
            host: The name of its host; see authority.Authority.
            head: For methods and predicates.

        Raises:
            MethodNotAllowedError: The path has routes, but not for this method.
            NoRouteError: No route takes it.
        """
        others: set[str] = set()
        for table in self._tables(host):
            found = table.find(path, head, others)
            if found is not None:
                return found
        if others:
            raise MethodNotAllowedError(tuple(sorted(others)))
        raise NoRouteError

    def _tables(self, host: bytes) -> Iterable[_Table[T]]:
        """Those for a host, the most specific first."""
        if not self._hosts and not self._domains:
            return (self._any,)
        found = []
        table = self._hosts.get(host)
        if table is not None:
            found.append(table)
        domains = self._domains
        at = host.find(b".") if domains else -1
        while at >= 0:
            table = domains.get(host[at + 1 :])
            if table is not None:
                found.append(table)
            at = host.find(b".", at + 1)
        found.append(self._any)
        return found
