"""Values: texts with places for what is known of an exchange. Pure.

====================  ==================================================================
``{parameter.id}``    a parameter in the route's path
``{identity.NAME}``   of who sent the request: consumer, tenant, method, scopes or roles
``{claim.NAME}``      a claim of its token that is text, a number or a bool
``{attribute.NAME}``  what a filter has put into context.attributes
``{route}``           name of the route
``{{``, ``}}``        a brace
====================  ==================================================================
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from ...errors import ConfigError
from ..filters.context import FilterContext, Identity

_PLACE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SOURCES: Final = ("parameter", "identity", "claim", "attribute")
_OF_IDENTITY: Final = ("consumer", "tenant", "method", "scopes", "roles")


@attrs.frozen
class Template:
    """A text with places.

    Attributes:
        pieces: Texts, and pairs of source and name.
    """

    pieces: tuple[str | tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a text.

        Raises:
            ConfigError: A place in it is not known.
        """
        pieces: list[str | tuple[str, str]] = []
        end = 0
        for match in _PLACE.finditer(text):
            pieces.append(text[end : match.start()])
            end = match.end()
            pieces.append(match[0][0] if match[0] in ("{{", "}}") else _place(match[1], text))
        return cls((*pieces, text[end:]))

    @property
    def plain(self) -> str:
        """The text around its places."""
        return "".join(piece for piece in self.pieces if isinstance(piece, str))

    def filled(self, context: FilterContext) -> str | None:
        """The text with its values; None: one of them is not known."""
        made = []
        for piece in self.pieces:
            value = piece if isinstance(piece, str) else _found(piece, context)
            if value is None:
                return None
            made.append(value)
        return "".join(made)


def _place(place: str | None, text: str) -> tuple[str, str]:
    source, _, name = (place or "").partition(".")
    known = (source == "route" and not name) or (source in _SOURCES and name)
    if not known or (source == "identity" and name not in _OF_IDENTITY):
        raise ConfigError(f"{text!r} must have places such as {{parameter.id}}, {{identity.consumer}}, {{claim.sub}}, "
                          "{attribute.name} or {route}; write {{ for a brace")
    return source, name


def _found(place: tuple[str, str], context: FilterContext) -> str | None:
    source, name = place
    if source == "route":
        return context.route
    if source == "parameter":
        return context.request.parameters.get(name)
    if source == "attribute":
        return _text(context.attributes.get(name))
    if context.identity is None:
        return None
    return _of_identity(context.identity, name) if source == "identity" else _text(context.identity.claims.get(name))


def _of_identity(identity: Identity, name: str) -> str | None:
    value = getattr(identity, name)
    return " ".join(sorted(value)) if isinstance(value, frozenset) else value or None


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else None
