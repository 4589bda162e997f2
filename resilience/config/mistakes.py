"""Mistakes: what is wrong in a configuration file, and the one error that carries all of it."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ..core.url_credentials import masked
from ..errors import ConfigError
from .hints import in_toml
from .secret_names import with_hidden_parameters

_SHOWN: Final = 200  # characters of a value in a message
_shortened: Final = reprlib.Repr()
_shortened.maxlevel = 4
_shortened.maxdict = _shortened.maxlist = _shortened.maxtuple = _shortened.maxset = _shortened.maxfrozenset = 20
_shortened.maxstring = _shortened.maxlong = _shortened.maxother = _SHOWN


class Place(NamedTuple):
    """Where something was said.

    Attributes:
        file: The file's name; of what is no file, what it is.
        line: From 1; 0 where there are no lines.
        key: Dotted; may be empty.
    """

    file: str
    line: int = 0
    key: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where} {self.key}".rstrip()


class Mistake(NamedTuple):
    """One thing to put right.

    Attributes:
        file: The file's name, as it was given.
        line: Where to look, from 1; of the nearest enclosing table if the key itself is missing. 0 where there are
            no lines: in a mapping.
        key: Dotted, such as ``services.inventory.command.timeout`` or ``routes[0].path``; empty for the whole file.
        message: What is wrong, and what is accepted.
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        line = f":{self.line}" if self.line else ""
        return f"{self.file}{line}: {key}{self.message}"


def mistake_at(place: Place, message: str) -> Mistake:
    """The mistake at a *place*; a *message* of the code is put in the words of a file, and shows no password."""
    told = with_hidden_parameters(masked(in_toml(message, place.key)))
    return Mistake(place.file, place.line, place.key, _on_one_line(told))


class ConfigFileError(ConfigError):
    """A configuration file has mistakes.

    Attributes:
        mistakes: All of them, by line; never empty.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = sorted(mistakes, key=lambda each: each.line)
        super().__init__("\n".join(map(str, self.mistakes)), self.mistakes[0].key or None)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.mistakes,)


def _on_one_line(message: str) -> str:
    """The *message*, with names and values in it escaped that would break the line, or cannot be seen."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in message)


def shown(value: Any) -> str:
    """*value* for a message: the beginning of what is long, the top of what is deep."""
    try:
        text = _shortened.repr(value)
    except ValueError:  # an integer with more digits than Python writes
        return f"a {type(value).__name__} too large to be shown"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
