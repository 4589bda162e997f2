"""Fields: the headers of one message, as filters read and change them.

A name may stand there several times, and case does not matter. Nothing hides a second value: ``get`` joins all of
them as RFC 9110 5.3 says, so that a filter decides about what the upstream will see, and not about the first line.
What frames a message, or concerns one connection only, is the gateway's and cannot be set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ..messages.exchange import Header
from ..messages.headers import HOP_BY_HOP, folded

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_NO_VALUE: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]").search
_OURS: Final = HOP_BY_HOP | {b"host", b"content-length", b"trailer"}


class Fields:
    """Headers by name. Of one task.

    Attributes:
        lines: The same as (name in lower case, value), in their order; what goes over the wire.
    """

    __slots__ = ("lines",)

    def __init__(self, lines: list[Header]) -> None:
        self.lines = lines

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a header; several are joined by commas, or by semicolons if they are cookies.

        Args:
            name: In any case.
            default: What is returned if there is none.
        """
        values = self.all(name)
        if not values:
            return default
        return values[0] if len(values) == 1 else ("; " if name.lower() == "cookie" else ", ").join(values)

    def all(self, name: str) -> list[str]:
        """Each value of a header, in its order.

        Args:
            name: In any case.
        """
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for each, value in self.lines if each == wanted]

    def add(self, name: str, value: str) -> None:
        """Add a value, beside those that are there.

        Args:
            name: In any case.
            value: Visible characters in Latin-1.

        Raises:
            ValueError: It is no header, or one that the gateway itself writes.
        """
        self.lines.append(header(name, value))

    def __setitem__(self, name: str, value: str) -> None:
        """Set a header in the place of all values of *name*, in every spelling."""
        line = header(name, value)
        del self[name]
        self.lines.append(line)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __delitem__(self, name: str) -> None:
        """Take every value of *name* away, in every spelling that an upstream may take for it; there may be none.

        CGI, and so WSGI, knows no hyphen in a name: X_User is X-User to it.
        """
        wanted = folded(name.lower().encode("latin-1"))
        size = len(wanted)
        self.lines[:] = [line for line in self.lines if len(line[0]) != size or folded(line[0]) != wanted]

    def __contains__(self, name: str) -> bool:
        wanted = name.lower().encode("latin-1")
        return any(line[0] == wanted for line in self.lines)

    def __iter__(self) -> Iterator[str]:
        """The names, each once, in lower case."""
        return iter(dict.fromkeys(name.decode("latin-1") for name, _ in self.lines))

    def __len__(self) -> int:
        return len(self.lines)

    def __repr__(self) -> str:
        return f"Fields({self.lines!r})"


def header(name: str, value: str) -> Header:
    """A header as it goes over the wire.

    Raises:
        ValueError: It is no header, or one that the gateway itself writes. The message does not show the value, which
            may be a secret.
    """
    if not _TOKEN(name):
        raise ValueError(f"{name!r} is no name of a header")
    line = name.lower().encode("ascii")
    if line in _OURS:
        raise ValueError(f"the gateway itself writes {name}, and no filter can set it")
    if not isinstance(value, str):
        raise ValueError(f"the value of {name} must be a string, not {type(value).__name__}")
    odd = _NO_VALUE(value)
    if odd is not None:
        raise ValueError(f"the value of {name} must have visible characters of Latin-1 only, and has {odd[0]!r}")
    return line, value.strip(" \t").encode("latin-1")
