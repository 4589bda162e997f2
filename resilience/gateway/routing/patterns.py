"""Patterns: the paths of a route, with parameters, and how such a path is rewritten. Pure.

A pattern is a path whose segments may be parameters, ``{id}``, perhaps of a kind, ``{id:int}``; with ``/*`` at its
end it stands for that path and all below it. A parameter is one whole segment, and takes none that is empty, or that
upstreams may read in more ways than one (see paths.py).

Kinds instead of regular expressions: whether two kinds can take one segment is known when the file is read, so the
order among routes is too, and no segment that a client sends can make a match slow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import attrs

from .paths import PathError, canonical

#: What a parameter of a kind takes, the most special first: the order in which routes are tried.
KINDS: Final[Mapping[str, Callable[[bytes], object]]] = {
    "int": bytes.isdigit,  # knows ASCII digits only
    "uuid": re.compile(rb"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}").fullmatch,
    "word": re.compile(rb"[A-Za-z0-9_-]+").fullmatch,
    "": bool,
}
_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([A-Za-z]*))?\}")
_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PLAIN_PATH: Final = "a plain path: no %2f, %5c, %25, %00, path parameters (;), dot segments, empty segments or query"
_ASCII: Final = "".join(map(chr, range(33, 127)))


@attrs.frozen
class Parameter:
    """A segment that takes any value of a kind.

    Attributes:
        kind: One of KINDS.
    """

    kind: str


@attrs.frozen
class Pattern:
    """What the path of a route says.

    Attributes:
        segments: Names, or parameters.
        wildcard: Whether it stands for all below it, too.
        names: Of the parameters, by the position of their segments.
    """

    segments: tuple[bytes | Parameter, ...]
    wildcard: bool
    names: tuple[tuple[str, int], ...] = attrs.field(eq=False, default=())

    @classmethod
    def parse(cls, text: Any) -> Pattern:
        """From the text of a route's path.

        Raises:
            ValueError: It is none.
        """
        if not isinstance(text, str) or not text.startswith("/"):
            raise ValueError("path must begin with a slash")
        wildcard = text.endswith("/*")
        stem = text[:-2] if wildcard else text
        if "*" in stem:
            raise ValueError("path may have a wildcard only as /* at its end")
        parts = stem.split("/")[1:]
        names: dict[str, int] = {}
        segments: list[bytes | Parameter] = []
        for position, part in enumerate(parts):
            if "{" in part or "}" in part:
                name, parameter = _parameter(part)
                if names.setdefault(name, position) != position:
                    raise ValueError(f"path must not have two parameters of the name {name}")
                segments.append(parameter)
            else:
                segments.append(_literal(part, last=position == len(parts) - 1 and not wildcard))
        return cls(tuple(segments), wildcard, tuple(names.items()))

    @property
    def exact(self) -> bytes | None:
        """The one name that it stands for; None if there are more."""
        if self.wildcard or any(isinstance(each, Parameter) for each in self.segments):
            return None
        return b"/" + b"/".join(each for each in self.segments if isinstance(each, bytes))

    def parameters(self, name: bytes) -> dict[str, str]:
        """The values of its parameters in a path's *name*, which it takes, as text."""
        if not self.names:
            return {}
        segments = name.split(b"/", len(self.segments) + 1)
        return {each: segments[position + 1].decode("utf-8", "replace") for each, position in self.names}


def _parameter(part: str) -> tuple[str, Parameter]:
    found = _PARAMETER.fullmatch(part)
    if found is None:
        raise ValueError("path may have a parameter only as a whole segment, such as {id} or {id:int}; "
                         "write %7B and %7D for braces")
    kind = found[2] or ""
    if kind not in KINDS or (found[2] is not None and not kind):
        raise ValueError(f"the kind of a parameter must be one of {', '.join(filter(None, KINDS))}; "
                         "regular expressions are not accepted")
    return found[1], Parameter(kind)


def _literal(part: str, *, last: bool) -> bytes:
    """The name of a segment that stands in a route's path."""
    try:
        path = canonical(b"/" + quote(part, safe=_ASCII).encode())
    except PathError:
        path = None
    if path is None or path.doubtful or (not part and not last):
        raise ValueError(f"path must be {_PLAIN_PATH}")
    return path.name[1:]


@attrs.frozen
class Rewrite:
    """What takes the place of a path.

    Attributes:
        pieces: Bytes, and positions of segments of the path that are put between them.
        rest: The position of the first segment of the path that is put at the end; None: none is.
    """

    pieces: tuple[bytes | int, ...]
    rest: int | None

    @classmethod
    def parse(cls, text: Any, pattern: Pattern) -> Rewrite:
        """From the text of a rewrite, for paths that *pattern* takes.

        Raises:
            ValueError: It is none.
        """
        if not isinstance(text, str) or not text.startswith("/"):
            raise ValueError("must begin with a slash")
        keeps = text.endswith("/*")
        if keeps and not pattern.wildcard:
            raise ValueError("has /* at its end, and the path has not; there is nothing to put there")
        positions, pieces, end = dict(pattern.names), list[bytes | int](), 0
        stem = text[:-2] if keeps else text
        for place in _PLACE.finditer(stem):
            if place[1] not in positions:
                there = f"it has {', '.join(positions)}" if positions else "it has none"
                raise ValueError(f"names the parameter {{{place[1]}}}, which the path does not have; {there}")
            pieces += [_fixed(stem[end : place.start()]), positions[place[1]]]
            end = place.end()
        pieces.append(_fixed(stem[end:]))
        sample = b"".join(each if isinstance(each, bytes) else b"x" for each in pieces)
        try:
            if sample and (canonical(sample).doubtful or not sample.startswith(b"/")):
                raise PathError
        except PathError:
            raise ValueError(f"must make {_PLAIN_PATH}") from None
        return cls(tuple(pieces), len(pattern.segments) if keeps else None)

    @classmethod
    def stripping(cls, prefix: str) -> Rewrite:
        """Takes *prefix*, whole segments, off the front of a path."""
        return cls((), prefix.count("/"))

    def apply(self, raw: bytes) -> bytes:
        """What takes the place of the canonical path *raw*.

        Raises:
            PathError: It would be no path that is forwarded.
        """
        segments = raw.split(b"/")[1:]
        made = b"".join(each if isinstance(each, bytes) else segments[each] for each in self.pieces)
        if self.rest is not None and len(segments) > self.rest:
            made += b"/" + b"/".join(segments[self.rest :])
        return canonical(made or b"/", (b"%2f", b"%5c", b"%25")).raw


def _fixed(text: str) -> bytes:
    """The canonical form of a piece of a rewrite."""
    if "*" in text or "{" in text or "}" in text:
        raise ValueError("may have parameters of the path, such as {id}, and /* at its end, and no other * or brace")
    raw = quote(text, safe=_ASCII).encode()
    try:
        return canonical(b"/" + raw).raw[1:] if not raw.startswith(b"/") else canonical(raw).raw
    except PathError:
        raise ValueError(f"must make {_PLAIN_PATH}") from None
