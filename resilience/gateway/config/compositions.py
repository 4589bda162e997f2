"""Compositions of the gateway: the ``[compositions.NAME]`` tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from ...core.checks import flag, number, text
from ...errors import ConfigError
from ..composition.merging import WANTED
from ..composition.plan import cycle_in
from ..composition.target import Target
from ..messages.json_pointer import MISSING, pointer_mistake
from ..messages.json_text import value_mistake
from .checks import checked, one_of, unknown_name
from .routes import RouteConfig

MAX_PARTS: Final = 32
#: A key of a dictionary of RFC 9651.
_PART: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}").fullmatch
Mistakes = Iterator[tuple[tuple[str | int, ...], str]]


def _target_of(part: PartConfig) -> Target:
    try:
        return Target.parse(part.path)
    except ConfigError as error:
        raise ConfigError(f"{error}", "path") from None


def _default(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    mistake = None if value is MISSING else value_mistake(value)
    if mistake is not None:
        raise ConfigError(mistake, attribute.name)


@attrs.frozen(kw_only=True)
class PartConfig:
    """A part of a composition.

    Attributes:
        service: Name of the service that is asked.
        path: Path and query, with values such as {id}, {?page} and {part:/pointer}.
        after: Parts that must have answered well before this one is asked, beside those that the path names.
        required: Whether there is no merged answer without this part.
        default: Stands for the answer of a part that is not required; MISSING: it is left out.
        select: JSON pointer of the piece of the answer that is wanted; the others are dropped.
        max_body: Largest answer, bytes.
    """

    service: str = attrs.field(validator=text())
    path: str = attrs.field()
    after: tuple[str, ...] = attrs.field(default=(), metadata={"one_is_enough": True})
    required: bool = attrs.field(default=True, validator=flag)
    default: Any = attrs.field(default=MISSING, validator=_default)
    select: str = attrs.field(default="", validator=checked(pointer_mistake))
    max_body: int = attrs.field(default=1024 * 1024, validator=number(least=1, most=1 << 24, whole=True))
    target: Target = attrs.field(init=False, default=attrs.Factory(_target_of, takes_self=True))

    @property
    def needs(self) -> frozenset[str]:
        """The parts that must have answered well before this one is asked."""
        return self.target.parts | frozenset(self.after)


@attrs.frozen(kw_only=True)
class CompositionConfig:
    """A ``[compositions.NAME]`` table.

    Attributes:
        parts: By name, in the order of the file.
        merge: How: "object", "flat" or "list".
        timeout: Longest wait for all parts, seconds.
    """

    parts: dict[str, PartConfig] = attrs.field()
    merge: str = attrs.field(default="object", validator=checked(one_of(tuple(WANTED), "merge")))
    timeout: float = attrs.field(default=2.0, validator=number(above=0, most=600.0))


def composition_conflicts(compositions: Mapping[str, CompositionConfig], services: Sequence[str],
                          routes: Mapping[int, RouteConfig]) -> Mistakes:
    """What is wrong inside *compositions*, or between them and *services* or *routes*, as (path, message)."""
    for name, composition in compositions.items():
        for path, message in _conflicts(composition, services):
            yield ("compositions", name, *path), message
        for route in routes.values():
            if route.compose == name:
                for part in composition.parts:
                    for each in sorted(composition.parts[part].target.parameters - route.parameters):
                        yield ("compositions", name, "parts", part, "path"), \
                            f"the path {route.path} of a route has no parameter {{{each}}}"


def _conflicts(composition: CompositionConfig, services: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    parts, wanted = composition.parts, WANTED[composition.merge]
    if not 1 <= len(parts) <= MAX_PARTS:
        yield ("parts",), f"needs 1 to {MAX_PARTS} parts"
    for name, part in parts.items():
        where = ("parts", name)
        if not _PART(name):
            yield where, "the name of a part has small letters, digits, _ and -, and begins with a letter"
        if part.service not in services:
            yield (*where, "service"), unknown_name("service", part.service, services)
        for other in sorted(part.needs - parts.keys()):
            key = "path" if other in part.target.parts else "after"
            yield (*where, key), unknown_name("part", other, list(parts))
        if part.default is not MISSING and part.required:
            yield (*where, "default"), "is for parts with required = false"
        elif part.default is not MISSING and wanted is not None and not isinstance(part.default, wanted):
            yield (*where, "default"), f"must be {'a table' if wanted is dict else 'a list'}, to be merged"
    cycle = cycle_in({name: sorted(part.needs) for name, part in parts.items()})
    if cycle is not None:
        yield ("parts", cycle[0]), f"the parts wait for each other in a circle: {' -> '.join(cycle)}"
