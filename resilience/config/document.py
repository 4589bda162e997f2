"""Document: one TOML file being read, and the list of what is wrong in it.

A reader asks for parts of the document as attrs objects. A part with mistakes
comes back as None and the mistakes are kept; the rest is read all the same, so
that one run shows everything. The reader adds what only it can know (a name that
nothing has, say) and ends with finish().
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from .hints import in_dots, suspicions, syntax_hint, unknown
from .locator import line_at, lines_of
from .mistakes import ConfigFileError, Mistake, Place, mistake_at, shown
from .structure import mistakes_in, structured, told

_T = TypeVar("_T")
#: Larger than any file that people write; a device such as /dev/zero has no end.
MAX_BYTES: Final = 16 * 1024 * 1024
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_BARE = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_DEEPEST = 4  # commands.KEY.breaker.open_for
_ENDLESS = re.compile(r"[0-9][0-9_]{999}")


class Document:
    """A TOML text, its values and its mistakes.

    Attributes:
        file: The file's name, for messages.
        data: What tomllib makes of it.
    """

    def __init__(self, text: str, file: str) -> None:
        """Read *text*.

        Raises:
            ConfigFileError: It is not TOML.
        """
        self.file = file
        self._mistakes: list[Mistake] = []
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
            self._lines: dict[tuple[str | int, ...], int] | None = lines_of(text)
        except ValueError as error:  # TOMLDecodeError, or int()'s own of a number with thousands of digits
            raise ConfigFileError([_broken(text, file, str(error))]) from None
        except RecursionError:
            raise ConfigFileError([Mistake(file, 1, "", "is nested too deep")]) from None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Document:
        """Open and read a file.

        Raises:
            ConfigFileError: It cannot be read, or is not TOML.
        """
        file = os.fspath(path)
        return cls.parse(content_of(file), file)

    @classmethod
    def parse(cls, content: bytes | OSError | ValueError, file: str) -> Document:
        """Read the *content* of a file, or what reading it has raised.

        Raises:
            ConfigFileError: There is no content, or it is not TOML.
        """
        if not isinstance(content, bytes):
            why = getattr(content, "strerror", None) or content
            raise ConfigFileError([Mistake(file, 0, "", f"cannot be read: {why}")])
        try:
            text = content.decode("utf-8-sig")  # some editors begin a file with a byte order mark
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ConfigFileError([Mistake(file, line, "", "is not UTF-8, as TOML must be")]) from None
        return cls(text.replace("\r\n", "\n"), file)

    @classmethod
    def of(cls, data: Mapping[str, Any], name: str) -> Document:
        """A document without a text; *name* stands for the file's.

        Raises:
            ConfigFileError: A key is no string, as those of TOML are.
        """
        mistakes = [Mistake(name, 0, _dotted(path), f"a key must be a string, not {shown(key)}")
                    for path, key in _odd_keys(data)]
        if mistakes:
            raise ConfigFileError(mistakes)
        document = cls("", name)
        document.data, document._lines = {**data}, None
        return document

    @property
    def mistakes(self) -> list[Mistake]:
        """What has been found wrong so far."""
        return list(self._mistakes)

    def structure(self, wanted: type[_T], *path: str | int, given: Any = None) -> _T | None:
        """What stands at *path*, as a *wanted*; None if it has mistakes, which are noted.

        Args:
            wanted: An attrs class.
            path: Keys and indices from the top; an absent table is read as an empty one.
            given: Read this instead of what stands at *path*, which then serves for lines only.
        """
        value = self.at(*path) if given is None else given
        try:
            return structured(value, wanted)
        except Exception as error:  # noqa: BLE001 - whatever a validator raises is a mistake in the file
            for inner, message in mistakes_in(error):
                self.mistake((*path, *inner), self._with_key_quoted((*path, *inner), message))
            return None

    def _with_key_quoted(self, where: tuple[str | int, ...], message: str) -> str:
        """The *message*, or, if it is about what a key with dots was taken for, the advice to quote it."""
        name, value = where[-1] if where else "", self.at(*where)
        quoted = unknown(str(name), (), path=where[:-1], value=value)
        return quoted if message.startswith("unknown setting; here") and "quote" in quoted else message

    def at(self, *path: str | int) -> Any:
        """The raw value at *path*; an empty table if there is none."""
        value: Any = self.data
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return {}
        return value

    def table(self, name: str) -> dict[str, Any]:
        """The top-level table *name*; empty, and a mistake, if it is something else."""
        value = self.data.get(name, {})
        if isinstance(value, Mapping):
            return dict(value)
        self.mistake((name,), f"must be a table ([{name}]), not {told(value, dict)}")
        return {}

    def tables(self, name: str) -> list[dict[str, Any]]:
        """The top-level array of tables *name*; empty, and a mistake, if it is something else."""
        value = self.data.get(name, [])
        if isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
            return list(value)
        self.mistake((name,), f"must be a list of tables ([[{name}]])")
        return []

    def mistake(self, path: tuple[str | int, ...], message: str) -> None:
        """Note that what stands at *path* is wrong; noted again, it is one mistake all the same."""
        self.note(mistake_at(self.place(path), message))

    def hints(self) -> list[Mistake]:
        """What is allowed, and is most likely not meant."""
        return [mistake_at(self.place(path), message) for path, message in suspicions(self.data)]

    def note(self, mistake: Mistake) -> None:
        """Note a mistake whose place is known."""
        if mistake not in self._mistakes:
            self._mistakes.append(mistake)

    def place(self, path: tuple[str | int, ...]) -> Place:
        """Where *path* stands."""
        return Place(self.file, 0 if self._lines is None else line_at(self._lines, path), _dotted(path))

    def finish(self) -> None:
        """Raise ConfigFileError with every mistake, if there is any."""
        if self._mistakes:
            raise ConfigFileError(self._mistakes)


def content_of(path: str | os.PathLike[str]) -> bytes | OSError | ValueError:
    """The bytes of a file, or why there are none; ValueError is that of a NUL in the name, or of too many bytes."""
    try:
        return read_whole(path)
    except (OSError, ValueError) as error:
        return error


def read_whole(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger than MAX_BYTES, or its name is none.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 2**20} MiB")
    return content


def _odd_keys(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The keys that are no strings, with their places; tables deeper than any that is known are not searched."""
    if isinstance(value, Mapping) and len(path) < _DEEPEST:
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _odd_keys(inner, (*path, key))
            else:
                yield path, key


def _broken(text: str, file: str, message: str) -> Mistake:
    position = _POSITION.search(message)
    if position is None:
        number = _ENDLESS.search(text)
        if number is not None:
            return Mistake(file, text.count("\n", 0, number.start()) + 1, "", "has a number of too many digits")
        return Mistake(file, 1, "", f"is not TOML: {message}")
    lines, why = text.split("\n"), message[: position.start()]
    if position.group(1) is None:
        return Mistake(file, len(lines), "", f"is not TOML: {why}")
    line, column = int(position.group(1)), int(position.group(2))
    hint = syntax_hint(lines[line - 1], column, why)
    return Mistake(file, line, "", f"is not TOML: {in_dots(why)}{f'; {hint}' if hint else ''}")


def _dotted(path: tuple[str | int, ...]) -> str:
    key = ""
    for step in path:
        if isinstance(step, int):
            key += f"[{step}]"
        else:
            name = toml_key(step)
            key += f".{name}" if key else name
    return key


def toml_key(name: str) -> str:
    """The name of a key as TOML writes it, on one line: in quotes if it must be."""
    return name if _BARE(name) else json.dumps(name, ensure_ascii=not name.isprintable())
