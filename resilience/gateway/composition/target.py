"""Targets: a path and query with values filled in. Pure.

================  ===============================================================
``{id}``          a parameter of the route's path
``{?page}``       a parameter of the client's query; empty if there is none
``{order:/id}``   what stands at this JSON pointer in the answer of the part *order*
================  ===============================================================

Whatever a value is, the target keeps its shape: a value is percent-encoded, stands inside one segment of the path or
one parameter of the query, and is refused where it could be read as something else: an empty segment, a dot
segment, an encoded slash, backslash, percent sign or semicolon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote_plus

import attrs

from ...errors import ConfigError
from ..messages.json_pointer import MISSING, found, parsed, pointer_mistake
from ..routing.paths import PathError, canonical, query_is_legal

#: Longest target that is sent, bytes.
MAX_TARGET: Final = 8192
_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*").fullmatch


class NoValueError(LookupError):
    """A value is not there, or is no text or number."""


class UnfitValueError(ValueError):
    """A value would change the shape of the target."""


@attrs.frozen
class _Value:
    """A value to fill in.

    Attributes:
        name: Of the parameter; empty: it comes from a part.
        part: Whose answer holds it.
        steps: Where in the answer.
        is_query: Whether the parameter is one of the client's query.
    """

    name: str = ""
    part: str = ""
    steps: tuple[str, ...] = ()
    is_query: bool = False


@attrs.frozen
class Target:
    """A path and query with places for values.

    Attributes:
        path: Texts and values in turn.
        query: Alike.
        shape: Of the path: whether there is something in each segment.
    """

    path: tuple[str | _Value, ...]
    query: tuple[str | _Value, ...]
    shape: tuple[bool, ...]

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read a target.

        Raises:
            ConfigError: It is none.
        """
        made: list[tuple[str | _Value, ...]] = []
        shape: tuple[bool, ...] = ()
        for index, half in enumerate(_halves(text)):
            pieces = tuple(_value(piece) if odd % 2 else piece for odd, piece in enumerate(_PLACE.split(half)))
            plain = "".join("x" if isinstance(piece, _Value) else piece for piece in pieces)
            legal = query_is_legal(plain.encode()) if index else _path_mistake(plain) is None
            if "{" in plain or "}" in plain or not legal:
                raise ConfigError("must be a plain path, perhaps with a query, with values such as {id}, {?page} or "
                                  f"{{part:/pointer}}, not {text!r}")
            made.append(pieces)
            shape = shape if index else _shape(plain)
        return cls(made[0], made[1] if len(made) > 1 else (), shape)

    @property
    def parts(self) -> frozenset[str]:
        """The parts whose answers are needed."""
        return frozenset(piece.part for piece in (*self.path, *self.query)
                         if isinstance(piece, _Value) and piece.part)

    @property
    def parameters(self) -> frozenset[str]:
        """The parameters of the route's path that are needed."""
        return frozenset(piece.name for piece in (*self.path, *self.query)
                         if isinstance(piece, _Value) and piece.name and not piece.is_query)

    def filled(self, parameters: Mapping[str, str], query: Mapping[str, str], answers: Mapping[str, Any]) -> bytes:
        """The target with its values.

        Args:
            parameters: Of the route's path, decoded.
            query: Of the client's query, decoded.
            answers: Of the parts.

        Raises:
            NoValueError: One of them is not there.
            UnfitValueError: One of them does not fit in.
        """
        path = "".join(_encoded(piece, parameters, query, answers) for piece in self.path)
        mistake = _path_mistake(path)
        if mistake is not None or _shape(path) != self.shape:
            raise UnfitValueError(mistake or "the path has an empty segment")
        if self.query:
            path = f"{path}?{''.join(_encoded(piece, parameters, query, answers) for piece in self.query)}"
        if len(path) > MAX_TARGET:
            raise UnfitValueError("the target is too long")
        return path.encode()


def first_values(query: bytes) -> dict[str, str]:
    """The parameters of a raw query, decoded; the first of each name. What is not UTF-8 has marks of replacement."""
    found: dict[str, str] = {}
    for part in query.decode("latin-1").split("&"):
        name, _, value = part.partition("=")
        found.setdefault(unquote_plus(name), unquote_plus(value))
    return found


def _path_mistake(path: str) -> str | None:
    """Why a path must not be sent; None if it may."""
    try:
        is_doubtful = canonical(path.encode()).doubtful
    except PathError as error:
        return f"{error}"
    return "the path could be read in several ways" if is_doubtful else None


def _shape(path: str) -> tuple[bool, ...]:
    return tuple(map(bool, path.split("/")))


def _halves(text: str) -> list[str]:
    """Path and query; a question mark in braces divides nothing."""
    at = re.search(r"\?(?![^{}]*\})", text)
    return [text] if at is None else [text[: at.start()], text[at.end() :]]


def _value(text: str) -> _Value:
    name, colon, pointer = text.partition(":")
    if colon and _NAME(name) and pointer_mistake(pointer) is None:
        return _Value(part=name, steps=parsed(pointer))
    is_query = name.startswith("?")
    name = name.removeprefix("?")
    if colon or not _NAME(name):
        raise ConfigError(
            f"a value must be a parameter such as {{id}} or {{?page}}, or {{part:/pointer}}, not {{{text}}}")
    return _Value(name, is_query=is_query)


def _encoded(piece: str | _Value, parameters: Mapping[str, str], query: Mapping[str, str],
             answers: Mapping[str, Any]) -> str:
    if isinstance(piece, str):
        return piece
    if piece.part:
        value = found(answers.get(piece.part, MISSING), piece.steps)
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, (int, float)):
            value = str(value)
    else:
        value = query.get(piece.name, "") if piece.is_query else parameters.get(piece.name, MISSING)
    if not isinstance(value, str):
        raise NoValueError(piece.name or piece.part)
    return quote(value, safe="")
