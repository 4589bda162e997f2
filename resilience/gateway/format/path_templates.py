"""Path templates of OpenAPI: ``/orders/{id}``. Pure.

A template has at most one parameter in a segment, perhaps with text around it (``/files/{name}.json``), so that no
text can be split in two ways. What is compared is the name of a path, as routes do (see paths.py), so that a segment
is the same one however it is percent-encoded; parameters are decoded once. Where several templates fit, the one whose
first differing segment is the more concrete wins.
"""

from __future__ import annotations

import re
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

import attrs

from ...errors import ConfigError
from ..routing.paths import named

T = TypeVar("T")

_SEGMENT: Final = re.compile(r"([^{}]*)\{([^{}]+)\}([^{}]*)").fullmatch


class UndecodableError(ValueError):
    """A parameter in the path is not UTF-8."""


@attrs.frozen
class _Slot(Generic[T]):
    """A segment with a parameter, and what follows it."""

    before: bytes
    after: bytes
    node: _Node[T]

    def value(self, segment: bytes) -> bytes | None:
        """The parameter, as it stands in the path's name, in a *segment*; None: the segment is another one."""
        end = len(segment) - len(self.after)
        if segment.startswith(self.before) and segment.endswith(self.after) and len(self.before) < end:
            return segment[len(self.before) : end]
        return None


@attrs.define
class _Node(Generic[T]):
    literal: dict[bytes, _Node[T]] = attrs.field(factory=dict)
    slots: list[_Slot[T]] = attrs.field(factory=list)
    target: tuple[T, tuple[str, ...]] | None = None  # and the names of its parameters


class PathTemplates(Generic[T]):
    """Targets by template. Filled once, then only read: by any thread."""

    def __init__(self) -> None:
        self._root = _Node[T]()

    def add(self, template: str, target: T) -> None:
        """Lead the paths of *template* to *target*.

        Raises:
            ConfigError: It is no template, or another one has the same paths.
        """
        if not template.startswith("/"):
            raise ConfigError("a path must begin with a slash")
        node, names = self._root, list[str]()
        for segment in template[1:].split("/"):
            if "{" not in segment and "}" not in segment:
                node = node.literal.setdefault(named(segment.encode()), _Node[T]())
                continue
            match = _SEGMENT(segment)
            if match is None:
                raise ConfigError("a segment of a path may have one parameter, such as {id}, and no other brace")
            before, name, after = match.groups()
            if name in names:
                raise ConfigError(f"the path has the parameter {name} twice")
            names.append(name)
            node = _slot(node, named(before.encode()), named(after.encode()))
        if node.target is not None:
            raise ConfigError("another path of the document has the same requests")
        node.target = target, tuple(names)

    def find(self, path: str) -> tuple[T, dict[str, str]] | None:
        """The target of a *path*, and its parameters, decoded; None: no template fits.

        Args:
            path: As it came, or a name of it; each character stands for a byte.

        Raises:
            UndecodableError: A parameter is not UTF-8.
        """
        segments = named(path.encode("latin-1"))[1:].split(b"/")
        waiting: list[tuple[_Node[T], int, tuple[bytes, ...]]] = [(self._root, 0, ())]
        while waiting:
            node, index, values = waiting.pop()
            if index == len(segments):
                if node.target is not None:
                    target, names = node.target
                    return target, {name: _decoded(value) for name, value in zip(names, values, strict=True)}
                continue
            segment = segments[index]
            for slot in reversed(node.slots):
                value = slot.value(segment)
                if value is not None:
                    waiting.append((slot.node, index + 1, (*values, value)))
            following = node.literal.get(segment)
            if following is not None:
                waiting.append((following, index + 1, values))
        return None


def _slot(node: _Node[T], before: bytes, after: bytes) -> _Node[T]:
    """The node behind a parameter, made if it is not there; the more text around it, the sooner it is tried."""
    for slot in node.slots:
        if (slot.before, slot.after) == (before, after):
            return slot.node
    made = _Node[T]()
    node.slots.append(_Slot(before, after, made))
    node.slots.sort(key=lambda slot: -len(slot.before) - len(slot.after))
    return made


def _decoded(value: bytes) -> str:
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise UndecodableError from None
